import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { compareUtf8 } from '../../platform/object-store/utf8-order.ts';
import { MAX_DOCUMENT_BYTES, RevisionConflictError, type Entry, type EntryChange, type EntryId, type Registry } from '../../platform/registry/registry.ts';

/** A driver under test, with a registry of its own. */
export interface RegistryHarness {
  /** Opens the registry; the same one again after it was closed. */
  readonly open: () => Promise<Registry>;
  readonly dispose: () => Promise<void>;
}

/** Tests that a driver cannot pass, by title, each with the reason. */
export type Skips = Readonly<Record<string, string>>;

interface Scene {
  readonly registry: Registry;
  /** Closes the registry and opens it again, as a later process would. */
  readonly reopen: () => Promise<Registry>;
}

const A: EntryId = { kind: 'function', key: '000000000000/a' };

/** What every driver of the port {@link Registry} must do. */
export function registryContract(driver: string, create: () => Promise<RegistryHarness>, skips: Skips = {}): void {
  describe(`Registry contract: ${driver}`, () => {
    const titles = new Set<string>();
    const test: Test = (title, run) => {
      titles.add(title);
      it(title, { skip: skips[title] ?? false }, () => inScene(create, run));
    };
    entryTests(test);
    listTests(test);
    watchTests(test);
    it('skips only tests that exist', () => assert.deepEqual(Object.keys(skips).filter((title) => !titles.has(title)), []));
  });
}

type Test = (title: string, run: (scene: Scene) => Promise<void>) => void;

async function inScene(create: () => Promise<RegistryHarness>, run: (scene: Scene) => Promise<void>): Promise<void> {
  const harness = await create();
  let registry = await harness.open();
  try {
    await run({
      registry,
      async reopen() {
        await registry.close();
        registry = await harness.open();
        return registry;
      },
    });
  } finally {
    await registry.close();
    await harness.dispose();
  }
}

async function conflicts(attempt: Promise<unknown>, id: EntryId): Promise<void> {
  await assert.rejects(attempt, (error) => error instanceof RevisionConflictError && error.id.kind === id.kind && error.id.key === id.key);
}

function entryTests(test: Test): void {
  test('gives back what was put, now and to a later process', async ({ registry, reopen }) => {
    assert.equal(await registry.get(A), undefined);
    const value = { text: 'ünï "😀"\n\u0000', number: 1.5, list: [1, null, { deep: true }], empty: {} };
    const put = await registry.put(A, value, 'absent');
    assert.deepEqual(put, { ...A, value, revision: put.revision });
    assert.deepEqual(await registry.get(A), put);
    assert.deepEqual(await (await reopen()).get(A), put);
  });

  test('keeps kinds apart', async ({ registry }) => {
    await registry.put(A, { of: 'function' }, 'absent');
    await registry.put({ ...A, kind: 'setting' }, { of: 'setting' }, 'absent');
    assert.deepEqual((await registry.get(A))?.value, { of: 'function' });
    assert.deepEqual((await registry.list({ kind: 'setting', prefix: '', limit: 10 })).entries.map(({ value }) => value), [{ of: 'setting' }]);
  });

  test('writes and deletes only in the state that was seen', async ({ registry }) => {
    await conflicts(registry.put(A, { n: 0 }, 7), A);
    const first = await registry.put(A, { n: 1 }, 'absent');
    await conflicts(registry.put(A, { n: 2 }, 'absent'), A);
    const second = await registry.put(A, { n: 2 }, first.revision);
    assert.notEqual(second.revision, first.revision);
    await conflicts(registry.put(A, { n: 3 }, first.revision), A);
    await conflicts(registry.delete(A, first.revision), A);
    assert.deepEqual(await registry.get(A), second, 'what was refused has changed nothing');
    await registry.delete(A, second.revision);
    assert.equal(await registry.get(A), undefined);
    await conflicts(registry.delete(A, second.revision), A);
    await conflicts(registry.put(A, { n: 4 }, second.revision), A);
  });

  test('never gives a revision twice, not to an entry made again either', async ({ registry, reopen }) => {
    const seen = new Set<number>();
    let current = registry;
    for (let i = 0; i < 5; i++) {
      const { revision } = await current.put(A, { i }, 'absent');
      assert.ok(!seen.has(revision), `revision ${revision} came twice`);
      seen.add(revision);
      await current.delete(A, revision);
      if (i % 2 === 0) current = await reopen();
    }
  });

  test('lets exactly one of many writers win', async ({ registry }) => {
    const race = async (attempts: readonly Promise<Entry>[]): Promise<Entry> => {
      const outcomes = await Promise.allSettled(attempts);
      const won = outcomes.filter((outcome) => outcome.status === 'fulfilled').map(({ value }) => value);
      assert.equal(won.length, 1);
      assert.ok(outcomes.every((outcome) => outcome.status === 'fulfilled' || outcome.reason instanceof RevisionConflictError));
      const [winner] = won;
      assert.ok(winner !== undefined);
      assert.deepEqual(await registry.get(A), winner);
      return winner;
    };
    const writers = Array.from({ length: 20 }, (_, writer) => writer);
    const created = await race(writers.map((writer) => registry.put(A, { writer }, 'absent')));
    await race(writers.map((writer) => registry.put(A, { writer }, created.revision)));
  });

  test('counts right when many add to one entry', async ({ registry }) => {
    await registry.put(A, { n: 0 }, 'absent');
    const add = async (): Promise<void> => {
      for (;;) {
        const entry = await registry.get(A);
        assert.ok(entry !== undefined);
        try {
          await registry.put(A, { n: (entry.value as { n: number }).n + 1 }, entry.revision);
          return;
        } catch (error) {
          if (!(error instanceof RevisionConflictError)) throw error;
        }
      }
    };
    await Promise.all(Array.from({ length: 25 }, add));
    assert.deepEqual((await registry.get(A))?.value, { n: 25 });
  });

  test('refuses keys and documents beyond their bounds', async ({ registry }) => {
    for (const key of ['', 'a\0b', 'x'.repeat(513), 'half \ud83d']) {
      await assert.rejects(registry.get({ kind: 'setting', key }), RangeError);
      await assert.rejects(registry.put({ kind: 'setting', key }, {}, 'absent'), RangeError);
      await assert.rejects(registry.delete({ kind: 'setting', key }, 1), RangeError);
    }
    const longest: EntryId = { kind: 'setting', key: 'x'.repeat(512) };
    const largest = { text: 'x'.repeat(MAX_DOCUMENT_BYTES - '{"text":""}'.length) };
    await registry.put(longest, largest, 'absent');
    assert.deepEqual((await registry.get(longest))?.value, largest);
    await assert.rejects(registry.put({ kind: 'setting', key: 'y' }, { text: `${largest.text}x` }, 'absent'), RangeError);
  });
}

function listTests(test: Test): void {
  const listAll = async (registry: Registry, prefix: string, limit: number): Promise<string[]> => {
    const keys: string[] = [];
    for (let after: string | undefined; ; ) {
      const page = await registry.list({ kind: 'setting', prefix, limit, ...(after === undefined ? {} : { after }) });
      assert.ok(page.entries.length <= limit);
      keys.push(...page.entries.map(({ key }) => key));
      if (page.next === undefined) return keys;
      assert.equal(page.entries.length, limit, 'only the last page is short');
      after = page.next;
    }
  };

  test('lists what begins with a prefix, in order, page by page', async ({ registry }) => {
    // Keys that quoting, wild cards and the end of the alphabet could confuse.
    const character = fc.constantFrom('a', 'b', 'A', '/', '%', '_', '*', "'", '\u007f', 'é', '\ud7ff', '\ue000', '\uffff', '😀', '\u{10ffff}');
    const key = fc.array(character, { minLength: 1, maxLength: 4 }).map((parts) => parts.join(''));
    const stored = new Set<string>();
    const property = fc.asyncProperty(fc.uniqueArray(key, { maxLength: 8 }), fc.array(character, { maxLength: 2 }), fc.integer({ min: 1, max: 7 }), async (keys, prefix, limit) => {
      for (const added of keys) {
        if (stored.has(added)) continue;
        await registry.put({ kind: 'setting', key: added }, {}, 'absent');
        stored.add(added);
      }
      const expected = [...stored].filter((each) => each.startsWith(prefix.join(''))).sort(compareUtf8);
      assert.deepEqual(await listAll(registry, prefix.join(''), limit), expected);
    });
    await fc.assert(property, { numRuns: 40 });
  });

  test('begins after a key that need not exist', async ({ registry }) => {
    for (const key of ['p/a', 'p/c', 'q']) await registry.put({ kind: 'setting', key }, { key }, 'absent');
    const keys = async (after: string): Promise<string[]> => (await registry.list({ kind: 'setting', prefix: 'p/', after, limit: 10 })).entries.map(({ key }) => key);
    assert.deepEqual(await keys('p/b'), ['p/c']);
    assert.deepEqual(await keys('p/a'), ['p/c']);
    assert.deepEqual(await keys('a'), ['p/a', 'p/c']);
    assert.deepEqual(await keys('z'), []);
  });

  test('says that there is more exactly if there is, and refuses other page sizes', async ({ registry }) => {
    for (const key of ['a', 'b']) await registry.put({ kind: 'setting', key }, {}, 'absent');
    assert.equal((await registry.list({ kind: 'setting', prefix: '', limit: 2 })).next, undefined);
    assert.equal((await registry.list({ kind: 'setting', prefix: '', limit: 1 })).next, 'a');
    for (const limit of [0, -1, 1.5, 10_001]) await assert.rejects(registry.list({ kind: 'setting', prefix: '', limit }), RangeError);
  });
}

function watchTests(test: Test): void {
  test('tells every watcher of every change, and of nothing that was refused', async ({ registry }) => {
    let told: EntryChange[] = [];
    let notify = (): void => undefined;
    const unwatch = registry.watch((change) => {
      told.push(change);
      notify();
    });
    const other: EntryChange[] = [];
    const unwatchOther = registry.watch((change) => void other.push(change));
    const until = async (count: number): Promise<void> => {
      while (told.length < count) await new Promise<void>((resolve) => (notify = resolve));
    };
    const { revision } = await registry.put(A, {}, 'absent');
    await until(1);
    assert.deepEqual(told.at(-1), { ...A, deleted: false });
    await conflicts(registry.put({ ...A, kind: 'setting' }, {}, revision), { ...A, kind: 'setting' });
    await registry.delete(A, revision);
    while (!told.some(({ deleted }) => deleted)) await until(told.length + 1);
    assert.ok(told.every(({ kind, key }) => kind === A.kind && key === A.key));
    assert.ok(other.length >= 2);

    unwatchOther();
    unwatchOther();
    const heard = other.length;
    told = [];
    await registry.put(A, {}, 'absent');
    await until(1);
    assert.equal(other.length, heard);
    unwatch();
  });

  test('shows a watcher the change that it tells of', async ({ registry }) => {
    const shown = new Promise<Entry | undefined>((resolve) => registry.watch((change) => resolve(registry.get(change))));
    await registry.put(A, { n: 1 }, 'absent');
    assert.deepEqual((await shown)?.value, { n: 1 });
  });
}
