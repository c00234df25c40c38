import assert from 'node:assert/strict';
import { it } from 'node:test';
import { memoryCache } from '../../platform/cache/memory.ts';
import { VirtualClock } from '../support/virtual-clock.ts';
import { cacheContract } from './cache.contract.ts';

cacheContract(
  'memory',
  () => {
    const clock = new VirtualClock();
    return Promise.resolve({ cache: memoryCache({ clock }), advance: (ms: number) => clock.advance(ms), dispose: () => Promise.resolve() });
  },
  { 'tells of messages that may have been missed, each time once they arrive again': 'within a process nothing comes between those who publish and those who listen' },
);

it('memory cache: an entry expires to the millisecond', async () => {
  const clock = new VirtualClock();
  const cache = memoryCache({ clock });
  await cache.set('a', '1', 1_000);
  await cache.increment('n', 1, 1_000);
  clock.advance(999);
  assert.deepEqual([await cache.get('a'), await cache.get('n')], ['1', '1']);
  clock.advance(1);
  assert.deepEqual([await cache.get('a'), await cache.get('n')], [undefined, undefined]);
});

it('memory cache: the entry written longest ago makes room for one beyond the bound', async () => {
  const cache = memoryCache({ clock: new VirtualClock(), maxEntries: 2 });
  await cache.set('a', '1', 1_000);
  await cache.set('b', '2', 1_000);
  await cache.set('a', '3', 1_000);
  await cache.increment('c', 4, 1_000);
  assert.deepEqual(await Promise.all(['a', 'b', 'c'].map((key) => cache.get(key))), ['3', undefined, '4']);
});
