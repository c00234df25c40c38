import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { BoundedView } from '../../../platform/functions/bounded-view.ts';
import { FunctionExistsError, type FunctionCatalogue } from '../../../platform/functions/function-catalogue.ts';
import { functionCatalogue, type CatalogueOptions } from '../../../platform/functions/registry-catalogue.ts';
import type { FunctionRecord, FunctionVersion } from '../../../platform/model/function.ts';
import { RevisionConflictError, type Entry, type EntryId, type Registry } from '../../../platform/registry/registry.ts';
import { openSqliteRegistry } from '../../../platform/registry/sqlite.ts';

const ACCOUNT = '000000000000';

function version(number: string, description = ''): FunctionVersion {
  return {
    version: number,
    configuration: {
      runtime: 'nodejs24.x',
      handler: 'index.handler',
      role: `arn:aws:iam::${ACCOUNT}:role/test`,
      description,
      timeoutSec: 3,
      memoryMiB: 128,
      ephemeralStorageMiB: 512,
      environment: undefined,
      architecture: 'x86_64',
      tracingMode: 'PassThrough',
      logGroup: '/aws/lambda/test',
      code: { sha256: 'x', sizeBytes: 1, objectKey: 'x' },
    },
    revisionId: randomUUID(),
    lastModifiedMs: 1,
    state: 'Active',
    lastUpdateStatus: 'Successful',
  };
}

function record(name = 'thumbnail'): FunctionRecord {
  return { account: ACCOUNT, name, uid: randomUUID(), latest: version('$LATEST'), publishedVersions: [], nextVersion: 1, aliases: [], tags: {} };
}

/** A registry that counts what is asked of it and can hold back the answers of `get`, which are then those of the time of asking. */
class WatchedRegistry implements Registry {
  readonly #registry: Registry;
  readonly calls: string[] = [];
  #holding = false;
  #held: (() => void)[] = [];

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** Whether answers to further questions are held back. */
  hold(holding: boolean): void {
    this.#holding = holding;
  }

  /** Lets go of the answers held back so far. */
  release(): void {
    for (const answer of this.#held.splice(0)) answer();
  }

  async get(id: EntryId): Promise<Entry | undefined> {
    this.calls.push(`get ${id.kind}`);
    const entry = await this.#registry.get(id);
    if (this.#holding) await new Promise<void>((resolve) => this.#held.push(resolve));
    return entry;
  }

  put: Registry['put'] = (id, value, condition) => {
    this.calls.push(`put ${id.kind}`);
    return this.#registry.put(id, value, condition);
  };
  delete: Registry['delete'] = (id, condition) => {
    this.calls.push(`delete ${id.kind}`);
    return this.#registry.delete(id, condition);
  };
  list: Registry['list'] = (query) => this.#registry.list(query);
  watch: Registry['watch'] = (listener) => this.#registry.watch(listener);
  close: Registry['close'] = () => this.#registry.close();
}

interface Scene {
  readonly registry: WatchedRegistry;
  readonly catalogue: FunctionCatalogue;
  /** Waits that the catalogue has asked for, in milliseconds. */
  readonly waits: number[];
}

async function inScene(run: (scene: Scene) => Promise<void>, options: Partial<CatalogueOptions> = {}): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-catalogue-'));
  const registry = new WatchedRegistry(openSqliteRegistry({ dataDir }));
  const waits: number[] = [];
  const wait = (ms: number): Promise<void> => {
    waits.push(ms);
    return Promise.resolve();
  };
  try {
    await run({ registry, catalogue: functionCatalogue({ registry, region: 'eu-test-1', random: () => 0.5, wait, ...options }), waits });
  } finally {
    await registry.close();
    await rm(dataDir, { recursive: true });
  }
}

test('creates once', () =>
  inScene(async ({ catalogue }) => {
    const first = record();
    await catalogue.create(first);
    assert.deepEqual(await catalogue.get(ACCOUNT, 'thumbnail'), JSON.parse(JSON.stringify(first)));
    await assert.rejects(catalogue.create(record()), FunctionExistsError);
    assert.equal((await catalogue.get(ACCOUNT, 'thumbnail'))?.uid, first.uid);
    assert.equal(await catalogue.get('111111111111', 'thumbnail'), undefined);
  }));

test('updates without losing anyone’s change', () =>
  inScene(async ({ catalogue, waits }) => {
    await catalogue.create(record());
    const names = Array.from({ length: 30 }, (_, i) => `tag-${i}`);
    await Promise.all(names.map((name) => catalogue.update(ACCOUNT, 'thumbnail', (newest) => Promise.resolve({ ...newest, tags: { ...newest.tags, [name]: '' } }))));
    assert.deepEqual(Object.keys((await catalogue.get(ACCOUNT, 'thumbnail'))?.tags ?? {}).sort(), names.sort());
    assert.ok(waits.length > 0, 'there was a conflict');
    assert.ok(waits.every((ms) => ms > 0 && ms <= 50), 'half of the back-off, as the injected random says');
  }));

test('gives up when every attempt is beaten', () =>
  inScene(async ({ catalogue, registry }) => {
    await catalogue.create(record());
    const beaten = catalogue.update(ACCOUNT, 'thumbnail', async (newest) => {
      const entry = await registry.get({ kind: 'function', key: `${ACCOUNT}/thumbnail` });
      await registry.put({ kind: 'function', key: `${ACCOUNT}/thumbnail` }, newest, entry?.revision ?? 0);
      return { ...newest };
    });
    await assert.rejects(beaten, RevisionConflictError);
  }));

test('an update that changes nothing writes nothing; one of nothing is undefined; what it throws comes through', () =>
  inScene(async ({ catalogue, registry }) => {
    assert.equal(await catalogue.update(ACCOUNT, 'thumbnail', (newest) => newest), undefined);
    await catalogue.create(record());
    registry.calls.length = 0;
    assert.equal((await catalogue.update(ACCOUNT, 'thumbnail', (newest) => newest))?.name, 'thumbnail');
    assert.deepEqual(registry.calls, ['get function']);
    await assert.rejects(catalogue.update(ACCOUNT, 'thumbnail', () => Promise.reject(new TypeError('mine'))), /mine/);
    let calls = 0;
    const elsewhere = catalogue.update(ACCOUNT, 'thumbnail', () => {
      calls++;
      throw new RevisionConflictError({ kind: 'setting', key: 'other' });
    });
    await assert.rejects(elsewhere, RevisionConflictError);
    assert.equal(calls, 1, 'a conflict about something else is not retried');
  }));

test('a version is there once the function names it, and gone with its function', () =>
  inScene(async ({ catalogue, registry }) => {
    const unpublished = record();
    await catalogue.create(unpublished);
    const body = version('1', 'first');
    await catalogue.putVersionBody(unpublished, body);
    assert.equal(await catalogue.getVersion(unpublished, '1'), undefined);
    assert.equal(await catalogue.viewSpec(unpublished, '1'), undefined);
    const published = await catalogue.update(ACCOUNT, 'thumbnail', (newest) => ({ ...newest, publishedVersions: [{ version: '1', revisionId: body.revisionId }], nextVersion: 2 }));
    assert.ok(published !== undefined);
    assert.equal((await catalogue.getVersion(published, '1'))?.configuration.description, 'first');
    assert.equal(catalogue.peekSpec(published, '1'), undefined);
    const spec = await catalogue.viewSpec(published, '1');
    assert.equal(spec?.versionArn, `arn:aws:lambda:eu-test-1:${ACCOUNT}:function:thumbnail:1`);
    assert.equal(spec.id, `${ACCOUNT}/thumbnail/${published.uid}/1/${body.revisionId}`);
    assert.equal(catalogue.peekSpec(published, '1'), spec);
    assert.equal(catalogue.peekSpec(published, '2'), undefined);
    assert.equal(catalogue.peekSpec(published, '$LATEST')?.version, '$LATEST');
    assert.equal(catalogue.peekSpec(published, '$LATEST'), await catalogue.viewSpec(published, '$LATEST'));

    registry.calls.length = 0;
    assert.equal(await catalogue.delete(ACCOUNT, 'thumbnail'), true);
    assert.deepEqual(registry.calls.filter((call) => call.startsWith('delete')), ['delete function', 'delete version']);
    assert.equal(catalogue.peekSpec(published, '1'), undefined, 'its spec has left the view');
    assert.deepEqual((await registry.list({ kind: 'version', prefix: '', limit: 10 })).entries, []);
    assert.equal(await catalogue.delete(ACCOUNT, 'thumbnail'), false);
  }));

test('deletes the versions of its own incarnation only', () =>
  inScene(async ({ catalogue, registry }) => {
    const [gone, other] = [record(), record('thumbnail2')];
    for (const each of [gone, other]) {
      await catalogue.create(each);
      for (let i = 0; i < 3; i++) await catalogue.putVersionBody(each, version(String(i)));
    }
    await catalogue.delete(ACCOUNT, 'thumbnail');
    const left = (await registry.list({ kind: 'version', prefix: '', limit: 10 })).entries.map(({ key }) => key);
    assert.equal(left.length, 3);
    assert.ok(left.every((key) => key.startsWith(`${ACCOUNT}/thumbnail2/`)));
  }));

test('lists by name, page by page, one account', () =>
  inScene(async ({ catalogue }) => {
    for (const name of ['c', 'a', 'b', 'a-2']) await catalogue.create(record(name));
    await catalogue.create({ ...record('z'), account: '999999999999' });
    const first = await catalogue.list(ACCOUNT, undefined, 2);
    assert.deepEqual(first.records.map(({ name }) => name), ['a', 'a-2']);
    assert.equal(first.next, 'a-2');
    const second = await catalogue.list(ACCOUNT, first.next, 2);
    assert.deepEqual(second.records.map(({ name }) => name), ['b', 'c']);
    assert.equal(second.next, undefined);
  }));

test('the view loads once for all who ask, then answers without the registry, until a change', () =>
  inScene(async ({ catalogue, registry }) => {
    assert.equal(catalogue.peek(ACCOUNT, 'thumbnail'), undefined);
    assert.equal(await catalogue.view(ACCOUNT, 'thumbnail'), undefined);
    await catalogue.create(record());
    registry.calls.length = 0;
    const views = await Promise.all(Array.from({ length: 10 }, () => catalogue.view(ACCOUNT, 'thumbnail')));
    assert.equal(new Set(views).size, 1);
    assert.equal(catalogue.peek(ACCOUNT, 'thumbnail'), views[0]);
    assert.equal(await catalogue.view(ACCOUNT, 'thumbnail'), views[0]);
    assert.deepEqual(registry.calls, ['get function']);

    const told: unknown[] = [];
    const unwatch = catalogue.watch((key, account, name) => told.push([key, account, name, catalogue.peek(account, name)]));
    await catalogue.update(ACCOUNT, 'thumbnail', (newest) => ({ ...newest, tags: { new: 'yes' } }));
    assert.deepEqual(told, [[`${ACCOUNT}/thumbnail`, ACCOUNT, 'thumbnail', undefined]], 'told once the view is no more stale');
    assert.deepEqual((await catalogue.view(ACCOUNT, 'thumbnail'))?.tags, { new: 'yes' });
    unwatch();
    await catalogue.delete(ACCOUNT, 'thumbnail');
    assert.equal(told.length, 1);
    assert.equal(catalogue.peek(ACCOUNT, 'thumbnail'), undefined);
    assert.equal(await catalogue.view(ACCOUNT, 'thumbnail'), undefined);
  }));

interface View {
  peek(account: string, name: string): FunctionRecord | undefined;
  view(account: string, name: string): Promise<FunctionRecord | undefined>;
}

/** A load has read the old state, then a change is announced, then the load ends. What do those see who ask after the announcement? */
async function seenAfterAnnouncement(view: View, { registry, catalogue }: Scene, asked: 'before the load ends' | 'after the load ended'): Promise<(string | undefined)[]> {
  await catalogue.create({ ...record(), tags: { state: 'old' } });
  registry.hold(true);
  const early = view.view(ACCOUNT, 'thumbnail');
  await new Promise((resolve) => setImmediate(resolve));
  registry.hold(false);
  await catalogue.update(ACCOUNT, 'thumbnail', (newest) => ({ ...newest, tags: { state: 'new' } }));
  const seen = asked === 'before the load ends' ? [(await view.view(ACCOUNT, 'thumbnail'))?.tags.state] : [];
  registry.release();
  assert.equal((await early)?.tags.state, 'old');
  return [...seen, (await view.view(ACCOUNT, 'thumbnail'))?.tags.state, view.peek(ACCOUNT, 'thumbnail')?.tags.state];
}

/** The same view without the guard: it forgets what it has when a change is announced, but keeps whatever a load brings. */
function unguarded({ registry, catalogue }: Scene): View {
  const known = new Map<string, FunctionRecord>();
  registry.watch(({ key }) => known.delete(key));
  return {
    peek: (account, name) => known.get(`${account}/${name}`),
    async view(account, name) {
      const key = `${account}/${name}`;
      const value = known.get(key) ?? (await catalogue.get(account, name));
      if (value !== undefined) known.set(key, value);
      return value;
    },
  };
}

test('a load begun before a change was announced is not kept after it', async () => {
  await inScene(async (scene) => assert.deepEqual(await seenAfterAnnouncement(scene.catalogue, scene, 'before the load ends'), ['new', 'new', 'new']));
  await inScene(async (scene) => assert.deepEqual(await seenAfterAnnouncement(scene.catalogue, scene, 'after the load ended'), ['new', 'new']));
});

test('twin: without the guard the view stays stale', async () => {
  await inScene(async (scene) => assert.deepEqual(await seenAfterAnnouncement(unguarded(scene), scene, 'before the load ends'), ['new', 'old', 'old']));
  await inScene(async (scene) => assert.deepEqual(await seenAfterAnnouncement(unguarded(scene), scene, 'after the load ended'), ['old', 'old']));
});

test('the view is bounded', () =>
  inScene(
    async ({ catalogue, registry }) => {
      const names = Array.from({ length: 20 }, (_, i) => `f-${i}`);
      for (const name of names) await catalogue.create(record(name));
      for (const name of names) await catalogue.view(ACCOUNT, name);
      const known = names.filter((name) => catalogue.peek(ACCOUNT, name) !== undefined);
      assert.ok(known.length <= 4 && known.includes('f-19'), `knows ${known.join(', ')}`);
      registry.calls.length = 0;
      assert.equal((await catalogue.view(ACCOUNT, 'f-0'))?.name, 'f-0');
      assert.deepEqual(registry.calls, ['get function']);
    },
    { maxFunctions: 4 },
  ));

test('a bounded view keeps at most its bound, and the half of it that was used last', () => {
  const use = fc.record({ key: fc.integer({ min: 0, max: 12 }).map(String), read: fc.boolean() });
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 12 }), fc.array(use, { maxLength: 100, size: 'max' }), (bound, uses) => {
      const view = new BoundedView<{ key: string }>(bound - (bound % 2));
      const recent: string[] = [];
      for (const { key, read } of uses) {
        const value = read ? view.get(key) : { key };
        if (!read && value !== undefined) view.set(key, value);
        if (value === undefined) continue;
        assert.equal(value.key, key);
        if (recent.includes(key)) recent.splice(recent.indexOf(key), 1);
        recent.push(key);
        assert.ok(view.size <= bound);
      }
      for (const key of recent.slice(-Math.floor(bound / 2))) assert.equal(view.get(key)?.key, key);
    }),
  );
});
