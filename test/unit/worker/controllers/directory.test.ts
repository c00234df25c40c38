import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import { Announcer } from '../../../../controller/announcer.ts';
import { CacheUnavailableError, type Cache } from '../../../../platform/cache/cache.ts';
import { memoryCache } from '../../../../platform/cache/memory.ts';
import { ANNOUNCE_INTERVAL_MS, ANNOUNCEMENT_TTL_MS, CONTROLLERS_CHANNEL, ownerKey, parseAnnouncement } from '../../../../platform/protocol/announcement.ts';
import { createLogger } from '../../../../platform/telemetry/logger.ts';
import { ControllerDirectory } from '../../../../worker/controllers/directory.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

const logger = createLogger('silent');
const A = 'http://10.0.0.1:9500';

interface World {
  readonly clock: VirtualClock;
  readonly cache: Cache;
  readonly announcer: (url?: string) => Announcer;
  readonly directory: (fixed?: readonly string[]) => { readonly directory: ControllerDirectory; readonly known: () => readonly string[] };
}

function world(t: TestContext, cache?: Cache): World {
  const clock = new VirtualClock();
  const shared = cache ?? memoryCache({ clock });
  t.after(() => shared.close());
  return {
    clock,
    cache: shared,
    announcer(url = A) {
      const announcer = new Announcer({ controller: `at ${url}`, url, cache: shared, clock, logger, owned: () => new Map([[1, 7]]), workers: () => 3 });
      t.after(() => announcer.stop());
      return announcer;
    },
    directory(fixed = []) {
      let known: readonly string[] = [];
      const directory = new ControllerDirectory({ fixed, cache: shared, partitions: 2, clock, logger, onChange: (urls) => void (known = [...urls].sort()) });
      t.after(() => directory.stop());
      return { directory, known: () => known };
    },
  };
}

/** A cache that cannot be reached. */
function away(): Cache {
  const fail = (): Promise<never> => Promise.reject(new CacheUnavailableError('away'));
  return { get: fail, set: fail, delete: fail, increment: fail, publish: fail, subscribe: fail, close: () => Promise.resolve() } as Partial<Cache> as Cache;
}

test('a worker hears of a controller that is there, and of one that comes', async (t) => {
  const { announcer, directory } = world(t);
  await announcer().start();
  const { directory: heard, known } = directory();
  await heard.start();
  assert.deepEqual(known(), [A]);
  await announcer('http://10.0.0.2:9500').start();
  await turn();
  assert.deepEqual(known(), [A, 'http://10.0.0.2:9500']);
});

test('a worker that comes is told at once, without waiting for the next announcement', async (t) => {
  const { announcer, directory, cache } = world(t);
  await announcer().start();
  // The cache has forgotten who owns what, as it may.
  await cache.delete(ownerKey(1));
  const { directory: heard, known } = directory();
  await heard.start();
  await turn();
  assert.deepEqual(known(), [A]);
});

test('the owner of a partition can be looked up', async (t) => {
  const { announcer, cache } = world(t);
  await announcer().start();
  assert.deepEqual(parseAnnouncement((await cache.get(ownerKey(1))) ?? ''), { v: 1, controller: `at ${A}`, url: A, leaving: false, workers: 3 });
  assert.equal(await cache.get(ownerKey(0)), undefined);
});

test('a controller that leaves is forgotten at once', async (t) => {
  const { announcer, directory } = world(t);
  const leaving = announcer();
  await leaving.start();
  const { directory: heard, known } = directory();
  await heard.start();
  assert.deepEqual(known(), [A]);
  await leaving.stop();
  await turn();
  assert.deepEqual(known(), []);
});

test('one that is not heard of any more is forgotten after a while; what is no announcement is not listened to', async (t) => {
  const { directory, cache, clock } = world(t);
  const { directory: heard, known } = directory();
  await heard.start();
  await cache.publish(CONTROLLERS_CHANNEL, JSON.stringify({ v: 1, controller: 'c', url: A, leaving: false }));
  await cache.publish(CONTROLLERS_CHANNEL, 'not an announcement');
  await turn();
  for (let ms = 0; ms < ANNOUNCEMENT_TTL_MS; ms += 2_000) {
    assert.deepEqual(known(), [A]);
    clock.advance(2_000);
    await turn();
  }
  clock.advance(2_000);
  await turn();
  assert.deepEqual(known(), []);
});

test('one that is heard of again and again stays', async (t) => {
  const { announcer, directory, clock } = world(t);
  await announcer().start();
  const { directory: heard, known } = directory();
  await heard.start();
  for (let i = 0; i < 20; i++) {
    clock.advance(ANNOUNCE_INTERVAL_MS);
    await turn();
  }
  assert.deepEqual(known(), [A]);
});

test('controllers of the settings are served without a cache; a name stands for all its addresses', async (t) => {
  const { announcer, directory } = world(t, away());
  const { directory: heard, known } = directory([A, 'http://localhost:9501', 'http://no-such-name.invalid:1']);
  await heard.start();
  assert.deepEqual(known(), [A, 'http://127.0.0.1:9501']);
  await announcer().start();
});

test('a controller that another one has told of is known, and forgotten if nothing else is heard of it; what is no URL is not', async (t) => {
  const { directory, clock } = world(t);
  const { directory: heard, known } = directory();
  await heard.start();
  heard.met(A);
  heard.met('not a URL');
  assert.deepEqual(known(), [A]);
  for (let ms = 0; ms <= ANNOUNCEMENT_TTL_MS; ms += 2_000) {
    clock.advance(2_000);
    await turn();
  }
  assert.deepEqual(known(), []);
});

test('no more controllers are listened to than the bound', async (t) => {
  const { directory, cache } = world(t);
  const { directory: heard, known } = directory();
  await heard.start();
  for (let i = 0; i < 100; i++) await cache.publish(CONTROLLERS_CHANNEL, JSON.stringify({ v: 1, controller: 'c', url: `http://10.0.1.${i}:1`, leaving: false }));
  await turn();
  assert.equal(known().length, 64);
});

test('what has stopped leaves no timer and hears nothing', async (t) => {
  const { announcer, directory, clock } = world(t);
  const announcing = announcer();
  await announcing.start();
  const { directory: heard, known } = directory();
  await heard.start();
  await heard.stop();
  await announcing.stop();
  assert.equal(clock.pending, 0);
  await announcer('http://10.0.0.9:1').start();
  await turn();
  assert.deepEqual(known(), [A]);
});
