import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { pipeline, Readable } from 'node:stream';
import { suite, test, type TestContext } from 'node:test';
import { MAX_RESPONSE_BYTES, MAX_STREAMED_RESPONSE_BYTES } from '../../../worker/runtime-api/limits.ts';
import type { CallVerdict, MidstreamError, RuntimeCalls, RuntimeResponse, StreamSink, WaitingNext } from '../../../worker/runtime-api/runtime-calls.ts';
import { createRuntimeApi } from '../../../worker/runtime-api/server.ts';

const INVOCATION = '/2018-06-01/runtime/invocation';

/** Stands for an environment: says what it was told, in order. */
class Recorder implements RuntimeCalls {
  readonly calls: string[] = [];
  readonly waiting: WaitingNext[] = [];
  readonly responses: RuntimeResponse[] = [];
  verdict: CallVerdict = 'accepted';
  onNext: (waiting: WaitingNext) => void = (waiting) => void this.waiting.push(waiting);

  next(waiting: WaitingNext): CallVerdict {
    this.calls.push('next');
    if (this.verdict === 'accepted') this.onNext(waiting);
    return this.verdict;
  }
  mayEnd(): CallVerdict {
    return this.verdict;
  }
  /** Where responses are streamed to; collected where there is none. */
  sink: StreamSink | undefined;
  stream(id: string, contentType: string | undefined): StreamSink | undefined {
    if (this.sink !== undefined) this.calls.push(`stream ${id} ${contentType}`);
    return this.sink;
  }
  response(id: string, response: RuntimeResponse): CallVerdict {
    this.calls.push(`response ${id}`);
    this.responses.push(response);
    return this.verdict;
  }
  responseTooLarge(id: string): CallVerdict {
    this.calls.push(`too large ${id}`);
    return this.verdict;
  }
  error(id: string, body: Buffer, type: string): CallVerdict {
    this.calls.push(`error ${id} ${type} ${body.toString()}`);
    return this.verdict;
  }
  initError(body: Buffer, type: string): CallVerdict {
    this.calls.push(`init error ${type} ${body.toString()}`);
    return this.verdict;
  }
}

async function open(context: TestContext): Promise<{ recorder: Recorder; url: string; address: string }> {
  const api = createRuntimeApi();
  const recorder = new Recorder();
  const opened = await api.open(recorder);
  context.after(async () => {
    opened.close();
    await api.close();
  });
  return { recorder, url: `http://${opened.address}`, address: opened.address };
}

const EVENT = { invocationId: 'id-1', deadlineMs: 1234, invokedArn: 'arn:x', traceId: 'Root=1', clientContext: '{"a":1}', payload: Buffer.from('{"ü":1}') };

suite('the Runtime API', () => {
  test('next gives the event with Lambda’s headers', async (context) => {
    const { recorder, url } = await open(context);
    recorder.onNext = (waiting) => waiting.deliver(EVENT);
    const response = await fetch(`${url}${INVOCATION}/next`);
    assert.equal(response.status, 200);
    const headers = Object.fromEntries([...response.headers].filter(([name]) => name.startsWith('lambda-') || name === 'date'));
    assert.deepEqual(headers, {
      'lambda-runtime-aws-request-id': 'id-1',
      'lambda-runtime-client-context': '{"a":1}',
      'lambda-runtime-deadline-ms': '1234',
      'lambda-runtime-invoked-function-arn': 'arn:x',
      'lambda-runtime-trace-id': 'Root=1',
    });
    assert.equal(await response.text(), '{"ü":1}');
  });

  test('response, error and init error are acknowledged with 202', async (context) => {
    const { recorder, url } = await open(context);
    for (const [path, type] of [[`${INVOCATION}/a/response`, undefined], [`${INVOCATION}/b/error`, 'My.Type'], ['/2018-06-01/runtime/init/error', 'Runtime.X']] as const) {
      const response = await fetch(url + path, { method: 'POST', body: '{"x":1}', headers: type === undefined ? {} : { 'Lambda-Runtime-Function-Error-Type': type } });
      assert.equal(response.status, 202);
      assert.deepEqual(await response.json(), { status: 'OK' });
    }
    assert.deepEqual(recorder.calls, ['response a', 'error b My.Type {"x":1}', 'init error Runtime.X {"x":1}']);
    assert.equal(recorder.responses[0]?.body.toString(), '{"x":1}');
    assert.equal(recorder.responses[0]?.streamed, false);
  });

  for (const { verdict, status, errorType } of [
    { verdict: 'invalidRequestId', status: 400, errorType: 'InvalidRequestID' },
    { verdict: 'invalidState', status: 403, errorType: 'InvalidStateTransition' },
  ] as const) {
    test(`what the environment does not allow: ${status} ${errorType}`, async (context) => {
      const { recorder, url } = await open(context);
      recorder.verdict = verdict;
      for (const path of [`${INVOCATION}/a/response`, `${INVOCATION}/a/error`, '/2018-06-01/runtime/init/error']) {
        const response = await fetch(url + path, { method: 'POST', body: 'x'.repeat(100_000) });
        assert.equal(response.status, status);
        assert.equal(((await response.json()) as { errorType: string }).errorType, errorType);
      }
      assert.equal((await fetch(`${url}${INVOCATION}/next`)).status, status);
    });
  }

  test('a response at the limit is taken, one byte more is 413', async (context) => {
    const { recorder, url } = await open(context);
    const post = (bytes: number): Promise<Response> => fetch(`${url}${INVOCATION}/a/response`, { method: 'POST', body: Buffer.alloc(bytes, 120) });
    assert.equal((await post(MAX_RESPONSE_BYTES)).status, 202);
    const tooLarge = await post(MAX_RESPONSE_BYTES + 1);
    assert.equal(tooLarge.status, 413);
    assert.deepEqual(await tooLarge.json(), { errorMessage: 'Exceeded maximum allowed payload size (6291556 bytes).', errorType: 'RequestEntityTooLarge' });
    assert.deepEqual(recorder.calls, ['response a', 'too large a']);
    assert.equal(recorder.responses[0]?.body.length, MAX_RESPONSE_BYTES);
  });

  test('a streamed response with an error in its trailers', async (context) => {
    const { recorder, address } = await open(context);
    const error = Buffer.from('{"errorType":"E"}');
    const text = await exchange(
      address,
      [
        `POST ${INVOCATION}/a/response HTTP/1.1\r\nHost: x\r\nLambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\nTrailer: Lambda-Runtime-Function-Error-Type\r\n\r\n`,
        `5\r\nhello\r\n0\r\nLambda-Runtime-Function-Error-Type: E\r\nLambda-Runtime-Function-Error-Body: ${error.toString('base64')}\r\n\r\n`,
      ],
      (received) => received.includes('"OK"'),
    );
    assert.match(text, /^HTTP\/1\.1 202 /);
    assert.deepEqual({ ...recorder.responses[0], body: recorder.responses[0]?.body.toString() }, { body: 'hello', contentType: 'application/json', streamed: true, midstreamError: { type: 'E', body: error } });
  });

  test('a response is passed on while the runtime streams it', async (context) => {
    const { recorder, address } = await open(context);
    const sink = new Sink();
    recorder.sink = sink;
    const [host = '', port = ''] = address.split(':');
    const socket = connect(Number(port), host);
    socket.write(`POST ${INVOCATION}/a/response HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nLambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n`);
    await sink.until(5);
    assert.equal(Buffer.concat(sink.chunks).toString(), 'first');
    socket.end('4\r\nlast\r\n0\r\nLambda-Runtime-Function-Error-Type: E\r\nLambda-Runtime-Function-Error-Body: e30=\r\n\r\n');
    const answer: Buffer[] = [];
    for await (const chunk of socket) answer.push(chunk as Buffer);
    assert.match(Buffer.concat(answer).toString(), /^HTTP\/1\.1 202 /);
    assert.deepEqual([recorder.calls, Buffer.concat(sink.chunks).toString(), sink.ends], [['stream a text/plain'], 'firstlast', [{ type: 'E', body: Buffer.from('{}') }]]);
  });

  test('a runtime writes no faster than its response is taken', async (context) => {
    const { recorder, url } = await open(context);
    const sink = new Sink();
    sink.takes = false;
    recorder.sink = sink;
    const total = 32 * 1024 * 1024;
    const posting = fetch(`${url}${INVOCATION}/a/response`, { method: 'POST', body: Buffer.alloc(total), headers: { 'Lambda-Runtime-Function-Response-Mode': 'streaming' } });
    await sink.until(1);
    for (let i = 0; i < 200; i++) await new Promise(setImmediate);
    assert.equal(sink.chunks.length, 1, 'nothing was read after the first chunk');
    sink.takes = true;
    sink.drained();
    assert.equal((await posting).status, 202);
    assert.equal(sink.bytes, total);
  });

  test('a streamed response at the limit is taken, one byte more ends it', async (context) => {
    const { recorder, url } = await open(context);
    const part = Buffer.alloc(1024 * 1024, 120);
    for (const beyond of [0, 1]) {
      const sink = new Sink();
      sink.keeps = false;
      recorder.sink = sink;
      const body = Readable.from((function* () {
        for (let bytes = 0; bytes < MAX_STREAMED_RESPONSE_BYTES; bytes += part.length) yield part;
        if (beyond > 0) yield part.subarray(0, beyond);
      })());
      const posting = request(`${url}${INVOCATION}/a/response`, { method: 'POST', headers: { 'Lambda-Runtime-Function-Response-Mode': 'streaming' } });
      const answered = once(posting, 'response') as Promise<[IncomingMessage]>;
      pipeline(body, posting, () => undefined);
      const [response] = await answered;
      response.resume();
      assert.deepEqual([response.statusCode, sink.bytes, sink.ends, sink.tooMuch], beyond === 0 ? [202, MAX_STREAMED_RESPONSE_BYTES, [undefined], 0] : [413, MAX_STREAMED_RESPONSE_BYTES, [], 1]);
    }
  });

  test('an unknown response mode is refused and ends the invocation with an error', async (context) => {
    const { recorder, url } = await open(context);
    const response = await fetch(`${url}${INVOCATION}/a/response`, { method: 'POST', body: 'x', headers: { 'Lambda-Runtime-Function-Response-Mode': 'chunky' } });
    assert.equal(response.status, 400);
    assert.match(recorder.calls[0] ?? '', /^error a Runtime\.InvalidResponseModeHeader /);
  });

  test('a next in the same write as the response before it has its turn after it', async (context) => {
    const { recorder, address } = await open(context);
    recorder.onNext = (waiting) => waiting.deliver(EVENT);
    const text = await exchange(address, [`POST ${INVOCATION}/a/response HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}GET ${INVOCATION}/next HTTP/1.1\r\nHost: x\r\n\r\n`], (received) => received.includes('{"ü":1}'));
    assert.deepEqual(recorder.calls, ['response a', 'next']);
    assert.ok(text.indexOf(' 202 ') < text.indexOf(' 200 '));
  });

  test('a response that is cut short never counts', async (context) => {
    const { recorder, address } = await open(context);
    const [host = '', port = ''] = address.split(':');
    const socket = connect(Number(port), host);
    socket.write(`POST ${INVOCATION}/a/response HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf`);
    socket.end();
    // The server answers or closes: either way it has seen the end.
    for await (const _chunk of socket) continue;
    assert.deepEqual(recorder.calls, []);
  });

  test('paths that are not part of it: 404', async (context) => {
    const { url } = await open(context);
    for (const [method, path] of [['GET', '/'], ['POST', `${INVOCATION}/next`], ['GET', `${INVOCATION}/a/response`], ['POST', `${INVOCATION}/a/elsewhere`], ['PUT', '/2018-06-01/runtime/init/error']] as const) {
      assert.equal((await fetch(url + path, { method })).status, 404, `${method} ${path}`);
    }
  });

  test('addresses are apart, and a closed one cuts its runtime’s connection', async (context) => {
    const api = createRuntimeApi();
    const [one, two] = [new Recorder(), new Recorder()];
    const [a, b] = [await api.open(one), await api.open(two)];
    context.after(() => api.close());
    const cut = fetch(`http://${a.address}${INVOCATION}/next`);
    two.onNext = (waiting) => {
      waiting.deliver(EVENT);
      a.close();
    };
    await fetch(`http://${b.address}${INVOCATION}/next`);
    await assert.rejects(cut);
    assert.deepEqual([one.calls, two.calls], [['next'], ['next']]);
    await assert.rejects(fetch(`http://${a.address}${INVOCATION}/next`));
    b.close();
  });
});

/** Takes a streamed response. */
class Sink implements StreamSink {
  readonly chunks: Buffer[] = [];
  bytes = 0;
  takes = true;
  keeps = true;
  readonly ends: (MidstreamError | undefined)[] = [];
  tooMuch = 0;
  drained: () => void = () => undefined;
  #met: { readonly bytes: number; readonly resolve: () => void } | undefined;

  write(chunk: Buffer, drained: () => void): boolean {
    if (this.keeps) this.chunks.push(chunk);
    this.bytes += chunk.length;
    this.drained = drained;
    if (this.#met !== undefined && this.bytes >= this.#met.bytes) this.#met.resolve();
    return this.takes;
  }

  end(failure: MidstreamError | undefined): CallVerdict {
    this.ends.push(failure);
    return 'accepted';
  }

  tooLarge(): CallVerdict {
    this.tooMuch++;
    return 'accepted';
  }

  /** Resolves once it has so many bytes. */
  until(bytes: number): Promise<void> {
    if (this.bytes >= bytes) return Promise.resolve();
    return new Promise((resolve) => (this.#met = { bytes, resolve }));
  }
}

/** Sends over a plain socket and reads until `enough`. */
async function exchange(address: string, writes: readonly string[], enough: (received: string) => boolean): Promise<string> {
  const [host = '', port = ''] = address.split(':');
  const socket = connect(Number(port), host);
  for (const text of writes) socket.write(text);
  let received = '';
  for await (const chunk of socket) {
    received += String(chunk);
    if (enough(received)) break;
  }
  return received;
}
