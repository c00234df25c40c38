import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { systemClock } from '../../platform/clock.ts';
import { openObjectFunctionLogs } from '../../platform/function-logs/object-store.ts';
import { createLogger } from '../../platform/telemetry/logger.ts';
import { openFiles } from '../support/object-registries.ts';
import { openTestStore, S3 } from '../support/s3-stores.ts';
import { functionLogsContract } from './function-logs.contract.ts';

const logger = createLogger('error');

functionLogsContract('objects in files', async (context) => {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-logs-'));
  const logs = await openObjectFunctionLogs({ store: await openFiles(dataDir), clock: systemClock, logger });
  context.after(async () => {
    await logs.close();
    await rm(dataDir, { recursive: true, force: true });
  });
  return logs;
});

if (S3 !== undefined) {
  const { store, dispose } = openTestStore(S3);
  after(dispose);
  functionLogsContract('objects in S3', async (context) => {
    const logs = await openObjectFunctionLogs({ store, bucket: `logs-${randomBytes(4).toString('hex')}`, clock: systemClock, logger });
    context.after(() => logs.close());
    return logs;
  });
}
