import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Cache } from '../../platform/cache/cache.ts';

/** A driver under test, with an empty cache of its own. */
export interface CacheHarness {
  readonly cache: Cache;
  /** Lets time pass for the cache; where its clock cannot be turned, for its entries. */
  readonly advance: (ms: number) => Promise<void> | void;
  /** Cuts the cache off from its server, so that messages can be missed. Resolves once it can be used again. */
  readonly interrupt?: () => Promise<void>;
  readonly dispose: () => Promise<void>;
}

/** Tests that a driver cannot pass, by title, each with the reason. */
export type Skips = Readonly<Record<string, string>>;

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** What every driver of the port {@link Cache} must do. */
export function cacheContract(driver: string, create: () => Promise<CacheHarness>, skips: Skips = {}): void {
  describe(`Cache contract: ${driver}`, () => {
    const titles = new Set<string>();
    const test = (title: string, run: (harness: CacheHarness) => Promise<void>): void => {
      titles.add(title);
      it(title, { skip: skips[title] ?? false }, async () => {
        const harness = await create();
        try {
          await run(harness);
        } finally {
          await harness.cache.close();
          await harness.dispose();
        }
      });
    };

    // Real time passes as well for drivers of a server: a minute of slack is enough for the slowest machine.
    test('gives back a value until it is deleted, replaced or expired', async ({ cache, advance }) => {
      assert.equal(await cache.get('a'), undefined);
      await cache.set('a', 'ünï 😀', 2 * HOUR_MS);
      assert.equal(await cache.get('a'), 'ünï 😀');
      await cache.set('a', '', HOUR_MS);
      assert.equal(await cache.get('a'), '');
      await advance(HOUR_MS - MINUTE_MS);
      assert.equal(await cache.get('a'), '');
      await advance(MINUTE_MS);
      assert.equal(await cache.get('a'), undefined);
      await cache.set('a', 'again', HOUR_MS);
      await cache.delete('a');
      await cache.delete('a');
      assert.equal(await cache.get('a'), undefined);
    });

    test('adds to a counter atomically', async ({ cache }) => {
      const results = await Promise.all(Array.from({ length: 50 }, () => cache.increment('n', 2, MINUTE_MS)));
      assert.deepEqual(results.toSorted((a, b) => a - b), Array.from({ length: 50 }, (_, i) => (i + 1) * 2));
      assert.equal(await cache.increment('n', -100, MINUTE_MS), 0);
      assert.equal(await cache.get('n'), '0');
    });

    test('a counter lives from its first increment', async ({ cache, advance }) => {
      await cache.increment('n', 1, HOUR_MS);
      await advance(HOUR_MS - MINUTE_MS);
      assert.equal(await cache.increment('n', 1, HOUR_MS), 2);
      await advance(MINUTE_MS);
      assert.equal(await cache.increment('n', 1, HOUR_MS), 1);
    });

    test('a counter may begin with a value that was set, and lives as long', async ({ cache, advance }) => {
      await cache.set('n', '41', HOUR_MS);
      assert.equal(await cache.increment('n', 1, 2 * HOUR_MS), 42);
      await advance(HOUR_MS);
      assert.equal(await cache.get('n'), undefined);
    });

    test('refuses times to live beyond their bounds', async ({ cache }) => {
      for (const ttlMs of [0, -1, Number.NaN, 24 * 60 * MINUTE_MS + 1]) {
        await assert.rejects(cache.set('a', 'b', ttlMs), RangeError);
        await assert.rejects(cache.increment('n', 1, ttlMs), RangeError);
      }
      assert.equal(await cache.get('a'), undefined);
    });

    test('refuses to count on what is no counter, and beyond what JavaScript counts exactly', async ({ cache }) => {
      for (const value of ['text', '', '1.5', ' 1', '1e3', '007', String(2 ** 60)]) {
        await cache.set('a', value, MINUTE_MS);
        await assert.rejects(cache.increment('a', 1, MINUTE_MS), RangeError, value);
        assert.equal(await cache.get('a'), value);
      }
      await cache.increment('n', Number.MAX_SAFE_INTEGER, MINUTE_MS);
      await assert.rejects(cache.increment('n', 1, MINUTE_MS), RangeError);
      for (const by of [0.5, Number.NaN, 2 ** 53]) await assert.rejects(cache.increment('n', by, MINUTE_MS), RangeError);
      assert.equal(await cache.get('n'), String(Number.MAX_SAFE_INTEGER));
    });

    test('brings messages to the subscribers of their channel, in order', async ({ cache }) => {
      const first: string[] = [];
      const second: string[] = [];
      const other: string[] = [];
      let arrived = (): void => undefined;
      const end = new Promise<void>((resolve) => (arrived = resolve));
      const listen = (into: string[]) => (message: string) => {
        into.push(message);
        if (message === 'end' && first.includes('end')) arrived();
      };
      await cache.subscribe('other', listen(other));
      const unsubscribe = await cache.subscribe('channel', listen(second));
      await cache.publish('channel', 'before');
      await unsubscribe();
      await unsubscribe();
      await cache.subscribe('channel', listen(first));
      await cache.publish('channel', 'one');
      await cache.publish('nobody', 'x');
      await cache.publish('channel', 'end');
      await end;
      assert.deepEqual(first, ['one', 'end']);
      assert.ok(!second.includes('one'));
      assert.deepEqual(other, []);
    });

    test('the same listener may subscribe twice', async ({ cache }) => {
      const heard: string[] = [];
      const listener = (message: string): void => void heard.push(message);
      let arrived = (): void => undefined;
      await cache.subscribe('channel', listener);
      const unsubscribe = await cache.subscribe('channel', listener);
      await cache.subscribe('channel', (message) => void (message.startsWith('end') && arrived()));
      const round = async (end: string): Promise<void> => {
        const ended = new Promise<void>((resolve) => (arrived = resolve));
        await cache.publish('channel', end);
        await ended;
      };
      await round('end 1');
      await unsubscribe();
      await round('end 2');
      assert.deepEqual(heard, ['end 1', 'end 1', 'end 2']);
    });

    test('tells of messages that may have been missed, each time once they arrive again', async ({ cache, interrupt }) => {
      assert.ok(interrupt);
      const heard: string[] = [];
      let arrived = (): void => undefined;
      let gap = (): void => undefined;
      let gaps = 0;
      await cache.subscribe('channel', (message) => {
        heard.push(message);
        arrived();
      });
      const stop = cache.onGap(() => assert.fail('it was taken back'));
      stop();
      stop();
      cache.onGap(() => {
        gaps++;
        gap();
      });
      for (const round of ['first', 'second']) {
        const told = new Promise<void>((resolve) => (gap = resolve));
        await interrupt();
        await told;
        const message = new Promise<void>((resolve) => (arrived = resolve));
        await cache.publish('channel', round);
        await message;
      }
      assert.deepEqual([heard, gaps], [['first', 'second'], 2]);
    });

    test('tells of no gap where nothing can have been missed', async ({ cache }) => {
      let gaps = 0;
      cache.onGap(() => gaps++);
      const message = Promise.withResolvers<string>();
      const unsubscribe = await cache.subscribe('channel', message.resolve);
      await cache.publish('channel', 'x');
      assert.equal(await message.promise, 'x');
      await unsubscribe();
      assert.equal(gaps, 0);
    });

    it('skips only tests that exist', () => assert.deepEqual(Object.keys(skips).filter((title) => !titles.has(title)), []));
  });
}
