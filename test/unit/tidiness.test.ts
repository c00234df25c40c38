/** The repository's own order: what a reviewer would otherwise have to look for each time. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { test } from 'node:test';

const ROOT = join(import.meta.dirname, '..', '..');
const MAX_LINES = 500;

const tracked = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { cwd: ROOT, encoding: 'utf8' })
  .split('\n')
  .filter((file) => file !== '' && existsSync(join(ROOT, file)));
const sources = tracked.filter((file) => /\.(ts|mjs|cjs|py)$/.test(file));
const pages = tracked.filter((file) => file.endsWith('.md'));

const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');

function offenders(files: readonly string[], pattern: RegExp): string[] {
  return files.flatMap((file) =>
    read(file)
      .split('\n')
      .flatMap((line, index) => (pattern.test(line) ? [`${file}:${index + 1}: ${line.trim().slice(0, 120)}`] : [])),
  );
}

/** Broken relative links of a page, as `page: target`. */
function brokenLinks(page: string, text: string): string[] {
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target = '']) => {
    if (/^([a-z]+:|#)/.test(target)) return [];
    const path = resolve(ROOT, dirname(page), target.replace(/#.*$/, ''));
    return existsSync(path) ? [] : [`${page}: ${relative(ROOT, path)}`];
  });
}

test('the check itself sees the repository', () => {
  assert.ok(sources.length > 50, `${sources.length} sources found`);
  assert.deepEqual(brokenLinks('README.md', 'see [this](no/such/file.md)'), ['README.md: no/such/file.md']);
});

test(`no source file is longer than ${MAX_LINES} lines`, () => {
  const long = sources.map((file) => ({ file, lines: read(file).split('\n').length })).filter(({ lines }) => lines > MAX_LINES);
  assert.deepEqual(long, []);
});

test('nothing is marked unfinished, switched off or silenced', () => {
  const words = new RegExp(['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX', '@ts-' + 'ignore', '@ts-' + 'nocheck', '\\.on' + 'ly\\('].join('|'));
  assert.deepEqual(offenders(sources, words), []);
});

test('no drawer of leftovers', () => {
  assert.deepEqual(sources.filter((file) => /(^|\/)(utils?|helpers?|misc|common)\.(ts|mjs|py)$/.test(file)), []);
});

test('no page links to a file that is not there', () => {
  assert.deepEqual(pages.flatMap((page) => brokenLinks(page, read(page))), []);
});

test('no path of a particular machine', () => {
  const machine = new RegExp('/(ro' + 'ot|wo' + 'rk)/[a-z.]');
  assert.deepEqual(offenders([...sources, ...pages], machine), []);
});

test('the clients of later drivers stay out of the worker', () => {
  const clients = /from '(kafkajs|minio|ioredis|@kubernetes\/client-node)'/;
  assert.deepEqual(offenders(sources.filter((file) => file.startsWith('worker/')), clients), []);
});
