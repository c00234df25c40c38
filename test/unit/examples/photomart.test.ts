import assert from 'node:assert/strict';
import { readFile, readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'node:test';
import { readTemplate } from '../../../cli/deploy/sam/template.ts';
import { bundleDependencies } from '../../../examples/photomart/bundle.ts';
import { folderWith } from '../cli/capture.ts';

const EXAMPLE = fileURLToPath(new URL('../../../examples/photomart/', import.meta.url));

interface Frame {
  readonly width: number;
  readonly height: number;
  readonly coding: string;
}

interface Measured {
  readonly skinShare: number;
  readonly brightness: number;
  readonly entropyBits: number;
}

const { readFrame } = (await import(`${EXAMPLE}functions/metadata/frame.mjs`)) as { readonly readFrame: (bytes: Buffer) => Frame };
const { measure, judge } = (await import(`${EXAMPLE}functions/moderation/pixels.mjs`)) as { readonly measure: (rgb: Uint8Array) => Measured; readonly judge: (measured: Measured) => { readonly verdict: string } };

describe("PhotoMart's photograph", () => {
  it('is a JPEG at least 1,000 pixels wide, with its author and licence on record', async () => {
    const frame = readFrame(await readFile(`${EXAMPLE}photos/seeding.jpg`));
    assert.ok(frame.width >= 1_000, `${frame.width} pixels`);
    assert.equal(frame.coding, 'progressive');
    assert.match(await readFile(`${EXAMPLE}photos/README.md`, 'utf8'), /Clemens Engelhardt[^]*CC0 1\.0/);
  });
});

describe("PhotoMart's reader of frames", () => {
  it('refuses what is no JPEG and what is cut short', () => {
    assert.throws(() => readFrame(Buffer.from('GIF89a')), /not a JPEG/);
    assert.throws(() => readFrame(Buffer.from([0xff, 0xd8, 0xff, 0xe0, 0, 4, 0, 0])), /no frame/);
    assert.throws(() => readFrame(Buffer.from([0xff, 0xd8, ...Array<number>(20).fill(0)])), /no marker at byte 2/);
  });
});

describe("PhotoMart's moderation", () => {
  const picture = (colour: (index: number) => readonly [number, number, number]): Uint8Array => Uint8Array.from(Array.from({ length: 1_024 }, (_, index) => colour(index)).flat());
  const verdict = (rgb: Uint8Array): string => judge(measure(rgb)).verdict;

  it('rejects one colour, sends skin and darkness to a person, and lets a landscape pass', () => {
    assert.equal(verdict(picture(() => [90, 90, 90])), 'rejected');
    assert.equal(verdict(picture((index) => [200 + (index % 32), 120 + (index % 32), 90])), 'review');
    assert.equal(verdict(picture((index) => [index % 16, index % 16, index % 16])), 'review');
    assert.equal(verdict(picture((index) => [30, index % 256, 60])), 'approved');
  });

  it('measures black, white and shares', () => {
    const half = measure(picture((index) => (index % 2 === 0 ? [0, 0, 0] : [255, 255, 255])));
    assert.deepEqual([half.brightness, half.entropyBits, half.skinShare], [0.5, 1, 0]);
  });
});

describe("PhotoMart's template", () => {
  it('describes one function for each folder, in both languages, and nothing that Sluice leaves out', async () => {
    const { functions, buckets, notes } = await readTemplate(`${EXAMPLE}template.yaml`, { account: '000000000000', region: 'us-east-1' });
    assert.deepEqual(notes, []);
    assert.deepEqual([...buckets].sort(), ['photomart-catalog', 'photomart-thumbnails', 'photomart-uploads']);
    const packages = functions.filter((one) => one.packageType === 'Zip');
    assert.equal(packages.length, functions.length);
    const folders = packages.map(({ code }) => (code.kind === 'folder' ? code.path.slice(EXAMPLE.length) : code.kind)).sort();
    assert.deepEqual(folders, (await readdir(`${EXAMPLE}functions`)).map((name) => `functions/${name}`).sort());
    assert.deepEqual([...new Set(packages.map(({ runtime }) => runtime.replace(/[\d.]+x?$/, '')))].sort(), ['nodejs', 'python']);
  });
});

describe("the bundling of PhotoMart's dependencies", () => {
  const manifest = (dependencies: Readonly<Record<string, string>>): string => JSON.stringify({ dependencies });
  const packages = {
    'node_modules/a': { dependencies: { b: '1' }, optionalDependencies: { 'other-machine': '1' } },
    'node_modules/b': {},
    'node_modules/a/node_modules/b': { dependencies: { c: '1' } },
    'node_modules/c': {},
    'node_modules/unused': {},
    'node_modules/other-machine': {},
  };

  it('copies what is needed, at the version that Node would find, and nothing else', async (t) => {
    const files = Object.keys(packages).filter((location) => !location.endsWith('other-machine')).map((location) => [`${location}/index.js`, location] as const);
    const folder = await folderWith(t, {
      ...Object.fromEntries(files),
      'node_modules/a/index.d.ts': '',
      'node_modules/a/dist-types/x.js': '',
      'package-lock.json': JSON.stringify({ packages }),
      'fn/package.json': manifest({ a: '1' }),
    });
    await bundleDependencies(folder, `${folder}/fn`);
    const copied = (await readdir(`${folder}/fn/node_modules`, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile() && entry.name !== 'bundled-sha256').map((entry) => `${entry.parentPath.slice(`${folder}/fn/`.length)}/${entry.name}`);
    assert.deepEqual(copied.sort(), ['node_modules/a/index.js', 'node_modules/a/node_modules/b/index.js', 'node_modules/c/index.js']);
  });
});
