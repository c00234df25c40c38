/** Routing, parsing, validation and serialisation from the service model. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import * as fc from 'fast-check';
import { ERRORS, LambdaApiError, payloadTooLarge, throttled, type ErrorRow } from '../../../../gateway/lambda-api/errors.ts';
import { SERVED_ELSEWHERE } from '../../../../gateway/lambda-api/handle.ts';
import { bodyLimitBytes } from '../../../../gateway/lambda-api/limits.ts';
import { exceptionShapes, OPERATIONS, shapeOf, type Shape } from '../../../../gateway/lambda-api/model.ts';
import { OPERATION_HANDLERS } from '../../../../gateway/lambda-api/operations/index.ts';
import { parseInput } from '../../../../gateway/lambda-api/rest-json/parse-input.ts';
import { errorResponse, outputResponse } from '../../../../gateway/lambda-api/rest-json/response.ts';
import { Router } from '../../../../gateway/lambda-api/rest-json/router.ts';
import { stringViolations, violationsOf } from '../../../../gateway/lambda-api/rest-json/violations.ts';
import { errorOf, messageOf, openApi, ROLE, type ApiUnderTest } from './api-under-test.ts';

const router = new Router(OPERATIONS.values());
const NO_QUERY = new URLSearchParams();

/** A request path for an operation, with `x` for every variable segment. */
const pathOf = (requestUri: string): readonly [path: string, query: URLSearchParams] => {
  const [path = '', query = ''] = requestUri.split('?');
  return [path.replaceAll(/\{\w+\}/g, 'x'), new URLSearchParams(query)];
};

describe('router', () => {
  test('finds all 85 operations by their own method and path, with and without a slash at the end', () => {
    assert.equal(OPERATIONS.size, 85);
    for (const operation of OPERATIONS.values()) {
      const [path, query] = pathOf(operation.requestUri);
      assert.equal(router.match(operation.method, path, query)?.operation.name, operation.name);
      assert.equal(router.match(operation.method, `${path}/`, query)?.operation.name, operation.name);
    }
  });

  test('an encoded ARN is one segment', () => {
    const match = router.match('GET', '/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af%2Fg/configuration', NO_QUERY);
    assert.equal(match?.operation.name, 'GetFunctionConfiguration');
    assert.equal(match.segments['FunctionName'], 'arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af%2Fg');
  });

  test('operations of one path are told apart by their literal query', () => {
    assert.equal(router.match('GET', '/2018-10-31/layers', NO_QUERY)?.operation.name, 'ListLayers');
    assert.equal(router.match('GET', '/2018-10-31/layers', new URLSearchParams('find=LayerVersion'))?.operation.name, 'GetLayerVersionByArn');
  });

  for (const [method, path] of [['GET', '/'], ['GET', ''], ['PATCH', '/2015-03-31/functions'], ['GET', '/2015-03-31/functions//code'], ['GET', '/2015-03-31/functions/a/b/c/d'], ['get', '/2015-03-31/functions'], ['GET', '/__proto__/constructor']] as const) {
    test(`finds nothing for ${method} "${path}"`, () => assert.equal(router.match(method, path, NO_QUERY), undefined));
  }
});

describe('violations', () => {
  const create = (change: object): string[] =>
    violationsOf('CreateFunctionRequest', { FunctionName: 'f', Role: ROLE, Code: {}, ...change });

  for (const [what, change, expected] of [
    ['nothing wrong', {}, []],
    ['a missing member', { Role: undefined }, ["Value null at 'role' failed to satisfy constraint: Member must not be null"]],
    ['a small number', { MemorySize: 127 }, ["Value '127' at 'memorySize' failed to satisfy constraint: Member must have value greater than or equal to 128"]],
    ['a time-out that only the service bounds', { Timeout: 901 }, ["Value '901' at 'timeout' failed to satisfy constraint: Member must have value less than or equal to 900"]],
    ['a nested member', { EphemeralStorage: { Size: 1 } }, ["Value '1' at 'ephemeralStorage.size' failed to satisfy constraint: Member must have value greater than or equal to 512"]],
    ['a pattern', { Role: 'r1' }, ["Value 'r1' at 'role' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\\d{12}:role/?[a-zA-Z_0-9+=,.@\\-_/]+"]],
    ['an enum', { PackageType: 'Rar' }, ["Value 'Rar' at 'packageType' failed to satisfy constraint: Member must satisfy enum value set: [Zip, Image]"]],
    ['a list that is too long', { Architectures: ['x86_64', 'arm64'] }, ["Value '[x86_64, arm64]' at 'architectures' failed to satisfy constraint: Member must have length less than or equal to 1"]],
    ['a member of a list', { Architectures: ['X86_64'] }, ["Value '[X86_64]' at 'architectures' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]"]],
    ['a null in a list', { Architectures: [null] }, ["Value '[null]' at 'architectures' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]"]],
    ['a secret name', { Environment: { Variables: { '1': 's' } } }, ["Value at 'environment.variables' failed to satisfy constraint: Map keys must satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]"]],
    ['a structure in a list', { FileSystemConfigs: [{ Arn: 'x' }] }, [
      "Value 'x' at 'fileSystemConfigs.1.member.arn' failed to satisfy constraint: Member must satisfy regular expression pattern: " + shapeOf('FileSystemArn').pattern,
      "Value null at 'fileSystemConfigs.1.member.localMountPath' failed to satisfy constraint: Member must not be null",
    ]],
  ] as const) {
    test(`of ${what}`, () => assert.deepEqual(create(change), expected));
  }

  test('a length and a pattern are two violations', () => {
    const name = `${'a'.repeat(140)}!`;
    assert.deepEqual(stringViolations('FunctionName', 'functionName', name).map((text) => text.replace(/^.*: (Member must [a-z]+).*$/, '$1')), ['Member must have', 'Member must satisfy']);
  });

  test('an endless text is neither matched nor repeated', () => {
    const [violation = ''] = stringViolations('RoleArn', 'role', `arn:aws:iam::000000000000:role/${'a'.repeat(5_000_000)}`);
    assert.match(violation, /Member must satisfy regular expression pattern/);
    assert.ok(violation.length < 2_000);
  });

  test('every bound of every top-level member of every input is reported when it is broken, and only then', () => {
    let checked = 0;
    for (const operation of OPERATIONS.values()) {
      const input = operation.input === undefined ? undefined : shapeOf(operation.input);
      for (const [name, member] of Object.entries(input?.members ?? {})) {
        const shape = shapeOf(member.shape);
        const path = name.charAt(0).toLowerCase() + name.slice(1);
        const of = (value: unknown): string[] => violationsOf(operation.input ?? '', { [name]: value }).filter((text) => text.includes(` at '${path}' `));
        for (const [value, constraint] of broken(shape)) {
          checked++;
          assert.ok(of(value).some((text) => text.includes(constraint)), `${operation.name}.${name}: ${constraint}`);
        }
        if (shape.enum?.[0] !== undefined) assert.deepEqual(of(shape.enum[0]), []);
        if (isNumber(shape)) assert.deepEqual(of(shape.min ?? shape.max ?? 1), []);
      }
      for (const name of input?.required ?? []) {
        const path = name.charAt(0).toLowerCase() + name.slice(1);
        assert.ok(violationsOf(operation.input ?? '', {}).includes(`Value null at '${path}' failed to satisfy constraint: Member must not be null`), `${operation.name}.${name}`);
        checked++;
      }
    }
    assert.ok(checked > 300, `${checked} bounds checked`);
  });

  function isNumber({ type }: Shape): boolean {
    return type === 'integer' || type === 'long' || type === 'double';
  }

  /** A value beyond each bound of a shape, with the words of the bound. */
  function broken(shape: Shape): (readonly [unknown, string])[] {
    const result: (readonly [unknown, string])[] = [];
    const size = (n: number): unknown => (isNumber(shape) ? n : shape.type === 'string' ? 'a'.repeat(n) : shape.type === 'list' ? Array.from({ length: n }, () => 'a') : undefined);
    const noun = isNumber(shape) ? 'value' : 'length';
    const bounded = isNumber(shape) || shape.type === 'string' || (shape.type === 'list' && shapeOf(shape.member ?? '').type === 'string');
    const step = shape.type === 'double' ? 0.5 : 1;
    if (bounded && shape.max !== undefined) result.push([size(shape.max + step), `Member must have ${noun} less than or equal to ${shape.max}`]);
    if (bounded && shape.min !== undefined && (isNumber(shape) || shape.min > 0)) result.push([size(shape.min - step), `Member must have ${noun} greater than or equal to ${shape.min}`]);
    if (shape.enum !== undefined) result.push(['no such value', `Member must satisfy enum value set: [${shape.enum.join(', ')}]`]);
    if (shape.pattern !== undefined && !new RegExp(`^(?:${shape.pattern})$`).test('\n')) result.push(['\n', `Member must satisfy regular expression pattern: ${shape.pattern}`]);
    return result;
  }
});

describe('blobs', () => {
  test('any bytes come through base64 as they were', () => {
    const create = OPERATIONS.get('CreateFunction');
    assert.ok(create);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        const ZipFile = Buffer.from(bytes).toString('base64');
        const source = { segments: {}, query: NO_QUERY, headers: {}, body: Buffer.from(JSON.stringify({ Code: { ZipFile } })) };
        assert.deepEqual(parseInput(create, source)['Code'], { ZipFile: Buffer.from(bytes) });
      }),
    );
  });
});

describe('responses', () => {
  test('members go to the status, the headers and the body', () => {
    const invoke = OPERATIONS.get('Invoke');
    assert.ok(invoke);
    const { status, headers, body } = outputResponse(invoke, { StatusCode: 202, FunctionError: 'Unhandled', Payload: Buffer.from('"x"') }, 'id');
    assert.equal(status, 202);
    assert.equal(headers['X-Amz-Function-Error'], 'Unhandled');
    assert.equal(headers['x-amzn-RequestId'], 'id');
    assert.equal(body.toString(), '"x"');
  });

  test('a 204 has no body', () => {
    const untag = OPERATIONS.get('UntagResource');
    assert.ok(untag);
    assert.deepEqual(outputResponse(untag, {}, 'id'), { status: 204, headers: { 'x-amzn-RequestId': 'id' }, body: Buffer.alloc(0) });
  });

  test('undefined members and members that the model does not have stay out', () => {
    const tags = OPERATIONS.get('ListTags');
    assert.ok(tags);
    assert.equal(outputResponse(tags, { Tags: { a: 'b' }, Other: 1 }, 'id').body.toString(), '{"Tags":{"a":"b"}}');
  });
});

describe('errors', () => {
  test('the catalogue agrees with the service model, where both know an error', () => {
    const shapes = new Map(exceptionShapes());
    let compared = 0;
    for (const [code, row] of Object.entries(ERRORS) as [string, ErrorRow][]) {
      const shape = shapes.get(code);
      if (shape === undefined) continue;
      compared++;
      assert.equal(row.status, shape.status, code);
      assert.ok(shape.members?.[row.messageMember] !== undefined, `${code} has no ${row.messageMember}`);
      assert.ok(shape.members['Type'] !== undefined && row.type !== undefined, `${code} has a Type`);
    }
    assert.ok(compared >= 10, `${compared} compared`);
  });

  test('a throttle has its reason, and Type and message as Lambda spells them', () => {
    const { status, headers, body } = errorResponse(throttled('ReservedFunctionConcurrentInvocationLimitExceeded'), 'id');
    assert.equal(status, 429);
    assert.equal(headers['x-amzn-ErrorType'], 'TooManyRequestsException');
    assert.deepEqual(JSON.parse(body.toString()), { Type: 'User', message: 'Rate Exceeded.', Reason: 'ReservedFunctionConcurrentInvocationLimitExceeded' });
  });

  test('a payload that is too large is named with its size where it is known', () => {
    assert.equal(payloadTooLarge(1_048_576).message, 'Request must be smaller than 1048576 bytes for the InvokeFunction operation');
    assert.equal(payloadTooLarge(6_291_456, { type: 'RequestResponse', bytes: 6_294_149 }).message, '6294149 byte payload is too large for the RequestResponse invocation type (limit 6291456 bytes)');
  });

  test('only the two uploads may be large', () => {
    assert.equal(bodyLimitBytes({ name: 'CreateFunction' }), 70_167_211);
    assert.ok(bodyLimitBytes({ name: 'PublishVersion' }) < 7_000_000);
  });
});

describe('the whole way', () => {
  let t: ApiUnderTest;
  before(async () => {
    t = await openApi();
  });
  after(() => t.close());

  test('every operation works or answers a 501 that names it', async () => {
    let missing = 0;
    for (const operation of OPERATIONS.values()) {
      if (OPERATION_HANDLERS.has(operation.name) || SERVED_ELSEWHERE.has(operation.name)) continue;
      const [path, query] = pathOf(operation.requestUri);
      const answer = await t.call(operation.method, `${path}?${query.toString()}`);
      assert.equal(answer.status, 501);
      assert.equal(answer.headers['x-amzn-ErrorType'], 'NotImplementedException');
      assert.match(messageOf(answer), new RegExp(`the operation ${operation.name} .* docs/lambda-compatibility\\.md`));
      missing++;
    }
    assert.equal(missing, OPERATIONS.size - OPERATION_HANDLERS.size - SERVED_ELSEWHERE.size);
    for (const name of [...OPERATION_HANDLERS.keys(), ...SERVED_ELSEWHERE]) assert.ok(OPERATIONS.has(name), `${name} is in the model`);
  });

  test('an unknown path is an unknown operation', async () => {
    assert.equal(errorOf(await t.call('GET', '/nothing/here')), '404 UnknownOperationException: The Lambda API has no operation GET /nothing/here');
  });

  for (const [what, body, error] of [
    ['malformed JSON', Buffer.from('{"a'), /^400 InvalidRequestContentException: Could not parse request body into json: /],
    ['bytes that are no UTF-8', Buffer.from([0x22, 0xff, 0x22]), /^400 InvalidRequestContentException: Could not parse request body into json: /],
    ['deep nesting', Buffer.from('['.repeat(1_000_000)), /^400 (InvalidRequestContentException|SerializationException): /],
    ['a list', [1], /^400 SerializationException: START_ARRAY can not be converted to a structure at 'request body'$/],
    ['null', null, /^400 SerializationException: NULL_VALUE /],
    ['a text for a number', { FunctionName: 'f', Timeout: '3' }, /^400 SerializationException: STRING_VALUE can not be converted to a number at 'timeout'$/],
    ['a fraction for a whole number', { Timeout: 1.5 }, /^400 SerializationException: NUMBER_VALUE can not be converted to an Integer at 'timeout'$/],
    ['a number beyond 32 bits', { Timeout: 2 ** 31 }, /^400 SerializationException: NUMBER_VALUE can not be converted to an Integer at 'timeout'$/],
    ['a structure for a text', { Description: {} }, /^400 SerializationException: START_OBJECT can not be converted to a String at 'description'$/],
    ['a list for a map', { Tags: [] }, /^400 SerializationException: START_ARRAY can not be converted to a map at 'tags'$/],
    ['a text for a structure', { Code: 'x' }, /^400 SerializationException: STRING_VALUE can not be converted to a structure at 'code'$/],
    ...['*', 'AAA', 'AA=A', 'AA==AAAA', 'AA-_', 'AAA AAA=', 'AAA=\n', '====', 'A==='].map((ZipFile) => [`${JSON.stringify(ZipFile)} for base64`, { Code: { ZipFile } }, /^400 SerializationException: STRING_VALUE can not be converted to a Blob/] as const),
    ['an empty request', {}, /^400 ValidationException: 3 validation errors detected: Value null at 'functionName' .*; Value null at 'role' .*; Value null at 'code' /],
    ['members set to null', { FunctionName: null, Role: null, Code: null }, /^400 ValidationException: 3 validation errors detected: /],
  ] as const) {
    test(`CreateFunction with ${what}`, async () => assert.match(errorOf(await t.call('POST', '/2015-03-31/functions', body)), error));
  }

  test('Invoke has a way of its own', async () => {
    assert.match(errorOf(await t.call('POST', '/2015-03-31/functions/f/invocations', {})), /^404 UnknownOperationException: /);
  });

  test('a malformed escape in a path is the caller\'s fault', async () => {
    assert.match(errorOf(await t.call('POST', '/2015-03-31/functions/%zz/invocations')), /^400 SerializationException: /);
    assert.match(errorOf(await t.call('GET', '/2015-03-31/functions/%zz')), /^400 SerializationException: /);
  });

  test('a number in a query is checked like any other', async () => {
    assert.match(errorOf(await t.call('GET', '/2015-03-31/functions?MaxItems=many')), /^400 SerializationException: /);
    assert.match(errorOf(await t.call('GET', '/2015-03-31/functions?MaxItems=0')), /^400 ValidationException: 1 validation error detected: Value '0' at 'maxItems' failed/);
  });

  test('a failure of the platform is a ServiceException that tells nothing', async () => {
    const failing = await openApi({ catalogue: (catalogue) => ({ ...catalogue, get: () => Promise.reject(new Error('secret path /var/lib')) }) });
    try {
      const answer = await failing.call('GET', '/2015-03-31/functions/f');
      assert.equal(errorOf(answer), '500 ServiceException: The service encountered an internal error. Please try again later.');
      assert.deepEqual(answer.body['Type'], 'Service');
      assert.ok(answer.headers['x-amzn-RequestId']);
    } finally {
      await failing.close();
    }
  });

  test('an error of the catalogue is thrown as it is answered', () => {
    assert.equal(new LambdaApiError('ServiceException', 'x').row.retryable, true);
  });
});
