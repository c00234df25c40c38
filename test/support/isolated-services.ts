import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import { Kafka, logLevel } from 'kafkajs';
import { Client } from 'minio';
import { kafkaService, redisService, s3Service } from './services.ts';

/** A corner of the real services that nobody else uses. */
export interface IsolatedServices {
  /** Settings that point a Sluice at it. */
  readonly variables: Readonly<Record<string, string>>;
  /** Removes everything that is in it. */
  remove(): Promise<void>;
}

/** Few, so that many short-lived Sluices can be tested on one broker. */
const PARTITIONS = 8;
export const SECRET = 'a-secret-of-tests-that-is-long-enough-0123456789';

/** Undefined where a service is missing; what is missing was said on standard error. */
export async function isolatedServices(brokers?: readonly string[]): Promise<IsolatedServices | undefined> {
  const [kafka, s3, redis] = await Promise.all([kafkaService(), s3Service(), redisService()]);
  if (kafka === undefined || s3 === undefined || redis === undefined) return undefined;
  const name = `t${randomBytes(4).toString('hex')}`;
  const used = brokers ?? kafka.brokers;
  return {
    variables: {
      SLUICE_LOG: `kafka://${used.join(',')}`,
      SLUICE_STORE: s3.endpoint.replace(/^http/, 's3'),
      SLUICE_S3_ACCESS_KEY: s3.accessKey,
      SLUICE_S3_SECRET_KEY: s3.secretKey,
      SLUICE_CACHE: redis.url,
      SLUICE_SECRET: SECRET,
      SLUICE_TOPIC_PREFIX: name,
      SLUICE_BUCKET_PREFIX: `${name}-`,
      SLUICE_CACHE_PREFIX: `${name}:`,
      SLUICE_PARTITIONS: String(PARTITIONS),
    },
    async remove() {
      await removeTopics(used, `${name}.`);
      await removeBuckets(s3, `${name}-`);
      await removeKeys(redis.url, `${name}:`);
    },
  };
}

async function removeTopics(brokers: readonly string[], prefix: string): Promise<void> {
  const admin = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  try {
    const topics = (await admin.listTopics()).filter((topic) => topic.startsWith(prefix));
    if (topics.length > 0) await admin.deleteTopics({ topics });
  } finally {
    await admin.disconnect();
  }
}

async function removeBuckets({ endpoint, accessKey, secretKey }: { readonly endpoint: string; readonly accessKey: string; readonly secretKey: string }, prefix: string): Promise<void> {
  const { hostname, port, protocol } = new URL(endpoint);
  const client = new Client({ endPoint: hostname, port: Number(port), useSSL: protocol === 'https:', accessKey, secretKey });
  for (const { name } of await client.listBuckets()) {
    if (!name.startsWith(prefix)) continue;
    const keys: string[] = [];
    for await (const item of client.listObjectsV2(name, '', true) as AsyncIterable<{ readonly name?: string }>) if (item.name !== undefined) keys.push(item.name);
    if (keys.length > 0) await client.removeObjects(name, keys);
    await client.removeBucket(name);
  }
}

async function removeKeys(url: string, prefix: string): Promise<void> {
  const client = new Redis(url);
  try {
    const keys = await client.keys(`${prefix}*`);
    if (keys.length > 0) await client.del(...keys);
  } finally {
    client.disconnect();
  }
}
