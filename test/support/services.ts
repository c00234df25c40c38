/**
 * The real services that driver tests run against: by the variables that name running ones.
 */
export interface Services {
  /** `KAFKA_BROKERS`: host:port, separated by commas. */
  readonly kafka: { readonly brokers: readonly string[] } | undefined;
  /** `S3_ENDPOINT` (a URL), `S3_ACCESS_KEY`, `S3_SECRET_KEY`. */
  readonly s3: { readonly endpoint: string; readonly accessKey: string; readonly secretKey: string } | undefined;
  /** `REDIS_URL`. */
  readonly redis: { readonly url: string } | undefined;
}

/** What there is; undefined where a service can neither be reached nor started, and a line on standard error says so. */
export async function services(): Promise<Services> {
  const { KAFKA_BROKERS, S3_ENDPOINT, S3_ACCESS_KEY, S3_SECRET_KEY, REDIS_URL } = process.env;
  return {
    kafka: KAFKA_BROKERS === undefined ? undefined : { brokers: KAFKA_BROKERS.split(',') },
    s3: S3_ENDPOINT === undefined || S3_ACCESS_KEY === undefined || S3_SECRET_KEY === undefined ? undefined : { endpoint: S3_ENDPOINT, accessKey: S3_ACCESS_KEY, secretKey: S3_SECRET_KEY },
    redis: REDIS_URL === undefined ? undefined : { url: REDIS_URL },
  };
}
