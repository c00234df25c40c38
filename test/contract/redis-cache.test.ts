import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { Writable } from 'node:stream';
import { describe, it, type TestContext } from 'node:test';
import { Redis } from 'ioredis';
import { pino } from 'pino';
import { systemClock } from '../../platform/clock.ts';
import { CacheUnavailableError, type Cache } from '../../platform/cache/cache.ts';
import { CacheSetupError, checkRedis, redisCache, type RedisCache, type RedisCacheOptions } from '../../platform/cache/redis.ts';
import { createLogger } from '../../platform/telemetry/logger.ts';
import { startRedisProxy, type RedisProxy } from '../support/redis-proxy.ts';
import { freePort, makeCertificate, NO_OPENSSL, NO_REDIS_SERVER, startRedisServer, until, type RedisServer, type RedisServerOptions } from '../support/redis-server.ts';
import { redisService } from '../support/services.ts';
import { VirtualClock } from '../support/virtual-clock.ts';
import { cacheContract } from './cache.contract.ts';

const logger = createLogger('silent');
const clock = systemClock;
const MINUTE_MS = 60_000;
/** Longer than a test may take: whatever ends sooner was not ended by this. */
const FOREVER_MS = 3_600_000;
const NEVER_BY_TIME = { connectMs: FOREVER_MS, commandMs: FOREVER_MS, heartbeatMs: FOREVER_MS };

const shared = await redisService();

if (shared === undefined) {
  it('redis cache: the contract', { skip: 'there is no Redis' }, () => undefined);
} else {
  cacheContract('redis', async () => {
    const keyPrefix = `test-${randomUUID()}:`;
    const admin = new Redis(shared.url);
    const url = new URL(shared.url);
    const proxy = await startRedisProxy(Number(url.port), url.hostname);
    url.host = `127.0.0.1:${proxy.port}`;
    const cache = await redisCache({ url: url.href, keyPrefix, logger, clock });
    const entries = async (): Promise<string[]> => {
      const keys: string[] = [];
      for await (const page of admin.scanStream({ match: `${keyPrefix}*`, count: 10_000 })) keys.push(...(page as string[]));
      return keys;
    };
    return {
      cache,
      async advance(ms) {
        for (const key of await entries()) await admin.pexpire(key, (await admin.pttl(key)) - ms);
      },
      async interrupt() {
        proxy.cut();
        await until(() => !cache.connected);
        await until(() => cache.connected);
      },
      async dispose() {
        const left = await entries();
        if (left.length > 0) await admin.del(left);
        admin.disconnect();
        await proxy.stop();
      },
    };
  });

  it('redis cache: an entry expires by itself', async (t) => {
    const cache = await open(t, { url: shared.url, keyPrefix: `test-${randomUUID()}:` });
    await cache.set('a', '1', 20);
    await cache.increment('n', 1, 20.5);
    await until(async () => (await cache.get('a')) === undefined && (await cache.get('n')) === undefined);
  });

  it('redis cache: prefixes keep those apart that share a server, keys and channels', async (t) => {
    const [one, other] = await Promise.all([open(t, { url: shared.url, keyPrefix: `test-${randomUUID()}:` }), open(t, { url: shared.url, keyPrefix: `test-${randomUUID()}:` })]);
    const heard: string[] = [];
    await other.subscribe('c', (message) => void heard.push(message));
    await one.set('k', 'one', MINUTE_MS);
    await one.publish('c', 'one');
    assert.equal(await other.get('k'), undefined);
    await other.publish('c', 'other');
    await until(() => heard.length > 0);
    assert.deepEqual(heard, ['other']);
    await one.delete('k');
  });
}

async function open(t: TestContext, options: Pick<RedisCacheOptions, 'url'> & Partial<RedisCacheOptions>): Promise<RedisCache> {
  const cache = await redisCache({ logger, clock, ...options });
  t.after(() => cache.close());
  return cache;
}

async function ownServer(t: TestContext, options?: RedisServerOptions): Promise<RedisServer> {
  const server = await startRedisServer(options);
  t.after(() => server.kill());
  return server;
}

async function ownProxy(t: TestContext, port: number): Promise<RedisProxy> {
  const proxy = await startRedisProxy(port);
  t.after(() => proxy.stop());
  return proxy;
}

/** Redis itself, past the cache. Its server may be gone before it is. */
function ownClient(t: TestContext, url: string, options: { readonly password?: string } = {}): Redis {
  const client = new Redis(url, options).on('error', () => undefined);
  t.after(() => client.disconnect());
  return client;
}

/** A listener that does with each connection what `handle` says. */
async function ownListener(t: TestContext, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

/** Every operation rejects, and not because time ran out. */
async function assertAway(cache: Cache): Promise<void> {
  const operations = [() => cache.get('k'), () => cache.set('k', 'v', MINUTE_MS), () => cache.delete('k'), () => cache.increment('n', 1, MINUTE_MS), () => cache.publish('c', 'm')];
  for (const operation of operations) await assert.rejects(operation(), CacheUnavailableError);
}

/** Counts gaps, and collects the messages of a channel. */
async function listen(cache: Cache, channel: string): Promise<{ readonly heard: readonly string[]; readonly gaps: () => number }> {
  const heard: string[] = [];
  let gaps = 0;
  cache.onGap(() => gaps++);
  await cache.subscribe(channel, (message) => void heard.push(message));
  return { heard, gaps: () => gaps };
}

describe('redis cache: a Redis that goes and comes back', { skip: NO_REDIS_SERVER }, () => {
  it('is killed and started again: operations fail at once, then go on, and subscribers hear of the gap', async (t) => {
    const first = await ownServer(t);
    const cache = await open(t, { url: first.url, patience: NEVER_BY_TIME });
    const { heard, gaps } = await listen(cache, 'c');
    await cache.set('k', 'v', MINUTE_MS);
    await first.kill();
    await until(() => !cache.connected);
    await assertAway(cache);
    assert.equal(gaps(), 0);
    await ownServer(t, { port: first.port });
    await until(() => cache.connected);
    await until(() => gaps() === 1);
    assert.equal(await cache.get('k'), undefined);
    await cache.publish('c', 'after');
    await until(() => heard.length > 0);
    assert.deepEqual(heard, ['after']);
  });

  it('fails what was under way when it is killed, and sends none of it again', async (t) => {
    const server = await ownServer(t);
    const proxy = await ownProxy(t, server.port);
    const cache = await open(t, { url: `redis://127.0.0.1:${proxy.port}`, patience: NEVER_BY_TIME });
    const other = await open(t, { url: server.url });
    proxy.swallow('answers');
    const underWay = [cache.increment('n', 1, MINUTE_MS), cache.get('k')].map((promise) => assert.rejects(promise, CacheUnavailableError));
    // It has happened, and only the answer is missing.
    await until(async () => (await other.get('n')) === '1');
    proxy.pass();
    proxy.cut();
    await Promise.all(underWay);
    await until(() => cache.connected);
    await cache.set('k', 'v', MINUTE_MS);
    assert.equal(await other.get('n'), '1');
  });

  it('is not there at first: the cache opens nevertheless, and what subscribed meanwhile is served when it comes', async (t) => {
    const port = await freePort();
    const cache = await open(t, { url: `redis://127.0.0.1:${port}`, patience: NEVER_BY_TIME });
    assert.equal(cache.connected, false);
    await assertAway(cache);
    const { heard, gaps } = await listen(cache, 'c');
    await ownServer(t, { port });
    await until(() => cache.connected);
    await until(() => gaps() === 1);
    await cache.publish('c', 'm');
    await until(() => heard.length > 0);
    assert.deepEqual(heard, ['m']);
  });

  it('is emptied: values and counters begin anew, subscriptions stand', async (t) => {
    const server = await ownServer(t);
    const cache = await open(t, { url: server.url });
    const { heard, gaps } = await listen(cache, 'c');
    await cache.set('k', 'v', MINUTE_MS);
    await cache.increment('n', 5, MINUTE_MS);
    const admin = ownClient(t, server.url);
    await admin.flushall();
    await admin.script('FLUSH');
    assert.equal(await cache.get('k'), undefined);
    assert.equal(await cache.increment('n', 1, MINUTE_MS), 1);
    await cache.publish('c', 'm');
    await until(() => heard.length > 0);
    assert.deepEqual([heard, gaps()], [['m'], 0]);
  });

  it('closes cleanly in every state, and rejects afterwards', async (t) => {
    const server = await ownServer(t);
    const proxy = await ownProxy(t, server.port);
    const connected = await open(t, { url: `redis://127.0.0.1:${proxy.port}` });
    await connected.close();
    await connected.close();
    await assertAway(connected);
    const away = await open(t, { url: `redis://127.0.0.1:${await freePort()}` });
    await away.close();
    await assertAway(away);
    proxy.swallow('everything');
    const connecting = redisCache({ url: `redis://127.0.0.1:${proxy.port}`, logger, clock, patience: { commandMs: 50 } });
    await (await connecting).close();
  });
});

describe('redis cache: half-open connections', { skip: NO_REDIS_SERVER }, () => {
  it('a command that gets no answer fails after its patience, those after it at once, until the way is free again', async (t) => {
    const server = await ownServer(t);
    const proxy = await ownProxy(t, server.port);
    const cache = await open(t, { url: `redis://127.0.0.1:${proxy.port}`, patience: { connectMs: 100, commandMs: 100, heartbeatMs: FOREVER_MS } });
    proxy.swallow('everything');
    await assert.rejects(cache.get('k'), { name: 'CacheUnavailableError', message: /no answer within 100 ms/ });
    await assertAway(cache);
    proxy.pass();
    await until(async () => (await cache.get('k').catch(() => 'away')) === undefined);
  });

  it('a subscription that is dead is noticed by the heartbeat, and by nothing before it', async (t) => {
    const server = await ownServer(t);
    const proxy = await ownProxy(t, server.port);
    const turned = new VirtualClock();
    const cache = await open(t, { url: `redis://127.0.0.1:${proxy.port}`, clock: turned, patience: { connectMs: FOREVER_MS, commandMs: 100, heartbeatMs: 5_000 } });
    const { heard, gaps } = await listen(cache, 'c');
    const sender = await open(t, { url: server.url });
    proxy.swallow('everything');
    await sender.publish('c', 'lost');
    // The twin: nobody but the heartbeat would ever tell.
    turned.advance(4_999);
    assert.deepEqual([cache.connected, gaps()], [true, 0]);
    turned.advance(1);
    await until(() => !cache.connected);
    proxy.pass();
    await until(() => {
      turned.advance(100);
      return cache.connected;
    });
    await until(() => gaps() === 1);
    await sender.publish('c', 'found');
    await until(() => heard.length > 0);
    assert.deepEqual(heard, ['found']);
  });

  it('no more commands wait than the bound allows', async (t) => {
    const server = await ownServer(t);
    const proxy = await ownProxy(t, server.port);
    const cache = await open(t, { url: `redis://127.0.0.1:${proxy.port}`, patience: NEVER_BY_TIME });
    proxy.swallow('everything');
    const waiting = Array.from({ length: 10_000 }, () => cache.get('k').then(() => assert.fail('answered'), (error: unknown) => assert.ok(error instanceof CacheUnavailableError)));
    await assert.rejects(cache.get('k'), { name: 'CacheUnavailableError', message: /10000 commands wait/ });
    proxy.cut();
    await Promise.all(waiting);
  });
});

it('redis cache: attempts go on, at most two seconds apart and not all at one time', async (t) => {
  const turned = new VirtualClock();
  const url = `redis://127.0.0.1:${await freePort()}`;
  const jitter = [0, 0.999];
  await open(t, { url, clock: turned, random: () => jitter[0] ?? 0 });
  const both = (): Promise<void> => until(() => turned.pending === 2);
  await both();
  for (let attempt = 0; attempt < 8; attempt++) {
    turned.advance(2_000);
    await both();
  }
  // From here on the longest back-off is reached: half of it by the one end of the jitter, all of it by the other.
  turned.advance(999);
  assert.equal(turned.pending, 2);
  jitter.reverse();
  turned.advance(1);
  await both();
  turned.advance(1_990);
  assert.equal(turned.pending, 2);
  turned.advance(10);
  assert.equal(turned.pending, 0);
  await both();
});

it('redis cache: a listener that throws costs nobody else a message', { skip: NO_REDIS_SERVER }, async (t) => {
  const server = await ownServer(t);
  const cache = await open(t, { url: server.url });
  await cache.subscribe('c', () => {
    throw new Error('by mistake');
  });
  const { heard } = await listen(cache, 'c');
  await cache.publish('c', 'one');
  await cache.publish('c', 'two');
  await until(() => heard.length === 2);
});

const SECRET = 'p4ss w%rd/secret';

describe('redis cache: TLS and passwords', { skip: NO_REDIS_SERVER || NO_OPENSSL }, () => {
  it('are kept, and a wrong password is not let out', async (t) => {
    const tls = await makeCertificate();
    t.after(() => tls.remove());
    const server = await ownServer(t, { tls, config: ['tls-auth-clients no', `requirepass "${SECRET}"`, `user app on "#${await sha256('of app')}" ~* &* +@all`] });
    const cache = await open(t, { url: server.url, caPem: tls.pem, password: SECRET });
    assert.equal(await cache.increment('n', 1, MINUTE_MS), 1);
    const inUrl = await open(t, { url: server.url.replace('//', `//:${encodeURIComponent(SECRET)}@`), caPem: tls.pem });
    assert.equal(await inUrl.increment('n', 1, MINUTE_MS), 2);
    const asUser = await open(t, { url: server.url, caPem: tls.pem, username: 'app', password: 'of app' });
    assert.equal(await asUser.increment('n', 1, MINUTE_MS), 3);

    const lines: string[] = [];
    const sink = new Writable({ write: (chunk: Buffer, _, done) => (lines.push(chunk.toString()), done()) });
    const wrong = await open(t, { url: server.url, caPem: tls.pem, password: `${SECRET}!`, logger: pino({ level: 'trace' }, sink) });
    const error = await wrong.get('k').then(() => assert.fail('let in'), (reason: unknown) => reason);
    assert.ok(error instanceof CacheUnavailableError);
    assert.match(error.message, /WRONGPASS/);
    assert.match(lines.join(''), /WRONGPASS/);
    assert.ok(![...lines, error.stack, JSON.stringify(error), String(error.cause)].some((text) => text?.includes(SECRET)));
  });
});

async function sha256(text: string): Promise<string> {
  return Buffer.from(await crypto.subtle.digest('SHA-256', Buffer.from(text))).toString('hex');
}

describe('redis cache: the check at a start', { skip: NO_REDIS_SERVER || NO_OPENSSL }, () => {
  /** A start is refused in one line that names the setting, and no password. */
  const refuses = async (options: Parameters<typeof checkRedis>[0], ...words: readonly (string | RegExp)[]): Promise<void> => {
    const error = await checkRedis(options).then((check) => assert.fail(`not refused: ${JSON.stringify(check)}`), (reason: unknown) => reason);
    assert.ok(error instanceof CacheSetupError, String(error));
    assert.ok(!error.message.includes('\n') && !error.message.includes(SECRET), error.message);
    for (const word of words) assert.ok(typeof word === 'string' ? error.message.includes(word) : word.test(error.message), `${error.message} says nothing of ${word}`);
  };
  const goesOn = async (options: Parameters<typeof checkRedis>[0], ...words: readonly RegExp[]): Promise<void> => {
    const check = await checkRedis(options);
    assert.ok(check.kind === 'unreachable');
    for (const word of [/SLUICE_CACHE/, /^[^\n]*$/, ...words]) assert.match(check.warning, word);
  };
  /** The check is to be done within 10 s. */
  const timeout = 10_000;

  it('settings that cannot be meant so', async () => {
    for (const url of ['redis', 'redis:', 'http://localhost:6379', 'redis://', 'redis://h:99999', 'redis://h:0', 'redis://h/x', 'redis://h?db=1', `redis://:${SECRET}@`]) {
      await refuses({ url }, /^SLUICE_CACHE /);
    }
    await refuses({ url: 'redis://:%zz@h' }, /^SLUICE_CACHE /, '%25');
    await refuses({ url: 'redis://h', caPem: 'x' }, /^SLUICE_REDIS_CA_FILE /, 'rediss://');
    await refuses({ url: 'rediss://h', caPem: 'x' }, /^SLUICE_REDIS_CA_FILE /);
  });

  it('passwords, rights and databases', { timeout }, async (t) => {
    const server = await ownServer(t, { config: [`requirepass "${SECRET}"`, 'user few on >few ~sluice:* +@all -@scripting', 'user silent on >silent ~* resetchannels +@all'] });
    const { url } = server;
    assert.deepEqual(await checkRedis({ url, password: SECRET }), { kind: 'ready' });
    const admin = ownClient(t, url, { password: SECRET });
    assert.equal(await admin.dbsize(), 0, 'it leaves nothing behind');
    await refuses({ url }, /^SLUICE_REDIS_PASSWORD is not set/, 'NOAUTH');
    await refuses({ url, password: `${SECRET}!` }, /^SLUICE_REDIS_PASSWORD is wrong/, 'WRONGPASS');
    await refuses({ url, username: 'nobody', password: SECRET }, /SLUICE_REDIS_USERNAME or SLUICE_REDIS_PASSWORD/);
    await refuses({ url, username: 'few', password: 'few' }, /^SLUICE_REDIS_USERNAME/, 'eval');
    await refuses({ url, username: 'silent', password: 'silent' }, /^SLUICE_REDIS_USERNAME/, 'channels');
    await refuses({ url: `${url}/999`, password: SECRET }, /^SLUICE_CACHE/, 'database');
    assert.deepEqual(await checkRedis({ url: `${url}/3`, password: SECRET }), { kind: 'ready' });
  });

  it('TLS on one side only, and certificates', { timeout: 2 * timeout }, async (t) => {
    const [tls, foreign] = await Promise.all([makeCertificate(), makeCertificate()]);
    t.after(() => Promise.all([tls.remove(), foreign.remove()]));
    const secure = await ownServer(t, { tls, config: ['tls-auth-clients no'] });
    const strict = await ownServer(t, { tls });
    const plain = await ownServer(t);
    const secureUrl = secure.url;
    assert.deepEqual(await checkRedis({ url: secureUrl, caPem: tls.pem }), { kind: 'ready' });
    await refuses({ url: secureUrl }, /^SLUICE_REDIS_CA_FILE is not set/);
    await refuses({ url: secureUrl, caPem: foreign.pem }, /^SLUICE_REDIS_CA_FILE /);
    await refuses({ url: secureUrl.replace('127.0.0.1', 'localhost'), caPem: tls.pem }, /^SLUICE_CACHE names a host/);
    await refuses({ url: strict.url, caPem: tls.pem }, /client certificate/);
    await refuses({ url: secureUrl.replace('rediss:', 'redis:') }, /^SLUICE_CACHE begins with redis:\/\//, 'Write rediss://');
    await refuses({ url: plain.url.replace('redis:', 'rediss:'), caPem: tls.pem }, /^SLUICE_CACHE begins with rediss:\/\//, 'Write redis://');
  });

  it('something else at the address', { timeout }, async (t) => {
    const http = await ownListener(t, createHttpServer((_, response) => response.writeHead(404).end()));
    await refuses({ url: `redis://127.0.0.1:${http}` }, /^SLUICE_CACHE leads to something that is no Redis/);
    await refuses({ url: `rediss://127.0.0.1:${http}` }, /^SLUICE_CACHE leads to something that is no Redis/);
    const ssh = await ownListener(t, createServer((socket) => void socket.end('SSH-2.0-OpenSSH_9.2\r\n')));
    await refuses({ url: `redis://127.0.0.1:${ssh}` }, /^SLUICE_CACHE leads to something that is no Redis/);
    const cluster = await ownServer(t, { config: ['cluster-enabled yes'] });
    await refuses({ url: cluster.url }, /^SLUICE_CACHE leads to a Redis Cluster/);
  });

  it('nothing that answers: the start goes on', { timeout: 2 * timeout }, async (t) => {
    await goesOn({ url: `redis://127.0.0.1:${await freePort()}` }, /ECONNREFUSED/);
    await goesOn({ url: 'redis://no-such-host.invalid' }, /no-such-host/);
    const closing = await ownListener(t, createServer((socket) => void socket.end()));
    await goesOn({ url: `redis://127.0.0.1:${closing}` });
    const sockets: { destroy(): void }[] = [];
    const silent = await ownListener(t, createServer((socket) => void sockets.push(socket.on('error', () => undefined))));
    t.after(() => sockets.forEach((socket) => socket.destroy()));
    await goesOn({ url: `redis://:${encodeURIComponent(SECRET)}@127.0.0.1:${silent}` });
  });

  it('a Redis that cannot serve at this moment: the start goes on', { timeout }, async (t) => {
    const full = await ownServer(t, { config: ['maxmemory 1'] });
    await goesOn({ url: full.url }, /OOM/);
    const primary = await ownServer(t);
    const replica = await ownServer(t, { config: [`replicaof 127.0.0.1 ${primary.port}`] });
    await until(async () => {
      const check = await checkRedis({ url: replica.url });
      return check.kind === 'unreachable' && check.warning.includes('READONLY');
    });
  });
});
