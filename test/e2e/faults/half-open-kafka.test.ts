/** What becomes of invocations when connections to Kafka stay open and nothing comes through any more, under load. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { after, before, describe, test } from 'node:test';
import { isolatedServices, type IsolatedServices } from '../../support/isolated-services.ts';
import { kafkaBroker, NO_KAFKA_HOME, type KafkaBroker } from '../../support/kafka-broker.ts';
import { freePort } from '../../support/redis-server.ts';
import { swallowingProxy, type SwallowingProxy } from '../../support/swallowing-proxy.ts';
import { FaultySluice } from './faulty-sluice.ts';

/** Longer than any client waits before it looks for itself. */
const SWALLOW_MS = 12_000;

const services = NO_KAFKA_HOME === false ? await isolatedServices() : undefined;

describe('half-open connections to Kafka under load', { timeout: 300_000, skip: NO_KAFKA_HOME !== false ? NO_KAFKA_HOME : services === undefined && 'Kafka, an S3 server and Redis are needed' }, () => {
  let proxy: SwallowingProxy;
  let broker: KafkaBroker;
  let faulty: FaultySluice;
  before(async () => {
    const plainPort = await freePort();
    proxy = await swallowingProxy({ host: '127.0.0.1', port: plainPort });
    broker = await kafkaBroker({ plainPort, advertisedPort: proxy.port });
    faulty = await FaultySluice.start({ services: services as IsolatedServices, variables: { SLUICE_LOG: `kafka://127.0.0.1:${proxy.port}` } });
  });
  after(async () => {
    await faulty.end();
    await proxy.close();
    await broker.remove();
  });

  test('callers are told at once or by their deadline, and what was accepted runs afterwards', async () => {
    const row = await faulty.fault(
      'half-open connections to Kafka for 12 s',
      async () => {
        proxy.swallow();
        await delay(SWALLOW_MS);
        proxy.heal();
      },
      5_000,
    );
    assert.match(row.clientErrors, /^\d+ × 50[03][^;]*(; \d+ × 50[03][^;]*)*$/, 'only errors of the platform, no broken connection');
  });

  test('it goes on as before', async () => {
    const row = await faulty.fault('none, afterwards', () => delay(1_000));
    assert.equal(row.clientErrors, '0');
    assert.equal(row.duplicates, 0);
  });
});
