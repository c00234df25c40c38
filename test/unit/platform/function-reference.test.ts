import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import * as fc from 'fast-check';
import { functionArn, parseFunctionReference, resolveFunctionReference } from '../../../platform/model/function-reference.ts';

const HOME = { account: '000000000000', region: 'us-east-1' };

const name = fc.stringMatching(/^[a-zA-Z0-9-_]{1,64}$/);
const qualifier = fc.oneof(fc.constant('$LATEST'), fc.nat({ max: 9_999 }).map(String), fc.stringMatching(/^[a-zA-Z][a-zA-Z0-9-_]{0,20}$/));
const account = fc.stringMatching(/^\d{12}$/);
const region = fc.constantFrom('us-east-1', 'eu-central-2', 'us-gov-west-1', 'ap-southeast-1');

describe('function references', () => {
  for (const [text, expected] of [
    ['f', { name: 'f', qualifier: undefined, account: undefined, region: undefined }],
    ['f:7', { name: 'f', qualifier: '7', account: undefined, region: undefined }],
    ['f:$LATEST', { name: 'f', qualifier: '$LATEST', account: undefined, region: undefined }],
    ['123456789012:function:f', { name: 'f', qualifier: undefined, account: '123456789012', region: undefined }],
    ['123456789012:function:f:live', { name: 'f', qualifier: 'live', account: '123456789012', region: undefined }],
    ['function:f', { name: 'f', qualifier: undefined, account: undefined, region: undefined }],
    ['arn:aws:lambda:us-east-1:123456789012:function:f', { name: 'f', qualifier: undefined, account: '123456789012', region: 'us-east-1' }],
    ['arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:f:1', { name: 'f', qualifier: '1', account: '123456789012', region: 'us-gov-west-1' }],
  ] as const) {
    test(`takes ${text} apart`, () => assert.deepEqual(parseFunctionReference(text), expected));
  }

  for (const text of ['', ':', 'f:', 'f:1:2', 'f!', 'f g', 'f\n', 'f:$LATES', 'arn:aws:s3:::bucket', 'arn:aws:lambda:nowhere:123456789012:function:f', 'arn:aws:lambda:us-east-1:1:function:f', '../f', 'a'.repeat(257)]) {
    test(`finds no reference in ${JSON.stringify(text.slice(0, 60))}`, () => assert.equal(parseFunctionReference(text), undefined));
  }

  test('an ARN that was made is taken apart into what it was made of', () => {
    fc.assert(
      fc.property(name, fc.option(qualifier, { nil: undefined }), account, region, (n, q, a, r) => {
        assert.deepEqual(parseFunctionReference(functionArn({ account: a, region: r }, n, q)), { name: n, qualifier: q, account: a, region: r });
      }),
    );
  });

  test('any text is taken apart quickly or not at all', () => {
    fc.assert(fc.property(fc.oneof(fc.string({ maxLength: 300 }), fc.stringMatching(/^[a-z0-9:$-]{0,300}$/)), (text) => {
      const reference = parseFunctionReference(text);
      if (reference !== undefined) assert.ok(text.endsWith(reference.qualifier === undefined ? reference.name : `${reference.name}:${reference.qualifier}`));
    }));
  });
});

describe('resolving', () => {
  test('the qualifier comes from either place, and both must agree', () => {
    fc.assert(
      fc.property(name, fc.option(qualifier, { nil: undefined }), fc.option(qualifier, { nil: undefined }), (n, inText, beside) => {
        const resolved = resolveFunctionReference(functionArn(HOME, n, inText), beside, HOME);
        if (inText !== undefined && beside !== undefined && inText !== beside) assert.deepEqual(resolved, { kind: 'qualifierMismatch' });
        else assert.deepEqual(resolved, { kind: 'here', name: n, qualifier: inText ?? beside });
      }),
    );
  });

  test('other regions and accounts are told apart', () => {
    assert.deepEqual(resolveFunctionReference('arn:aws:lambda:eu-west-1:999999999999:function:f', undefined, HOME), { kind: 'otherRegion', region: 'eu-west-1' });
    assert.deepEqual(resolveFunctionReference('999999999999:function:f', undefined, HOME), { kind: 'otherAccount', account: '999999999999', name: 'f' });
    assert.deepEqual(resolveFunctionReference('a b', undefined, HOME), { kind: 'malformed' });
  });
});
