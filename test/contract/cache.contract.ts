import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Cache } from '../../platform/cache/cache.ts';

/** A driver under test, with an empty cache of its own. */
export interface CacheHarness {
  readonly cache: Cache;
  /** Lets time pass for the cache. */
  readonly advance: (ms: number) => Promise<void> | void;
  readonly dispose: () => Promise<void>;
}

/** Tests that a driver cannot pass, by title, each with the reason. */
export type Skips = Readonly<Record<string, string>>;

const MINUTE_MS = 60_000;

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

    test('gives back a value until it is deleted, replaced or expired', async ({ cache, advance }) => {
      assert.equal(await cache.get('a'), undefined);
      await cache.set('a', 'ünï 😀', MINUTE_MS);
      assert.equal(await cache.get('a'), 'ünï 😀');
      await cache.set('a', '', 1_000);
      assert.equal(await cache.get('a'), '');
      await advance(999);
      assert.equal(await cache.get('a'), '');
      await advance(1);
      assert.equal(await cache.get('a'), undefined);
      await cache.set('a', 'again', MINUTE_MS);
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
      await cache.increment('n', 1, 1_000);
      await advance(900);
      assert.equal(await cache.increment('n', 1, 1_000), 2);
      await advance(100);
      assert.equal(await cache.increment('n', 1, 1_000), 1);
    });

    test('refuses times to live beyond their bounds', async ({ cache }) => {
      for (const ttlMs of [0, -1, Number.NaN, 24 * 60 * MINUTE_MS + 1]) {
        await assert.rejects(cache.set('a', 'b', ttlMs), RangeError);
        await assert.rejects(cache.increment('n', 1, ttlMs), RangeError);
      }
      assert.equal(await cache.get('a'), undefined);
    });

    test('refuses to count on what is no counter', async ({ cache }) => {
      await cache.set('a', 'text', MINUTE_MS);
      await assert.rejects(cache.increment('a', 1, MINUTE_MS));
      assert.equal(await cache.get('a'), 'text');
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

    it('skips only tests that exist', () => assert.deepEqual(Object.keys(skips).filter((title) => !titles.has(title)), []));
  });
}
