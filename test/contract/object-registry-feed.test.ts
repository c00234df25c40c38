import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { CacheUnavailableError, type Cache } from '../../platform/cache/cache.ts';
import { memoryCache } from '../../platform/cache/memory.ts';
import { systemClock } from '../../platform/clock.ts';
import { StoreUnavailableError, type ObjectPage } from '../../platform/object-store/object-store.ts';
import { compareUtf8 } from '../../platform/object-store/utf8-order.ts';
import { REGISTRY_BUCKET } from '../../platform/model/internal-buckets.ts';
import { nameOf } from '../../platform/registry/object-store/document.ts';
import { RegistryUnavailableError, type Entry, type EntryId, type Registry } from '../../platform/registry/registry.ts';
import { A, increment, listen, scene } from '../support/object-registries.ts';
import { until } from '../support/redis-server.ts';

const cache = memoryCache({ clock: systemClock });

describe('object registry: the change feed', () => {
  const B: EntryId = { kind: 'function', key: '000000000000/b' };

  it('tells by message, at once', async (context) => {
    const { open } = await scene(context);
    const [registry, other] = [await open({ cache }), await open({ cache })];
    const { told } = listen(other);
    const { revision } = await registry.put(A, {}, 'absent');
    await registry.delete(A, revision);
    assert.deepEqual(told, [{ ...A, deleted: false }, { ...A, deleted: true }]);
  });

  it('finds what no message told, in time, and tells of nothing else', async (context) => {
    const { clock, open } = await scene(context);
    const registry = await open();
    await registry.put(A, { n: 1 }, 'absent');
    await registry.put(B, { n: 1 }, 'absent');
    const other = await open({ clock });
    const { told, until: heard } = listen(other);
    const { revision } = (await registry.get(A)) as Entry;
    await registry.put(A, { n: 2 }, revision);
    clock.advance(11_000);
    await heard(({ key }) => key === A.key);
    const long: EntryId = { kind: 'setting', key: 'é'.repeat(400) };
    await registry.delete(A, ((await registry.get(A)) as Entry).revision);
    await registry.put(long, {}, 'absent');
    await until(() => clock.pending === 2);
    clock.advance(11_000);
    await heard(({ deleted }) => deleted);
    await heard(({ key }) => key === long.key);
    assert.deepEqual(told.filter(({ key }) => key === B.key), []);
    assert.deepEqual(told.slice(0, 1), [{ ...A, deleted: false }]);
  });

  it('finds what someone removed from the store by hand', async (context) => {
    const { store, open } = await scene(context);
    const registry = await open();
    const long: EntryId = { kind: 'setting', key: 'é'.repeat(400) };
    const { told } = listen(registry);
    for (const id of [A, long]) await registry.put(id, {}, 'absent');
    const other = await open();
    for (const id of [A, long]) await other.delete(id, ((await other.get(id)) as Entry).revision);
    await registry.check();
    for (const id of [A, long]) await store.delete({ bucket: REGISTRY_BUCKET, key: nameOf(id) });
    told.length = 0;
    await registry.check();
    assert.deepEqual(told.map(({ key, deleted }) => [key, deleted]).sort(), [[A.key, true], [long.key, true]]);
  });

  it('overlooks no change made while it begins', async (context) => {
    const { store, open } = await scene(context);
    const registry = await open();
    const { revision } = await registry.put(A, {}, 'absent');
    store.intercept = async ({ operation }, proceed) => {
      const result = await proceed();
      if (operation === 'list') {
        store.intercept = (_, go) => go();
        await registry.put(A, { changed: true }, revision);
      }
      return result;
    };
    const other = await open();
    const { told } = listen(other);
    await other.check();
    assert.deepEqual(told, [{ ...A, deleted: false }]);
  });

  it('forgets nothing of a check that broke off', async (context) => {
    const { store, open } = await scene(context);
    const [registry, other] = [await open(), await open()];
    const { told } = listen(other);
    for (const key of ['a', 'b', 'c']) await registry.put({ kind: 'setting', key }, {}, 'absent');
    let lists = 0;
    store.intercept = async ({ operation }, proceed) => {
      if (operation !== 'list') return proceed();
      if ((lists += 1) > 1) throw new StoreUnavailableError('away');
      const { objects } = (await proceed()) as ObjectPage;
      return { objects: objects.slice(0, 2), next: objects[1]?.key };
    };
    await assert.rejects(other.check(), RegistryUnavailableError);
    assert.deepEqual(told.map(({ key }) => key).sort(), ['a', 'b']);
    store.intercept = (_, proceed) => proceed();
    await other.check();
    assert.deepEqual(told.map(({ key }) => key).sort(), ['a', 'b', 'c']);
  });

  it('reads a changed document again that it could not read', async (context) => {
    const { store, open } = await scene(context);
    const [registry, other] = [await open(), await open()];
    const { told } = listen(other);
    await registry.put(A, {}, 'absent');
    store.intercept = ({ operation }, proceed) => (operation === 'get' ? Promise.reject(new StoreUnavailableError('away')) : proceed());
    await other.check();
    assert.deepEqual(told, []);
    store.intercept = (_, proceed) => proceed();
    await other.check();
    assert.deepEqual(told, [{ ...A, deleted: false }]);
  });

  it('looks at once after messages may have been missed, though not all the time', async (context) => {
    const { clock, store, open } = await scene(context);
    let gap = (): void => undefined;
    const gappy: Cache = { ...rejecting(), subscribe: () => Promise.resolve(() => Promise.resolve()), onGap: (listener) => ((gap = listener), () => undefined) };
    const other = await open({ clock, cache: gappy });
    const registry = await open();
    const { until: heard } = listen(other);
    const lists = (): number => store.calls.filter(({ operation }) => operation === 'list').length;
    await registry.put(A, {}, 'absent');
    const before = lists();
    gap();
    clock.advance(1_200);
    await heard(({ key }) => key === A.key);
    await until(() => clock.pending === 2);
    assert.equal(lists(), before + 1);
    for (let n = 0; n < 10; n += 1) gap();
    clock.advance(500);
    assert.equal(lists(), before + 1);
  });

  it('takes at most a twentieth of the time for its checks', async (context) => {
    const { clock, store, open } = await scene(context);
    const registry = await open();
    for (const key of ['a', 'b']) await registry.put({ kind: 'setting', key }, {}, 'absent');
    let lists = 0;
    store.intercept = ({ operation }, proceed) => {
      if (operation === 'list') {
        lists += 1;
        clock.advance(3_000);
      }
      return proceed();
    };
    await open({ clock, random: () => 0.5 });
    assert.equal(lists, 1);
    clock.advance(56_000);
    assert.equal(lists, 1);
    clock.advance(1_100);
    await until(() => lists === 2);
  });

  it('goes on when the cache fails in every way', async (context) => {
    const { clock, open } = await scene(context);
    const never = new Promise<never>(() => undefined);
    for (const broken of [rejecting(), { ...rejecting(), publish: () => never }]) {
      const registry = await open({ cache: broken });
      const other = await open({ cache: broken, clock });
      const { until: heard } = listen(other);
      const { revision } = await registry.put(A, { n: 1 }, 'absent');
      await registry.delete(A, revision);
      clock.advance(11_000);
      await heard(({ key, deleted }) => key === A.key && deleted);
    }
  });

  it('takes no harm from messages that are none', async (context) => {
    const { open } = await scene(context);
    const shared = memoryCache({ clock: systemClock });
    const registry = await open({ cache: shared });
    const { told } = listen(registry);
    for (const text of ['', '{', 'null', '[]', '{"v":2}', '{"v":1,"from":"x","kind":"nothing","key":"k","deleted":false,"etag":"e"}']) await shared.publish(`registry:${REGISTRY_BUCKET}`, text);
    assert.deepEqual(told, []);
  });

  it('leaves no timer behind', async (context) => {
    const { clock, open } = await scene(context);
    const registry = await open({ clock });
    assert.equal(clock.pending, 2);
    await registry.close();
    await registry.close();
    assert.equal(clock.pending, 0);
  });

  function rejecting(): Cache {
    const fail = (): Promise<never> => Promise.reject(new CacheUnavailableError('The cache is away.'));
    return { get: fail, set: fail, delete: fail, increment: fail, publish: fail, subscribe: fail, onGap: () => () => undefined, close: () => Promise.resolve() };
  }
});

describe('object registry: lists', () => {
  const list = async (registry: Registry, query: { readonly prefix?: string; readonly after?: string; readonly limit?: number } = {}): Promise<readonly string[]> =>
    (await registry.list({ kind: 'setting', prefix: '', limit: 10_000, ...query })).entries.map(({ key }) => key);

  it('read only what has changed since', async (context) => {
    const { store, open } = await scene(context);
    const [registry, other] = [await open(), await open()];
    for (let n = 0; n < 40; n += 1) await registry.put({ kind: 'setting', key: `key ${n}` }, { n }, 'absent');
    const gets = async (action: () => Promise<unknown>): Promise<number> => {
      const before = store.calls.length;
      await action();
      return store.calls.slice(before).filter(({ operation }) => operation === 'get').length;
    };
    assert.equal(await gets(() => list(other)), 40);
    assert.equal(await gets(() => list(other)), 0);
    await increment(registry, await registry.put({ kind: 'setting', key: 'key 7b' }, { n: 0 }, 'absent'));
    assert.equal(await gets(() => list(other)), 1);
    const forgetful = await open({ cacheBytes: 5_000 });
    assert.equal(await gets(() => list(forgetful)), 41);
    assert.equal((await list(forgetful)).length, 41);
    assert.ok((await gets(() => list(forgetful, { prefix: 'key 3', limit: 3 }))) <= 4);
  });

  it('hide what was deleted, however much there is', async (context) => {
    const { open } = await scene(context);
    const registry = await open();
    for (let n = 10; n < 60; n += 1) {
      const { revision } = await registry.put({ kind: 'setting', key: `key ${n}` }, {}, 'absent');
      if (n % 10 !== 0) await registry.delete({ kind: 'setting', key: `key ${n}` }, revision);
    }
    assert.deepEqual(await list(registry), ['key 10', 'key 20', 'key 30', 'key 40', 'key 50']);
    assert.deepEqual(await list(registry, { limit: 1, after: 'key 30' }), ['key 40']);
    assert.equal((await registry.list({ kind: 'setting', prefix: '', limit: 1, after: 'key 40' })).next, undefined);
  });

  it('put long keys in order too, page by page', async (context) => {
    const { open } = await scene(context);
    const registry = await open();
    const head = fc.constantFrom('', 'a', 'é'.repeat(140), 'é'.repeat(133), '😀'.repeat(200), '/'.repeat(300));
    const tail = fc.array(fc.constantFrom('a', 'b', '/', 'é', '\uffff', '😀'), { minLength: 1, maxLength: 3 }).map((parts) => parts.join(''));
    const key = fc.tuple(head, tail).map((parts) => parts.join(''));
    const stored = new Set<string>();
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(key, { maxLength: 6 }), key, fc.nat({ max: 150 }), fc.integer({ min: 1, max: 5 }), async (keys, other, prefixLength, limit) => {
        for (const added of keys) {
          if (stored.has(added)) continue;
          await registry.put({ kind: 'setting', key: added }, {}, 'absent');
          stored.add(added);
        }
        const prefix = [...other].slice(0, prefixLength).join('');
        const expected = [...stored].filter((each) => each.startsWith(prefix)).sort(compareUtf8);
        const seen: string[] = [];
        for (let after: string | undefined; ; ) {
          const page = await registry.list({ kind: 'setting', prefix, limit, ...(after === undefined ? {} : { after }) });
          seen.push(...page.entries.map((entry) => entry.key));
          if (page.next === undefined) break;
          after = page.next;
        }
        assert.deepEqual(seen, expected);
        assert.deepEqual(await list(registry, { after: other }), [...stored].filter((each) => compareUtf8(each, other) > 0).sort(compareUtf8));
      }),
      { numRuns: 25 },
    );
  });

  it('leave out a document that is damaged; who asks for it learns that', async (context) => {
    const { store, open } = await scene(context);
    const registry = await open();
    for (const key of ['a', 'b', 'c']) await registry.put({ kind: 'setting', key }, {}, 'absent');
    for (const damage of ['', '{', 'null', '{"v":1}', '{"v":2,"key":"b","revision":1,"write":"w","earlier":[],"value":{}}']) {
      await store.put({ bucket: REGISTRY_BUCKET, key: nameOf({ kind: 'setting', key: 'b' }) }, Buffer.from(damage));
      assert.deepEqual(await list(registry), ['a', 'c']);
      await assert.rejects(registry.get({ kind: 'setting', key: 'b' }), { name: 'RegistryDocumentError', message: /^The object setting\/b! in the bucket sluice-registry is no document/ });
    }
    await store.put({ bucket: REGISTRY_BUCKET, key: 'README' }, Buffer.from('not ours'));
    await registry.check();
    assert.deepEqual(await list(registry), ['a', 'c']);
  });

  it('share values that nobody can change', async (context) => {
    const { open } = await scene(context);
    const registry = await open();
    const given = { deep: { list: [1, { x: 1 }] } };
    const put = await registry.put({ kind: 'setting', key: 'a' }, given, 'absent');
    given.deep.list.push(2);
    const [listed] = (await registry.list({ kind: 'setting', prefix: '', limit: 1 })).entries;
    for (const entry of [put, await registry.get(put), listed]) {
      const value = entry?.value as typeof given;
      assert.throws(() => value.deep.list.push(3), TypeError);
      assert.deepEqual(value, { deep: { list: [1, { x: 1 }] } });
    }
  });
});
