import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { suite, test, type TestContext } from 'node:test';
import { MAX_RESPONSE_BYTES } from '../../../worker/runtime-api/limits.ts';
import type { CallVerdict, RuntimeCalls, RuntimeResponse, WaitingNext } from '../../../worker/runtime-api/runtime-calls.ts';
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
