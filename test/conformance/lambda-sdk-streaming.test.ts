/** InvokeWithResponseStream as the AWS SDK for JavaScript and the wire see it. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { DeleteFunctionConcurrencyCommand, InvokeWithResponseStreamCommand, PutFunctionConcurrencyCommand, type InvokeWithResponseStreamCommandInput, type InvokeWithResponseStreamCompleteEvent, type InvokeWithResponseStreamResponseEvent } from '@aws-sdk/client-lambda';
import { deploy, invoke, result } from '../support/functions.ts';
import { responseOf } from '../support/event-stream.ts';
import { Observer } from '../support/observer.ts';
import { send, type RawAnswer } from '../support/raw-http.ts';
import { isError } from '../support/sdk-errors.ts';
import { startSluice, type TestSluice } from '../support/sluice.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const PATH = (name: string): string => `/2021-11-15/functions/${name}/response-streaming-invocations`;
const LARGE_BYTES = 20 * 1024 * 1024;

/**
 * A handler for every way in which a stream can go, as `event.how` says. It reports to an {@link Observer}, which holds it as long as the test wants.
 */
const STREAMER = `
const http = require('node:http');
const { createHash } = require('node:crypto');
const { Readable } = require('node:stream');
const { pipeline } = require('node:stream/promises');
const report = (mark, requestId) => new Promise((resolve, reject) => {
  const request = http.request(process.env.OBSERVER, { method: 'POST', agent: false }, (response) => { response.resume(); response.on('end', resolve); });
  request.on('error', reject);
  request.end(JSON.stringify({ mark, requestId }));
});
function* large(bytes) {
  for (let at = 0; at < bytes; at += 64 * 1024) yield Buffer.alloc(Math.min(64 * 1024, bytes - at), createHash('sha256').update(String(at)).digest());
}
exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
  console.log('streaming', event.how);
  switch (event.how) {
    case 'held':
      stream.write('first');
      await report(event.mark, context.awsRequestId);
      stream.end('last');
      break;
    case 'large':
      await pipeline(Readable.from(large(event.bytes)), stream);
      break;
    case 'prelude': {
      const out = awslambda.HttpResponseStream.from(stream, { statusCode: 201 });
      out.write('body');
      out.end();
      break;
    }
    case 'throws midway':
      stream.write('half');
      await report(event.mark, context.awsRequestId);
      throw new RangeError('too far');
    case 'throws at once':
      throw new RangeError('not even begun');
    case 'exits midway':
      stream.write('half');
      await report(event.mark, context.awsRequestId);
      process.exit(3);
    case 'never ends':
      stream.write('half');
      await new Promise(() => setInterval(() => {}, 1000));
    case 'abandoned':
      stream.write('first');
      await report(event.mark, context.awsRequestId);
      await pipeline(Readable.from(large(event.bytes)), stream);
      await report(event.mark + ' done', context.awsRequestId);
      break;
    default:
      stream.end(JSON.stringify({ event, clientContext: context.clientContext, version: context.functionVersion }));
  }
});
`;

/** The hash of what the function streams as `large`. */
function largeHash(bytes: number): string {
  const hash = createHash('sha256');
  for (let at = 0; at < bytes; at += 64 * 1024) hash.update(Buffer.alloc(Math.min(64 * 1024, bytes - at), createHash('sha256').update(String(at)).digest()));
  return hash.digest('hex');
}

describe('InvokeWithResponseStream through the AWS SDK for JavaScript', () => {
  let sluice: TestSluice;
  let observer: Observer;
  before(async () => {
    observer = await Observer.start();
    sluice = await startSluice();
    await deploy(sluice.lambda, { name: 'streamer', files: { 'index.js': STREAMER }, variables: { OBSERVER: observer.url }, Timeout: 60, Publish: true });
    await deploy(sluice.lambda, { name: 'hasty', files: { 'index.js': STREAMER }, variables: { OBSERVER: observer.url }, Timeout: 1 });
    await deploy(sluice.lambda, { name: 'buffered', files: { 'index.js': "exports.handler = async (event) => { if (event.fail) throw new TypeError('no good'); return event.bytes ? 'x'.repeat(event.bytes) : { got: event.n }; };" } });
  });
  after(async () => {
    await observer.close();
    await sluice.stop();
  });

  const begin = async (name: string, event: unknown, options: Partial<InvokeWithResponseStreamCommandInput> = {}) => {
    const output = await sluice.lambda.send(new InvokeWithResponseStreamCommand({ FunctionName: name, Payload: Buffer.from(JSON.stringify(event)), ...options }));
    assert.ok(output.EventStream);
    return { output, events: output.EventStream[Symbol.asyncIterator]() };
  };
  const nextChunk = async (events: AsyncIterator<InvokeWithResponseStreamResponseEvent>): Promise<string> => {
    const { value } = (await events.next()) as { readonly value: InvokeWithResponseStreamResponseEvent | undefined };
    return Buffer.from(value?.PayloadChunk?.Payload ?? []).toString();
  };
  const rest = async (events: AsyncIterator<InvokeWithResponseStreamResponseEvent>): Promise<{ readonly payload: Buffer; readonly complete: InvokeWithResponseStreamCompleteEvent | undefined }> => {
    const chunks: Buffer[] = [];
    let complete: InvokeWithResponseStreamCompleteEvent | undefined;
    for (let step = await events.next(); step.done !== true; step = await events.next()) {
      assert.equal(complete, undefined, 'nothing comes after the end');
      if (step.value.PayloadChunk !== undefined) chunks.push(Buffer.from(step.value.PayloadChunk.Payload ?? []));
      complete = step.value.InvokeComplete;
    }
    return { payload: Buffer.concat(chunks), complete };
  };
  const stream = async (name: string, event: unknown, options: Partial<InvokeWithResponseStreamCommandInput> = {}) => {
    const { output, events } = await begin(name, event, options);
    return { output, ...(await rest(events)) };
  };
  /** Calls `act` while the handler that reports with this mark waits for an answer, which it gets afterwards. */
  const held = async (mark: string, act: () => Promise<void> | void): Promise<void> => {
    await observer.until(() => observer.has(mark));
    await act();
    for (const sighting of observer.sightings) if (sighting.mark === mark) sighting.release();
  };

  test('the first chunk comes before the handler ends', async () => {
    observer.hold = true;
    const { output, events } = await begin('streamer', { how: 'held', mark: 'held' });
    assert.equal(output.StatusCode, 200);
    assert.equal(output.ExecutedVersion, '$LATEST');
    assert.equal(output.ResponseStreamContentType, 'application/vnd.amazon.eventstream');
    assert.match(output.$metadata.requestId ?? '', UUID);
    assert.equal(await nextChunk(events), 'first');
    await held('held', () => {
      assert.equal(observer.sightings.find(({ mark }) => mark === 'held')?.requestId, output.$metadata.requestId);
    });
    const { payload, complete } = await rest(events);
    assert.equal(payload.toString(), 'last');
    assert.deepEqual(complete, {});
    observer.hold = false;
  });

  test('20 MiB come whole', async () => {
    const { payload, complete } = await stream('streamer', { how: 'large', bytes: LARGE_BYTES });
    assert.equal(payload.length, LARGE_BYTES);
    assert.equal(createHash('sha256').update(payload).digest('hex'), largeHash(LARGE_BYTES));
    assert.deepEqual(complete, {});
  });

  test('several streams at once do not mix', async () => {
    const sizes = [1, 100_000, 1_000_000, 3_000_000];
    const streams = await Promise.all(sizes.map((bytes) => stream('streamer', { how: 'large', bytes })));
    assert.deepEqual(streams.map(({ payload }) => createHash('sha256').update(payload).digest('hex')), sizes.map(largeHash));
  });

  test('LogType=Tail brings the end of the log with the end of the stream', async () => {
    const { output, complete } = await stream('streamer', { how: 'echo' }, { LogType: 'Tail' });
    const tail = Buffer.from(complete?.LogResult ?? '', 'base64').toString();
    assert.match(tail, /streaming echo/);
    assert.match(tail, new RegExp(`END RequestId: ${output.$metadata.requestId}\nREPORT RequestId: ${output.$metadata.requestId}\t`));
  });

  test('qualifier and client context reach the function', async () => {
    const clientContext = Buffer.from('{"custom":{"a":"b"}}').toString('base64');
    const { output, payload } = await stream('streamer:1', { how: 'echo' }, { ClientContext: clientContext });
    assert.equal(output.ExecutedVersion, '1');
    assert.deepEqual(JSON.parse(payload.toString()), { event: { how: 'echo' }, clientContext: { custom: { a: 'b' } }, version: '1' });
  });

  test('the type that a handler names passes through, with its prelude', async () => {
    const { output, payload } = await stream('streamer', { how: 'prelude' });
    assert.equal(output.ResponseStreamContentType, 'application/vnd.awslambda.http-integration-response');
    assert.equal(payload.toString(), `{"statusCode":201}${'\0'.repeat(8)}body`);
  });

  test('a handler that fails midway: its error is the end of the stream', async () => {
    const { payload, complete } = await stream('streamer', { how: 'throws midway', mark: 'throws' });
    assert.equal(payload.toString(), 'half');
    assert.equal(complete?.ErrorCode, 'RangeError');
    assert.equal((JSON.parse(complete.ErrorDetails ?? '') as { errorMessage: string }).errorMessage, 'too far');
  });

  test('a handler that fails before it streams: nothing but its error', async () => {
    const { payload, complete } = await stream('streamer', { how: 'throws at once' }, { LogType: 'Tail' });
    assert.equal(payload.length, 0);
    assert.equal(complete?.ErrorCode, 'Unhandled');
    assert.deepEqual(({ ...(JSON.parse(complete.ErrorDetails ?? '') as object), trace: undefined }), { errorType: 'RangeError', errorMessage: 'not even begun', trace: undefined });
    assert.match(Buffer.from(complete.LogResult ?? '', 'base64').toString(), /Invoke Error/);
  });

  test('a process that ends midway', async () => {
    observer.hold = true;
    const { events } = await begin('streamer', { how: 'exits midway', mark: 'exits' });
    assert.equal(await nextChunk(events), 'half');
    await held('exits', () => undefined);
    const { complete } = await rest(events);
    assert.equal(complete?.ErrorCode, 'Runtime.TruncatedResponse');
    assert.match(complete.ErrorDetails ?? '', /Runtime exited with error: exit status 3/);
    observer.hold = false;
  });

  test('a handler whose time is over midway, and one after it', async () => {
    const { payload, complete } = await stream('hasty', { how: 'never ends' }, { LogType: 'Tail' });
    assert.equal(payload.toString(), 'half');
    assert.equal(complete?.ErrorCode, 'Sandbox.Timedout');
    assert.match(complete.ErrorDetails ?? '', /Task timed out after 1\.00 seconds/);
    assert.match(Buffer.from(complete.LogResult ?? '', 'base64').toString(), /Task timed out after 1\.00 seconds[^]*REPORT RequestId: /);
    assert.deepEqual((await stream('hasty', { how: 'echo' })).complete, {});
  });

  test('a function that does not stream answers with all of it, and with its error', async () => {
    const { output, payload, complete } = await stream('buffered', { n: 1 }, { LogType: 'Tail' });
    assert.equal(output.ResponseStreamContentType, 'application/vnd.amazon.eventstream');
    assert.deepEqual(JSON.parse(payload.toString()), { got: 1 });
    assert.match(Buffer.from(complete?.LogResult ?? '', 'base64').toString(), /REPORT RequestId: /);
    const large = await stream('buffered', { bytes: 5_000_000 });
    assert.equal(large.payload.length, 5_000_002);
    assert.deepEqual(large.complete, {});
    const failed = await stream('buffered', { fail: true });
    assert.equal(failed.complete?.ErrorCode, 'Unhandled');
    assert.equal((JSON.parse(failed.complete.ErrorDetails ?? '') as { errorMessage: string }).errorMessage, 'no good');
    const tooLarge = await stream('buffered', { bytes: 7_000_000 });
    assert.match(tooLarge.complete?.ErrorDetails ?? '', /Function\.ResponseSizeTooLarge/);
  });

  test('Invoke of a handler that streams collects it, up to the limit of Invoke', async () => {
    assert.deepEqual(await result(sluice.lambda, 'streamer', { how: 'echo' }), { event: { how: 'echo' }, version: '$LATEST' });
    const { output, text } = await invoke(sluice.lambda, 'streamer', { how: 'large', bytes: 7_000_000 });
    assert.equal(output.FunctionError, 'Unhandled');
    assert.match(text, /Function\.ResponseSizeTooLarge/);
  });

  test('a client that goes away does not stop the function: it streams to its end, once', async () => {
    observer.hold = true;
    const { hostname, port } = new URL(sluice.url);
    const body = JSON.stringify({ how: 'abandoned', mark: 'abandoned', bytes: 8 * 1024 * 1024 });
    const calling = request({ hostname, port, method: 'POST', path: PATH('streamer'), agent: false, headers: { 'content-length': Buffer.byteLength(body) } });
    const answered = once(calling, 'response') as Promise<[IncomingMessage]>;
    calling.end(body);
    const [response] = await answered;
    response.on('error', () => undefined);
    await once(response, 'data');
    await held('abandoned', () => {
      response.destroy();
    });
    await held('abandoned done', () => undefined);
    observer.hold = false;
    assert.deepEqual((await stream('streamer', { how: 'echo' })).complete, {});
    assert.deepEqual([observer.count('abandoned'), observer.count('abandoned done')], [1, 1]);
  });

  test('DryRun answers 204 and runs nothing', async () => {
    const { output } = await stream('streamer', { how: 'held', mark: 'dry' }, { InvocationType: 'DryRun' });
    assert.equal(output.StatusCode, 204);
    const answer = await send(sluice.url, { path: PATH('streamer:1'), body: '{}', headers: { 'x-amz-invocation-type': 'DryRun' } });
    assert.deepEqual([answer.status, answer.headers['x-amz-executed-version'], answer.text], [204, '1', '']);
    await stream('streamer', { how: 'held', mark: 'after dry' });
    assert.deepEqual([observer.has('dry'), observer.has('after dry')], [false, true]);
  });

  test('a throttled call is 429 before any stream', async () => {
    await sluice.lambda.send(new PutFunctionConcurrencyCommand({ FunctionName: 'buffered', ReservedConcurrentExecutions: 0 }));
    await assert.rejects(begin('buffered', {}), isError('TooManyRequestsException', 429));
    await sluice.lambda.send(new DeleteFunctionConcurrencyCommand({ FunctionName: 'buffered' }));
  });

  test('the wire: chunks without a length, headers as documented', async () => {
    const answer = await send(sluice.url, { path: PATH('buffered'), body: '{"n":1}', headers: { 'x-amz-invocation-type': 'RequestResponse' } });
    assert.equal(answer.status, 200);
    assert.deepEqual([answer.headers['content-type'], answer.headers['transfer-encoding'], answer.headers['content-length'], answer.headers['x-amz-executed-version']], ['application/vnd.amazon.eventstream', 'chunked', undefined, '$LATEST']);
    assert.match(String(answer.headers['x-amzn-requestid']), UUID);
    const { payload, complete } = responseOf(answer.body);
    assert.deepEqual([payload.toString(), complete], ['{"got":1}', {}]);
  });

  const REFUSALS: readonly { readonly what: string; readonly name?: string; readonly query?: string; readonly body?: string; readonly headers?: Readonly<Record<string, string>>; readonly status: number; readonly type: string; readonly message: RegExp }[] = [
    { what: 'Event', headers: { 'x-amz-invocation-type': 'Event' }, status: 400, type: 'ValidationException', message: /Value 'Event' at 'invocationType' failed to satisfy constraint: Member must satisfy enum value set: \[RequestResponse, DryRun\]/ },
    { what: 'an unknown log type', headers: { 'x-amz-log-type': 'Head' }, status: 400, type: 'ValidationException', message: /at 'logType'/ },
    { what: 'a client context that is none', headers: { 'x-amz-client-context': '!!' }, status: 400, type: 'InvalidRequestContentException', message: /Client context/ },
    { what: 'what is no JSON', body: '{', status: 400, type: 'InvalidRequestContentException', message: /Could not parse request body into json/ },
    { what: 'a function that is not there', name: 'nobody', status: 404, type: 'ResourceNotFoundException', message: /^Function not found: arn:aws:lambda:us-east-1:000000000000:function:nobody/ },
    { what: 'a qualifier that is not there', query: '?Qualifier=nothing', status: 404, type: 'ResourceNotFoundException', message: /streamer:nothing/ },
    { what: 'two qualifiers', name: 'streamer:1', query: '?Qualifier=2', status: 400, type: 'InvalidParameterValueException', message: /derived qualifier/ },
    { what: 'a malformed name', name: 'not%20a%20name', status: 400, type: 'ValidationException', message: /at 'functionName'/ },
    { what: 'too large a payload', body: JSON.stringify('x'.repeat(6_291_456)), status: 413, type: 'RequestEntityTooLargeException', message: /limit 6291456 bytes/ },
  ];
  for (const { what, name = 'streamer', query = '', body = '{}', headers = {}, status, type, message } of REFUSALS) {
    test(`refused before any stream: ${what}`, async () => {
      const answer: RawAnswer = await send(sluice.url, { path: PATH(name) + query, body, headers });
      const error = JSON.parse(answer.text) as { readonly message?: string; readonly Message?: string };
      assert.deepEqual([answer.status, String(answer.headers['x-amzn-errortype']).replace(/:.*$/, '')], [status, type]);
      assert.match(error.message ?? error.Message ?? '', message);
    });
  }
});
