/** Requests that no SDK would send: each gets Lambda's own error, and leaves nothing behind. */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { GetFunctionCommand, ListFunctionsCommand } from '@aws-sdk/client-lambda';
import { ROLE, deploy, failure, result } from '../support/functions.ts';
import { crookedZip, zip } from '../support/packages.ts';
import { send, sendBytes, type RawAnswer, type RawRequest } from '../support/raw-http.ts';
import { startSluice, type TestSluice } from '../support/sluice.ts';

const FUNCTIONS = '/2015-03-31/functions';
const ARN = 'arn:aws:lambda:us-east-1:000000000000:function';
const SYNC_LIMIT_BYTES = 6_291_456;
const ASYNC_LIMIT_BYTES = 1_048_576;

/** What an error of the service looks like on the wire, whatever it is about. */
function errorOf(answer: RawAnswer): { readonly type: string; readonly message: string } {
  assert.ok(answer.status >= 400 && answer.status < 500 || answer.status === 501, `${answer.status}: ${answer.text.slice(0, 300)}`);
  assert.match(String(answer.headers['content-type']), /^application\/json/);
  assert.ok(answer.headers['x-amzn-requestid'], 'an error names its request');
  const type = String(answer.headers['x-amzn-errortype']).replace(/:.*$/, '');
  const body = JSON.parse(answer.text) as { readonly message?: string; readonly Message?: string };
  const message = body.Message ?? body.message ?? '';
  assert.notEqual(message, '');
  assert.doesNotMatch(answer.text, /\bat .+\.[jt]s:\d+|node:internal|\/gateway\/|node_modules|SQLITE/, 'an error shows nothing of the inside');
  return { type, message };
}

interface Refusal {
  readonly what: string;
  readonly request: RawRequest;
  readonly type: string | RegExp;
  readonly status: number;
  readonly message?: string | RegExp;
}

describe('bad input', () => {
  let sluice: TestSluice;
  let honest: string;
  before(async () => {
    sluice = await startSluice();
    honest = (await zip({ 'index.js': 'exports.handler = async () => 1;' })).toString('base64');
    await deploy(sluice.lambda, { name: 'good', files: { 'index.js': 'exports.handler = async (event) => event;' } });
  });
  after(() => sluice.stop());
  afterEach(async () => {
    const { Functions } = await sluice.lambda.send(new ListFunctionsCommand({}));
    assert.deepEqual(Functions?.map(({ FunctionName }) => FunctionName).filter((name) => name?.startsWith('bad')), [], 'nothing half created is left');
    assert.deepEqual(await result(sluice.lambda, 'good', { still: 'works' }), { still: 'works' });
  });

  const refused = async ({ request, type, status, message }: Omit<Refusal, 'what'>): Promise<void> => {
    const answer = await send(sluice.url, request);
    const error = errorOf(answer);
    const described = `${answer.status} ${error.type}: ${error.message}`;
    assert.equal(answer.status, status, described);
    if (typeof type === 'string') assert.equal(error.type, type, described);
    else assert.match(error.type, type);
    if (typeof message === 'string') assert.equal(error.message, message);
    else if (message !== undefined) assert.match(error.message, message);
  };

  const creation = (change: Readonly<Record<string, unknown>>): RawRequest => ({
    path: FUNCTIONS,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ FunctionName: 'bad', Runtime: 'nodejs22.x', Handler: 'index.handler', Role: ROLE, Code: { ZipFile: honest }, ...change }),
  });

  const CONSTRAINTS: readonly (readonly [what: string, change: Readonly<Record<string, unknown>>, message: string | RegExp])[] = [
    ['memory too small', { MemorySize: 64 }, /^1 validation error detected: Value '64' at 'memorySize' failed to satisfy constraint: Member must have value greater than or equal to 128$/],
    ['memory negative', { MemorySize: -1 }, /Value '-1' at 'memorySize' failed to satisfy constraint: Member must have value greater than or equal to 128/],
    ['time-out of zero', { Timeout: 0 }, /^1 validation error detected: Value '0' at 'timeout' failed to satisfy constraint: Member must have value greater than or equal to 1$/],
    ['role of the wrong form', { Role: 'admin' }, /Value 'admin' at 'role' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:/],
    ['role missing', { Role: undefined }, /^1 validation error detected: Value null at 'role' failed to satisfy constraint: Member must not be null$/],
    ['code missing', { Code: undefined }, /^1 validation error detected: Value null at 'code' failed to satisfy constraint: Member must not be null$/],
    ['name missing', { FunctionName: undefined }, /Value null at 'functionName' failed to satisfy constraint: Member must not be null/],
    ['name with forbidden characters', { FunctionName: 'bad name!' }, /Value 'bad name!' at 'functionName' failed to satisfy constraint: Member must satisfy regular expression pattern/],
    ['description too long', { Description: 'x'.repeat(257) }, /at 'description' failed to satisfy constraint: Member must have length less than or equal to 256/],
    ['ephemeral storage too small', { EphemeralStorage: { Size: 100 } }, /Value '100' at 'ephemeralStorage\.size' failed to satisfy constraint: Member must have value greater than or equal to 512/],
    ['two faults at once', { MemorySize: 1, Timeout: 0 }, /^2 validation errors detected: /],
  ];
  for (const [what, change, message] of CONSTRAINTS) {
    test(`CreateFunction: ${what}`, () => refused({ request: creation(change), type: 'ValidationException', status: 400, message }));
  }

  const PARAMETERS: readonly (readonly [what: string, change: Readonly<Record<string, unknown>>, message?: RegExp])[] = [
    ['memory too large', { MemorySize: 10_241 }, /10,?240/],
    ['time-out too long', { Timeout: 901 }, /900/],
    ['unknown runtime', { Runtime: 'cobol85' }, /cobol85/],
    ['neither runtime nor image', { Runtime: undefined }, /[Rr]untime/],
    ['no handler', { Handler: undefined }, /[Hh]andler/],
    ['neither zip nor bucket', { Code: {} }],
    ['zip and bucket', { Code: { ZipFile: 'AAAA', S3Bucket: 'bucket', S3Key: 'key' } }],
    ['a zip that is none', { Code: { ZipFile: Buffer.from('this is no archive').toString('base64') } }, /^Could not unzip uploaded file\. Please check your file, then try to upload again\.$/],
    ['an empty zip file', { Code: { ZipFile: '' } }],
    ['a bucket that is not there', { Code: { S3Bucket: 'no-such-bucket', S3Key: 'key' } }],
    ['a reserved variable', { Environment: { Variables: { AWS_REGION: 'mars' } } }, /reserved keys.*AWS_REGION/],
    ['variables over 4 KiB', { Environment: { Variables: { BIG: 'x'.repeat(4_200) } } }, /4 ?KB/i],
    ['a variable with a bad name', { Environment: { Variables: { '1-2': 'x' } } }],
  ];
  for (const [what, change, message] of PARAMETERS) {
    test(`CreateFunction: ${what}`, () =>
      refused({ request: creation(change), type: /^(InvalidParameterValueException|ValidationException)$/, status: 400, ...(message && { message }) }));
  }

  const WRONG_TYPES: readonly (readonly [string, Readonly<Record<string, unknown>>])[] = [
    ['a text for a number', { Timeout: 'soon' }],
    ['a number for a text', { Description: 5 }],
    ['a list for a structure', { Code: [] }],
    ['a text for a structure', { Environment: 'A=b' }],
    ['a fraction for a whole number', { MemorySize: 128.5 }],
    ['a number in a map of texts', { Environment: { Variables: { A: 1 } } }],
    ['a text for a truth value', { Publish: 'yes' }],
    ['base64 that is none', { Code: { ZipFile: '***not base64***' } }],
  ];
  for (const [what, change] of WRONG_TYPES) {
    test(`CreateFunction: ${what}`, () =>
      refused({ request: creation(change), type: /^(SerializationException|ValidationException|InvalidParameterValueException|InvalidRequestContentException)$/, status: 400 }));
  }

  for (const [what, body] of [
    ['no JSON', '{"FunctionName": '],
    ['JSON that is no object', '[1, 2]'],
    ['JSON null', 'null'],
    ['nothing at all', ''],
    ['bytes that are no UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d])],
    ['JSON nested 100,000 deep', '['.repeat(100_000)],
    ['a key that reaches for the prototype', '{"__proto__":{"Role":"x"},"constructor":{"prototype":{}}}'],
  ] as const) {
    test(`CreateFunction with ${what} as its body`, () =>
      refused({ request: { path: FUNCTIONS, body }, type: /^(SerializationException|InvalidRequestContentException|ValidationException)$/, status: 400 }));
  }

  test('CreateFunction with more than 70 MB is too large', () =>
    refused({
      request: { path: FUNCTIONS, body: Buffer.alloc(73_000_000, 'x') },
      type: /^(RequestEntityTooLargeException|RequestTooLargeException)$/,
      status: 413,
    }));

  test('a package over 50 MB zipped is refused', () =>
    refused({
      // 52.5 million bytes that are no archive: the size is looked at before the content.
      request: creation({ Code: { ZipFile: Buffer.alloc(52_500_000).toString('base64') } }),
      type: /^(RequestEntityTooLargeException|InvalidParameterValueException|CodeStorageExceededException)$/,
      status: 413,
    }).catch((error: unknown) => {
      // Lambda answers an archive over its limit with either of the two.
      if (!/400 InvalidParameterValueException/.test(String(error))) throw error;
    }));

  const unpacked = (zipFile: Buffer) => creation({ Code: { ZipFile: zipFile.toString('base64') } });
  test('a zip bomb is refused without being unpacked', async () => {
    // 300 MiB of nothing in 300 kB.
    const bomb = await zip({ 'index.js': 'exports.handler = async () => 1;', 'bomb.bin': Buffer.alloc(300 * 1024 * 1024) });
    assert.ok(bomb.length < 2_000_000);
    await refused({ request: unpacked(bomb), type: 'InvalidParameterValueException', status: 400, message: /^Unzipped size must be smaller than 262144000 bytes$/ });
  });

  test('a zip that lies about its sizes is refused, or fails without harm', async () => {
    const bomb = await zip({ 'index.js': 'exports.handler = async () => 1;', 'bomb.bin': Buffer.alloc(300 * 1024 * 1024) });
    const size = Buffer.alloc(4);
    size.writeUInt32LE(300 * 1024 * 1024);
    const small = Buffer.alloc(4);
    small.writeUInt32LE(10);
    const lying = Buffer.from(bomb.toString('latin1').replaceAll(size.toString('latin1'), small.toString('latin1')), 'latin1');
    await refused({ request: unpacked(lying), type: 'InvalidParameterValueException', status: 400 });
  });

  for (const path of ['../../../tmp/escaped', '/tmp/escaped/absolute', 'a/../../../escaped', '..\\..\\escaped.txt']) {
    test(`a zip with the path ${path} is refused`, async () => {
      const crooked = await crookedZip([{ path: 'index.js', content: 'exports.handler = async () => 1;' }, { path, content: 'x' }]);
      await refused({ request: unpacked(crooked), type: 'InvalidParameterValueException', status: 400 });
    });
  }

  test('a zip whose symbolic link points outside is refused', async () => {
    const crooked = await crookedZip([
      { path: 'index.js', content: 'exports.handler = async () => 1;' },
      { path: 'link', content: '/etc', mode: 0o120777 },
    ]);
    await refused({ request: unpacked(crooked), type: 'InvalidParameterValueException', status: 400 });
  });

  test('a truncated zip is refused', async () => {
    const whole = Buffer.from(honest, 'base64');
    await refused({ request: unpacked(whole.subarray(0, whole.length - 30)), type: 'InvalidParameterValueException', status: 400, message: /^Could not unzip/ });
  });

  test('a package without the handler file is created; its invocations say what is missing', async () => {
    await deploy(sluice.lambda, { name: 'handlerless', files: { 'readme.txt': 'no code' } });
    const { errorType, errorMessage } = await failure(sluice.lambda, 'handlerless');
    assert.equal(errorType, 'Runtime.ImportModuleError');
    assert.match(errorMessage, /Cannot find module 'index'/);
  });

  const invocation = (request: Partial<RawRequest>, name = 'good'): RawRequest => ({ path: `${FUNCTIONS}/${name}/invocations`, body: '{}', ...request });
  const INVOCATIONS: readonly Refusal[] = [
    { what: 'of nobody', request: invocation({}, 'nobody'), type: 'ResourceNotFoundException', status: 404, message: `Function not found: ${ARN}:nobody` },
    { what: 'of an unknown qualifier', request: invocation({ path: `${FUNCTIONS}/good/invocations?Qualifier=none` }), type: 'ResourceNotFoundException', status: 404, message: `Function not found: ${ARN}:good:none` },
    { what: 'of a name with forbidden characters', request: invocation({}, 'no%20name'), type: 'ValidationException', status: 400 },
    { what: 'of a name that climbs', request: invocation({}, '..%2F..%2Fetc'), type: 'ValidationException', status: 400 },
    { what: 'of a malformed escape', request: invocation({}, '%zz'), type: /^(ValidationException|ResourceNotFoundException|InvalidRequestContentException|SerializationException)$/, status: 400 },
    { what: 'of another account', request: invocation({}, 'arn:aws:lambda:us-east-1:999999999999:function:good'), type: 'AccessDeniedException', status: 403 },
    { what: 'with no JSON', request: invocation({ body: '{oops' }), type: 'InvalidRequestContentException', status: 400, message: /^Could not parse request body into json: / },
    { what: 'with bytes that are no UTF-8', request: invocation({ body: Buffer.from([0x22, 0xff, 0xfe, 0x22]) }), type: 'InvalidRequestContentException', status: 400, message: /^Could not parse request body into json: / },
    { what: 'with an unknown type', request: invocation({ headers: { 'x-amz-invocation-type': 'Later' } }), type: /^(ValidationException|InvalidParameterValueException)$/, status: 400, message: /Later/ },
    { what: 'with an unknown log type', request: invocation({ headers: { 'x-amz-log-type': 'All' } }), type: /^(ValidationException|InvalidParameterValueException)$/, status: 400, message: /All/ },
    { what: 'with a client context that is no base64 JSON', request: invocation({ headers: { 'x-amz-client-context': '!!!' } }), type: /^(InvalidRequestContentException|InvalidParameterValueException|ValidationException)$/, status: 400 },
    { what: 'with a client context that is too long', request: invocation({ headers: { 'x-amz-client-context': Buffer.from(JSON.stringify('x'.repeat(4_000))).toString('base64') } }), type: /^(InvalidRequestContentException|InvalidParameterValueException|ValidationException)$/, status: 400 },
    {
      what: 'with one byte too many',
      request: invocation({ body: Buffer.alloc(SYNC_LIMIT_BYTES + 1, '1') }),
      type: 'RequestEntityTooLargeException',
      status: 413,
      message: '6291457 byte payload is too large for the RequestResponse invocation type (limit 6291456 bytes)',
    },
    {
      what: 'as Event with one byte too many',
      request: invocation({ body: Buffer.alloc(ASYNC_LIMIT_BYTES + 1, '1'), headers: { 'x-amz-invocation-type': 'Event' } }),
      type: 'RequestEntityTooLargeException',
      status: 413,
      message: '1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)',
    },
  ];
  for (const { what, ...refusal } of INVOCATIONS) test(`Invoke ${what}`, () => refused(refusal));

  const ELSEWHERE: readonly Refusal[] = [
    { what: 'a path that is nothing', request: { method: 'GET', path: '/2015-03-31/nothing/here' }, type: /.+/, status: 404 },
    { what: 'a wrong method', request: { method: 'PATCH', path: FUNCTIONS, body: '{}' }, type: /.+/, status: 404 },
    { what: 'a page size of zero', request: { method: 'GET', path: `${FUNCTIONS}?MaxItems=0` }, type: 'ValidationException', status: 400 },
    { what: 'a page size of no number', request: { method: 'GET', path: `${FUNCTIONS}?MaxItems=many` }, type: /^(ValidationException|SerializationException|InvalidParameterValueException)$/, status: 400 },
    { what: 'a forged marker', request: { method: 'GET', path: `${FUNCTIONS}?Marker=%00%ff` }, type: 'InvalidParameterValueException', status: 400 },
    { what: 'an operation that is not served', request: { method: 'GET', path: '/2015-03-31/event-source-mappings' }, type: /.+/, status: 501, message: /ListEventSourceMappings/ },
  ];
  for (const { what, ...refusal } of ELSEWHERE) {
    test(`answers ${what}`, async () => {
      const answer = await send(sluice.url, refusal.request);
      // The root of the API answers wrong methods as unknown paths or as such.
      if (answer.status === 405) return;
      await refused(refusal);
    });
  }

  test('a body cut short creates and runs nothing', async () => {
    const body = '{"FunctionName":"bad-cut","Runtime":"nodejs22.x"';
    await sendBytes(sluice.url, `POST ${FUNCTIONS} HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n${body}`, { end: true });
    await sendBytes(sluice.url, `POST ${FUNCTIONS}/good/invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n{"a":`, { end: true });
    await assert.rejects(sluice.lambda.send(new GetFunctionCommand({ FunctionName: 'bad-cut' })), { name: 'ResourceNotFoundException' });
  });

  test('what is no HTTP is answered with 400 and closed', async () => {
    for (const bytes of ['this is no http\r\n\r\n', `POST ${FUNCTIONS} HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n`, `POST ${FUNCTIONS} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`]) {
      const answer = await sendBytes(sluice.url, bytes);
      assert.match(answer, /^HTTP\/1\.1 400 /, bytes);
      assert.doesNotMatch(answer, /\bat .+:\d+/);
    }
  });

  test('headers over 16 KiB are refused', async () => {
    const answer = await sendBytes(sluice.url, `POST ${FUNCTIONS}/good/invocations HTTP/1.1\r\nHost: x\r\n${`X-Filler: ${'x'.repeat(1000)}\r\n`.repeat(20)}\r\n`);
    assert.match(answer, /^HTTP\/1\.1 431 /);
  });
});
