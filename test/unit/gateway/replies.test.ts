import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { describe, it, test, type TestContext } from 'node:test';
import type { Agent } from 'undici';
import { sendReply } from '../../../gateway/invoke/answers.ts';
import { PendingReplies } from '../../../gateway/invoke/pending-replies.ts';
import { replyRoutes } from '../../../gateway/replies/reply-routes.ts';
import { ReplyUrls } from '../../../gateway/replies/reply-url.ts';
import { internalAgent, internalRequest } from '../../../platform/internal-http/client.ts';
import { startInternalServer } from '../../../platform/internal-http/server.ts';
import type { InvocationRecord } from '../../../platform/model/invocation.ts';
import { INLINE_PAYLOAD_BYTES_MAX } from '../../../platform/model/limits.ts';
import { encodeReplyHead, HttpReplies, REPLY_HEADER } from '../../../platform/protocol/http-replies.ts';
import type { Reply } from '../../../platform/protocol/reply.ts';
import { createLogger } from '../../../platform/telemetry/logger.ts';
import { invocation } from '../../support/log-consumer.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const logger = createLogger('silent');
const HOME = { account: '000000000000', region: 'us-east-1' };
const WAIT_MS = 5_000;

/** A gateway's part of it: callers that wait at a front door, and the internal listener at which their replies come in. */
interface Gateway {
  readonly clock: VirtualClock;
  readonly agent: Agent;
  readonly replies: HttpReplies;
  readonly pending: PendingReplies;
  readonly frontDoor: string;
  /** A caller that waits; its invocation, and the answer that it gets. */
  readonly call: (change?: Partial<InvocationRecord>) => Promise<{ readonly record: InvocationRecord; readonly replyTo: string; readonly answer: Promise<IncomingMessage> }>;
  readonly stopListening: () => Promise<void>;
}

async function gateway(t: TestContext): Promise<Gateway> {
  const clock = new VirtualClock();
  const agent = internalAgent();
  let port = 0;
  const urls = new ReplyUrls(randomBytes(32), () => `http://127.0.0.1:${port}`);
  const pending = new PendingReplies({ clock, addressOf: urls.of });
  const internal = await startInternalServer({ host: '127.0.0.1', port: 0, routes: replyRoutes({ replies: pending, urls, clock }), logger });
  ({ port } = internal);
  const records = new Map<string, { readonly record: InvocationRecord; readonly waits: () => void }>();
  const front = createServer((request, response) => {
    const entry = records.get(request.url ?? '');
    if (entry === undefined) throw new Error('A stranger calls.');
    pending.expect(entry.record, clock.now() + WAIT_MS, (reply) => sendReply(response, entry.record, reply, HOME));
    entry.waits();
  });
  front.listen(0, '127.0.0.1');
  await once(front, 'listening');
  const frontDoor = `http://127.0.0.1:${(front.address() as AddressInfo).port}`;
  t.after(async () => {
    pending.close();
    front.closeAllConnections();
    front.close();
    await agent.destroy();
    await internal.stop();
  });
  return {
    clock, agent, pending, frontDoor,
    replies: new HttpReplies(agent, logger),
    async call(change = {}) {
      const record = pending.addressed(invocation({ id: randomUUID(), kind: 'sync', ...change }), clock.now() + WAIT_MS);
      const { promise, resolve } = Promise.withResolvers<undefined>();
      records.set(`/${record.id}`, { record, waits: () => resolve(undefined) });
      const calling = httpRequest(`${frontDoor}/${record.id}`, { agent: false });
      const answer = once(calling, 'response').then(([response]) => response as IncomingMessage);
      // Who looks at the answer later hears of an error then.
      answer.catch(() => undefined);
      calling.end();
      await promise;
      return { record, replyTo: record.replyTo ?? '', answer };
    },
    stopListening: () => internal.stop(),
  };
}

/** Sends this to a reply's address, by hand. */
async function send({ agent }: Gateway, url: string, method: 'GET' | 'POST' | 'HEAD', options: { readonly reply?: Reply; readonly body?: Buffer } = {}): Promise<{ readonly status: number; readonly body: Buffer }> {
  const { origin, pathname, search } = new URL(url);
  return internalRequest(agent, { origin, path: pathname + search, method, ...(options.reply === undefined ? {} : { headers: { [REPLY_HEADER]: encodeReplyHead(options.reply) } }), ...(options.body === undefined ? {} : { body: options.body }) });
}

describe('the URL of a reply', () => {
  const urls = new ReplyUrls(Buffer.alloc(32, 1), () => 'http://10.0.0.1:9500');
  const query = (url: string): URLSearchParams => new URL(url).searchParams;

  it('is good for its invocation until its deadline', () => {
    const url = urls.of('id-1', 1_000);
    assert.match(url, /^http:\/\/10\.0\.0\.1:9500\/v1\/replies\/id-1\?expires=1000&signature=[\w-]{43}$/);
    assert.equal(urls.verify('id-1', query(url), 1_000), true);
    assert.equal(urls.verify('id-1', query(url), 1_001), false);
    assert.equal(urls.verify('id-2', query(url), 1_000), false);
  });

  it('is worth nothing when it was changed or made by another gateway', () => {
    const url = urls.of('id-1', 1_000);
    for (const forged of [url.replace('expires=1000', 'expires=2000'), url.replace('expires=1000', 'expires='), url.replace(/signature=.*/, ''), url.slice(0, -1), `${url}A`]) {
      assert.equal(urls.verify('id-1', query(forged), 0), false, forged);
    }
    const others = new ReplyUrls(Buffer.alloc(32, 2), () => 'http://10.0.0.1:9500').of('id-1', 1_000);
    assert.equal(urls.verify('id-1', query(others), 0), false);
  });
});

describe('a reply from another process', () => {
  it('reaches its caller: success', async (t) => {
    const { replies, call } = await gateway(t);
    const { record, answer } = await call();
    replies.reply(record, { kind: 'success', body: Buffer.from('{"é":1}') });
    const response = await answer;
    assert.equal(response.statusCode, 200);
    assert.deepEqual([response.headers['content-type'], response.headers['x-amzn-requestid'], response.headers['x-amz-executed-version']], ['application/json', record.id, '$LATEST']);
    assert.equal((await buffer(response)).toString(), '{"é":1}');
  });

  it('reaches its caller: nothing, and another type of content', async (t) => {
    const { replies, call } = await gateway(t);
    const { record, answer } = await call();
    replies.reply(record, { kind: 'success', body: Buffer.alloc(0), contentType: 'text/plain; charset=utf-8' });
    const response = await answer;
    assert.equal(response.headers['content-type'], 'text/plain; charset=utf-8');
    assert.equal((await buffer(response)).length, 0);
  });

  it('reaches its caller: an error of the function', async (t) => {
    const { replies, call } = await gateway(t);
    const { record, answer } = await call();
    replies.reply(record, { kind: 'functionError', functionError: 'Handled', body: Buffer.from('{"errorMessage":"no"}') });
    const response = await answer;
    assert.deepEqual([response.statusCode, response.headers['x-amz-function-error']], [200, 'Handled']);
    assert.equal((await buffer(response)).toString(), '{"errorMessage":"no"}');
  });

  it('reaches its caller: a rejection', async (t) => {
    const { replies, call } = await gateway(t);
    const { record, answer } = await call();
    replies.reply(record, { kind: 'rejected', rejection: { code: 'throttled', reason: 'ConcurrentInvocationLimitExceeded' } });
    const response = await answer;
    assert.equal(response.statusCode, 429);
    assert.equal((JSON.parse((await buffer(response)).toString()) as { Reason: string }).Reason, 'ConcurrentInvocationLimitExceeded');
  });

  it('brings the end of the log, whatever is in it', async (t) => {
    const { replies, call } = await gateway(t);
    const { record, answer } = await call();
    const tail = Buffer.from('é€😀'.repeat(1_000)).subarray(-4_096);
    replies.reply(record, { kind: 'success', body: Buffer.from('1'), logTail: tail });
    const response = await answer;
    assert.deepEqual(Buffer.from(String(response.headers['x-amz-log-result']), 'base64'), tail);
    response.resume();
  });

  it('is taken once: a second one finds nobody', async (t) => {
    const made = await gateway(t);
    const { replyTo, answer } = await made.call();
    const reply: Reply = { kind: 'success', body: Buffer.from('1') };
    assert.equal((await send(made, replyTo, 'POST', { reply, body: reply.body })).status, 204);
    assert.equal((await buffer(await answer)).toString(), '1');
    assert.equal((await send(made, replyTo, 'POST', { reply, body: Buffer.from('2') })).status, 410);
    assert.equal(made.pending.size, 0);
  });

  it('is refused at a URL that is forged or has ended', async (t) => {
    const made = await gateway(t);
    const { replyTo } = await made.call();
    const reply: Reply = { kind: 'success', body: Buffer.from('1') };
    for (const method of ['POST', 'GET', 'HEAD'] as const) {
      assert.equal((await send(made, replyTo.replace('signature=', 'signature=A'), method, method === 'POST' ? { reply, body: reply.body } : {})).status, 403);
    }
    assert.equal(made.pending.size, 1, 'its caller waits still');
    made.clock.advance(WAIT_MS + 1);
    assert.equal((await send(made, replyTo, 'POST', { reply, body: reply.body })).status, 403);
  });

  it('is refused where it does not say what it is', async (t) => {
    const made = await gateway(t);
    const { replyTo } = await made.call();
    assert.equal((await send(made, replyTo, 'POST', { body: Buffer.from('1') })).status, 400);
    assert.equal(made.pending.size, 1);
  });

  it('does not collect a large body: the caller has its beginning before the sender has come to its end', async (t) => {
    const made = await gateway(t);
    const { replyTo, answer } = await made.call();
    const body = randomBytes(1024 * 1024);
    const sending = httpRequest(replyTo, { method: 'POST', agent: false, headers: { [REPLY_HEADER]: encodeReplyHead({ kind: 'success', body }), 'content-length': body.length } });
    const half = body.length / 2;
    sending.write(body.subarray(0, half));
    const response = await answer;
    assert.equal(response.headers['content-length'], String(body.length));
    const received: Buffer[] = [];
    let bytes = 0;
    const collected = new Promise<void>((resolve, reject) => {
      response.on('data', (chunk: Buffer) => {
        received.push(chunk);
        bytes += chunk.length;
        if (bytes === half) sending.end(body.subarray(half));
      });
      response.on('end', resolve);
      response.on('error', reject);
    });
    const [taken] = (await once(sending, 'response')) as [IncomingMessage];
    await collected;
    assert.equal(taken.statusCode, 204);
    assert.ok(Buffer.concat(received).equals(body));
  });

  it('through HttpReplies as well, of every size', async (t) => {
    const { replies, call } = await gateway(t);
    for (const bytes of [256 * 1024, 256 * 1024 + 1, 6 * 1024 * 1024]) {
      const { record, answer } = await call();
      const body = randomBytes(bytes);
      replies.reply(record, { kind: 'success', body });
      assert.ok((await buffer(await answer)).equals(body), `${bytes} bytes`);
      await replies.idle();
    }
  });

  it('that breaks in the middle of a large body leaves a response that nobody takes for a whole one', async (t) => {
    const made = await gateway(t);
    const { replyTo, answer } = await made.call();
    const body = randomBytes(1024 * 1024);
    const sending = httpRequest(replyTo, { method: 'POST', agent: false, headers: { [REPLY_HEADER]: encodeReplyHead({ kind: 'success', body }), 'content-length': body.length } });
    sending.on('error', () => undefined);
    sending.write(body.subarray(0, 512 * 1024));
    const response = await answer;
    response.once('data', () => sending.destroy());
    await assert.rejects(buffer(response), { code: 'ECONNRESET' });
    assert.equal((await send(made, replyTo, 'POST', { reply: { kind: 'success', body }, body })).status, 410);
  });

  it('that breaks in the middle of a small body costs nothing: the next one is taken', async (t) => {
    const made = await gateway(t);
    const { replyTo, answer } = await made.call();
    const sending = httpRequest(replyTo, { method: 'POST', agent: false, headers: { [REPLY_HEADER]: encodeReplyHead({ kind: 'success', body: Buffer.alloc(0) }), 'content-length': 1_000 } });
    sending.on('error', () => undefined);
    sending.write('half of it');
    // Once the gateway has begun to read it.
    await send(made, replyTo, 'HEAD');
    sending.destroy();
    await new Promise((closed) => sending.once('close', closed));
    const body = Buffer.from('whole');
    assert.equal((await send(made, replyTo, 'POST', { reply: { kind: 'success', body }, body })).status, 204);
    assert.equal((await buffer(await answer)).toString(), 'whole');
  });

  it('to a caller that has gone away is no error', async (t) => {
    const made = await gateway(t);
    const body = randomBytes(1024 * 1024);
    const record = made.pending.addressed(invocation({ id: randomUUID(), kind: 'sync' }), made.clock.now() + WAIT_MS);
    made.pending.expect(record, made.clock.now() + WAIT_MS, (reply) => {
      assert.ok(reply.kind === 'success' && 'stream' in reply.body);
      reply.body.stream.resume();
    });
    assert.equal((await send(made, record.replyTo ?? '', 'POST', { reply: { kind: 'success', body }, body })).status, 204);
  });
});

describe('a payload that stayed at the gateway', () => {
  it('is there for whoever has the URL, as long as its caller waits', async (t) => {
    const made = await gateway(t);
    const payload = randomBytes(INLINE_PAYLOAD_BYTES_MAX + 1);
    const { record, replyTo, answer } = await made.call({ payload });
    for (let i = 0; i < 2; i++) {
      const { status, body } = await send(made, replyTo, 'GET');
      assert.deepEqual([status, body.equals(payload)], [200, true]);
    }
    made.replies.reply(record, { kind: 'success', body: Buffer.from('1') });
    (await answer).resume();
    assert.equal((await send(made, replyTo, 'GET')).status, 410);
  });

  it('is not kept where it travels with the record', async (t) => {
    const made = await gateway(t);
    const { replyTo } = await made.call({ payload: randomBytes(INLINE_PAYLOAD_BYTES_MAX) });
    assert.equal((await send(made, replyTo, 'GET')).status, 410);
  });
});

describe('whether a caller waits', () => {
  it('is what its gateway says', async (t) => {
    const { replies, call, pending } = await gateway(t);
    const { record } = await call();
    assert.equal(await replies.awaited(record), true);
    pending.forget(record.id);
    assert.equal(await replies.awaited(record), false);
  });

  it('is no where its gateway is gone, or its URL is not good any more', async (t) => {
    const { replies, call, clock, stopListening } = await gateway(t);
    const { record } = await call();
    clock.advance(WAIT_MS + 1);
    assert.equal(await replies.awaited(record), false);
    await stopListening();
    assert.equal(await replies.awaited(record), false);
    assert.equal(await replies.awaited({ id: 'nowhere' }), false);
  });

  it('is yes where it cannot be found out: a run for nobody is better than a caller without an answer', async (t) => {
    const broken = createServer((request) => request.socket.destroy());
    broken.listen(0, '127.0.0.1');
    await once(broken, 'listening');
    const agent = internalAgent();
    t.after(async () => {
      await agent.destroy();
      broken.close();
    });
    const replies = new HttpReplies(agent, logger);
    assert.equal(await replies.awaited({ id: 'a', replyTo: `http://127.0.0.1:${(broken.address() as AddressInfo).port}/v1/replies/a` }), true);
  });
});

test('a reply whose connection breaks is sent once more, and then given up', async (t) => {
  let requests = 0;
  const broken = createServer((request) => {
    requests++;
    request.socket.destroy();
  });
  broken.listen(0, '127.0.0.1');
  await once(broken, 'listening');
  const agent = internalAgent();
  t.after(async () => {
    await agent.destroy();
    broken.close();
  });
  const replies = new HttpReplies(agent, logger);
  replies.reply({ id: 'a', replyTo: `http://127.0.0.1:${(broken.address() as AddressInfo).port}/v1/replies/a` }, { kind: 'success', body: Buffer.from('1') });
  await replies.idle();
  assert.equal(requests, 2);
  replies.reply({ id: 'nowhere' }, { kind: 'success', body: Buffer.from('1') });
  await replies.idle();
});
