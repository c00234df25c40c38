/** What becomes of invocations when the disk under the object store is full, under load. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { after, before, describe, test } from 'node:test';
import { deploy, result } from '../../support/functions.ts';
import { isolatedServices, type IsolatedServices } from '../../support/isolated-services.ts';
import { minioOnSmallDisk, NO_SMALL_DISK, type MinioOnSmallDisk } from '../../support/minio-on-small-disk.ts';
import { FaultySluice } from './faulty-sluice.ts';

const FULL_MS = 4_000;
const CODE = { 'index.js': 'exports.handler = async () => "deployed";' };

const services = NO_SMALL_DISK === false ? await isolatedServices() : undefined;

describe('a full disk under load', { timeout: 300_000, skip: NO_SMALL_DISK !== false ? NO_SMALL_DISK : services === undefined && 'Kafka, an S3 server and Redis are needed' }, () => {
  let minio: MinioOnSmallDisk;
  let faulty: FaultySluice | undefined;
  before(async () => {
    minio = await minioOnSmallDisk();
    faulty = await FaultySluice.start({ services: services as IsolatedServices, variables: minio.variables });
  });
  after(async () => {
    // Whatever else failed: a mounted disk would outlive the test.
    try {
      await faulty?.end();
    } finally {
      await minio.remove();
    }
  });

  test('functions go on; what has to be kept is refused, and nothing of it is left half made', async () => {
    assert.ok(faulty !== undefined);
    const { lambda } = faulty;
    let refusal: unknown;
    const row = await faulty.fault("a full disk in the object store's place", async () => {
      await minio.fill();
      try {
        refusal = await deploy(lambda, { name: 'no-room', files: CODE }).catch((error: unknown) => error);
        await delay(FULL_MS);
      } finally {
        await minio.free();
      }
    });
    assert.equal(row.clientErrors, '0');
    assert.equal(row.duplicates, 0);
    assert.ok(refusal instanceof Error && refusal.name === 'ServiceException', `a deployment was refused: ${String(refusal)}`);
    // The name is free: nothing of the refused deployment stands in its way.
    await deploy(lambda, { name: 'no-room', files: CODE });
    assert.equal(await result(lambda, 'no-room', {}), 'deployed');
  });
});
