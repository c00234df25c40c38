import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import { Announcer } from '../../../controller/announcer.ts';
import { Peers } from '../../../controller/peers.ts';
import { CacheUnavailableError, type Cache } from '../../../platform/cache/cache.ts';
import { memoryCache } from '../../../platform/cache/memory.ts';
import { ANNOUNCEMENT_TTL_MS, CONTROLLERS_CHANNEL } from '../../../platform/protocol/announcement.ts';
import { createLogger } from '../../../platform/telemetry/logger.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const logger = createLogger('silent');

interface World {
  readonly clock: VirtualClock;
  readonly cache: Cache;
  /** A controller that is there, with so many workers. */
  readonly present: (controller: string, workers: number) => Promise<Announcer>;
  readonly peers: (controller: string) => { readonly peers: Peers; readonly met: readonly string[]; readonly started: () => Promise<void> };
}

function world(t: TestContext): World {
  const clock = new VirtualClock();
  const cache = memoryCache({ clock });
  t.after(() => cache.close());
  return {
    clock,
    cache,
    async present(controller, workers) {
      const announcer = new Announcer({ controller, url: `http://${controller}:9500`, cache, clock, logger, owned: () => new Map(), workers: () => workers });
      t.after(() => announcer.stop());
      await announcer.start();
      return announcer;
    },
    peers(controller) {
      const met: string[] = [];
      const peers = new Peers({ controller, cache, clock, logger, onNew: (url) => met.push(url) });
      t.after(() => peers.stop());
      const started = async (): Promise<void> => {
        const starting = peers.start();
        await turn();
        clock.advance(300);
        await starting;
      };
      return { peers, met, started };
    },
  };
}

test('a controller that comes hears who is there, and how many workers the best connected has; not of itself', async (t) => {
  const { present, peers } = world(t);
  await present('a', 2);
  await present('b', 5);
  await present('c', 9);
  const { peers: heard, met, started } = peers('c');
  await started();
  assert.deepEqual([heard.workers, [...met].sort()], [5, ['http://a:9500', 'http://b:9500']]);
});

test('one that is alone has nobody to wait for', async (t) => {
  const { peers } = world(t);
  const { peers: heard, met, started } = peers('a');
  await started();
  assert.deepEqual([heard.workers, met], [0, []]);
});

test('one that comes later is told once, and again when it has been away', async (t) => {
  const { present, peers, clock } = world(t);
  const { peers: heard, met, started } = peers('a');
  await started();
  const b = await present('b', 1);
  await turn();
  clock.advance(2_000);
  await turn();
  assert.deepEqual([met, heard.workers], [['http://b:9500'], 1]);
  await b.stop();
  await turn();
  assert.equal(heard.workers, 0);
  await present('b', 1);
  await turn();
  assert.equal(met.length, 2);
});

test('those that have fallen silent make room for others; no more are listened to than the bound, nor what is no announcement', async (t) => {
  const { peers, cache, clock } = world(t);
  const { peers: heard, met, started } = peers('a');
  await started();
  const announce = (host: string): Promise<void> => cache.publish(CONTROLLERS_CHANNEL, JSON.stringify({ v: 1, controller: host, url: `http://${host}:1`, leaving: false }));
  await cache.publish(CONTROLLERS_CHANNEL, 'no announcement');
  for (let i = 0; i < 100; i++) await announce(`host${i}`);
  assert.deepEqual([met.length, heard.workers], [64, 0]);
  clock.advance(ANNOUNCEMENT_TTL_MS + 1);
  await announce('another');
  assert.equal(met.at(-1), 'http://another:1');
});

test('without a cache there is nobody, at once', async () => {
  const fail = (): Promise<never> => Promise.reject(new CacheUnavailableError('away'));
  const cache = { subscribe: fail, publish: fail } as Partial<Cache> as Cache;
  const peers = new Peers({ controller: 'a', cache, clock: new VirtualClock(), logger, onNew: () => undefined });
  await peers.start();
  assert.equal(peers.workers, 0);
  await peers.stop();
});
