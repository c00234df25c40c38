import { checkRedis, CacheSetupError, redisCache } from '../../platform/cache/redis.ts';
import type { Cache } from '../../platform/cache/cache.ts';
import { systemClock } from '../../platform/clock.ts';
import { SettingsError, type Settings } from '../../platform/configuration/settings.ts';
import type { FunctionLogs } from '../../platform/function-logs/function-logs.ts';
import { logsExpiry, openObjectFunctionLogs } from '../../platform/function-logs/object-store.ts';
import type { FunctionCatalogue } from '../../platform/functions/function-catalogue.ts';
import { functionCatalogue } from '../../platform/functions/registry-catalogue.ts';
import { LogSetupError, openKafkaLog, type KafkaConnection, type TopicPlan } from '../../platform/invocation-log/kafka.ts';
import type { InvocationLog } from '../../platform/invocation-log/invocation-log.ts';
import { CODE_BUCKET } from '../../platform/model/function.ts';
import { LOGS_BUCKET, REGISTRY_BUCKET } from '../../platform/model/internal-buckets.ts';
import { PAYLOAD_BUCKET } from '../../platform/model/invocation.ts';
import type { ObjectStore } from '../../platform/object-store/object-store.ts';
import { probeCompareAndSwap } from '../../platform/object-store/s3/compare-and-swap.ts';
import { setUpS3, StoreSetupError, type InternalBucket } from '../../platform/object-store/s3/setup.ts';
import { openS3ObjectStore, type S3ObjectStoreOptions } from '../../platform/object-store/s3.ts';
import { openObjectRegistry } from '../../platform/registry/object-store.ts';
import { PodRefusedError, PoolSetupError } from '../../platform/worker-pool/kubernetes/pod-cluster.ts';
import { CliError } from '../errors.ts';
import { needShared, readPem, type RoleContext } from './context.ts';

/** Events older than their maximum age (6 h) are gone from the log after its retention at the latest; their payloads may go after that. */
const PAYLOAD_DAYS_MARGIN = 1;
const DAY_MS = 86_400_000;

/** The object store with its buckets set up. Rejects with a {@link CliError} that names the setting. */
export async function openStore({ settings, logger, closers }: RoleContext): Promise<ObjectStore> {
  needShared(settings, ['store']);
  const options: S3ObjectStoreOptions = {
    endpoint: settings.store.replace(/^s3s:/, 'https:').replace(/^s3:/, 'http:'),
    accessKey: settings.s3AccessKey ?? '',
    secretKey: settings.s3SecretKey ?? '',
    region: settings.s3Region,
    bucketPrefix: settings.bucketPrefix,
    logger,
    clock: systemClock,
    ...(settings.s3PublicUrl === undefined ? {} : { publicEndpoint: settings.s3PublicUrl }),
    ...(settings.s3CaFile === undefined ? {} : { ca: await readPem('s3CaFile', settings.s3CaFile) }),
  };
  const buckets: readonly InternalBucket[] = [
    { name: CODE_BUCKET },
    { name: REGISTRY_BUCKET },
    { name: PAYLOAD_BUCKET, expiry: [{ prefix: '', afterDays: Math.ceil(settings.topicRetentionMs / DAY_MS) + PAYLOAD_DAYS_MARGIN }] },
    { name: LOGS_BUCKET, expiry: logsExpiry(settings.functionLogDays) },
  ];
  const settingNames = { endpoint: 'SLUICE_STORE', accessKey: 'SLUICE_S3_ACCESS_KEY', secretKey: 'SLUICE_S3_SECRET_KEY', region: 'SLUICE_S3_REGION', bucketPrefix: 'SLUICE_BUCKET_PREFIX', ca: 'SLUICE_S3_CA_FILE' };
  await oneLine(setUpS3({ ...options, buckets, settingNames }));
  const store = openS3ObjectStore(options);
  closers.add(() => store.close());
  return store;
}

/** Refuses a store on which several gateways would overwrite each other's changes. Rejects with a {@link CliError}. */
export async function checkCompareAndSwap(store: ObjectStore): Promise<void> {
  const verdict = await probeCompareAndSwap(store, { bucket: REGISTRY_BUCKET });
  if (verdict.kind === 'broken') throw new CliError(`SLUICE_STORE: ${verdict.refusal}`);
}

/** Rejects with a {@link CliError} where Redis will never serve as it is set; one that is merely away is waited for in the background. */
export async function openCache({ settings, logger, closers }: RoleContext): Promise<Cache> {
  needShared(settings, ['cache']);
  const redis = {
    url: settings.cache,
    ...(settings.redisUsername === undefined ? {} : { username: settings.redisUsername }),
    ...(settings.redisPassword === undefined ? {} : { password: settings.redisPassword }),
    ...(settings.redisCaFile === undefined ? {} : { caPem: await readPem('redisCaFile', settings.redisCaFile) }),
    keyPrefix: settings.cachePrefix,
  };
  const check = await oneLine(checkRedis(redis));
  if (check.kind === 'unreachable') logger.warn(check.warning);
  const cache = await redisCache({ ...redis, logger, clock: systemClock });
  closers.add(() => cache.close());
  return cache;
}

export async function openCatalogue({ settings, logger, closers }: RoleContext, store: ObjectStore, cache: Cache): Promise<FunctionCatalogue> {
  const registry = await openObjectRegistry({ store, cache, logger, clock: systemClock });
  closers.add(() => registry.close());
  return functionCatalogue({ registry, region: settings.region });
}

/** Rejects with a {@link CliError} that names the setting. */
export async function openLog({ settings, logger, closers }: RoleContext, store: ObjectStore, clientId: string): Promise<InvocationLog> {
  const log = await oneLine(
    openKafkaLog({ connection: await kafkaConnection(settings, clientId), store, clock: systemClock, logger, topicPrefix: settings.topicPrefix, topics: topicPlan(settings), sessionTimeoutMs: settings.kafkaSessionMs }),
  );
  closers.add(() => log.close());
  return log;
}

export function topicPlan(settings: Settings): TopicPlan {
  return { partitions: settings.partitions, replicationFactor: settings.topicReplication, minInsyncReplicas: settings.topicMinInsync, retentionMs: settings.topicRetentionMs };
}

export async function kafkaConnection(settings: Settings, clientId: string): Promise<KafkaConnection> {
  needShared(settings, ['log']);
  const { kafkaTls, kafkaCaFile, kafkaCertFile, kafkaKeyFile, kafkaSasl, kafkaUsername, kafkaPassword } = settings;
  return {
    brokers: settings.log.slice('kafka://'.length).split(','),
    clientId,
    ...(kafkaTls === 'off'
      ? {}
      : {
          tls: {
            ...(kafkaCaFile === undefined ? {} : { ca: await readPem('kafkaCaFile', kafkaCaFile) }),
            ...(kafkaCertFile === undefined ? {} : { cert: await readPem('kafkaCertFile', kafkaCertFile) }),
            ...(kafkaKeyFile === undefined ? {} : { key: await readPem('kafkaKeyFile', kafkaKeyFile) }),
          },
        }),
    ...(kafkaSasl === 'off' ? {} : { sasl: { mechanism: kafkaSasl, username: kafkaUsername ?? '', password: kafkaPassword ?? '' } }),
  };
}

export async function openFunctionLogs({ logger, closers }: RoleContext, store: ObjectStore): Promise<FunctionLogs> {
  const functionLogs = await openObjectFunctionLogs({ store, clock: systemClock, logger });
  closers.add(() => functionLogs.close());
  return functionLogs;
}

/** What is wrong with a setting is said in one line; everything else keeps its own words. */
export async function oneLine<Result>(start: Promise<Result>): Promise<Result> {
  try {
    return await start;
  } catch (error) {
    if (error instanceof LogSetupError || error instanceof StoreSetupError || error instanceof CacheSetupError || error instanceof PoolSetupError || error instanceof PodRefusedError || error instanceof SettingsError) throw new CliError(error.message);
    throw error;
  }
}
