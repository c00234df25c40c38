import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PassThrough, Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { describe, it, type TestContext } from 'node:test';
import { EventFraming } from '../../../gateway/invoke/event-framing.ts';
import { InvocationMeter } from '../../../gateway/invoke/invocation-meter.ts';
import { StreamedAnswer } from '../../../gateway/invoke/streamed-answer.ts';
import type { IncomingReply } from '../../../gateway/replies/incoming-reply.ts';
import type { InvocationRecord } from '../../../platform/model/invocation.ts';
import { ResponseStream } from '../../../platform/protocol/response-stream.ts';
import { responseOf, wireEvents } from '../../support/event-stream.ts';
import { invocation } from '../../support/log-consumer.ts';

const HOME = { account: '000000000000', region: 'us-east-1' };
const nothing = (): void => undefined;

/** A caller that waits for a streamed answer, and the gateway's side of it. */
interface Caller {
  readonly answer: StreamedAnswer;
  readonly record: InvocationRecord;
  readonly response: ServerResponse;
  /** As the caller sees it, once it has begun. */
  readonly received: Promise<IncomingMessage>;
  readonly meter: InvocationMeter;
  readonly durations: number[];
  /** How often it was said that a response that had begun is over. */
  ends: number;
  leave(): void;
}

async function call(t: TestContext): Promise<Caller> {
  const record = invocation({ id: 'the-id', kind: 'sync', responseStream: true });
  const framing = await EventFraming.load();
  const durations: number[] = [];
  const meter = new InvocationMeter({ onDuration: (seconds) => void durations.push(seconds), onAppend: nothing });
  const server = createServer();
  const asked = once(server, 'request') as Promise<[IncomingMessage, ServerResponse]>;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const calling = request({ host: '127.0.0.1', port: (server.address() as AddressInfo).port, method: 'POST', agent: false });
  calling.on('error', nothing);
  const received = once(calling, 'response').then(([message]) => message as IncomingMessage);
  received.catch(nothing);
  calling.end();
  const [, response] = await asked;
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const caller: Caller = { answer: new StreamedAnswer({ response, invocation: record, home: HOME, framing, meter, receivedAt: performance.now(), onEnd: () => void caller.ends++ }), record, response, received, meter, durations, ends: 0, leave: () => calling.destroy() };
  return caller;
}

describe('a streamed answer', () => {
  it('begins with the first word of the function, and its chunks come while it goes on', async (t) => {
    const { answer, received, meter, durations } = await call(t);
    const body = new ResponseStream();
    answer.begin({ contentType: 'application/octet-stream', body });
    const message = await received;
    assert.equal(message.statusCode, 200);
    assert.deepEqual(
      ['content-type', 'x-amzn-requestid', 'x-amz-executed-version', 'transfer-encoding'].map((name) => message.headers[name]),
      ['application/vnd.amazon.eventstream', 'the-id', '$LATEST', 'chunked'],
    );
    assert.equal(durations.length, 1, 'its duration is measured to its first byte');
    body.offer(Buffer.from('first'), nothing);
    const [chunk] = (await once(message, 'data')) as [Buffer];
    assert.deepEqual(wireEvents(chunk), [{ headers: { ':message-type': 'event', ':event-type': 'PayloadChunk', ':content-type': 'application/octet-stream' }, body: Buffer.from('first') }]);
    assert.equal(meter.counts.RequestResponse.succeeded, 0);
    body.offer(Buffer.from('second'), nothing);
    body.finish({ kind: 'success', logTail: Buffer.from('the log') });
    const rest = await buffer(message);
    assert.equal(responseOf(rest).payload.toString(), 'second');
    const last = wireEvents(rest).at(-1);
    assert.deepEqual(last?.headers, { ':message-type': 'event', ':event-type': 'InvokeComplete', ':content-type': 'application/json' });
    assert.deepEqual(JSON.parse(last.body.toString()), { LogResult: Buffer.from('the log').toString('base64') });
    assert.equal(meter.counts.RequestResponse.succeeded, 1);
  });

  it('names the type that the function has named', async (t) => {
    const { answer, received } = await call(t);
    const body = new ResponseStream();
    answer.begin({ contentType: 'application/vnd.awslambda.http-integration-response', body });
    body.finish({ kind: 'success' });
    const message = await received;
    assert.equal(message.headers['content-type'], 'application/vnd.awslambda.http-integration-response');
    assert.deepEqual(responseOf(await buffer(message)), { payload: Buffer.alloc(0), complete: {} });
  });

  it('ends with the error that broke the response off', async (t) => {
    const caller = await call(t);
    const body = new ResponseStream();
    caller.answer.begin({ body });
    body.offer(Buffer.from('half'), nothing);
    body.finish({ kind: 'functionError', errorType: 'OrderRefused', body: Buffer.from('{"errorMessage":"no"}') });
    const { payload, complete } = responseOf(await buffer(await caller.received));
    assert.equal(payload.toString(), 'half');
    assert.deepEqual(complete, { ErrorCode: 'OrderRefused', ErrorDetails: '{"errorMessage":"no"}' });
    assert.deepEqual([caller.ends, caller.meter.counts.RequestResponse.function_error], [1, 1]);
  });

  it('ends with an error where the way to the function breaks', async (t) => {
    const caller = await call(t);
    const body = new ResponseStream();
    caller.answer.begin({ body });
    const message = await caller.received;
    body.offer(Buffer.from('half'), nothing);
    await once(message, 'data');
    body.destroy();
    const { complete } = responseOf(await buffer(message));
    assert.equal(complete.ErrorCode, 'Sandbox.Failure');
    assert.match(complete.ErrorDetails ?? '', /was lost while it streamed/);
    assert.deepEqual([caller.ends, caller.meter.counts.RequestResponse.failed], [1, 1]);
  });

  it('is cut short by a rejection, and nothing more is taken of the response', async (t) => {
    const caller = await call(t);
    const body = new ResponseStream();
    caller.answer.begin({ body });
    body.offer(Buffer.from('half'), nothing);
    caller.answer.answer({ kind: 'rejected', rejection: { code: 'workerLost', message: 'The worker is gone.' } });
    const { complete } = responseOf(await buffer(await caller.received));
    assert.equal(complete.ErrorCode, 'Sandbox.Failure');
    assert.match(complete.ErrorDetails ?? '', /^The worker is gone\./);
    assert.equal(body.destroyed, true);
    body.finish({ kind: 'success' });
    assert.deepEqual([caller.ends, caller.meter.counts.RequestResponse.failed, caller.meter.counts.RequestResponse.succeeded], [0, 1, 0]);
  });

  it('goes on for a caller that has gone away: the function is not held up', async (t) => {
    const caller = await call(t);
    const body = new ResponseStream();
    caller.answer.begin({ body });
    await caller.received;
    const { promise: drained, resolve } = Promise.withResolvers<undefined>();
    // As much as it takes until the caller, who reads nothing, holds the function up.
    while (body.offer(Buffer.alloc(64 * 1024), () => resolve(undefined))) await new Promise(setImmediate);
    const gone = once(caller.response, 'close');
    caller.leave();
    await Promise.all([gone, drained]);
    body.finish({ kind: 'success' });
    await once(body, 'end');
    assert.deepEqual([caller.ends, caller.meter.counts.RequestResponse.succeeded], [1, 1]);
  });

  it('is begun for nobody where the caller has gone before', async (t) => {
    const caller = await call(t);
    const gone = once(caller.response, 'close');
    caller.leave();
    await gone;
    const body = new ResponseStream();
    caller.answer.begin({ body });
    body.offer(Buffer.from('for nobody'), nothing);
    body.finish({ kind: 'success' });
    await once(body, 'end');
    assert.equal(caller.ends, 1);
  });

  it('takes no more from the function than the caller reads', async (t) => {
    const { answer, received } = await call(t);
    const body = new ResponseStream();
    answer.begin({ body });
    const message = await received;
    const chunk = Buffer.alloc(64 * 1024, 7);
    const total = 64 * 1024 * 1024;
    let written = 0;
    const write = (): void => {
      while (written < total) {
        written += chunk.length;
        if (!body.offer(chunk, write)) return;
      }
      body.finish({ kind: 'success' });
    };
    write();
    for (let i = 0; i < 200; i++) await new Promise(setImmediate);
    assert.ok(written < total / 2, `${written} bytes were taken for a caller that reads nothing`);
    assert.equal(responseOf(await buffer(message)).payload.length, total);
  });
});

describe('the answer of a function that does not stream', () => {
  it('is its whole response in one chunk or several', async (t) => {
    for (const bytes of [0, 1, 64 * 1024, 64 * 1024 + 1, 1_000_000]) {
      const { answer, received, meter } = await call(t);
      const body = Buffer.alloc(bytes, 'x');
      answer.answer({ kind: 'success', body, contentType: 'application/json', logTail: Buffer.from('tail') });
      const message = await received;
      assert.equal(message.headers['content-type'], 'application/vnd.amazon.eventstream');
      const { payload, complete } = responseOf(await buffer(message));
      assert.ok(payload.equals(body), `${bytes} bytes`);
      assert.deepEqual(complete, { LogResult: 'dGFpbA==' });
      assert.equal(meter.counts.RequestResponse.succeeded, 1);
    }
  });

  it('is passed on where it comes in from another process, and ends with an error where that breaks', async (t) => {
    const whole = await call(t);
    whole.answer.answer({ kind: 'success', body: { stream: Readable.from([Buffer.from('one '), Buffer.from('two')]), bytes: 7 } });
    assert.deepEqual(responseOf(await buffer(await whole.received)), { payload: Buffer.from('one two'), complete: {} });
    const broken = await call(t);
    const stream = new PassThrough();
    broken.answer.answer({ kind: 'success', body: { stream, bytes: 7 } });
    const message = await broken.received;
    stream.write('one ');
    await once(message, 'data');
    stream.destroy();
    assert.equal(responseOf(await buffer(message)).complete.ErrorCode, 'Sandbox.Failure');
  });

  it('is an error at the end of an empty stream where the function failed', async (t) => {
    const error = Buffer.from('{"errorType":"TypeError","errorMessage":"no good"}');
    const failure = { kind: 'functionError', functionError: 'Unhandled', logTail: Buffer.from('tail') } as const;
    const replies: readonly IncomingReply[] = [{ ...failure, body: error }, { ...failure, body: { stream: Readable.from([error]), bytes: error.length } }];
    for (const reply of replies) {
      const { answer, received, meter } = await call(t);
      answer.answer(reply);
      const message = await received;
      assert.equal(message.statusCode, 200);
      assert.deepEqual(responseOf(await buffer(message)), { payload: Buffer.alloc(0), complete: { ErrorCode: 'Unhandled', ErrorDetails: error.toString(), LogResult: 'dGFpbA==' } });
      assert.equal(meter.counts.RequestResponse.function_error, 1);
    }
  });

  it('is an error of the API where it was not run', async (t) => {
    const { answer, received, meter, ends } = await call(t);
    answer.answer({ kind: 'rejected', rejection: { code: 'throttled', reason: 'ConcurrentInvocationLimitExceeded' } });
    const message = await received;
    assert.deepEqual([message.statusCode, message.headers['x-amzn-errortype']], [429, 'TooManyRequestsException']);
    assert.match((await buffer(message)).toString(), /ConcurrentInvocationLimitExceeded/);
    assert.deepEqual([meter.counts.RequestResponse.throttled, ends], [1, 0]);
  });
});
