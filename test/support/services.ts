/**
 * The real services that driver tests run against: those that the environment names, else containers where a Docker daemon answers, else
 * none, which one line on standard error says. A container is started when a test first asks for its service, serves this process alone, and is
 * removed when the process ends; what a process that is killed leaves is removed by testcontainers' own reaper, unless
 * `TESTCONTAINERS_RYUK_DISABLED` is set.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { Kafka, logLevel } from 'kafkajs';
import type { StartedTestContainer } from 'testcontainers';

export interface Services {
  readonly kafka: KafkaService | undefined;
  readonly s3: S3Service | undefined;
  readonly redis: RedisService | undefined;
}

export interface KafkaService {
  /** host:port each. */
  readonly brokers: readonly string[];
}

export interface S3Service {
  readonly endpoint: string;
  readonly accessKey: string;
  readonly secretKey: string;
}

export interface RedisService {
  readonly url: string;
}

/** The images that are started; pulled where they are not there. */
export const SERVICE_IMAGES = { kafka: 'apache/kafka:4.1.0', s3: 'minio/minio:RELEASE.2025-09-07T16-13-09Z', redis: 'redis:7.2-bookworm' } as const;

/** A container must serve by then, its image's download not counted. */
const START_MS_MAX = 120_000;

/** `KAFKA_BROKERS`: host:port, separated by commas. */
export const kafkaService = once('Kafka', 'KAFKA_BROKERS', ({ KAFKA_BROKERS }) => KAFKA_BROKERS && { brokers: KAFKA_BROKERS.split(',') }, startKafka);

/** `S3_ENDPOINT` (a URL), `S3_ACCESS_KEY`, `S3_SECRET_KEY`. */
export const s3Service = once(
  'S3',
  'S3_ENDPOINT, S3_ACCESS_KEY and S3_SECRET_KEY',
  ({ S3_ENDPOINT, S3_ACCESS_KEY, S3_SECRET_KEY }) => S3_ENDPOINT && S3_ACCESS_KEY && S3_SECRET_KEY && { endpoint: S3_ENDPOINT, accessKey: S3_ACCESS_KEY, secretKey: S3_SECRET_KEY },
  startMinio,
);

/** `REDIS_URL`. */
export const redisService = once('Redis', 'REDIS_URL', ({ REDIS_URL }) => REDIS_URL && { url: REDIS_URL }, startRedis);

/** All three, each started where it is not there. */
export async function services(): Promise<Services> {
  const [kafka, s3, redis] = await Promise.all([kafkaService(), s3Service(), redisService()]);
  return { kafka, s3, redis };
}

/** Looks for a service, and starts it, when it is first asked for. */
function once<Service>(name: string, variables: string, named: (environment: NodeJS.ProcessEnv) => Service | '' | undefined, start: () => Promise<Service>): () => Promise<Service | undefined> {
  const find = async (): Promise<Service | undefined> => {
    const service = named(process.env);
    if (service !== undefined && service !== '') return service;
    try {
      return await start();
    } catch (error) {
      const reason = (error as Error).message.split('\n', 1)[0];
      process.stderr.write(`TESTS SKIPPED: there is no ${name} for those that need one. Set ${variables} to one that runs, or start Docker (${reason}).\n`);
      return undefined;
    }
  };
  let found: Promise<Service | undefined> | undefined;
  return () => (found ??= find());
}

async function startRedis(): Promise<RedisService> {
  const { RedisContainer } = await import('@testcontainers/redis');
  const container = await new RedisContainer(SERVICE_IMAGES.redis).withStartupTimeout(START_MS_MAX).start();
  removeAtEnd(container);
  return { url: container.getConnectionUrl() };
}

async function startMinio(): Promise<S3Service> {
  const [{ MinioContainer }, { Wait }] = await Promise.all([import('@testcontainers/minio'), import('testcontainers')]);
  const container = await new MinioContainer(SERVICE_IMAGES.s3)
    .withUsername('sluice')
    .withPassword('sluice-secret')
    .withWaitStrategy(Wait.forHttp('/minio/health/ready', 9_000))
    .withStartupTimeout(START_MS_MAX)
    .start();
  removeAtEnd(container);
  return { endpoint: container.getConnectionUrl(), accessKey: container.getUsername(), secretKey: container.getPassword() };
}

const KAFKA_PORT = 9_092;
const KAFKA_START = '/tmp/start-kafka';

/**
 * One broker that is its own controller. Not by `KafkaContainer` of @testcontainers/kafka, which starts Confluent's image only: it runs
 * /etc/confluent/docker/run, and refuses Kafka's own version numbers. A broker has to tell its clients the port that Docker gives it, which is known
 * only when the container runs: so the container waits for the script that says it.
 */
async function startKafka(): Promise<KafkaService> {
  const { GenericContainer, Wait } = await import('testcontainers');
  const waiting = 'waiting for its address';
  const container = await new GenericContainer(SERVICE_IMAGES.kafka)
    .withExposedPorts(KAFKA_PORT)
    .withEnvironment({
      KAFKA_NODE_ID: '1',
      KAFKA_PROCESS_ROLES: 'broker,controller',
      KAFKA_LISTENERS: `PLAINTEXT://0.0.0.0:${KAFKA_PORT},BROKER://localhost:19092,CONTROLLER://localhost:29093`,
      KAFKA_LISTENER_SECURITY_PROTOCOL_MAP: 'PLAINTEXT:PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT',
      KAFKA_INTER_BROKER_LISTENER_NAME: 'BROKER',
      KAFKA_CONTROLLER_LISTENER_NAMES: 'CONTROLLER',
      KAFKA_CONTROLLER_QUORUM_VOTERS: '1@localhost:29093',
      KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR: '1',
      KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR: '1',
      KAFKA_TRANSACTION_STATE_LOG_MIN_ISR: '1',
      KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS: '0',
      // A topic that nobody made is a mistake that tests are to find.
      KAFKA_AUTO_CREATE_TOPICS_ENABLE: 'false',
      KAFKA_HEAP_OPTS: '-Xms256m -Xmx512m',
    })
    .withEntrypoint(['bash', '-c'])
    .withCommand([`echo '${waiting}'; until [ -x ${KAFKA_START} ]; do sleep 0.1; done; exec ${KAFKA_START}`])
    .withWaitStrategy(Wait.forLogMessage(waiting))
    .withStartupTimeout(START_MS_MAX)
    .start();
  removeAtEnd(container);
  const broker = `${container.getHost()}:${container.getMappedPort(KAFKA_PORT)}`;
  const content = `#!/bin/bash\nexport KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://${broker},BROKER://localhost:19092\nexec /etc/kafka/docker/run\n`;
  await container.copyContentToContainer([{ content, target: KAFKA_START, mode: 0o755 }]);
  await kafkaAnswers(broker);
  return { brokers: [broker] };
}

async function kafkaAnswers(broker: string): Promise<void> {
  const untilMs = Date.now() + START_MS_MAX;
  for (;;) {
    const admin = new Kafka({ brokers: [broker], logLevel: logLevel.NOTHING, retry: { retries: 0 } }).admin();
    try {
      await admin.connect();
      if ((await admin.describeCluster()).brokers.length > 0) return;
    } catch (error) {
      if (Date.now() > untilMs) throw error;
    } finally {
      await admin.disconnect();
    }
    await delay(100);
  }
}

const started = new Set<StartedTestContainer>();

async function removeAll(): Promise<void> {
  const containers = [...started];
  started.clear();
  await Promise.all(containers.map((container) => container.stop({ timeout: 0, remove: true, removeVolumes: true })));
}

/** When nothing is left to do, or the process is asked to end. */
function removeAtEnd(container: StartedTestContainer): void {
  if (started.size === 0) {
    process.once('beforeExit', () => void removeAll());
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => void removeAll().finally(() => process.kill(process.pid, signal)));
  }
  started.add(container);
}
