import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { cpSync, existsSync, readFileSync, statSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { buffer, text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, it } from 'node:test';
import fc from 'fast-check';
import { fileObjectStore } from '../../platform/object-store/file-system.ts';
import { walkKeys } from '../../platform/object-store/file-system/key-walk.ts';
import { decodeName, keyToPath } from '../../platform/object-store/file-system/paths.ts';
import type { ObjectStore } from '../../platform/object-store/object-store.ts';
import { verifyPresignedPath } from '../../platform/object-store/presigned-url.ts';
import { objectStoreContract } from './object-store.contract.ts';

const SECRET = Buffer.alloc(32, 7);

function openStore(dataDir: string): Promise<ObjectStore> {
  return fileObjectStore({ dataDir, baseUrl: () => 'http://127.0.0.1:1', signingSecret: SECRET });
}

objectStoreContract('file system', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-objects-'));
  const store = await openStore(dataDir);
  return {
    store,
    async download(href) {
      const url = new URL(href);
      const verdict = verifyPresignedPath(url.pathname + url.search, SECRET, Date.now());
      return verdict.kind === 'valid' ? buffer((await store.get(verdict.location)).body) : undefined;
    },
    close: () => rm(dataDir, { recursive: true }),
  };
});

describe('file object store', () => {
  let dataDir: string;
  let objects: string;
  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'sluice-objects-'));
    objects = join(dataDir, 'objects');
  });
  afterEach(() => rm(dataDir, { recursive: true }));

  it('keeps objects under paths that read like their keys', async () => {
    const store = await openStore(dataDir);
    await store.createBucket('photos');
    await store.put({ bucket: 'photos', key: 'thumbs/2026/cat (1).jpg' }, Buffer.from('meow'));
    assert.equal(await readFile(join(objects, 'photos/thumbs/2026/cat (1).jpg'), 'utf8'), 'meow');
    for (const [key, path] of [
      ['a', 'a%'],
      ['a/b', 'a/b%'],
      ['v1.2/notes.txt', 'v1.2%/notes.txt'],
      ['../etc/passwd', '%2E%2E/etc/passwd%'],
      ['/x//y.z', '%-/x/%-/y.z'],
      ['100%.txt', '100%25.txt'],
    ] as const) assert.equal(keyToPath(key), path);
  });

  it('maps every key to a path that leads nowhere else and back to the key', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 300 }), fc.constantFrom('', '/', '.', '..', '%', '\\', '\u0000', '//../'), (tail, head) => {
        const key = head + tail;
        const names = keyToPath(key).split('/');
        for (const name of names) assert.ok(name !== '' && name !== '.' && name !== '..' && !name.includes('\u0000') && Buffer.byteLength(name) <= 250, name);
        const decoded = names.map((name) => decodeName(name));
        assert.equal(decoded.map((each) => (each === undefined ? 'undecodable' : each.text + (each.kind === 'folder' ? '/' : ''))).join(''), key);
        assert.equal(decoded.at(-1)?.kind, 'file');
      }),
    );
  });

  it('removes folders that become empty', async () => {
    const store = await openStore(dataDir);
    await store.createBucket('photos');
    await store.put({ bucket: 'photos', key: 'a/b/c.txt' }, Buffer.from('x'));
    await store.delete({ bucket: 'photos', key: 'a/b/c.txt' });
    assert.deepEqual(await tree(objects), ['.records', '.records/photos', '.staging', 'photos']);
  });

  it('loses no put to the removal of a folder that was empty a moment before', async () => {
    const store = await openStore(dataDir);
    await store.createBucket('photos');
    const churn = async (key: string): Promise<void> => {
      for (let round = 0; round < 15; round += 1) {
        await store.put({ bucket: 'photos', key }, Buffer.from(key));
        assert.equal(await text((await store.get({ bucket: 'photos', key })).body), key);
        await store.delete({ bucket: 'photos', key });
      }
    };
    await Promise.all(['deep/er/a', 'deep/er/b', 'deep/c', 'deep/er/still/d'].map(churn));
    assert.deepEqual(await tree(join(objects, 'photos')), []);
  });

  it('takes in a file that was placed by hand, and its change by hand', async () => {
    const store = await openStore(dataDir);
    await store.createBucket('photos');
    await mkdir(join(objects, 'photos/by-hand'));
    const path = join(objects, 'photos/by-hand/note.txt');
    for (const content of ['placed', 'edited since']) {
      await writeFile(path, content);
      const [summary] = (await store.list({ bucket: 'photos', limit: 10 })).objects;
      assert.deepEqual([summary?.key, summary?.sizeBytes, summary?.etag], ['by-hand/note.txt', content.length, createHash('md5').update(content).digest('hex')]);
    }
  });

  it('keeps content types and metadata when the data folder is copied', async () => {
    const store = await openStore(dataDir);
    await store.createBucket('photos');
    const before = await store.put({ bucket: 'photos', key: 'cat.jpg' }, Buffer.from('meow'), { contentType: 'image/jpeg', metadata: { name: 'Tom' } });
    const copy = await mkdtemp(join(tmpdir(), 'sluice-objects-copy-'));
    try {
      await cp(dataDir, copy, { recursive: true });
      assert.deepEqual(await (await openStore(copy)).head({ bucket: 'photos', key: 'cat.jpg' }), before);
    } finally {
      await rm(copy, { recursive: true });
    }
  });

  it('answers with the old object after a crash between record and bytes', async () => {
    const store = await openStore(dataDir);
    await store.createBucket('photos');
    const old = await store.put({ bucket: 'photos', key: 'cat.jpg' }, Buffer.from('old'), { contentType: 'text/old' });
    const record = join(objects, '.records/photos/cat.jpg.json');
    const file = JSON.parse(await readFile(record, 'utf8')) as { revisions: object[] };
    const next = { ...file.revisions[0], identity: { inode: '1', modifiedNs: '1', sizeBytes: 3 }, contentType: 'text/new' };
    await writeFile(record, JSON.stringify({ ...file, revisions: [next, ...file.revisions] }));
    assert.deepEqual(await (await openStore(dataDir)).head({ bucket: 'photos', key: 'cat.jpg' }), old);
  });

  it('is as before after a crash at the moment between record and bytes', async () => {
    const store = await openStore(dataDir);
    await store.createBucket('photos');
    const [kept, added] = [{ bucket: 'photos', key: 'cat.jpg' }, { bucket: 'photos', key: 'new/deep/dog.jpg' }];
    const old = await store.put(kept, Buffer.from('old'), { contentType: 'text/old' });
    for (const location of [kept, added]) {
      const image = await imageBeforeBytes(dataDir, location.key, async () => {
        await store.delete(added);
        await store.put(kept, Buffer.from('old'), { contentType: 'text/old' });
        return store.put(location, Buffer.alloc(4_000_000), { contentType: 'text/new' });
      });
      try {
        const after = await openStore(image);
        const { etag, contentType } = (await after.head(kept)) ?? {};
        assert.deepEqual([etag, contentType], [old.etag, 'text/old']);
        assert.equal(await after.head(added), undefined);
        assert.deepEqual(await tree(join(image, 'objects')), ['.records', '.records/photos', '.records/photos/cat.jpg.json', '.staging', 'photos', 'photos/cat.jpg']);
      } finally {
        await rm(image, { recursive: true });
      }
    }
  });

  it('lets no key touch the object of another one with which it shares a path', async () => {
    // As on a file system that does not tell upper from lower case: what lies at the path of `cat.jpg` is `CAT.jpg`.
    const store = await openStore(dataDir);
    await store.createBucket('photos');
    const location = { bucket: 'photos', key: 'cat.jpg' };
    await store.put(location, Buffer.from('meow'));
    const record = join(objects, '.records/photos/cat.jpg.json');
    await writeFile(record, (await readFile(record, 'utf8')).replace('"cat.jpg"', '"CAT.jpg"'));
    for (const attempt of [() => store.head(location), () => store.get(location), () => store.put(location, Buffer.from('woof')), () => store.delete(location)]) {
      await assert.rejects(attempt(), { name: 'InvalidObjectKeyError', message: /differs from "CAT\.jpg" in case only/ });
    }
    assert.equal(await readFile(join(objects, 'photos/cat.jpg'), 'utf8'), 'meow');
  });

  it('survives unreadable records', async () => {
    const store = await openStore(dataDir);
    await store.createBucket('photos');
    await store.put({ bucket: 'photos', key: 'cat.jpg' }, Buffer.from('meow'));
    for (const garbage of ['', '{', 'null', '[]', '{"version":1}']) {
      await writeFile(join(objects, '.records/photos/cat.jpg.json'), garbage);
      assert.equal(await text((await store.get({ bucket: 'photos', key: 'cat.jpg' })).body), 'meow');
    }
  });

  it('lists a folder with more names than it may hold in memory', async () => {
    for (let n = 0; n < 23; n += 1) await writeFile(join(dataDir, `f${n}.txt`), '');
    for (let n = 0; n < 5; n += 1) await mkdir(join(dataDir, `empty${n}`));
    const expected = Array.from({ length: 23 }, (_, n) => `f${n}.txt`).sort();
    for (const window of [1, 2, 7]) {
      const keys: string[] = [];
      for await (const key of walkKeys({ root: dataDir, prefix: '', after: undefined, window })) keys.push(key);
      assert.deepEqual(keys, expected);
    }
  });

  it('holds no mixture and loses no finished put when its process is killed, and clears the leftovers', async () => {
    let next = 1;
    for (let round = 0; round < 6; round += 1) {
      const { begun, done } = await runUntilKilled(dataDir, next, 3 + round);
      const store = await openStore(dataDir);
      assert.deepEqual(await readdir(join(objects, '.staging')), []);
      const found = await store.list({ bucket: 'crash-test', limit: 100 });
      for (const { key } of found.objects) {
        const { summary, body } = await store.get({ bucket: 'crash-test', key });
        const bytes = await buffer(body);
        const n = Number(summary.metadata.n);
        const expected = key.startsWith('folder/') ? Buffer.alloc(1_000 + n, n % 256) : Buffer.from(String(n));
        assert.deepEqual([bytes, summary.contentType], [expected, `text/v${n}`], key);
        if (!key.startsWith('folder/')) assert.ok(n > done, `${key} was deleted before`);
      }
      for (let n = Math.max(1, done - 2); n <= done; n += 1) {
        const kept = await store.head({ bucket: 'crash-test', key: `folder/kept-${n % 3}.txt` });
        assert.ok([n, n + 3].includes(Number(kept?.metadata.n)), `change ${n} is lost: ${kept?.metadata.n}`);
      }
      const keys = found.objects.map(({ key }) => key);
      const records = (await tree(join(objects, '.records/crash-test'))).filter((path) => path.endsWith('.json'));
      assert.deepEqual(records, keys.map((key) => `${keyToPath(key)}.json`).sort());
      for (const key of keys) if (key.startsWith('passing/')) await store.delete({ bucket: 'crash-test', key });
      assert.deepEqual((await tree(join(objects, 'crash-test'))).filter((path) => path.startsWith('passing')), []);
      next = begun + 1;
    }
  });
});

/** Lets a child change objects and kills it in the middle of one change. */
async function runUntilKilled(dataDir: string, first: number, changes: number): Promise<{ readonly begun: number; readonly done: number }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'put-forever.ts'), dataDir, String(first)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  let begun = 0;
  let done = first - 1;
  for await (const line of createInterface({ input: child.stdout })) {
    const [what, n] = line.split(' ');
    if (what === 'begin') begun = Number(n);
    else done = Number(n);
    if (done >= first - 1 + changes && what === 'begin') child.kill('SIGKILL');
  }
  assert.deepEqual(await exited, [null, 'SIGKILL']);
  return { begun, done };
}

/** A copy of the data folder as a put leaves it in the instant in which its record is written and its bytes are not yet in place. */
async function imageBeforeBytes(dataDir: string, key: string, put: () => Promise<unknown>): Promise<string> {
  const record = join(dataDir, 'objects/.records/photos', `${keyToPath(key)}.json`);
  const bytes = join(dataDir, 'objects/photos', keyToPath(key));
  for (;;) {
    const image = await mkdtemp(join(tmpdir(), 'sluice-objects-image-'));
    const putting = put();
    for (let writing = true; writing; ) {
      writing = await Promise.race([putting.then(() => false), new Promise<boolean>((resolve) => setImmediate(resolve, true))]);
      if (!existsSync(record) || !readFileSync(record, 'utf8').includes('text/new') || statSync(bytes, { throwIfNoEntry: false })?.size === 4_000_000) continue;
      try {
        cpSync(dataDir, image, { recursive: true, force: true });
      } catch {
        continue; // The move into place had been begun before; the next put gives another chance.
      }
      if (statSync(join(image, 'objects/photos', keyToPath(key)), { throwIfNoEntry: false })?.size !== 4_000_000) {
        await putting;
        return image;
      }
    }
    await rm(image, { recursive: true });
  }
}

async function tree(folder: string): Promise<readonly string[]> {
  return (await readdir(folder, { recursive: true })).sort();
}
