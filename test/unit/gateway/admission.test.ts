import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { InvocationLimiter, SETTLE_INTERVAL_MS, type InvocationLimiterOptions } from '../../../gateway/admission/invocation-limiter.ts';
import { SharedBucket, type Rate } from '../../../gateway/admission/shared-bucket.ts';
import { CacheUnavailableError, type Cache } from '../../../platform/cache/cache.ts';
import { memoryCache } from '../../../platform/cache/memory.ts';
import { createLogger } from '../../../platform/telemetry/logger.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

/** How a gateway's reports travel in the model: begun so long after something was drawn or refused, the first at once; so long on the way to the counter and back. */
interface Travel {
  readonly intervalMs: number;
  readonly wayMs: number;
}

/** Until all others have heard of something drawn: their next report may have been on its way, and then the one after it tells. */
const hearingMs = ({ intervalMs, wayMs }: Travel): number => 2 * (intervalMs + 2 * wayMs);

/** The bound that {@link SharedBucket} states, beyond `perSec × t`. */
function allowed(gateways: number, { perSec, burst }: Rate, travel: Travel): number {
  return burst + (gateways - 1) * (2 * burst + (perSec * hearingMs(travel)) / 1_000);
}

/** Gateways that draw from one bucket, in virtual time. */
class Gateways {
  readonly clock = new VirtualClock(0);
  /** When something was drawn, whoever drew it. */
  readonly drawnAtMs: number[] = [];
  readonly #buckets: readonly SharedBucket[];
  readonly #begun = new Set<SharedBucket>();
  readonly #reporting = new Set<SharedBucket>();
  readonly #travel: Travel;
  readonly #speak: boolean;
  #counter = 0;

  constructor(count: number, rate: Rate, travel: Travel, speak = true) {
    this.#buckets = Array.from({ length: count }, () => new SharedBucket(rate, 0));
    this.#travel = travel;
    this.#speak = speak;
  }

  /** One gateway is asked so many times at once; how many of them it admits. */
  ask(gateway: number, times: number): number {
    const bucket = this.#buckets[gateway % this.#buckets.length];
    assert.ok(bucket);
    let admitted = 0;
    for (; admitted < times && bucket.waitMs(this.clock.now()) === 0; admitted++) {
      bucket.draw();
      this.drawnAtMs.push(this.clock.now());
    }
    if (this.#speak) this.#report(bucket);
    return admitted;
  }

  #report(bucket: SharedBucket): void {
    if (this.#reporting.has(bucket)) return;
    this.#reporting.add(bucket);
    const { intervalMs, wayMs } = this.#travel;
    const after = (ms: number, action: () => void): void => void this.clock.at(this.clock.now() + ms, action);
    after(this.#begun.has(bucket) ? intervalMs : 0, () => {
      this.#begun.add(bucket);
      const drawn = bucket.report();
      after(wayMs, () => {
        const total = (this.#counter += drawn);
        after(wayMs, () => {
          bucket.reported(drawn, total, this.clock.now());
          this.#reporting.delete(bucket);
          if (bucket.toReport) this.#report(bucket);
        });
      });
    });
  }
}

/** The most that was drawn beyond `perSec × t` in any span of `t`. */
function excess(drawnAtMs: readonly number[], perSec: number): number {
  let [most, least] = [0, Infinity];
  drawnAtMs.forEach((atMs, index) => {
    const beyond = index - (atMs * perSec) / 1_000;
    least = Math.min(least, beyond);
    most = Math.max(most, beyond - least + 1);
  });
  return most;
}

const rates = fc.record({ perSec: fc.integer({ min: 1, max: 1_000 }), burst: fc.integer({ min: 1, max: 500 }) });
const travels = fc.record({ intervalMs: fc.integer({ min: 1, max: 200 }), wayMs: fc.integer({ min: 0, max: 100 }) });
const asks = fc.array(fc.record({ afterMs: fc.oneof(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 0, max: 3_000 })), gateway: fc.nat(9), times: fc.integer({ min: 1, max: 600 }) }), { minLength: 1, maxLength: 120 });

describe('shared bucket', () => {
  it('gateways that speak never draw more, in any span, than one bucket gives and each other overdraws before it has heard', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6 }), rates, travels, asks, (count, rate, travel, sequence) => {
        const gateways = new Gateways(count, rate, travel);
        for (const { afterMs, gateway, times } of sequence) {
          gateways.clock.advance(afterMs);
          gateways.ask(gateway, times);
        }
        const bound = allowed(count, rate, travel);
        const most = excess(gateways.drawnAtMs, rate.perSec);
        assert.ok(most <= bound + 1e-6, `${most} of ${bound}`);
      }),
      { numRuns: 500 },
    );
  });

  it('the twin: gateways that do not speak draw as many times as they are', () => {
    const rate = { perSec: 100, burst: 100 };
    const travel = { intervalMs: 100, wayMs: 5 };
    const overMinutes = (speak: boolean): number => {
      const gateways = new Gateways(3, rate, travel, speak);
      for (let ms = 0; ms < 120_000; ms += 20) {
        gateways.clock.advance(20);
        for (const gateway of [0, 1, 2]) gateways.ask(gateway, 50);
      }
      return excess(gateways.drawnAtMs, rate.perSec);
    };
    assert.ok(overMinutes(true) <= allowed(3, rate, travel));
    assert.ok(overMinutes(false) > 20_000);
  });

  it('gateways that ask all the time draw no less than one bucket gives', () => {
    // A bucket so small that it overflows between two askings loses what comes in meanwhile, as one bucket would.
    const roomy = rates.filter(({ perSec, burst }) => burst >= 1 + perSec / 20);
    const uneven = fc.array(fc.integer({ min: 0, max: 20 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(roomy, travels, uneven, (rate, travel, greed) => {
        const gateways = new Gateways(greed.length, rate, travel);
        const seconds = 30;
        for (let ms = 0; ms < seconds * 1_000; ms += 10) {
          // However unevenly they ask: together always for more than there is.
          greed.forEach((times, gateway) => gateways.ask(gateway, times === 0 ? 0 : rate.perSec * times));
          gateways.ask(0, rate.perSec * 20);
          gateways.clock.advance(10);
        }
        // What is missing at the end is what came in since the last draw, or is owed to one who has not heard of it yet.
        const least = rate.perSec * (seconds - hearingMs(travel) / 1_000) - greed.length;
        assert.ok(gateways.drawnAtMs.length >= least, `${gateways.drawnAtMs.length} of ${least}`);
      }),
      { numRuns: 60 },
    );
  });

  it('a gateway that is alone is an ordinary token bucket of the whole rate', () => {
    const bucket = new SharedBucket({ perSec: 10, burst: 5 }, 0);
    const drawAll = (nowMs: number): number => {
      let drawn = 0;
      for (; bucket.waitMs(nowMs) === 0; drawn++) bucket.draw();
      return drawn;
    };
    assert.equal(drawAll(0), 5);
    assert.equal(bucket.waitMs(0), 100);
    bucket.unreported(50);
    assert.equal(bucket.waitMs(50), 50);
    assert.equal(drawAll(100), 1);
    assert.equal(drawAll(3_600_000), 5);
    // The clock is set back: nothing comes in, and nothing breaks.
    assert.equal(drawAll(0), 0);
    assert.equal(drawAll(100), 1);
  });

  it('what others drew is owed, to a bound, and forgotten where the cache is lost', () => {
    const rate = { perSec: 10, burst: 10 };
    const told = (total: number): SharedBucket => {
      const bucket = new SharedBucket(rate, 0);
      bucket.draw();
      // The first report says only where the counter stands.
      assert.equal(bucket.report(), 0);
      bucket.reported(0, 1_000, 0);
      assert.equal(bucket.waitMs(0), 0);
      bucket.draw();
      assert.equal(bucket.report(), 2);
      bucket.reported(2, total, 0);
      return bucket;
    };
    assert.equal(told(1_002).waitMs(0), 0);
    assert.equal(told(1_002 + 8).waitMs(0), 100);
    assert.equal(told(1_002 + 18).waitMs(0), 1_100);
    assert.equal(told(1_002 + 1e9).waitMs(0), 10_100);
    const alone = told(1_002 + 18);
    alone.unreported(0);
    assert.equal(alone.waitMs(0), 0);
    // A counter that began anew has what was drawn since.
    assert.equal(told(2 + 8).waitMs(0), 100);
  });
});

const SILENT = createLogger('silent');
const reservedTo = (reservedConcurrency?: number, name = 'f') => ({ account: '000000000000', name, ...(reservedConcurrency === undefined ? {} : { reservedConcurrency }) });

function limiterOver(cache: Cache, clock: VirtualClock, options: Partial<InvocationLimiterOptions> = {}): InvocationLimiter {
  return new InvocationLimiter({ cache, clock, logger: SILENT, accountConcurrency: 10, ...options });
}

/** Takes until it is refused; how often it was let through, and how it was refused. */
function takeAll(limiter: InvocationLimiter, target = reservedTo()) {
  for (let taken = 0; ; taken++) {
    const throttle = limiter.take(target);
    if (throttle !== undefined) return { taken, ...throttle };
  }
}

/** Lets time pass, and everything that is due by then come to its end. */
async function pass(clock: VirtualClock, ms: number): Promise<void> {
  clock.advance(ms);
  await turn();
}

describe('invocation limiter', () => {
  it('ten times the concurrency limit a second, each limit with its reason', () => {
    const clock = new VirtualClock();
    const limiter = limiterOver(memoryCache({ clock }), clock);
    const reserved = reservedTo(2, 'reserved');
    assert.deepEqual(takeAll(limiter, reserved), { taken: 20, reason: 'ReservedFunctionInvocationRateLimitExceeded', retryAfterSec: 1 });
    assert.deepEqual(takeAll(limiter, reservedTo(undefined, 'other')), { taken: 80, reason: 'CallerRateLimitExceeded', retryAfterSec: 1 });
    clock.advance(500);
    assert.equal(takeAll(limiter, reserved).taken, 10);
    assert.equal(takeAll(limiter).taken, 40);
    clock.advance(10_000);
    // One function takes all of the account's rate: then it is told of its own.
    assert.deepEqual(takeAll(limiter), { taken: 100, reason: 'FunctionInvocationRateLimitExceeded', retryAfterSec: 1 });
    assert.deepEqual(limiter.statistics, { refused: { FunctionInvocationRateLimitExceeded: 1, ReservedFunctionInvocationRateLimitExceeded: 2, CallerRateLimitExceeded: 2 }, functions: 3, alone: false });
  });

  it('what the account refuses takes nothing of the function, and the other way round', () => {
    const clock = new VirtualClock();
    const limiter = limiterOver(memoryCache({ clock }), clock, { accountConcurrency: 1 });
    assert.equal(takeAll(limiter, reservedTo(undefined, 'a')).taken, 10);
    assert.equal(takeAll(limiter, reservedTo(5, 'b')).reason, 'CallerRateLimitExceeded');
    clock.advance(1_000);
    assert.equal(takeAll(limiter, reservedTo(1, 'b')).taken, 10);
    clock.advance(200);
    assert.equal(takeAll(limiter, reservedTo(1, 'b')).taken, 2);
    for (let i = 0; i < 5; i++) limiter.take(reservedTo(1, 'b'));
    assert.equal(takeAll(limiter, reservedTo(undefined, 'a')).taken, 0);
  });

  it('a reservation that changes changes the rate; one of nothing is left to the scheduler', () => {
    const clock = new VirtualClock();
    const limiter = limiterOver(memoryCache({ clock }), clock, { accountConcurrency: 100 });
    assert.equal(takeAll(limiter, reservedTo(5)).taken, 50);
    clock.advance(100);
    assert.equal(takeAll(limiter, reservedTo(1)).taken, 1);
    clock.advance(10_000);
    assert.equal(takeAll(limiter, reservedTo(1)).taken, 10);
    clock.advance(10_000);
    assert.equal(limiter.take(reservedTo(0)), undefined);
  });

  it('two gateways over one cache hold to one rate, and use all of it', async () => {
    const clock = new VirtualClock();
    const cache = memoryCache({ clock });
    const limiters = [limiterOver(cache, clock), limiterOver(cache, clock)];
    let taken = 0;
    for (let ms = 0; ms < 60_000; ms += 20) {
      for (const limiter of limiters) taken += takeAll(limiter).taken;
      await pass(clock, 20);
    }
    // 100 a second, a burst of 100, and what one overdraws before it has heard of the other: its burst and two intervals' worth.
    const overdrawn = 100 + (100 * 2 * SETTLE_INTERVAL_MS) / 1_000;
    assert.ok(taken <= 6_000 + 100 + overdrawn, `${taken}`);
    assert.ok(taken >= 6_000, `${taken}`);
    await Promise.all(limiters.map((limiter) => limiter.close()));
    assert.equal(clock.pending, 0);
  });

  it('two gateways that each get a part of the load share the rate by it', async () => {
    const clock = new VirtualClock();
    const cache = memoryCache({ clock });
    const [busy, calm] = [limiterOver(cache, clock), limiterOver(cache, clock)];
    let [ofBusy, ofCalm, refused] = [0, 0, 0];
    for (let ms = 0; ms < 60_000; ms += 50) {
      // 80 and 10 a second of 100: nobody is refused anything.
      for (let i = 0; i < 4; i++) void (busy.take(reservedTo()) === undefined ? ofBusy++ : refused++);
      if (ms % 100 === 0) void (calm.take(reservedTo()) === undefined ? ofCalm++ : refused++);
      await pass(clock, 50);
    }
    assert.deepEqual([ofBusy, ofCalm, refused], [4_800, 600, 0]);
    await Promise.all([busy.close(), calm.close()]);
  });

  it('while the cache is away each goes by the whole rate; then they share again, without a debt', async () => {
    const clock = new VirtualClock();
    const shared = memoryCache({ clock });
    let away = false;
    let asked = 0;
    const cache: Cache = {
      ...withoutPrototype(shared),
      increment(key, by, ttlMs) {
        asked++;
        return away ? Promise.reject(new CacheUnavailableError('away')) : shared.increment(key, by, ttlMs);
      },
    };
    const limiters = [limiterOver(cache, clock), limiterOver(cache, clock)];
    const run = async (seconds: number): Promise<number> => {
      let taken = 0;
      for (let ms = 0; ms < seconds * 1_000; ms += 50) {
        for (const limiter of limiters) taken += takeAll(limiter).taken;
        await pass(clock, 50);
      }
      return taken;
    };
    await run(10);
    away = true;
    await run(1);
    assert.deepEqual(limiters.map(({ statistics }) => statistics.alone), [true, true]);
    asked = 0;
    const alone = await run(20);
    assert.ok(alone >= 2 * 100 * 20 - 20, `${alone}`);
    // One look for all buckets, once an interval.
    assert.ok(asked <= 2 * 20 * (1_000 / SETTLE_INTERVAL_MS), `${asked}`);
    away = false;
    await run(1);
    assert.deepEqual(limiters.map(({ statistics }) => statistics.alone), [false, false]);
    const again = await run(20);
    assert.ok(again >= 100 * 20 - 40 && again <= 100 * 20 + 40, `${again}`);
    await Promise.all(limiters.map((limiter) => limiter.close()));
  });

  it('what is not invoked is not settled, and nothing is left over when it is closed', async () => {
    const clock = new VirtualClock();
    const shared = memoryCache({ clock });
    const asked: [string, number][] = [];
    const cache: Cache = { ...withoutPrototype(shared), increment: (key, by, ttlMs) => (asked.push([key, by]), shared.increment(key, by, ttlMs)) };
    const limiter = limiterOver(cache, clock);
    assert.equal(clock.pending, 0);
    for (let i = 0; i < 3; i++) limiter.take(reservedTo());
    assert.equal(clock.pending, 1);
    // At once where the counters stand, then what was taken.
    await pass(clock, 0);
    assert.deepEqual(asked.splice(0), [['rate/function/000000000000/f', 0], ['rate/account/000000000000', 0]]);
    await pass(clock, SETTLE_INTERVAL_MS);
    assert.deepEqual(asked.splice(0), [['rate/function/000000000000/f', 3], ['rate/account/000000000000', 3]]);
    assert.equal(clock.pending, 0);
    limiter.take(reservedTo());
    await limiter.close();
    await limiter.close();
    limiter.take(reservedTo());
    assert.equal(clock.pending, 0);
    assert.deepEqual(asked, []);
  });

  it('is bounded: buckets, what one round settles, and rounds that overlap', async () => {
    const clock = new VirtualClock();
    const answers: (() => void)[] = [];
    const cache: Cache = { ...withoutPrototype(memoryCache({ clock })), increment: (_, by) => new Promise((resolve) => answers.push(() => resolve(by))) };
    const limiter = limiterOver(cache, clock, { accountConcurrency: 10_000, maxFunctions: 100 });
    for (let i = 0; i < 20_000; i++) limiter.take(reservedTo(undefined, `f${i}`));
    assert.ok(limiter.statistics.functions <= 101);
    clock.advance(10 * SETTLE_INTERVAL_MS);
    assert.equal(answers.length, 256);
    let rounds = 0;
    for (; answers.length > 0; rounds++) {
      assert.ok(answers.length <= 256);
      for (const answer of answers.splice(0)) answer();
      await turn();
      await pass(clock, SETTLE_INTERVAL_MS);
    }
    // Each bucket twice: where its counter stands, and what was drawn.
    assert.equal(rounds, Math.ceil(20_000 / 256));
    await limiter.close();
  });
});

/** The methods of a cache, to replace some of them. */
function withoutPrototype(cache: Cache): Cache {
  return {
    get: (key) => cache.get(key),
    set: (key, value, ttlMs) => cache.set(key, value, ttlMs),
    delete: (key) => cache.delete(key),
    increment: (key, by, ttlMs) => cache.increment(key, by, ttlMs),
    publish: (channel, message) => cache.publish(channel, message),
    subscribe: (channel, listener) => cache.subscribe(channel, listener),
    onGap: (listener) => cache.onGap(listener),
    close: () => cache.close(),
  };
}
