/** Whatever is sent to any operation: an answer of the right shape, never a 5xx but 501, and nothing half created. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import * as fc from 'fast-check';
import { OPERATIONS, shapeOf, type Member, type Operation, type Shape } from '../../../../gateway/lambda-api/model.ts';
import { OPERATION_HANDLERS } from '../../../../gateway/lambda-api/operations/index.ts';
import { CODE_BUCKET } from '../../../../platform/model/function.ts';
import { zip } from '../../../support/packages.ts';
import { ACCOUNT, errorOf, openApi, ROLE, type Answer, type ApiUnderTest } from './api-under-test.ts';

/** Seconds at home; more where there is time. */
const RUNS = Number(process.env['PROPERTY_RUNS'] ?? 40);
const PACKAGE = (await zip({ 'index.js': 'exports.handler = async () => 1;' })).toString('base64');

/** Texts that come near to what is valid. */
const text = fc.oneof(
  fc.constantFrom('f', 'g', '1', '$LATEST', 'live', ROLE, 'nodejs22.x', 'index.handler', `arn:aws:lambda:us-east-1:${ACCOUNT}:function:f`, 'Zip', 'ALL', '', 'a'.repeat(200), '__proto__', '\ud800', 'packages', PACKAGE),
  fc.string({ maxLength: 30 }),
  fc.string({ unit: 'binary', maxLength: 10 }),
);

/** Mostly of a shape's own type, sometimes of any other. */
function valueFor(shape: Shape, depth: number): fc.Arbitrary<unknown> {
  return fc.oneof({ arbitrary: fitting(shape, depth), weight: 12 }, { arbitrary: fc.jsonValue({ maxDepth: 2 }), weight: 1 });
}

function fitting(shape: Shape, depth: number): fc.Arbitrary<unknown> {
  if (shape.enum !== undefined) return fc.oneof({ arbitrary: fc.constantFrom(...shape.enum), weight: 5 }, text);
  switch (shape.type) {
    case 'structure':
      return structure(Object.entries(shape.members ?? {}), depth + 1);
    case 'list':
      return fc.array(valueFor(shapeOf(shape.member ?? ''), depth + 1), { maxLength: 3 });
    case 'map':
      return fc.dictionary(text, valueFor(shapeOf(shape.value ?? ''), depth + 1), { maxKeys: 3 });
    case 'boolean':
      return fc.boolean();
    case 'string':
    case 'blob':
      return text;
    default:
      return fc.oneof(fc.integer({ min: -1, max: 11_000 }), fc.double({ noNaN: true }), fc.maxSafeInteger());
  }
}

function structure(members: readonly (readonly [string, Member])[], depth: number): fc.Arbitrary<Record<string, unknown>> {
  if (depth > 3) return fc.constant({});
  return fc.record(Object.fromEntries(members.map(([name, member]) => [member.locationName ?? name, valueFor(shapeOf(member.shape), depth)])), { requiredKeys: [] });
}

/** What makes a request work, by member; each is replaced now and then. */
const VALID: Readonly<Record<string, unknown>> = {
  FunctionName: 'f',
  Name: 'live',
  FunctionVersion: '1',
  Resource: `arn:aws:lambda:us-east-1:${ACCOUNT}:function:f`,
  Role: ROLE,
  Runtime: 'nodejs22.x',
  Handler: 'index.handler',
  Code: { ZipFile: PACKAGE },
  ZipFile: PACKAGE,
  Tags: { a: 'b' },
  TagKeys: ['a'],
  ReservedConcurrentExecutions: 5,
};

type Members = readonly (readonly [string, Member])[];

/** A valid body with up to two members replaced or added. */
function nearlyValid(members: Members): fc.Arbitrary<Record<string, unknown>> {
  const valid = Object.fromEntries(members.filter(([name]) => Object.hasOwn(VALID, name)).map(([name]) => [name, VALID[name]]));
  if (members.length === 0) return fc.constant(valid);
  const replacements = fc.array(
    fc.constantFrom(...members).chain(([name, member]) => valueFor(shapeOf(member.shape), 0).map((value) => [name, value] as const)),
    { maxLength: 2 },
  );
  return replacements.map((replaced) => ({ ...valid, ...Object.fromEntries(replaced) }));
}

interface Request {
  readonly target: string;
  readonly body: unknown;
}

/** A request for an operation: its path, query and body are mostly near to what is valid. */
function requestFor(operation: Operation): fc.Arbitrary<Request> {
  const members: Members = Object.entries(operation.input === undefined ? {} : (shapeOf(operation.input).members ?? {}));
  const at = (location: Member['location']): Members => members.filter(([, member]) => member.location === location);
  const [path = ''] = operation.requestUri.split('?');
  const segments = fc.record(Object.fromEntries(at('uri').map(([name]) => [name, fc.oneof({ arbitrary: fc.constant(String(VALID[name])), weight: 5 }, text)])));
  const query = fc.oneof(fc.constant({}), nearlyValid(at('querystring')), structure(at('querystring'), 0));
  const body = fc.oneof(
    { arbitrary: nearlyValid(at(undefined)), weight: 12 },
    { arbitrary: structure(at(undefined), 0), weight: 2 },
    { arbitrary: fc.jsonValue({ maxDepth: 3 }), weight: 1 },
    { arbitrary: fc.uint8Array({ maxLength: 50 }).map((bytes) => Buffer.from(bytes)), weight: 1 },
  );
  return fc.record({ segments, query, body }).map(({ segments: filled, query: parameters, body: content }) => {
    const target = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent((filled[name] ?? '').toWellFormed()) || 'f');
    const entries = Object.entries(parameters).map(([name, value]): [string, string] => [name === 'TagKeys' ? 'tagKeys' : name, typeof value === 'string' ? value : JSON.stringify(value)]);
    return { target: `${target}?${new URLSearchParams(entries).toString()}`, body: content };
  });
}

function checkShape(answer: Answer, operation: Operation): void {
  assert.ok(answer.headers['x-amzn-RequestId'], 'every answer names its request');
  if (answer.status < 300) return;
  assert.ok(answer.status >= 400 && answer.status < 500, `${operation.name}: ${errorOf(answer)}`);
  assert.match(String(answer.headers['x-amzn-ErrorType']), /^[A-Z]\w+Exception$/);
  const message = answer.body['message'] ?? answer.body['Message'];
  assert.ok(typeof message === 'string' && message !== '' && message.length < 10_000);
  assert.doesNotMatch(message, /\.ts:\d|node:|SQLITE|undefined|\[object /);
}

describe('any input', () => {
  let t: ApiUnderTest;
  before(async () => {
    t = await openApi();
    await t.store.createBucket('packages');
  });
  beforeEach(async () => {
    await t.call('DELETE', '/2015-03-31/functions/f');
    assert.equal((await t.create('f', { Publish: true })).status, 201);
    assert.equal((await t.call('POST', '/2015-03-31/functions/f/aliases', { Name: 'live', FunctionVersion: '1' })).status, 201);
  });
  after(() => t.close());

  /** What holds between requests, whatever they were: every function that is there is whole. */
  const everythingIsWhole = async (): Promise<void> => {
    await t.api.idle();
    const { records } = await t.catalogue.list(ACCOUNT, undefined, 1_000);
    for (const record of records) {
      assert.equal(record.latest.state, 'Active', record.name);
      const { objectKey, sizeBytes } = record.latest.configuration.code;
      assert.equal((await t.store.head({ bucket: CODE_BUCKET, key: objectKey }))?.sizeBytes, sizeBytes);
      for (const { version } of record.publishedVersions) assert.ok(await t.catalogue.getVersion(record, version), `${record.name}:${version}`);
      for (const alias of record.aliases) assert.ok(await t.catalogue.getVersion(record, alias.functionVersion), `${record.name}:${alias.name}`);
    }
  };

  for (const name of OPERATION_HANDLERS.keys()) {
    const operation = OPERATIONS.get(name);
    assert.ok(operation);
    test(`to ${name}`, async () => {
      await fc.assert(
        fc.asyncProperty(requestFor(operation), async ({ target, body }) => {
          if (name === 'CreateFunction') await t.call('DELETE', '/2015-03-31/functions/f');
          if (name === 'DeleteFunction') await t.create('f');
          checkShape(await t.call(operation.method, target, body), operation);
        }),
        { numRuns: RUNS },
      );
      await everythingIsWhole();
    });
  }

  test('a CreateFunction whose steps fail leaves nothing that can be seen', async () => {
    for (const failing of ['put', 'create'] as const) {
      const broken = await openApi({
        ...(failing === 'put' && { store: (store) => new Proxy(store, { get: (target, member) => (member === 'put' ? () => Promise.reject(new Error('disk full')) : bound(target, member)) }) }),
        ...(failing === 'create' && { catalogue: (catalogue) => new Proxy(catalogue, { get: (target, member) => (member === 'create' ? () => Promise.reject(new Error('disk full')) : bound(target, member)) }) }),
      });
      try {
        const answer = await broken.create('half', { Publish: true });
        assert.match(errorOf(answer), /^500 ServiceException: /);
        assert.equal((await broken.call('GET', '/2015-03-31/functions/half')).status, 404);
        assert.deepEqual((await broken.call('GET', '/2015-03-31/functions?FunctionVersion=ALL')).body['Functions'], []);
      } finally {
        await broken.close();
      }
    }
  });

  function bound(target: object, member: string | symbol): unknown {
    const value: unknown = Reflect.get(target, member);
    return typeof value === 'function' ? (value.bind(target) as unknown) : value;
  }
});
