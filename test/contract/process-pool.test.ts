import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../platform/clock.ts';
import type { ExecutionSpec } from '../../platform/model/execution-spec.ts';
import { CODE_BUCKET } from '../../platform/model/function.ts';
import { fileObjectStore } from '../../platform/object-store/file-system.ts';
import type { ObjectStore } from '../../platform/object-store/object-store.ts';
import { createLogger } from '../../platform/telemetry/logger.ts';
import { processPool } from '../../platform/worker-pool/process.ts';
import { codeInStore } from '../../worker/code/code-source.ts';
import { startWorker } from '../../worker/start.ts';
import { MemoryFunctionLogs } from '../support/memory-function-logs.ts';
import { zip } from '../support/packages.ts';
import { workerPoolContract } from './worker-pool.contract.ts';

workerPoolContract('processes', async (link) => {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-pool-'));
  const store = await fileObjectStore({ dataDir, baseUrl: () => 'http://127.0.0.1', signingSecret: Buffer.alloc(32) });
  await store.createBucket(CODE_BUCKET);
  const pool = await processPool({
    link,
    capacity: { maxEnvironments: 10, maxMemoryMiB: 10_000 },
    startWorker: (observed) =>
      startWorker({
        link: observed,
        replies: { reply: () => undefined, stream: () => undefined },
        code: codeInStore(store),
        functionLogs: new MemoryFunctionLogs(),
        clock: systemClock,
        logger: createLogger('silent'),
        settings: { dataDir, cacheDir: join(dataDir, 'cache'), region: 'us-east-1', account: '000000000000', endpointUrl: 'http://127.0.0.1', prestartedPerRuntime: 0, python: 'python3' },
      }),
  });
  return {
    pool,
    working: await deployed(store, 'working', 'nodejs24.x', 'exports.handler = async (event) => event;'),
    failing: await deployed(store, 'failing', 'nodejs24.x', 'throw new Error("not today");'),
    impossible: await deployed(store, 'impossible', 'cobol60', ''),
    dispose: () => rm(dataDir, { recursive: true, force: true }),
  };
});

async function deployed(store: ObjectStore, name: string, runtime: string, source: string): Promise<ExecutionSpec> {
  const body = await zip({ 'index.js': source });
  await store.put({ bucket: CODE_BUCKET, key: name }, body);
  return {
    id: `000000000000/${name}/uid/$LATEST/r1`,
    account: '000000000000',
    functionName: name,
    functionUid: 'uid',
    version: '$LATEST',
    versionArn: `arn:aws:lambda:us-east-1:000000000000:function:${name}:$LATEST`,
    configuration: {
      runtime, handler: 'index.handler', role: 'arn:aws:iam::000000000000:role/test', description: '', timeoutSec: 10, memoryMiB: 128, ephemeralStorageMiB: 512, environment: undefined, architecture: 'x86_64',
      tracingMode: 'PassThrough', logGroup: `/aws/lambda/${name}`, code: { sha256: createHash('sha256').update(body).digest('base64'), sizeBytes: body.length, objectKey: name },
    },
  };
}
