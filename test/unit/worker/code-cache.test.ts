import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { findPackageJSON } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { test, type TestContext } from 'node:test';
import { ZipFile } from 'yazl';
import type { CodeReference } from '../../../platform/model/function.ts';
import { createLogger } from '../../../platform/telemetry/logger.ts';
import type { CodeSource } from '../../../worker/code/code-source.ts';
import { CodeCache, MAX_UNUSED_FOLDERS } from '../../../worker/code/code-cache.ts';

async function zip(text: string): Promise<Buffer> {
  const file = new ZipFile();
  file.addBuffer(Buffer.from(text), 'index.js');
  file.end();
  return buffer(file.outputStream as Readable);
}

interface Setting {
  readonly folder: string;
  readonly cache: CodeCache;
  readonly reads: string[];
  readonly put: (text: string) => Promise<CodeReference>;
}

async function open(context: TestContext, folder?: string): Promise<Setting> {
  const codeDir = folder ?? (await mkdtemp(join(tmpdir(), 'sluice-code-')));
  context.after(() => rm(codeDir, { recursive: true, force: true }));
  const objects = new Map<string, Buffer>();
  const reads: string[] = [];
  const source: CodeSource = ({ objectKey }) => {
    reads.push(objectKey);
    const body = objects.get(objectKey);
    return body === undefined ? Promise.reject(new Error(`no ${objectKey}`)) : Promise.resolve(body);
  };
  const cache = await CodeCache.open({ folder: codeDir, source, logger: createLogger('error') });
  return {
    folder: codeDir,
    cache,
    reads,
    put: async (text) => {
      const body = await zip(text);
      objects.set(text, body);
      return { sha256: createHash('sha256').update(body).digest('base64'), sizeBytes: body.length, objectKey: text };
    },
  };
}

test('one content is fetched and unpacked once, however many ask at once', async (context) => {
  const { cache, put, reads, folder } = await open(context);
  const code = await put('one');
  const folders = await Promise.all(Array.from({ length: 10 }, () => cache.acquire(code)));
  assert.equal(new Set(folders.map(({ path }) => path)).size, 1);
  assert.equal(folders[0]?.path, join(folder, Buffer.from(code.sha256, 'base64').toString('hex')));
  assert.equal(await readFile(join(folders[0].path, 'index.js'), 'utf8'), 'one');
  assert.deepEqual(reads, ['one']);
});

test('what fails is tried again by the next request', async (context) => {
  const { cache, put, reads } = await open(context);
  const code = await put('later');
  const missing = { ...code, objectKey: 'missing' };
  await assert.rejects(cache.acquire(missing), /no missing/);
  const { path } = await cache.acquire(code);
  assert.equal(await readFile(join(path, 'index.js'), 'utf8'), 'later');
  assert.deepEqual(reads, ['missing', 'later']);
});

test('a new start keeps what is whole and removes what a crash left half done', async (context) => {
  const first = await open(context);
  const code = await first.put('kept');
  const kept = await first.cache.acquire(code);
  kept.release();
  await mkdir(join(first.folder, `${'0'.repeat(64)}.x.partial`));
  await writeFile(join(first.folder, 'stray'), '');
  const second = await open(context, first.folder);
  assert.deepEqual((await readdir(first.folder)).sort(), [kept.path.slice(first.folder.length + 1), 'package.json']);
  assert.equal((await second.cache.acquire(code)).path, kept.path);
  assert.deepEqual(second.reads, []);
});

test('a package.json above the data folder does not decide what kind of module a function’s files are', async (context) => {
  const { cache, put, folder } = await open(context);
  const { path } = await cache.acquire(await put('module.exports = 1;'));
  assert.equal(findPackageJSON(pathToFileURL(join(path, 'index.js'))), join(folder, 'package.json'));
});

test('beyond the bound the least recently used folders go, never one in use', async (context) => {
  const codeDir = await mkdtemp(join(tmpdir(), 'sluice-code-'));
  for (let i = 0; i < MAX_UNUSED_FOLDERS; i++) await mkdir(join(codeDir, createHash('sha256').update(String(i)).digest('hex')));
  const { cache, put, folder } = await open(context, codeDir);
  const used = await cache.acquire(await put('in use'));
  const released = await cache.acquire(await put('released last'));
  released.release();
  // The bound, the one in use and the package boundary: the others go in the background.
  let left: string[];
  do left = await readdir(folder);
  while (left.length > MAX_UNUSED_FOLDERS + 2);
  assert.ok(left.includes(used.path.slice(folder.length + 1)));
  assert.ok(left.includes(released.path.slice(folder.length + 1)));
});
