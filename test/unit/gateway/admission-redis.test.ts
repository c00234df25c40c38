import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { it } from 'node:test';
import { InvocationLimiter, SETTLE_INTERVAL_MS } from '../../../gateway/admission/invocation-limiter.ts';
import type { Cache } from '../../../platform/cache/cache.ts';
import { systemClock } from '../../../platform/clock.ts';
import { redisCache } from '../../../platform/cache/redis.ts';
import { createLogger } from '../../../platform/telemetry/logger.ts';
import { startRedisProxy } from '../../support/redis-proxy.ts';
import { until } from '../../support/redis-server.ts';
import { redisService } from '../../support/services.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const redis = await redisService();

it('two gateways over one Redis hold to one rate; apart from it each goes by the whole rate, and then they share again', { skip: redis === undefined && 'there is no Redis' }, async (t) => {
  assert.ok(redis);
  const logger = createLogger('silent');
  const url = new URL(redis.url);
  const proxy = await startRedisProxy(Number(url.port), url.hostname);
  url.host = `127.0.0.1:${proxy.port}`;
  const keyPrefix = `test-${randomUUID()}:`;
  const caches = await Promise.all([1, 2].map(() => redisCache({ url: url.href, keyPrefix, logger, clock: systemClock })));
  // Redis is real, time is not: a step of it ends when Redis has answered.
  const clock = new VirtualClock();
  const underWay = new Set<Promise<unknown>>();
  const observed = (cache: Cache): Cache => ({
    get: (key) => cache.get(key),
    set: (key, value, ttlMs) => cache.set(key, value, ttlMs),
    delete: (key) => cache.delete(key),
    publish: (channel, message) => cache.publish(channel, message),
    subscribe: (channel, listener) => cache.subscribe(channel, listener),
    onGap: (listener) => cache.onGap(listener),
    close: () => cache.close(),
    increment(key, by, ttlMs) {
      const answer = cache.increment(key, by, ttlMs);
      underWay.add(answer);
      void answer.catch(() => undefined).finally(() => underWay.delete(answer));
      return answer;
    },
  });
  const limiters = caches.map((cache) => new InvocationLimiter({ cache: observed(cache), clock, logger, accountConcurrency: 5 }));
  t.after(async () => {
    await Promise.all(limiters.map((limiter) => limiter.close()));
    await Promise.all(['rate/account/a', 'rate/function/a/f'].map((key) => caches[0]?.delete(key) ?? Promise.resolve()));
    await Promise.all(caches.map((cache) => cache.close()));
    await proxy.stop();
  });
  /** Both take whatever they get for so long; how much it was. */
  const run = async (seconds: number): Promise<number> => {
    let taken = 0;
    for (let ms = 0; ms < seconds * 1_000; ms += 50) {
      for (const limiter of limiters) while (limiter.take({ account: 'a', name: 'f' }) === undefined) taken++;
      clock.advance(50);
      await until(() => underWay.size === 0);
    }
    return taken;
  };
  // 50 a second: a burst of 50, and what one overdraws before it has heard of the other.
  const together = await run(20);
  assert.ok(together >= 20 * 50 && together <= 20 * 50 + 50 + 2 * 50 + (50 * 2 * SETTLE_INTERVAL_MS) / 1_000, `${together}`);

  proxy.swallow('everything');
  proxy.cut();
  await until(() => caches.every((cache) => !cache.connected));
  await run(1);
  assert.deepEqual(limiters.map(({ statistics }) => statistics.alone), [true, true]);
  const apart = await run(20);
  assert.ok(apart >= 2 * 20 * 50 - 10 && apart <= 2 * 20 * 50 + 10, `${apart}`);

  proxy.pass();
  proxy.cut();
  await until(() => caches.every((cache) => cache.connected));
  await run(1);
  assert.deepEqual(limiters.map(({ statistics }) => statistics.alone), [false, false]);
  const again = await run(20);
  assert.ok(again >= 20 * 50 - 20 && again <= 20 * 50 + 20, `${again}`);
});
