/**
 * The real services that driver tests run against: by the variables that name running ones.
 */
export interface Services {
  readonly kafka: KafkaService | undefined;
  readonly s3: S3Service | undefined;
  readonly redis: RedisService | undefined;
}

export interface KafkaService {
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

/** `KAFKA_BROKERS`: host:port, separated by commas. */
export function kafkaService(): Promise<KafkaService | undefined> {
  const { KAFKA_BROKERS } = process.env;
  return Promise.resolve(KAFKA_BROKERS === undefined ? undefined : { brokers: KAFKA_BROKERS.split(',') });
}

/** `S3_ENDPOINT` (a URL), `S3_ACCESS_KEY`, `S3_SECRET_KEY`. */
export function s3Service(): Promise<S3Service | undefined> {
  const { S3_ENDPOINT, S3_ACCESS_KEY, S3_SECRET_KEY } = process.env;
  return Promise.resolve(S3_ENDPOINT === undefined || S3_ACCESS_KEY === undefined || S3_SECRET_KEY === undefined ? undefined : { endpoint: S3_ENDPOINT, accessKey: S3_ACCESS_KEY, secretKey: S3_SECRET_KEY });
}

/** `REDIS_URL`. */
export function redisService(): Promise<RedisService | undefined> {
  const { REDIS_URL } = process.env;
  return Promise.resolve(REDIS_URL === undefined ? undefined : { url: REDIS_URL });
}

/** What there is; undefined where a service can neither be reached nor started, and a line on standard error says so. */
export async function services(): Promise<Services> {
  const [kafka, s3, redis] = await Promise.all([kafkaService(), s3Service(), redisService()]);
  return { kafka, s3, redis };
}
