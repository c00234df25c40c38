import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { memoryCache } from '../../platform/cache/memory.ts';
import { systemClock } from '../../platform/clock.ts';
import { PreconditionFailedError, StoreUnavailableError } from '../../platform/object-store/object-store.ts';
import { openS3ObjectStore } from '../../platform/object-store/s3.ts';
import { openObjectRegistry } from '../../platform/registry/object-store.ts';
import { REGISTRY_BUCKET } from '../../platform/model/internal-buckets.ts';
import { RevisionConflictError, type Entry, type Registry } from '../../platform/registry/registry.ts';
import { createLogger } from '../../platform/telemetry/logger.ts';
import type { InterceptedStore } from '../support/intercepted-store.ts';
import { A, increment, listen, openFiles, patientClock, scene, valueOf } from '../support/object-registries.ts';
import { startLossyProxy } from '../support/s3-fakes.ts';
import { NO_S3, openTestStore, S3, type S3Service } from '../support/s3-stores.ts';
import { registryContract } from './registry.contract.ts';

const logger = createLogger('silent');
const cache = memoryCache({ clock: systemClock });

registryContract('objects in files', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-registry-'));
  const store = await openFiles(dataDir);
  return { open: () => openObjectRegistry({ store, cache, logger }), dispose: () => rm(dataDir, { recursive: true }) };
});

const s3 = S3 === undefined ? undefined : openTestStore(S3);
if (s3 !== undefined) {
  const { store, dispose } = s3;
  after(dispose);
  let registries = 0;
  registryContract('objects in S3', () => {
    const bucket = `registry-${(registries += 1)}`;
    return Promise.resolve({ open: () => openObjectRegistry({ store, bucket, cache, logger }), dispose: () => Promise.resolve() });
  });
}

describe('object registry: several processes', () => {
  const countsTogether = async (registries: readonly Registry[], each: number): Promise<void> => {
    await registries[0]?.put(A, { n: 0 }, 'absent');
    const revisions: number[] = [];
    const work = registries.flatMap((registry) => Array.from({ length: each }, () => increment(registry, A)));
    const reading = (async () => {
      for (;;) {
        const entry = await registries.at(-1)?.get(A);
        revisions.push(entry?.revision ?? NaN);
        if ((valueOf(entry) as { n: number }).n === work.length) return;
      }
    })();
    await Promise.all([...work, reading]);
    for (const registry of registries) assert.deepEqual(valueOf(await registry.get(A)), { n: work.length });
    assert.deepEqual(revisions, [...revisions].sort((left, right) => left - right), 'revisions grow');
  };

  it('lose no increment over files', async (context) => {
    const { open } = await scene(context);
    await countsTogether(await Promise.all(Array.from({ length: 5 }, () => open())), 12);
  });

  it('lose no increment over S3, each with a store of its own', { skip: NO_S3 }, async () => {
    const { options } = s3 as NonNullable<typeof s3>;
    const stores = Array.from({ length: 4 }, () => openS3ObjectStore(options));
    const registries = await Promise.all(stores.map((store) => openObjectRegistry({ store, bucket: 'registry-shared', cache, logger })));
    await countsTogether(registries, 8);
    for (const registry of registries) await registry.close();
    for (const store of stores) store.close();
  });

  it('lose and double no increment while answers are lost, where adding without looking would', async (context) => {
    const { store, open } = await scene(context);
    const tried = new Set<string>();
    // The first try of every change fails: of one it is not made, of the next its answer is lost.
    store.intercept = async ({ operation, body }, proceed) => {
      const change = Buffer.isBuffer(body) ? body.toString() : '';
      if (operation !== 'put' || tried.has(change)) return proceed();
      tried.add(change);
      if (tried.size % 2 === 0) await proceed();
      throw new StoreUnavailableError(tried.size % 2 === 0 ? 'the answer is lost' : 'away');
    };
    const registries = await Promise.all(Array.from({ length: 3 }, () => open({ clock: patientClock() })));
    await countsTogether(registries, 4);

    const location = { bucket: REGISTRY_BUCKET, key: 'naive' };
    const naively = async (): Promise<void> => {
      const change = Buffer.from(randomUUID());
      for (;;) {
        const { etag } = (await store.head(location)) ?? {};
        const n = Number((await store.head(location))?.metadata.n ?? 0);
        try {
          await store.put(location, change, { metadata: { n: String(n + 1) }, condition: etag === undefined ? { kind: 'absent' } : { kind: 'etag', etag } });
          return;
        } catch (error) {
          if (!(error instanceof StoreUnavailableError || error instanceof PreconditionFailedError)) throw error;
        }
      }
    };
    for (let n = 0; n < 12; n += 1) await naively();
    assert.ok(Number((await store.head(location))?.metadata.n) > 12);
  });

  it('over a line that loses an answer: the change is made once, and its maker knows', { skip: NO_S3 }, async (context) => {
    const proxy = await startLossyProxy((S3 as S3Service).endpoint);
    const { options } = s3 as NonNullable<typeof s3>;
    const store = openS3ObjectStore({ ...options, endpoint: proxy.url });
    const registry = await openObjectRegistry({ store, bucket: 'registry-lossy', cache, logger });
    context.after(async () => {
      await registry.close();
      store.close();
      await proxy.stop();
    });
    const { told } = listen(registry);
    proxy.loseNextAnswers(1);
    const { revision } = await registry.put(A, { n: 1 }, 'absent');
    proxy.loseNextAnswers(1);
    const changed = await registry.put(A, { n: 2 }, revision);
    assert.deepEqual(await registry.get(A), changed);
    proxy.loseNextAnswers(1);
    await registry.delete(A, changed.revision);
    assert.equal(await registry.get(A), undefined);
    assert.equal(proxy.lost, 3);
    assert.deepEqual(told.map(({ deleted }) => deleted), [false, false, true]);
  });
});

describe('object registry: an answer that is lost', () => {
  const clock = patientClock();
  /** Loses the answer to the next put after it was made (or not), and lets `others` act before anyone looks. */
  const loseNext = (store: InterceptedStore, { made, others }: { readonly made: boolean; readonly others?: () => Promise<unknown> }): void => {
    const before = store.intercept;
    store.intercept = async (call, proceed) => {
      if (call.operation !== 'put') return before(call, proceed);
      store.intercept = before;
      if (made) await proceed();
      await others?.();
      throw new StoreUnavailableError('the answer is lost');
    };
  };

  it('of a change that was not made: it is made', async (context) => {
    const { store, open } = await scene(context);
    const registry = await open({ clock });
    loseNext(store, { made: false });
    const { revision } = await registry.put(A, { n: 1 }, 'absent');
    loseNext(store, { made: false });
    await registry.put(A, { n: 2 }, revision);
    assert.deepEqual(valueOf(await registry.get(A)), { n: 2 });
  });

  it('of a change that others have built on since: it was made', async (context) => {
    const { store, open } = await scene(context);
    const [registry, other] = [await open({ clock }), await open({ clock })];
    loseNext(store, { made: true, others: () => increment(other, A) });
    const { revision } = await registry.put(A, { n: 1 }, 'absent');
    await assert.rejects(registry.put(A, { n: 9 }, revision), RevisionConflictError);
    const current = (await registry.get(A)) as Entry;
    loseNext(store, { made: true, others: async () => { for (let n = 0; n < 15; n += 1) await increment(other, A); } });
    await registry.put(A, { n: 100 }, current.revision);
    assert.deepEqual(valueOf(await registry.get(A)), { n: 115 });
  });

  it('of a change that came too late: it was not made', async (context) => {
    const { store, open } = await scene(context);
    const [registry, other] = [await open({ clock }), await open({ clock })];
    loseNext(store, { made: false, others: () => other.put(A, { n: 1 }, 'absent') });
    await assert.rejects(registry.put(A, { n: 9 }, 'absent'), RevisionConflictError);
    const { revision } = (await registry.get(A)) as Entry;
    loseNext(store, { made: false, others: () => increment(other, A) });
    await assert.rejects(registry.put(A, { n: 9 }, revision), RevisionConflictError);
    assert.deepEqual(valueOf(await registry.get(A)), { n: 2 });
  });

  it('of a change after which too many came: nobody knows, and it says so', async (context) => {
    const { store, open } = await scene(context);
    const [registry, other] = [await open({ clock }), await open({ clock })];
    const { revision } = await registry.put(A, { n: 1 }, 'absent');
    loseNext(store, { made: true, others: async () => { for (let n = 0; n < 17; n += 1) await increment(other, A); } });
    await assert.rejects(registry.put(A, { n: 100 }, revision), { name: 'RegistryUnavailableError', message: /cannot be told whether by this change/ });
  });

  it('while the store stays away: unavailable', async (context) => {
    const { store, open } = await scene(context);
    const registry = await open({ clock });
    await registry.put(A, { n: 1 }, 'absent');
    const { revision } = (await registry.get(A)) as Entry;
    store.intercept = () => Promise.reject(new StoreUnavailableError('nobody listens there'));
    const requests = [() => registry.get(A), () => registry.put(A, {}, revision), () => registry.put({ ...A, key: 'b' }, {}, 'absent'), () => registry.delete(A, revision), () => registry.list({ kind: 'function', prefix: '', limit: 1 }), () => registry.check(), () => registry.collect(), () => open({ clock })];
    for (const request of requests) await assert.rejects(request(), { name: 'RegistryUnavailableError', message: /nobody listens there/ });
  });

  it('passes over a store that is away for a moment', async (context) => {
    const { store, open } = await scene(context);
    const registry = await open({ clock });
    let failures = 2;
    store.intercept = (_, proceed) => (failures-- > 0 ? Promise.reject(new StoreUnavailableError('away')) : proceed());
    await registry.put(A, { n: 1 }, 'absent');
    failures = 2;
    assert.deepEqual(valueOf(await registry.get(A)), { n: 1 });
  });
});
