/** What a newcomer sees first: `npm start`, from an empty data folder and a second time on the same one. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { inheritedVariables } from '../support/access.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const run = promisify(execFile);

describe('npm start', { timeout: 600_000 }, () => {
  let dataDir: string;
  before(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'sluice-photomart-'));
  });
  after(() => rm(dataDir, { recursive: true, force: true }));

  const start = async (): Promise<string> => {
    const { stdout } = await run(process.execPath, [join(ROOT, 'cli', 'bin', 'run.mjs'), 'examples/photomart/start.ts', '--once'], {
      cwd: ROOT,
      env: { ...inheritedVariables(), SLUICE_PORT: '0', SLUICE_DATA: dataDir },
    });
    return stdout;
  };

  for (const time of ['the first time', 'again, on what the first left']) {
    test(`shows thumbnails, metadata, a verdict and a catalog entry ${time}`, async () => {
      const output = await start();
      const entry = JSON.parse(await readFile(join(dataDir, 'objects', 'photomart-catalog', 'seeding.json'), 'utf8')) as {
        readonly thumbnails: readonly { readonly bucket: string; readonly key: string; readonly width: number; readonly bytes: number }[];
        readonly size: { readonly width: number };
        readonly moderation: { readonly verdict: string };
      };
      assert.deepEqual(entry.thumbnails.map(({ width }) => width), [160, 480, 1024]);
      for (const { bucket, key, bytes } of entry.thumbnails) {
        assert.equal((await stat(join(dataDir, 'objects', bucket, key))).size, bytes);
        const path = join(dataDir, 'photomart', key.replace('/', '-'));
        assert.equal((await stat(path)).size, bytes);
        // The first bytes of every JPEG: SOI and the begin of a marker.
        assert.deepEqual([...(await readFile(path)).subarray(0, 3)], [0xff, 0xd8, 0xff]);
        assert.ok(output.includes(path), `the output names ${path}`);
      }
      assert.equal(entry.size.width, 2400);
      assert.equal(entry.moderation.verdict, 'approved');
      assert.match(output, /Clemens Engelhardt/);
      assert.match(output, /approved/);
    });
  }
});
