import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../platform/clock.ts';
import { openFileFunctionLogs } from '../../platform/function-logs/files.ts';
import { createLogger } from '../../platform/telemetry/logger.ts';
import { functionLogsContract } from './function-logs.contract.ts';

functionLogsContract('files', async (context) => {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-logs-'));
  const logs = await openFileFunctionLogs({ dataDir, clock: systemClock, logger: createLogger('error') });
  context.after(async () => {
    await logs.close();
    await rm(dataDir, { recursive: true, force: true });
  });
  return logs;
});

test('files: a folder that no group has made is passed over', async (context) => {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-logs-'));
  context.after(() => rm(dataDir, { recursive: true, force: true }));
  const logs = await openFileFunctionLogs({ dataDir, clock: systemClock, logger: createLogger('error') });
  await mkdir(join(dataDir, 'logs', 'g-%'));
  assert.deepEqual(await logs.listGroups(''), []);
  await logs.close();
});
