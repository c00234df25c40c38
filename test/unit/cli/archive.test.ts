import assert from 'node:assert/strict';
import { chmod, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fromBufferPromise, type Entry } from 'yauzl';
import { archiveFolder, archiveOf } from '../../../cli/deploy/archive.ts';
import { folderWith } from './capture.ts';

const ignoreProgress = (): void => undefined;

describe('a deployment package', () => {
  it('holds the files with their content, sorted, with slashes', async (t) => {
    const folder = await folderWith(t, { 'b.txt': 'B', 'a/deep.txt': 'deep', 'index.mjs': 'x' });
    const { bytes, files } = await archiveFolder(folder, ignoreProgress);
    const entries = await entriesOf(bytes);
    assert.equal(files, 3);
    assert.deepEqual(entries.map(({ name, text }) => [name, text]), [['a/deep.txt', 'deep'], ['b.txt', 'B'], ['index.mjs', 'x']]);
  });

  it('is the same byte for byte wherever and whenever it is made', async (t) => {
    const files = { 'index.mjs': 'code', 'lib/one.mjs': '1', 'lib/two.mjs': '2' };
    const [first, second] = [await folderWith(t, files), await folderWith(t, Object.fromEntries(Object.entries(files).reverse()))];
    await utimes(join(second, 'index.mjs'), 1, 1);
    await chmod(join(second, 'lib/one.mjs'), 0o600);
    const [a, b] = [await archiveFolder(first, ignoreProgress), await archiveFolder(second, ignoreProgress)];
    assert.ok(a.bytes.equals(b.bytes));
    assert.equal(a.sha256, b.sha256);
  });

  it('differs when the content does', async (t) => {
    const [a, b] = await Promise.all([{ f: '1' }, { f: '2' }].map(async (files) => archiveFolder(await folderWith(t, files), ignoreProgress)));
    assert.notEqual(a?.sha256, b?.sha256);
  });

  it('keeps files executable, and all readable', async (t) => {
    const folder = await folderWith(t, { bootstrap: '#!/bin/sh', plain: '' });
    await chmod(join(folder, 'bootstrap'), 0o700);
    await chmod(join(folder, 'plain'), 0o600);
    const modes = (await entriesOf((await archiveFolder(folder, ignoreProgress)).bytes)).map(({ mode }) => mode & 0o777);
    assert.deepEqual(modes, [0o755, 0o644]);
  });

  it('leaves out what no function needs', async (t) => {
    const junk = ['.git/HEAD', '__pycache__/a.pyc', 'lib/__pycache__/b.pyc', 'c.pyc', '.DS_Store', 'lib/.DS_Store', 'node_modules/.cache/x', 'node_modules/.bin/y'];
    const kept = ['.env', '.gitignore', 'index.mjs', 'lib/.cache/z', 'node_modules/p/index.js'];
    const folder = await folderWith(t, Object.fromEntries([...junk, ...kept].map((name) => [name, 'x'])));
    const names = (await entriesOf((await archiveFolder(folder, ignoreProgress)).bytes)).map(({ name }) => name);
    assert.deepEqual(names, kept);
  });

  it('follows symbolic links, but not round in a circle', async (t) => {
    const shared = await folderWith(t, { 'shared.mjs': 'shared' });
    const folder = await folderWith(t, { 'index.mjs': 'x' });
    await symlink(shared, join(folder, 'linked'));
    assert.deepEqual((await entriesOf((await archiveFolder(folder, ignoreProgress)).bytes)).map(({ name }) => name), ['index.mjs', 'linked/shared.mjs']);
    await symlink(folder, join(folder, 'self'));
    await assert.rejects(archiveFolder(folder, ignoreProgress), /self is a symbolic link to a folder above itself/);
  });

  it('is refused before anything is read when it is empty or above 250 MB unpacked', async (t) => {
    await assert.rejects(archiveFolder(await folderWith(t), ignoreProgress), /holds no file/);
    const large = await folderWith(t, { 'index.mjs': 'x', 'model.bin': '' });
    await truncate(join(large, 'model.bin'), 262_144_000); // sparse: takes no room
    await assert.rejects(archiveFolder(large, ignoreProgress), /at most 250\.0 MiB\. Largest files: model\.bin \(250\.0 MiB\), index\.mjs \(1 byte\)/);
  });

  it('tells how far it is, up to all of it', async (t) => {
    const folder = await folderWith(t, { a: 'x'.repeat(100_000), b: 'y'.repeat(100_000) });
    const fractions: number[] = [];
    await archiveFolder(folder, (fraction) => fractions.push(fraction));
    assert.deepEqual(fractions, [...fractions].sort((x, y) => x - y));
    assert.equal(fractions.at(-1), 1);
  });

  it('rejects when a file vanishes or cannot be read', async (t) => {
    const folder = await folderWith(t, { 'index.mjs': 'x' });
    await symlink(join(folder, 'nowhere'), join(folder, 'dangling'));
    await assert.rejects(archiveFolder(folder, ignoreProgress), /ENOENT/);
  });

  it('is taken as it is where there is one, and made of a text', async (t) => {
    const folder = await folderWith(t, { 'index.mjs': 'x' });
    const { bytes, sha256 } = await archiveFolder(folder, ignoreProgress);
    await writeFile(join(folder, 'code.zip'), bytes);
    assert.equal((await archiveOf({ kind: 'zip', path: join(folder, 'code.zip') }, ignoreProgress)).sha256, sha256);
    const inline = await archiveOf({ kind: 'inline', fileName: 'index.js', text: 'exports.h = 1' }, ignoreProgress);
    assert.deepEqual((await entriesOf(inline.bytes)).map(({ name, text }) => [name, text]), [['index.js', 'exports.h = 1']]);
  });
});

async function entriesOf(bytes: Buffer): Promise<{ name: string; text: string; mode: number }[]> {
  const zip = await fromBufferPromise(bytes, { lazyEntries: true });
  const entries: { name: string; text: string; mode: number }[] = [];
  for await (const entry of zip.eachEntry() as AsyncIterable<Entry>) {
    const stream = await zip.openReadStreamPromise(entry);
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    entries.push({ name: entry.fileName, text: Buffer.concat(chunks).toString('utf8'), mode: entry.externalFileAttributes >>> 16 });
  }
  return entries;
}
