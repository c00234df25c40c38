/** Responses that workers in other processes stream to a gateway: from HttpReplies to the caller's stream. */
import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { describe, it, type TestContext } from 'node:test';
import { PendingReplies } from '../../../gateway/invoke/pending-replies.ts';
import type { IncomingReply } from '../../../gateway/replies/incoming-reply.ts';
import { replyRoutes } from '../../../gateway/replies/reply-routes.ts';
import { ReplyUrls } from '../../../gateway/replies/reply-url.ts';
import { internalAgent } from '../../../platform/internal-http/client.ts';
import { startInternalServer } from '../../../platform/internal-http/server.ts';
import type { InvocationRecord } from '../../../platform/model/invocation.ts';
import { HttpReplies, REPLY_HEADER } from '../../../platform/protocol/http-replies.ts';
import type { StreamedReply } from '../../../platform/protocol/reply.ts';
import { ResponseStream } from '../../../platform/protocol/response-stream.ts';
import { createLogger } from '../../../platform/telemetry/logger.ts';
import { invocation } from '../../support/log-consumer.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const logger = createLogger('silent');
const WAIT_MS = 5_000;
const nothing = (): void => undefined;

interface Gateway {
  readonly pending: PendingReplies;
  readonly replies: HttpReplies;
  /** A caller that takes a stream. */
  readonly call: () => { readonly record: InvocationRecord; readonly begun: Promise<StreamedReply>; readonly cut: Promise<IncomingReply> };
}

async function gateway(t: TestContext): Promise<Gateway> {
  const clock = new VirtualClock();
  const agent = internalAgent();
  let port = 0;
  const urls = new ReplyUrls(randomBytes(32), () => `http://127.0.0.1:${port}`);
  const pending = new PendingReplies({ clock, addressOf: urls.of });
  const internal = await startInternalServer({ host: '127.0.0.1', port: 0, routes: replyRoutes({ replies: pending, urls, clock }), logger });
  ({ port } = internal);
  t.after(async () => {
    pending.close();
    await agent.destroy();
    await internal.stop();
  });
  return {
    pending,
    replies: new HttpReplies(agent, logger),
    call() {
      const record = pending.addressed(invocation({ id: randomUUID(), kind: 'sync', responseStream: true }), clock.now() + WAIT_MS);
      const begun = Promise.withResolvers<StreamedReply>();
      const cut = Promise.withResolvers<IncomingReply>();
      pending.expect(record, clock.now() + WAIT_MS, cut.resolve, begun.resolve);
      return { record, begun: begun.promise, cut: cut.promise };
    },
  };
}

describe('a response that is streamed from another process', () => {
  it('begins before anything is written, brings every chunk as it comes and says how it ended', async (t) => {
    const { replies, call } = await gateway(t);
    const { record, begun } = call();
    const sent = new ResponseStream();
    replies.stream(record, { contentType: 'text/plain; charset=utf-8', body: sent });
    const { contentType, body } = await begun;
    assert.equal(contentType, 'text/plain; charset=utf-8');
    sent.offer(Buffer.from('first'), nothing);
    const [first] = (await once(body, 'data')) as [Buffer];
    assert.equal(first.toString(), 'first');
    sent.offer(Buffer.from(' last'), nothing);
    sent.finish({ kind: 'functionError', errorType: 'OrderRefused', body: Buffer.from('{"é":1}'), logTail: Buffer.from('log') });
    assert.equal((await buffer(body)).toString(), ' last');
    assert.deepEqual(body.outcome, { kind: 'functionError', errorType: 'OrderRefused', body: Buffer.from('{"é":1}'), logTail: Buffer.from('log') });
    await replies.idle();
  });

  it('arrives whole, however large it is', async (t) => {
    const { replies, call } = await gateway(t);
    const { record, begun } = call();
    const sent = new ResponseStream();
    replies.stream(record, { body: sent });
    const whole = randomBytes(20 * 1024 * 1024);
    let at = 0;
    const write = (): void => {
      while (at < whole.length) {
        const chunk = whole.subarray(at, at + 100_000);
        at += chunk.length;
        if (!sent.offer(chunk, write)) return;
      }
      sent.finish({ kind: 'success' });
    };
    write();
    const { body } = await begun;
    assert.ok((await buffer(body)).equals(whole));
    assert.deepEqual(body.outcome, { kind: 'success' });
    await replies.idle();
  });

  it('comes no faster than its caller reads', async (t) => {
    const { replies, call } = await gateway(t);
    const { record, begun } = call();
    const sent = new ResponseStream();
    replies.stream(record, { body: sent });
    const total = 64 * 1024 * 1024;
    const chunk = Buffer.alloc(64 * 1024);
    let written = 0;
    const write = (): void => {
      while (written < total) {
        written += chunk.length;
        if (!sent.offer(chunk, write)) return;
      }
      sent.finish({ kind: 'success' });
    };
    write();
    const { body } = await begun;
    for (let i = 0; i < 200; i++) await new Promise(setImmediate);
    assert.ok(written < total / 2, `${written} bytes were taken for a caller that reads nothing`);
    assert.equal((await buffer(body)).length, total);
    await replies.idle();
  });

  it('breaks off at the gateway where it breaks off at the worker, and nobody waits for more', async (t) => {
    const { replies, pending, call } = await gateway(t);
    const { record, begun, cut } = call();
    const sent = new ResponseStream();
    replies.stream(record, { body: sent });
    sent.offer(Buffer.from('half'), nothing);
    const { body } = await begun;
    body.resume();
    await once(body, 'data');
    const closed = once(body, 'close');
    sent.destroy();
    await closed;
    assert.equal(body.outcome, undefined);
    // Whoever passes it on would have forgotten it: the worker's own word reaches it otherwise.
    assert.equal((await cut).kind, 'rejected');
    await replies.idle();
    assert.equal(pending.size, 0);
  });

  it('is told to a caller who waits still where the gateway does not take it', async (t) => {
    let requests = 0;
    const refused = createServer((request, response) => {
      requests++;
      if (requests === 1) request.socket.destroy();
      else request.resume().on('end', () => response.writeHead(204).end());
      heads.push(JSON.parse(String(request.headers[REPLY_HEADER])) as { readonly kind: string });
    });
    const heads: { readonly kind: string }[] = [];
    refused.listen(0, '127.0.0.1');
    await once(refused, 'listening');
    const agent = internalAgent();
    t.after(async () => {
      await agent.destroy();
      refused.close();
    });
    const replies = new HttpReplies(agent, logger);
    const body = new ResponseStream();
    replies.stream({ id: 'a', replyTo: `http://127.0.0.1:${(refused.address() as AddressInfo).port}/v1/replies/a` }, { body });
    await replies.idle();
    assert.deepEqual(heads.map(({ kind }) => kind), ['stream', 'rejected']);
    assert.equal(body.offer(Buffer.alloc(1024 * 1024), nothing), true, 'the function goes on');
  });

  it('is given up where it has ended and its gateway does not take the rest', async (t) => {
    const kinds: string[] = [];
    const stuck = createServer((request, response) => {
      const { kind } = JSON.parse(String(request.headers[REPLY_HEADER])) as { readonly kind: string };
      kinds.push(kind);
      request.on('error', nothing);
      if (kind === 'rejected') request.resume().on('end', () => response.writeHead(204).end());
    });
    stuck.listen(0, '127.0.0.1');
    await once(stuck, 'listening');
    const agent = internalAgent();
    t.after(async () => {
      await agent.destroy();
      stuck.close();
    });
    const replies = new HttpReplies(agent, logger, { streamEndTimeoutMs: 1 });
    const body = new ResponseStream();
    replies.stream({ id: 'a', replyTo: `http://127.0.0.1:${(stuck.address() as AddressInfo).port}/v1/replies/a` }, { body });
    body.offer(Buffer.from('all of it'), nothing);
    await once(stuck, 'request');
    body.finish({ kind: 'success' });
    await replies.idle();
    assert.deepEqual([kinds, body.destroyed], [['stream', 'rejected'], true]);
  });

  it('ends for its worker where the gateway wants no more of it', async (t) => {
    const { replies, call } = await gateway(t);
    const { record, begun } = call();
    const sent = new ResponseStream();
    replies.stream(record, { body: sent });
    (await begun).body.destroy();
    await replies.idle();
    assert.equal(sent.destroyed, true);
  });

  it('is dropped where nobody waits for it, and the function goes on', async (t) => {
    const { replies, pending, call } = await gateway(t);
    const { record } = call();
    pending.forget(record.id);
    for (const address of [record, { id: 'nowhere' }]) {
      const body = new ResponseStream();
      replies.stream(address, { body });
      await replies.idle();
      assert.equal(body.offer(Buffer.alloc(1024 * 1024), nothing), true);
    }
  });

  it('is taken once: for the second one nobody waits', async (t) => {
    const { replies, call } = await gateway(t);
    const { record, begun } = call();
    const first = new ResponseStream();
    replies.stream(record, { body: first });
    const { body } = await begun;
    const calling = httpRequest(record.replyTo ?? '', { method: 'POST', agent: false, headers: { [REPLY_HEADER]: '{"kind":"stream"}' } });
    const answered = once(calling, 'response');
    calling.end();
    const [{ statusCode }] = (await answered) as [{ readonly statusCode: number }];
    assert.equal(statusCode, 410);
    first.finish({ kind: 'success' });
    assert.equal((await buffer(body)).length, 0);
    await replies.idle();
  });
});

describe('a caller whose response is being streamed', () => {
  it('is reached by the word that its environment is gone', async (t) => {
    const { replies, call } = await gateway(t);
    const { record, begun, cut } = call();
    const sent = new ResponseStream();
    replies.stream(record, { body: sent });
    await begun;
    assert.equal(await replies.awaited(record), false, 'it waits for no beginning any more');
    replies.reply(record, { kind: 'success', body: Buffer.from('1') });
    replies.reply(record, { kind: 'rejected', rejection: { code: 'workerLost', message: 'The worker is gone.' } });
    assert.deepEqual(await cut, { kind: 'rejected', rejection: { code: 'workerLost', message: 'The worker is gone.' } });
    sent.destroy();
    await replies.idle();
  });
});
