import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../../platform/clock.ts';
import { SETTINGS } from '../../../platform/configuration/settings.ts';
import { createLogger } from '../../../platform/telemetry/logger.ts';
import { startWorker } from '../../../worker/start.ts';

for (const family of ['nodejs', 'python']) {
  test(`a rehearsed start (${family}) runs to its end, and nobody hears of it`, async (t) => {
    const dataDir = await mkdtemp(join(tmpdir(), 'sluice-rehearsal-'));
    const heard: unknown[] = [];
    const warned: unknown[] = [];
    const logger = Object.assign(createLogger('silent'), { warn: (...said: unknown[]) => void warned.push(said) });
    const listen = (...said: readonly unknown[]): void => void heard.push(said);
    const worker = await startWorker({
      link: { next: (poll) => (listen(poll), new Promise(() => undefined)), responded: listen, gone: listen },
      replies: { reply: listen, stream: listen },
      code: (code) => (listen(code), Promise.reject(new Error('nothing is to be fetched'))),
      functionLogs: { append: listen },
      clock: systemClock,
      logger,
      settings: { dataDir, cacheDir: SETTINGS.cacheDir.parse(SETTINGS.cacheDir.defaultText), region: 'us-east-1', account: '000000000000', endpointUrl: 'http://127.0.0.1:9400', prestartedPerRuntime: 1, python: 'python3', prestartedFamilies: [family], rehearsal: true },
    });
    t.after(async () => {
      await worker.stop();
      await rm(dataDir, { recursive: true, force: true });
    });
    await worker.ready;
    assert.deepEqual([heard, warned], [[], []]);
    assert.deepEqual(await readdir(join(dataDir, 'code')), ['package.json']);
  });
}
