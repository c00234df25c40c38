import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { memoryCache } from '../../platform/cache/memory.ts';
import { systemClock, type Clock } from '../../platform/clock.ts';
import { StoreUnavailableError, type ObjectStore } from '../../platform/object-store/object-store.ts';
import { openObjectRegistry, type ObjectRegistry } from '../../platform/registry/object-store.ts';
import { REGISTRY_BUCKET } from '../../platform/model/internal-buckets.ts';
import { nameOf } from '../../platform/registry/object-store/document.ts';
import { RevisionConflictError, type Entry, type Registry } from '../../platform/registry/registry.ts';
import { createLogger } from '../../platform/telemetry/logger.ts';
import type { Call, InterceptedStore } from '../support/intercepted-store.ts';
import { A, scene } from '../support/object-registries.ts';
import { until } from '../support/redis-server.ts';
import { NO_S3, openTestStore, S3, type S3Service } from '../support/s3-stores.ts';

const logger = createLogger('silent');
const cache = memoryCache({ clock: systemClock });
const HOUR_MS = 3_600_000;

describe('object registry: what was deleted', () => {
  const objects = async (store: ObjectStore): Promise<readonly string[]> => (await store.list({ bucket: REGISTRY_BUCKET, limit: 100 })).objects.map(({ key }) => key);
  const deleted = async (registry: Registry): Promise<number> => {
    const { revision } = await registry.put(A, { life: 1 }, 'absent');
    await registry.delete(A, revision);
    return revision;
  };
  /** A call of one kind that is held up where a test wants it. */
  const hold = (store: InterceptedStore, matches: (operation: string, body: string) => boolean): { readonly reached: Promise<void>; go(outcome?: 'fail'): void } => {
    const reached = Promise.withResolvers<void>();
    const released = Promise.withResolvers<'fail' | undefined>();
    store.intercept = async ({ operation, body }, proceed) => {
      if (!matches(operation, textOf(body))) return proceed();
      store.intercept = (_, go) => go();
      reached.resolve();
      if ((await released.promise) === 'fail') throw new StoreUnavailableError('the process died');
      return proceed();
    };
    return { reached: reached.promise, go: (outcome) => released.resolve(outcome) };
  };
  const isSeal = (operation: string, body: string): boolean => operation === 'put' && body.includes('"sealed":true');
  const isRemoval = (operation: string): boolean => operation === 'delete';

  it('is cleared away after a day, and revisions go on above', async (context) => {
    const { clock, store, open } = await scene(context);
    const registry = await open({ clock });
    const first = await deleted(registry);
    clock.advance(23 * HOUR_MS);
    assert.equal(await registry.collect(), 0);
    assert.deepEqual(await objects(store), ['function/000000000000.2fa!']);
    clock.advance(2 * HOUR_MS);
    assert.equal(await registry.collect(), 1);
    assert.deepEqual(await objects(store), []);
    const { revision } = await registry.put(A, {}, 'absent');
    assert.ok(revision > first + 10);
  });

  it('is cleared away by itself', async (context) => {
    const { clock, store, open } = await scene(context);
    const registry = await open({ clock });
    await deleted(registry);
    clock.advance(25 * HOUR_MS);
    await until(async () => {
      clock.advance(HOUR_MS);
      return (await objects(store)).length === 0;
    });
  });

  it('is let alone where it lives again: who creates first wins over who clears away, and without a seal would not', async (context) => {
    const { clock, store, open } = await scene(context);
    const [collector, registry] = [await open({ clock }), await open()];
    await deleted(registry);
    clock.advance(25 * HOUR_MS);
    const seal = hold(store, isSeal);
    const collecting = collector.collect();
    await seal.reached;
    const entry = await registry.put(A, { life: 2 }, 'absent');
    seal.go();
    assert.equal(await collecting, 0);
    assert.deepEqual(await registry.get(A), entry);

    // The same without a seal.
    await registry.delete(A, entry.revision);
    clock.advance(25 * HOUR_MS);
    const location = { bucket: REGISTRY_BUCKET, key: nameOf(A) };
    const isTombstone = ((await store.head(location))?.lastModifiedMs ?? 0) <= clock.now() - 24 * HOUR_MS;
    await registry.put(A, { life: 3 }, 'absent');
    if (isTombstone) await store.delete(location);
    assert.equal(await registry.get(A), undefined);
  });

  it('makes who creates it anew wait for the removal that is under way', async (context) => {
    const { clock, store, open } = await scene(context);
    const [collector, registry] = [await open({ clock }), await open()];
    await deleted(registry);
    clock.advance(25 * HOUR_MS);
    const removal = hold(store, isRemoval);
    const collecting = collector.collect();
    await removal.reached;
    assert.equal(await registry.get(A), undefined);
    const before = store.calls.length;
    const creating = registry.put(A, { life: 2 }, 'absent');
    await until(() => store.calls.slice(before).filter(({ operation }) => operation === 'get').length >= 3);
    removal.go();
    assert.equal(await collecting, 1);
    const created = await creating;
    assert.deepEqual(await registry.get(A), created);
  });

  it('is removed by another after an hour where who sealed it died', async (context) => {
    const { clock, store, open } = await scene(context);
    const dying = await open({ clock });
    const { revision } = await dying.put(A, {}, 'absent');
    await dying.delete(A, revision);
    clock.advance(25 * HOUR_MS);
    const removal = hold(store, isRemoval);
    const collecting = dying.collect();
    await removal.reached;
    removal.go('fail');
    await assert.rejects(collecting, /the process died/);
    await dying.close();

    const registry = await open({ clock });
    const creating = registry.put(A, {}, 'absent').catch((error: unknown) => error as Error);
    let refused: Error | Entry | undefined;
    void creating.then((outcome) => (refused = outcome));
    await until(() => {
      clock.advance(20);
      return refused !== undefined;
    });
    assert.match((refused as Error).message, /was deleted, and is being cleared away/);
    assert.equal(await registry.collect(), 0);
    assert.equal((await objects(store)).length, 1);
    clock.advance(HOUR_MS);
    await until(async () => (await objects(store)).length === 0);
    assert.ok((await registry.put(A, {}, 'absent')).revision > revision);
  });

  it('is not removed by who was held up after sealing it', async (context) => {
    const { clock, store, open } = await scene(context);
    const registry = await open({ clock });
    await deleted(registry);
    clock.advance(25 * HOUR_MS);
    store.intercept = async ({ operation, body }, proceed) => {
      const result = await proceed();
      if (isSeal(operation, textOf(body))) clock.advance(31_000);
      return result;
    };
    assert.equal(await registry.collect(), 0);
    assert.deepEqual(store.calls.filter(({ operation }) => operation === 'delete'), []);
  });

  const storm = async (open: (clock: Clock) => Promise<ObjectRegistry>, rounds: number): Promise<void> => {
    // To this clock every tombstone is old.
    const ahead: Clock = { now: () => Date.now() + 25 * HOUR_MS, at: (atMs, action) => systemClock.at(atMs - 25 * HOUR_MS, action) };
    const registries = await Promise.all(Array.from({ length: 4 }, () => open(ahead)));
    let living = true;
    let cleared = 0;
    const clearing = registries.slice(2).map(async (registry) => {
      while (living) cleared += await registry.collect();
    });
    const lives = registries.map(async (registry) => {
      for (let round = 0; round < rounds; ) {
        const entry = await registry.put(A, { round }, 'absent').catch((error: unknown) => {
          if (error instanceof RevisionConflictError) return undefined;
          throw error;
        });
        if (entry === undefined) continue;
        // Only who made it deletes it: were it not there, it was cleared away alive.
        assert.equal((await registry.get(A))?.revision, entry.revision);
        await registry.delete(A, entry.revision);
        round += 1;
      }
    });
    try {
      await Promise.all(lives);
      await until(() => cleared > 0);
    } finally {
      living = false;
      await Promise.all(clearing);
      for (const registry of registries) await registry.close();
    }
  };

  it('never takes with it what lives again, in a storm over files', async (context) => {
    const { open } = await scene(context);
    await storm((clock) => open({ clock }), 8);
  });

  it('never takes with it what lives again, in a storm over S3', { skip: NO_S3 }, async (context) => {
    const { store, dispose } = openTestStore(S3 as S3Service);
    context.after(dispose);
    await storm((clock) => openObjectRegistry({ store, bucket: 'registry-storm', cache, logger, clock }), 8);
  });
});

function textOf(body: Call['body']): string {
  return Buffer.isBuffer(body) ? body.toString() : '';
}
