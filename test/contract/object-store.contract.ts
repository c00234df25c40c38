import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import type { ObjectStore } from '../../platform/object-store/object-store.ts';
import { compareUtf8 } from '../../platform/object-store/utf8-order.ts';

/** One driver under test. */
export interface ObjectStoreHarness {
  readonly store: ObjectStore;
  /** What anyone without credentials gets from a presigned URL; undefined when it is refused. */
  download(url: string): Promise<Buffer | undefined>;
  close(): Promise<void>;
}

/** Tests that a driver cannot pass, by title, each with the reason. */
export type Skips = Readonly<Record<string, string>>;

/** What every driver of the port {@link ObjectStore} must do. */
export function objectStoreContract(driver: string, open: () => Promise<ObjectStoreHarness>, skips: Skips = {}): void {
  describe(`ObjectStore contract: ${driver}`, () => {
    let harness: ObjectStoreHarness;
    let store: ObjectStore;
    const titles = new Set<string>();
    let buckets = 0;

    before(async () => {
      harness = await open();
      store = harness.store;
    });
    after(() => harness.close());

    const test = (title: string, run: (bucket: string) => Promise<void>): void => {
      titles.add(title);
      it(title, { skip: skips[title] ?? false }, async () => {
        const bucket = `contract-${(buckets += 1)}-bucket`;
        await store.createBucket(bucket);
        await run(bucket);
      });
    };

    test('gives back bytes, content type, metadata, headers and the MD5 as ETag', async (bucket) => {
      const location = { bucket, key: 'folder/photo.jpg' };
      const body = Buffer.from('the bytes');
      const etag = md5(body);
      const put = await store.put(location, body, { contentType: 'image/jpeg', metadata: { camera: 'box' }, httpHeaders: { 'cache-control': 'max-age=60' } });
      const { summary, range, body: stream } = await store.get(location);
      assert.deepEqual(await buffer(stream), body);
      assert.deepEqual(range, { start: 0, endExclusive: 9 });
      assert.deepEqual(summary, { ...location, sizeBytes: 9, etag, lastModifiedMs: put.lastModifiedMs, contentType: 'image/jpeg', metadata: { camera: 'box' }, httpHeaders: { 'cache-control': 'max-age=60' } });
      assert.deepEqual(await store.head(location), summary);
      assert.deepEqual(put, summary);
    });

    test('takes a stream, and an empty body', async (bucket) => {
      const chunks = Array.from({ length: 40 }, (_, index) => Buffer.alloc(30_000 + index, index));
      await store.put({ bucket, key: 'stream' }, Readable.from(chunks));
      assert.deepEqual(await read({ bucket, key: 'stream' }), Buffer.concat(chunks));
      const empty = await store.put({ bucket, key: 'empty' }, Readable.from([]));
      assert.equal(empty.etag, md5(Buffer.alloc(0)));
      assert.deepEqual(await read({ bucket, key: 'empty' }), Buffer.alloc(0));
    });

    test('keeps what was there when a stream fails', async (bucket) => {
      await store.put({ bucket, key: 'old' }, Buffer.from('old'), { contentType: 'text/old' });
      for (const key of ['old', 'new', 'new/deep/er']) {
        await assert.rejects(store.put({ bucket, key }, Readable.from(halfABody()), { contentType: 'text/new' }), /the line went dead/);
      }
      assert.deepEqual(await read({ bucket, key: 'old' }), Buffer.from('old'));
      assert.deepEqual(await keysOf(bucket), ['old']);
      assert.equal((await store.head({ bucket, key: 'old' }))?.contentType, 'text/old');
    });

    test('replaces an object wholly', async (bucket) => {
      const location = { bucket, key: 'twice' };
      await store.put(location, Buffer.from('first and long'), { contentType: 'text/plain', metadata: { a: '1' } });
      await store.put(location, Buffer.from('second'));
      const summary = await store.head(location);
      assert.deepEqual(summary?.metadata, {});
      assert.notEqual(summary?.contentType, 'text/plain');
      assert.deepEqual(await read(location), Buffer.from('second'));
    });

    test('puts under a condition only if it holds', async (bucket) => {
      const location = { bucket, key: 'guarded' };
      const isRefusal = { name: 'PreconditionFailedError' };
      await assert.rejects(store.put(location, Buffer.from('x'), { condition: { kind: 'etag', etag: md5(Buffer.from('x')) } }), isRefusal);
      assert.equal(await store.head(location), undefined);
      const first = await store.put(location, Buffer.from('first'), { condition: { kind: 'absent' } });
      await assert.rejects(store.put(location, Buffer.from('second'), { condition: { kind: 'absent' } }), isRefusal);
      await assert.rejects(store.put(location, Buffer.from('second'), { condition: { kind: 'etag', etag: md5(Buffer.from('other')) } }), isRefusal);
      assert.deepEqual(await read(location), Buffer.from('first'));
      await store.put(location, Buffer.from('second'), { condition: { kind: 'etag', etag: first.etag } });
      assert.deepEqual(await read(location), Buffer.from('second'));
    });

    test('lets exactly one of many conditional writers win', async (bucket) => {
      const race = async (name: string, condition?: { kind: 'absent' } | { kind: 'etag'; etag: string }): Promise<readonly number[]> => {
        const attempts = Array.from({ length: 24 }, (_, n) => store.put({ bucket, key: 'race' }, Buffer.from(`${name} ${n}`), { metadata: { n: String(n) }, ...(condition === undefined ? {} : { condition }) }));
        const results = await Promise.allSettled(attempts);
        for (const result of results) if (result.status === 'rejected') assert.equal((result.reason as Error).name, 'PreconditionFailedError');
        return results.flatMap((result, n) => (result.status === 'fulfilled' ? [n] : []));
      };
      for (const condition of ['absent', 'etag'] as const) {
        const before = await store.head({ bucket, key: 'race' });
        const winners = await race(condition, condition === 'absent' ? { kind: 'absent' } : { kind: 'etag', etag: before?.etag ?? '' });
        assert.equal(winners.length, 1, `${condition}: winners ${winners.join()}`);
        assert.deepEqual(await read({ bucket, key: 'race' }), Buffer.from(`${condition} ${winners[0]}`));
        assert.equal((await store.head({ bucket, key: 'race' }))?.metadata.n, String(winners[0]));
      }
      assert.equal((await race('anyone')).length, 24, 'without a condition everyone wins');
    });

    test('never shows a mixture while an object is replaced', async (bucket) => {
      const location = { bucket, key: 'churn' };
      const write = (n: number): Promise<unknown> => store.put(location, Buffer.alloc(1 + n * 1_000, n), { contentType: `text/v${n}`, metadata: { n: String(n) } });
      await write(1);
      let writing = true;
      const seen = new Set<number>();
      const readAll = async (): Promise<void> => {
        while (writing) {
          const { summary, body } = await store.get(location);
          const bytes = await buffer(body);
          const n = Number(summary.metadata.n);
          seen.add(n);
          assert.deepEqual([bytes.length, md5(bytes), summary.contentType, summary.sizeBytes], [1 + n * 1_000, summary.etag, `text/v${n}`, bytes.length]);
        }
      };
      const readers = [readAll(), readAll(), readAll()];
      for (let n = 2; n <= 40; n += 1) await write(n);
      writing = false;
      await Promise.all(readers);
      assert.ok(seen.size > 1, 'the readers saw several versions');
    });

    test('reads ranges', async (bucket) => {
      const location = { bucket, key: 'digits' };
      await store.put(location, Buffer.from('0123456789'));
      const cases = [
        { range: { start: 2, end: 4 }, text: '234', from: 2 },
        { range: { start: 7 }, text: '789', from: 7 },
        { range: { start: 8, end: 100 }, text: '89', from: 8 },
        { range: { end: 3 }, text: '789', from: 7 },
        { range: { end: 100 }, text: '0123456789', from: 0 },
        { range: { start: 0, end: 0 }, text: '0', from: 0 },
      ];
      for (const { range, text, from } of cases) {
        const got = await store.get(location, range);
        assert.equal((await buffer(got.body)).toString(), text);
        assert.deepEqual(got.range, { start: from, endExclusive: from + text.length });
        assert.equal(got.summary.sizeBytes, 10);
      }
      for (const range of [{ start: 10 }, { start: 11, end: 12 }, { end: 0 }]) await assert.rejects(store.get(location, range), { name: 'InvalidRangeError' });
      await store.put(location, Buffer.alloc(0));
      await assert.rejects(store.get(location, { start: 0 }), { name: 'InvalidRangeError' });
    });

    test('says what is missing', async (bucket) => {
      const nowhere = { bucket: 'no-such-bucket', key: 'k' };
      await assert.rejects(store.put(nowhere, Buffer.from('x')), { name: 'NoSuchBucketError' });
      await assert.rejects(store.put(nowhere, Readable.from(['x'])), { name: 'NoSuchBucketError' });
      await assert.rejects(store.list({ bucket: 'no-such-bucket', limit: 1 }), { name: 'NoSuchBucketError' });
      await assert.rejects(store.get({ bucket, key: 'absent' }), { name: 'NoSuchObjectError' });
      assert.equal(await store.head({ bucket, key: 'absent' }), undefined);
    });

    test('deletes, also what is not there', async (bucket) => {
      await store.put({ bucket, key: 'a/b/c' }, Buffer.from('x'));
      await store.put({ bucket, key: 'a/d' }, Buffer.from('x'));
      for (const key of ['a/b/c', 'a/b/c', 'a/b', 'a', 'never']) await store.delete({ bucket, key });
      assert.deepEqual(await keysOf(bucket), ['a/d']);
      await store.put({ bucket, key: 'a/b/c' }, Buffer.from('back'));
      assert.deepEqual(await read({ bucket, key: 'a/b/c' }), Buffer.from('back'));
    });

    test('keeps any key apart from any other', async (bucket) => {
      const keys = [...ODD_KEYS].sort(compareUtf8);
      await Promise.all(keys.map((key) => store.put({ bucket, key }, Buffer.from(key))));
      assert.deepEqual(await keysOf(bucket), keys);
      for (const key of keys) assert.equal((await read({ bucket, key })).toString(), key);
      for (const key of keys) await store.delete({ bucket, key });
      assert.deepEqual(await keysOf(bucket), []);
    });

    test('refuses keys that have no UTF-8 form or are too short or too long', async (bucket) => {
      for (const key of ['', '\ud800', 'x'.repeat(1_025), 'é'.repeat(513)]) await assert.rejects(store.put({ bucket, key }, Buffer.from('x')), { name: 'InvalidObjectKeyError' });
      assert.deepEqual(await keysOf(bucket), []);
    });

    test('lists any set of keys in UTF-8 order, by prefix, from any key on, in pages of any size', async () => {
      const segment = fc.constantFrom('a', 'b', 'A', '.', '..', '', '-', '0', 'a.b', 'ab', 'é', '\uffee', '😀', '%', 'x'.repeat(180), 'x'.repeat(200));
      const key = fc.array(segment, { minLength: 1, maxLength: 4 }).map((segments) => segments.join('/')).filter((text) => text !== '');
      await fc.assert(
        fc.asyncProperty(fc.uniqueArray(key, { maxLength: 12 }), key, key, fc.nat({ max: 3 }), fc.integer({ min: 1, max: 13 }), async (keys, afterKey, prefixKey, prefixLength, limit) => {
          const bucket = `contract-list-${(buckets += 1)}`;
          const prefix = [...prefixKey].slice(0, prefixLength).join('');
          await store.createBucket(bucket);
          await Promise.all(keys.map((each) => store.put({ bucket, key: each }, Buffer.from('x'))));
          const expected = keys.filter((each) => each.startsWith(prefix) && compareUtf8(each, afterKey) > 0).sort(compareUtf8);
          assert.deepEqual(await keysOf(bucket, { prefix, after: afterKey, limit }), expected);
        }),
        { numRuns: 40 },
      );
    });

    test('tells of further keys exactly if there are any', async (bucket) => {
      for (const key of ['k1', 'k2', 'k3']) await store.put({ bucket, key }, Buffer.from(key), { contentType: 'text/key' });
      const first = await store.list({ bucket, limit: 2 });
      assert.deepEqual(first.objects.map(({ key, sizeBytes, etag, contentType }) => [key, sizeBytes, etag, contentType]), ['k1', 'k2'].map((key) => [key, 2, md5(Buffer.from(key)), 'text/key']));
      assert.equal(first.next, 'k2');
      assert.equal((await store.list({ bucket, limit: 1, after: 'k2' })).next, undefined);
      assert.equal((await store.list({ bucket, limit: 3 })).next, undefined);
    });

    test('makes buckets once and refuses names against the rules', async (bucket) => {
      assert.deepEqual(await store.createBucket(bucket), { created: false });
      assert.deepEqual(await store.createBucket(`${bucket}-b`), { created: true });
      const names = (await store.listBuckets()).map(({ name }) => name);
      assert.deepEqual(names.filter((name) => name.startsWith(bucket)), [bucket, `${bucket}-b`]);
      assert.deepEqual(names, [...names].sort());
      for (const name of BAD_BUCKET_NAMES) await assert.rejects(store.createBucket(name), { name: 'InvalidBucketNameError' }, name);
      for (const name of BAD_BUCKET_NAMES) await assert.rejects(store.put({ bucket: name, key: 'k' }, Buffer.from('x')), { name: 'NoSuchBucketError' }, name);
    });

    test('signs URLs that anyone can read from, for just one object', async (bucket) => {
      for (const key of ['folder/a b+c&d=é.txt', '..', 'x/../y', './z', 'plain']) {
        await store.put({ bucket, key }, Buffer.from(`content of ${key}`));
        const url = new URL(await store.presignGet({ bucket, key }, 60));
        assert.equal((await harness.download(url.href))?.toString(), `content of ${key}`);
        assert.equal(await harness.download(url.href.replace(/(signature=)./i, '$1z')), undefined);
      }
      const url = await store.presignGet({ bucket, key: 'plain' }, 60);
      assert.equal(await harness.download(url.replace('plain', 'other')), undefined);
    });

    it('skips only what exists', () => {
      assert.deepEqual(Object.keys(skips).filter((title) => !titles.has(title)), []);
    });

    async function read(location: { bucket: string; key: string }): Promise<Buffer> {
      return buffer((await store.get(location)).body);
    }

    async function keysOf(bucket: string, query: { prefix?: string; after?: string; limit?: number } = {}): Promise<readonly string[]> {
      const keys: string[] = [];
      let after = query.after;
      do {
        const page = await store.list({ bucket, limit: query.limit ?? 7, ...(query.prefix === undefined ? {} : { prefix: query.prefix }), ...(after === undefined ? {} : { after }) });
        assert.ok(page.objects.length <= (query.limit ?? 7));
        keys.push(...page.objects.map(({ key }) => key));
        after = page.next;
      } while (after !== undefined);
      return keys;
    }
  });
}

const ODD_KEYS = [
  ...['a', 'a/b', 'a/b/c', 'a.b', 'a.b/c', 'a.b/c.d', 'a/', 'a//', 'a//b', '/', '//', '/a', '/a/', '.', '..', '../..', './.', 'a/../b', '...', '.hidden', 'a-b', 'a0', 'A'],
  ...['%', '%%', '%-', '%+', '%2E', '%2e', 'a%', 'a%+', 'a%+/b', '%2F', '%00', '\u0000', '\n', '\\', '\\..\\x', 'a\\b', ' ', ' a ', 'a b', '"quoted"', "it's", '*?<>|:'],
  ...['é', 'e\u0301', '\uffee', '😀', '😀/😀.png', '.staging', '.records', '.records/x.json', 'k.json', 'k', 'CON', '~', '$HOME', '`x`', 'con.txt '],
  ...['l'.repeat(179), 'l'.repeat(180), 'l'.repeat(181), 'l'.repeat(1_024), `${'l'.repeat(180)}/x`, `${'l'.repeat(180)}.`, '%'.repeat(300), '/'.repeat(200), '😀'.repeat(256), 'd/'.repeat(60), '.'.repeat(400)],
];

const BAD_BUCKET_NAMES = ['', 'ab', 'a'.repeat(64), 'Upper', 'under_score', '-a-', 'a..b', '.abc', 'abc.', '192.168.0.1', 'xn--abc', 'abc-s3alias', '..', '../x', 'a/b', 'nul\u0000x'];

function md5(bytes: Buffer): string {
  return createHash('md5').update(bytes).digest('hex');
}

function* halfABody(): Generator<Buffer> {
  yield Buffer.from('half of the bo');
  throw new Error('the line went dead');
}
