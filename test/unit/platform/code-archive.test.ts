import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import * as fc from 'fast-check';
import { CodeArchiveError, type CodeArchiveFault } from '../../../platform/code-archive/errors.ts';
import { extract } from '../../../platform/code-archive/extract.ts';
import { inspect, verify } from '../../../platform/code-archive/inspect.ts';
import { crookedZip, zip } from '../../support/packages.ts';

const COULD_NOT_UNZIP = /^Could not unzip uploaded file\. Please check your file, then try to upload again\./;
const LINK = 0o120777;

let folder: string;
let count = 0;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-code-archive-'));
});
after(() => rm(folder, { recursive: true, force: true }));

const newTarget = (): string => join(folder, `target-${count++}`);

/** What is where under a folder: `path` → content, `link → target` or `folder`. */
async function tree(root: string): Promise<Record<string, string>> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const rows = entries.map(async (entry) => {
    const path = join(entry.parentPath, entry.name);
    const content = entry.isSymbolicLink() ? `-> ${await readlink(path)}` : entry.isDirectory() ? 'folder' : await readFile(path, 'utf8');
    return [path.slice(root.length + 1), content] as const;
  });
  return Object.fromEntries((await Promise.all(rows)).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Refused by all three, with nothing on disk afterwards. */
async function refused(archive: Buffer, fault: CodeArchiveFault, message: RegExp = COULD_NOT_UNZIP): Promise<void> {
  const isRefusal = (error: unknown): boolean => {
    assert.ok(error instanceof CodeArchiveError, String(error));
    assert.match(error.message, message);
    assert.equal(error.fault, fault);
    return true;
  };
  await assert.rejects(verify(archive), isRefusal);
  await extractionFails(archive, isRefusal);
}

async function extractionFails(archive: Buffer, isRefusal: (error: unknown) => boolean): Promise<void> {
  const target = newTarget();
  const before = await readdir(folder);
  await assert.rejects(extract(archive, target), isRefusal);
  assert.deepEqual(await readdir(folder), before);
}

describe('extract', () => {
  test('writes files, folders and executable bits, and tells the bytes', async () => {
    const target = newTarget();
    const archive = await zip({ 'index.js': 'one', 'lib/deep/a.txt': 'two' });
    assert.deepEqual(await extract(archive, target), { unpackedBytes: 6 });
    assert.deepEqual(await tree(target), { 'index.js': 'one', lib: 'folder', 'lib/deep': 'folder', 'lib/deep/a.txt': 'two' });
    const executable = newTarget();
    await extract(await zip({ bootstrap: '#!/bin/sh' }, { mode: 0o104755 }), executable);
    assert.equal((await stat(join(executable, 'bootstrap'))).mode & 0o7777, 0o755);
    assert.equal((await stat(join(target, 'index.js'))).mode & 0o7777, 0o644);
  });

  test('takes the package from a file as well', async () => {
    const path = join(folder, 'package.zip');
    await writeFile(path, await zip({ a: '1' }));
    const target = newTarget();
    await extract(path, target);
    assert.deepEqual(await tree(target), { a: '1' });
    await rm(path);
  });

  test('makes links that stay inside', async () => {
    const target = newTarget();
    await extract(await crookedZip([
      { path: 'lib/tool.js', content: 'x' },
      { path: 'bin/tool', content: '../lib/tool.js', mode: LINK },
      { path: 'here', content: 'lib', mode: LINK },
    ]), target);
    assert.deepEqual(await tree(target), { bin: 'folder', 'bin/tool': '-> ../lib/tool.js', here: '-> lib', lib: 'folder', 'lib/tool.js': 'x' });
    assert.equal(await readFile(join(target, 'bin/tool'), 'utf8'), 'x');
  });

  test('leaves a target that is there already as it is', async () => {
    const target = newTarget();
    await extract(await zip({ a: 'first' }), target);
    await assert.rejects(extract(await zip({ a: 'second' }), target));
    assert.deepEqual(await tree(target), { a: 'first' });
    assert.deepEqual((await readdir(folder)).filter((name) => name.endsWith('.partial')), []);
  });

  test('does not write through a link that someone has put beside the target', async () => {
    const outside = newTarget();
    await extract(await zip({ secret: 'keep' }), outside);
    const target = newTarget();
    await symlink(outside, target);
    await assert.rejects(extract(await zip({ secret: 'overwritten' }), target));
    assert.deepEqual(await tree(outside), { secret: 'keep' });
  });

  test('whatever files are packed come out the same', async () => {
    const part = fc.stringMatching(/^[a-zA-Z0-9_.-]{1,12}$/).filter((text) => text !== '.' && text !== '..');
    const file = fc.tuple(fc.array(part, { minLength: 1, maxLength: 4 }), fc.string({ unit: 'binary', maxLength: 100 }));
    await fc.assert(
      fc.asyncProperty(fc.array(file, { minLength: 1, maxLength: 8 }), async (files) => {
        const contents: Record<string, string> = {};
        // Prefixed by depth, so that no name is a file and a folder.
        for (const [parts, content] of files) contents[parts.map((text, depth) => `${depth === parts.length - 1 ? 'f' : 'd'}${text}`).join('/')] = content.toWellFormed();
        const target = newTarget();
        await extract(await zip(contents), target);
        const found = Object.entries(await tree(target)).filter(([, content]) => content !== 'folder' || Object.values(contents).includes('folder'));
        assert.deepEqual(Object.fromEntries(found), Object.fromEntries(Object.entries(contents).sort(([a], [b]) => (a < b ? -1 : 1))));
      }),
      { numRuns: 40 },
    );
  });
});

describe('a package is refused that', () => {
  for (const path of ['../escaped', 'a/../../escaped', '/absolute/path', '..\\escaped', 'a\\..\\b', 'C:/windows/x', 'ok/..']) {
    test(`has the path ${path}`, async () => refused(await crookedZip([{ path: 'index.js', content: '1' }, { path, content: 'x' }]), 'escape'));
  }

  for (const [what, entries] of [
    ['absolute', [{ path: 'link', content: '/etc/passwd', mode: LINK }]],
    ['upwards', [{ path: 'dir/link', content: '../../x', mode: LINK }]],
    ['through another link', [{ path: 'p/q/up', content: '../..', mode: LINK }, { path: 'link', content: 'p/q/up/../x', mode: LINK }]],
  ] as const) {
    test(`has a link that leads outside: ${what}`, async () => refused(await crookedZip([{ path: 'index.js', content: '1' }, ...entries]), 'escape'));
  }

  test('has an entry beneath a link', async () =>
    refused(await crookedZip([{ path: 'lib/x', content: '1' }, { path: 'here', content: 'lib', mode: LINK }, { path: 'here/evil', content: '2' }]), 'escape'));

  test('has two entries of one name', async () =>
    refused(await crookedZip([{ path: 'twice.js', content: '1' }, { path: 'twice.js', content: '2' }]), 'duplicate'));

  test('has two entries whose names mean the same', async () =>
    refused(await crookedZip([{ path: 'a//twice', content: '1' }, { path: './a/twice', content: '2' }]), 'duplicate'));

  test('has a file that is a folder as well', async () =>
    refused(await crookedZip([{ path: 'both', content: '1' }, { path: 'both/file', content: '2' }]), 'duplicate'));

  test('has a device in it', async () => refused(await crookedZip([{ path: 'zero', content: '', mode: 0o020666 }]), 'unsupported'));

  test('is encrypted', async () => {
    const archive = await zip({ 'index.js': 'x' });
    // The general purpose flags' first bit, in the central directory.
    const central = archive.indexOf(Buffer.from('504b0102', 'hex'));
    archive.writeUInt16LE(archive.readUInt16LE(central + 8) | 1, central + 8);
    await refused(archive, 'encrypted');
  });

  test('is compressed by another method', async () => {
    const archive = await zip({ 'index.js': 'x'.repeat(100) });
    archive.writeUInt16LE(12, archive.indexOf(Buffer.from('504b0102', 'hex')) + 10);
    await refused(archive, 'unsupported');
  });

  test('has no file in it', async () => {
    await refused(Buffer.from(`504b0506${'00'.repeat(18)}`, 'hex'), 'empty', /^Uploaded file must be a non-empty zip$/);
    await refused(await crookedZip([{ path: 'folder/', content: '' }]), 'empty', /^Uploaded file must be a non-empty zip$/);
  });

  test('is no zip, is cut short, or is damaged', async () => {
    const archive = await zip({ 'index.js': 'exports.handler = async () => 1; // '.repeat(50) });
    await refused(Buffer.from('this is no archive'), 'unreadable');
    await refused(Buffer.alloc(0), 'unreadable');
    await refused(archive.subarray(0, archive.length - 30), 'unreadable');
    const damaged = Buffer.from(archive);
    const content = 30 + 'index.js'.length + 10;
    damaged[content] = (damaged[content] ?? 0) ^ 0xff;
    await refused(damaged, 'unreadable');
  });

  test('has more entries than anyone needs', async () => {
    const end = Buffer.from(`504b0506${'00'.repeat(18)}`, 'hex');
    const zip64 = Buffer.alloc(56 + 20);
    zip64.write('504b0606', 0, 'hex');
    zip64.writeBigUInt64LE(44n, 4);
    zip64.writeBigUInt64LE(100_001n, 24);
    zip64.writeBigUInt64LE(100_001n, 32);
    zip64.write('504b0607', 56, 'hex');
    zip64.writeUInt32LE(1, 72);
    end.writeUInt16LE(0xffff, 8);
    end.writeUInt16LE(0xffff, 10);
    end.writeUInt32LE(0xffffffff, 16);
    await refused(Buffer.concat([zip64, end]), 'tooManyEntries', /100001 entries; at most 100000/);
  });

  test('declares more than 250 MiB', async () => {
    const archive = await zip({ 'index.js': 'x', 'bomb.bin': Buffer.alloc(1024) });
    const central = archive.lastIndexOf(Buffer.from('504b0102', 'hex'));
    archive.writeUInt32LE(262_144_001, central + 24);
    await refused(archive, 'tooLarge', /^Unzipped size must be smaller than 262144000 bytes$/);
  });

  test('contains more than it declares, although its table of contents is in order', async () => {
    const archive = await zip({ 'bomb.bin': Buffer.alloc(1024 * 1024) });
    const central = archive.lastIndexOf(Buffer.from('504b0102', 'hex'));
    archive.writeUInt32LE(10, central + 24);
    assert.deepEqual(await inspect(archive), { fileCount: 1, unpackedBytes: 10 });
    await refused(archive, 'unreadable');
  });

  test('is any other sequence of bytes, or a package with some of them changed', async () => {
    const good = await zip({ 'index.js': 'exports.handler = async () => 1;', 'lib/a.js': 'a'.repeat(500) });
    const anything = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
      fc.array(fc.tuple(fc.nat({ max: good.length - 1 }), fc.nat({ max: 255 })), { minLength: 1, maxLength: 4 }).map((changes) => {
        const bytes = Buffer.from(good);
        for (const [at, value] of changes) bytes[at] = value;
        return bytes;
      }),
    );
    await fc.assert(
      fc.asyncProperty(anything, async (bytes) => {
        const verified = await verify(bytes).then(() => true, (error: unknown) => {
          assert.ok(error instanceof CodeArchiveError, String(error));
          return false;
        });
        const target = newTarget();
        const extracted = await extract(bytes, target).then(() => true, (error: unknown) => {
          assert.ok(error instanceof CodeArchiveError, String(error));
          return false;
        });
        // What may be stored can be unpacked, and the other way round.
        assert.equal(extracted, verified);
      }),
      { numRuns: 150 },
    );
    assert.deepEqual((await readdir(folder)).filter((name) => !name.startsWith('target-') || name.endsWith('.partial')), []);
  });
});
