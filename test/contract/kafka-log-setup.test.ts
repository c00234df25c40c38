import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { LogUnavailableError } from '../../platform/invocation-log/invocation-log.ts';
import { describeMismatch, LogSetupError, setUpTopics, type KafkaConnection, type KafkaLogOptions, type KafkaSetting } from '../../platform/invocation-log/kafka.ts';
import { topicNames } from '../../platform/invocation-log/kafka/topic-names.ts';
import { createLogger } from '../../platform/telemetry/logger.ts';
import { kafkaBroker, NO_KAFKA_HOME, type KafkaBroker } from '../support/kafka-broker.ts';
import { kafkaScene, plainKafka, removeTopics, withAdmin, type KafkaScene } from '../support/kafka-logs.ts';
import { CollectingConsumer, invocation } from '../support/log-consumer.ts';
import { freePort, makeCertificate, NO_OPENSSL, until, type Certificate } from '../support/redis-server.ts';
import { kafkaService } from '../support/services.ts';

const kafka = await kafkaService();
const logger = createLogger('silent');

/** A start has so long to find out what is wrong. Not a measurement: one that hangs fails. */
const SETUP_LIMIT_MS = 10_000;

async function refused(scene: KafkaScene, change: Partial<KafkaLogOptions>, setting: KafkaSetting, cause: RegExp): Promise<void> {
  const signal = AbortSignal.timeout(SETUP_LIMIT_MS);
  const tooLate = new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject(new Error('It did not end within 10 s.')), { once: true }));
  await assert.rejects(Promise.race([scene.open(change), tooLate]), (error) => {
    assert.ok(error instanceof LogSetupError, String(error));
    assert.equal(error.setting, setting, error.message);
    assert.match(error.message, cause);
    assert.ok(error.message.startsWith(setting) && !error.message.includes('\n'), error.message);
    assert.doesNotMatch(error.message, /secret/);
    return true;
  });
}

describe('kafka log: topics', { skip: kafka === undefined ? 'no Kafka can be reached or started' : false }, () => {
  const brokers = kafka?.brokers ?? [];
  const connection: KafkaConnection = { brokers, clientId: 'sluice-test' };

  async function withPrefix(run: (prefix: string) => Promise<void>): Promise<void> {
    const prefix = `test-topics-${process.hrtime.bigint()}`;
    try {
      await run(prefix);
    } finally {
      await removeTopics(brokers, prefix).catch(() => undefined);
    }
  }

  it('are made as planned, and only once', () =>
    withPrefix(async (prefix) => {
      const plan = { partitions: 3, replicationFactor: 1, minInsyncReplicas: 1, retentionMs: 3_600_000 };
      const [first, second] = await Promise.all([setUpTopics({ connection, logger, topicPrefix: prefix, topics: plan }, 'create'), setUpTopics({ connection, logger, topicPrefix: prefix, topics: plan }, 'create')]);
      for (const report of [first, second]) {
        assert.deepEqual([report.partitions, report.mismatches], [3, []]);
        assert.deepEqual(report.missing, []);
      }
      const again = await setUpTopics({ connection, logger, topicPrefix: prefix, topics: plan }, 'create');
      assert.deepEqual([again.created, again.mismatches], [[], []]);
    }));

  it('are compared line by line, and never changed', () =>
    withPrefix(async (prefix) => {
      await setUpTopics({ connection, logger, topicPrefix: prefix, topics: { partitions: 3, retentionMs: 3_600_000 } }, 'create');
      const asked = { connection, logger, topicPrefix: prefix, topics: { partitions: 2, replicationFactor: 3, retentionMs: 7_200_000 } };
      for (const mode of ['create', 'check'] as const) {
        const { mismatches, partitions } = await setUpTopics(asked, mode);
        assert.equal(partitions, 3, 'what there is, is used');
        const lines = mismatches.map(describeMismatch);
        const name = topicNames(prefix).nameOf('async');
        assert.ok(lines.includes(`topic ${name}: retention.ms is 3600000, should be 7200000`), lines.join('\n'));
        assert.ok(lines.includes(`topic ${name}: replication factor is 1, should be 3`), lines.join('\n'));
        assert.ok(lines.includes(`topic ${name}: partitions is 3, should be 2`), lines.join('\n'));
      }
    }));

  it('that are missing are told by a check, which makes none', () =>
    withPrefix(async (prefix) => {
      const report = await setUpTopics({ connection, logger, topicPrefix: prefix }, 'check');
      assert.equal(report.missing.length, 8);
      assert.equal(report.partitions, undefined);
      assert.equal((await setUpTopics({ connection, logger, topicPrefix: prefix }, 'check')).missing.length, 8);
    }));

  it('with fewer partitions than set, or not the same number in all, stop the start', () =>
    withPrefix(async (prefix) => {
      const setUp = (partitions: number): Promise<unknown> => setUpTopics({ connection, logger, topicPrefix: prefix, topics: { partitions } }, 'create');
      await setUp(2);
      await assert.rejects(setUp(4), (error) => error instanceof LogSetupError && error.setting === 'SLUICE_PARTITIONS' && /has 2 partitions, 4 are set/.test(error.message));
      await withAdmin(brokers, (admin) => admin.createPartitions({ topicPartitions: [{ topic: topicNames(prefix).nameOf('1m'), count: 5 }] }));
      await until(() => setUp(2).then(() => false, () => true));
      await assert.rejects(setUp(2), (error) => error instanceof LogSetupError && error.setting === 'SLUICE_PARTITIONS' && /delay\.1m 5/.test(error.message));
    }));
});

describe('kafka log: a start that cannot succeed', { skip: NO_KAFKA_HOME || NO_OPENSSL }, () => {
  let broker: KafkaBroker;
  let certificate: Certificate;
  let other: Certificate;
  let scene: KafkaScene;

  before(async () => {
    [certificate, other] = await Promise.all([makeCertificate(), makeCertificate()]);
    broker = await kafkaBroker({ users: { admin: 'admin-secret', bob: 'bob-secret' }, certificate });
    scene = await kafkaScene([broker.plain]);
  });
  after(async () => {
    await scene.dispose();
    await broker.remove();
    await Promise.all([certificate.remove(), other.remove()]);
  });

  const at = (address: string, rest: Partial<KafkaConnection> = {}): Partial<KafkaLogOptions> => ({ connection: { brokers: [address], clientId: 'sluice-test', ...rest } });
  const user = (mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512', username: string, password: string): Partial<KafkaConnection> => ({ sasl: { mechanism, username, password } });

  it('names the address where nothing listens, or no such host is', async () => {
    await refused(scene, at(`127.0.0.1:${await freePort()}`), 'SLUICE_LOG', /no broker can be reached.*ECONNREFUSED/);
    await refused(scene, at('no-such-broker.invalid:9092'), 'SLUICE_LOG', /no broker can be reached.*no-such-broker/);
  });

  it('names TLS where one side speaks it and the other does not', async () => {
    await refused(scene, at(broker.plain, { tls: {} }), 'SLUICE_KAFKA_TLS', /does not speak it/);
    await refused(scene, at(broker.tls), 'SLUICE_KAFKA_TLS', /speaks TLS, but it is not set/);
  });

  it('names the authority where the certificate is not of it', async () => {
    await refused(scene, at(broker.tls, { tls: {} }), 'SLUICE_KAFKA_CA_FILE', /not trusted/);
    await refused(scene, at(broker.tls, { tls: { ca: other.pem } }), 'SLUICE_KAFKA_CA_FILE', /not trusted/);
  });

  it('names SASL where it is wanted and not set, set and not wanted, or of a kind that the broker has not', async () => {
    await refused(scene, at(broker.sasl), 'SLUICE_KAFKA_SASL', /wants SASL/);
    await refused(scene, at(broker.plain, user('plain', 'admin', 'admin-secret')), 'SLUICE_KAFKA_SASL', /does not authenticate with SASL|does not offer/);
  });

  it('names the password where user and password are wrong', async () => {
    for (const mechanism of ['plain', 'scram-sha-256', 'scram-sha-512'] as const) {
      await refused(scene, at(broker.sasl, user(mechanism, 'admin', 'other-secret')), 'SLUICE_KAFKA_PASSWORD', /refuses user "admin"/);
      await refused(scene, at(broker.sasl, user(mechanism, 'nobody', 'x-secret')), 'SLUICE_KAFKA_PASSWORD', /refuses user "nobody"/);
    }
  });

  it('names the user where permissions are missing', async () => {
    await refused(scene, at(broker.sasl, user('plain', 'bob', 'bob-secret')), 'SLUICE_KAFKA_USERNAME', /user "bob" has no permission/);
  });

  it('names the user where he may write, but not consume', async () => {
    await (await scene.open()).close();
    const allow = (resourceType: number, resourceName: string, operation: number) => ({ resourceType, resourceName, resourcePatternType: 4, principal: 'User:bob', host: '*', operation, permissionType: 3 });
    // Topics by prefix: write, describe, describe their configuration. Numbers of Kafka's protocol.
    await withAdmin([broker.plain], (admin) => admin.createAcls({ acl: [4, 8, 10].map((operation) => allow(2, scene.prefix, operation)) }));
    const bob: KafkaConnection = { brokers: [broker.sasl], clientId: 'sluice-test', ...user('scram-sha-256', 'bob', 'bob-secret') };
    // Until the broker has heard of what he may do.
    await until(async () => (await setUpTopics({ connection: bob, logger, topicPrefix: scene.prefix, topics: { partitions: 2 } }, 'check')).missing.length === 0);
    const log = await scene.open({ connection: bob });
    await log.append(invocation());
    await assert.rejects(log.consume(new CollectingConsumer()), (error) => error instanceof LogSetupError && error.setting === 'SLUICE_KAFKA_USERNAME' && /user "bob" has no permission for the consumer group/.test(error.message));
  });

  it('names the session time-out that the brokers do not allow, and whoever else uses the group', async () => {
    const short = await scene.open({ sessionTimeoutMs: 100 });
    await assert.rejects(short.consume(new CollectingConsumer()), (error) => error instanceof LogSetupError && error.setting === 'SLUICE_KAFKA_SESSION_MS');
    const stranger = plainKafka([broker.plain]).consumer({ groupId: topicNames(scene.prefix).group });
    await stranger.connect();
    try {
      const joined = new Promise<void>((resolve) => stranger.on(stranger.events.GROUP_JOIN, () => resolve()));
      await stranger.subscribe({ topic: topicNames(scene.prefix).dead });
      await stranger.run({ eachBatch: () => Promise.resolve() });
      await joined;
      const log = await scene.open();
      await assert.rejects(log.consume(new CollectingConsumer()), (error) => error instanceof LogSetupError && error.setting === 'SLUICE_LOG' && /another program/.test(error.message));
    } finally {
      await stranger.disconnect();
    }
  });

  it('is no more than that: with the right settings each way works', async () => {
    const ways: readonly [string, Partial<KafkaLogOptions>][] = [
      ['plain', at(broker.plain)],
      ['TLS', at(broker.tls, { tls: { ca: certificate.pem } })],
      ...(['plain', 'scram-sha-256', 'scram-sha-512'] as const).map((mechanism): [string, Partial<KafkaLogOptions>] => [mechanism, at(broker.sasl, user(mechanism, 'admin', 'admin-secret'))]),
    ];
    for (const [way, change] of ways) {
      const log = await scene.open(change);
      const record = invocation();
      await log.append(record);
      const consumer = new CollectingConsumer();
      const consumption = await log.consume(consumer);
      await consumer.until(() => consumer.ids.includes(record.id));
      for (const delivery of consumer.deliveries) consumption.settle(delivery);
      await log.close();
      await assert.rejects(log.append(record), LogUnavailableError, way);
    }
  });
});
