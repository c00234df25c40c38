/** What becomes of invocations when the services that Sluice stands on die, forget, fall silent or fill up, under load. */
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { after, before, describe, test } from 'node:test';
import { Redis } from 'ioredis';
import { isolatedServices, type IsolatedServices } from '../../support/isolated-services.ts';
import { serviceControl, type ServiceControl } from '../../support/service-control.ts';
import { redisService } from '../../support/services.ts';
import { swallowingProxy, type SwallowingProxy } from '../../support/swallowing-proxy.ts';
import { FaultySluice } from './faulty-sluice.ts';

/** How long a service is away. */
const AWAY_MS = 4_000;

const control = serviceControl();
const brokers = process.env['KAFKA3_BROKERS']?.split(',');
const services = control === undefined ? undefined : await isolatedServices(brokers);
const missing = control === undefined ? 'SERVICES_CONTROL is not set: nobody can kill the services' : services === undefined && 'Kafka, an S3 server and Redis are needed';

describe('services that die under load', { timeout: 600_000, skip: missing }, () => {
  let faulty: FaultySluice;
  let redisProxy: SwallowingProxy;
  let redis: Redis;
  before(async () => {
    const { url } = (await redisService()) ?? { url: '' };
    const { hostname, port } = new URL(url);
    redisProxy = await swallowingProxy({ host: hostname, port: Number(port) });
    redis = new Redis(url);
    redis.on('error', () => undefined);
    faulty = await FaultySluice.start({
      services: services as IsolatedServices,
      variables: { SLUICE_CACHE: `redis://127.0.0.1:${redisProxy.port}`, ...(brokers === undefined ? {} : { SLUICE_TOPIC_REPLICATION: '3', SLUICE_TOPIC_MIN_INSYNC: '2' }) },
    });
  });
  after(async () => {
    redis.disconnect();
    await redisProxy.close();
    await faulty.end();
  });
  /** Kills a service, leaves it away for a while and brings it back, whatever happens. */
  const away = async (name: string): Promise<void> => {
    await (control as ServiceControl).kill(name);
    try {
      await delay(AWAY_MS);
    } finally {
      await (control as ServiceControl).start(name);
    }
  };

  test('Redis dies and comes back: nobody notices', async () => {
    const row = await faulty.fault('kill -9 of Redis', () => away('redis'));
    assert.equal(row.clientErrors, '0');
    assert.equal(row.duplicates, 0);
  });

  test('Redis forgets everything: nobody notices', async () => {
    const row = await faulty.fault('FLUSHALL of Redis', async () => void (await redis.flushall()));
    assert.equal(row.clientErrors, '0');
    assert.equal(row.duplicates, 0);
  });

  test('the way to Redis swallows everything: nobody notices', async () => {
    const row = await faulty.fault('half-open connections to Redis', async () => {
      redisProxy.swallow();
      await delay(AWAY_MS);
      redisProxy.heal();
    });
    assert.equal(row.clientErrors, '0');
    assert.equal(row.duplicates, 0);
  });

  test('the object store dies and comes back: warm functions go on', async () => {
    const row = await faulty.fault('kill -9 of the object store', () => away('minio'));
    assert.equal(row.clientErrors, '0');
    assert.equal(row.duplicates, 0);
  });

  test('one of three Kafka brokers dies and comes back', { skip: brokers === undefined && 'KAFKA3_BROKERS is not set: there is no cluster of three brokers' }, async () => {
    await faulty.fault('kill -9 of one of three Kafka brokers', () => away('kafka3-2'));
  });

  test('it goes on as before', async () => {
    const row = await faulty.fault('none, afterwards', () => delay(1_000));
    assert.equal(row.clientErrors, '0');
    assert.equal(row.duplicates, 0);
  });
});
