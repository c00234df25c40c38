import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { memoryCache } from '../../platform/cache/memory.ts';
import { systemClock, type Clock } from '../../platform/clock.ts';
import { fileObjectStore } from '../../platform/object-store/file-system.ts';
import type { ObjectStore } from '../../platform/object-store/object-store.ts';
import { openObjectRegistry, type ObjectRegistry, type ObjectRegistryOptions } from '../../platform/registry/object-store.ts';
import { RevisionConflictError, type Entry, type EntryChange, type EntryId, type Registry } from '../../platform/registry/registry.ts';
import { createLogger } from '../../platform/telemetry/logger.ts';
import { interceptedStore, type InterceptedStore } from './intercepted-store.ts';
import { until } from './redis-server.ts';
import { VirtualClock } from './virtual-clock.ts';

export const A: EntryId = { kind: 'function', key: '000000000000/a' };

export async function openFiles(dataDir: string, clock: Clock = systemClock): Promise<ObjectStore> {
  return fileObjectStore({ dataDir, baseUrl: () => 'http://127.0.0.1:1', signingSecret: Buffer.alloc(32), clock });
}

/** A store on files for one test, and registries over it that go with the test. */
export interface Scene {
  readonly store: InterceptedStore;
  readonly clock: VirtualClock;
  readonly open: (options?: Partial<ObjectRegistryOptions>) => Promise<ObjectRegistry>;
}

export async function scene(context: TestContext): Promise<Scene> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-registry-'));
  const clock = new VirtualClock();
  const store = interceptedStore(await openFiles(dataDir, clock));
  const opened: ObjectRegistry[] = [];
  context.after(async () => {
    store.intercept = (_, proceed) => proceed();
    for (const registry of opened) await registry.close();
    await rm(dataDir, { recursive: true });
  });
  return {
    store,
    clock,
    open: async (options = {}) => {
      const registry = await openObjectRegistry({ store, cache: memoryCache({ clock }), logger: createLogger('silent'), ...options });
      opened.push(registry);
      return registry;
    },
  };
}

/** What a registry tells of, in order; and the wait for more. */
export function listen(registry: Registry): { readonly told: EntryChange[]; readonly until: (matches: (change: EntryChange) => boolean) => Promise<void> } {
  const told: EntryChange[] = [];
  registry.watch((change) => void told.push(change));
  return { told, until: (matches) => until(() => told.some(matches)) };
}

export function valueOf(entry: Entry | undefined): unknown {
  return entry?.value;
}

export async function increment(registry: Registry, id: EntryId): Promise<void> {
  for (;;) {
    const entry = await registry.get(id);
    assert.ok(entry !== undefined);
    try {
      await registry.put(id, { n: (entry.value as { n: number }).n + 1 }, entry.revision);
      return;
    } catch (error) {
      if (!(error instanceof RevisionConflictError)) throw error;
    }
  }
}

/** Time stands still, so that on a busy machine nobody's patience ends; waits are real. */
export function patientClock(): Clock {
  const frozenMs = Date.now();
  return { now: () => frozenMs, at: (atMs, action) => systemClock.at(Date.now() + atMs - frozenMs, action) };
}
