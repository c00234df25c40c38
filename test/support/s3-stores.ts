import { randomBytes } from 'node:crypto';
import { Client } from 'minio';
import { openS3ObjectStore, type S3ObjectStore, type S3ObjectStoreOptions } from '../../platform/object-store/s3.ts';
import { createLogger } from '../../platform/telemetry/logger.ts';
import { s3Service, type S3Service } from './services.ts';

export type { S3Service };

/** The S3 server that tests run against; undefined where there is none. */
export const S3 = await s3Service();

/** Why tests that need it are skipped, or false. */
export const NO_S3: string | false = S3 === undefined ? 'No S3 server: set S3_ENDPOINT, S3_ACCESS_KEY and S3_SECRET_KEY.' : false;
if (NO_S3 !== false) process.stderr.write(`${NO_S3} Tests against S3 are skipped.\n`);

/** What to open a store with; with buckets of its own. */
export function storeOptions(service: S3Service, options: Partial<S3ObjectStoreOptions> = {}): S3ObjectStoreOptions {
  return { ...service, region: 'us-east-1', bucketPrefix: `t${randomBytes(5).toString('hex')}-`, logger: createLogger('silent'), ...options };
}

export interface TestStore {
  readonly store: S3ObjectStore;
  readonly options: S3ObjectStoreOptions;
  /** Removes all its buckets from the server. */
  readonly dispose: () => Promise<void>;
}

/** A store with buckets of its own. */
export function openTestStore(service: S3Service, options: Partial<S3ObjectStoreOptions> = {}): TestStore {
  const all = storeOptions(service, options);
  const store = openS3ObjectStore(all);
  return {
    store,
    options: all,
    dispose: async () => {
      store.close();
      await removeBuckets(all);
    },
  };
}

/** Removes every bucket whose name begins with the prefix of these options. */
export async function removeBuckets(options: S3ObjectStoreOptions): Promise<void> {
  const { endpoint, accessKey, secretKey, region, bucketPrefix = '' } = options;
  if (bucketPrefix === '') throw new Error('Without a prefix every bucket of the server would be removed.');
  const store = openS3ObjectStore({ endpoint, accessKey, secretKey, region, bucketPrefix, logger: options.logger, ...(options.ca === undefined ? {} : { ca: options.ca }) });
  const { protocol, hostname, port } = new URL(endpoint);
  const client = new Client({ endPoint: hostname, port: Number(port), useSSL: protocol === 'https:', accessKey, secretKey, region });
  for (const { name } of await store.listBuckets()) {
    // An object that hides others below it shows them once it is gone.
    for (;;) {
      const { objects } = await store.list({ bucket: name, limit: 1_000, detail: 'essential' });
      if (objects.length === 0) break;
      await inGroups(objects, (object) => store.delete(object));
    }
    await client.removeBucket(bucketPrefix + name);
  }
  store.close();
}

async function inGroups<Item>(items: readonly Item[], action: (item: Item) => Promise<void>): Promise<void> {
  for (let start = 0; start < items.length; start += 32) await Promise.all(items.slice(start, start + 32).map(action));
}
