import { availableParallelism, hostname, totalmem } from 'node:os';
import type { LogLevel } from '../telemetry/logger.ts';
import { integer, oneOf, optional, optionalFile, path, secret, text, type Setting } from './setting.ts';

/** Every setting of a running Sluice, parsed and checked. Names of variables and their meaning: {@link SETTINGS}. */
export interface Settings {
  readonly host: string;
  readonly port: number;
  readonly dataDir: string;
  readonly cacheDir: string;
  readonly account: string;
  readonly region: string;
  readonly logLevel: LogLevel;
  readonly accountConcurrency: number;
  readonly asyncRetryBaseMs: number;
  readonly keepAliveMinMs: number;
  readonly keepAliveMaxMs: number;
  readonly maxEnvironments: number;
  readonly maxEnvironmentMemoryMiB: number;
  readonly prestartedPerRuntime: number;
  readonly maxWaitingSync: number;
  readonly python: string;
  /** Where the invocation log is: `sqlite:` in the data folder, or `kafka://host:port,host:port`. */
  readonly log: string;
  /** Where objects, functions and function logs are: `file:` in the data folder, or an S3 server `s3://host:port`, `s3s://host:port` with TLS. */
  readonly store: string;
  /** Where gateways, controllers and workers hear of each other's changes: `memory:` in one process, or `redis://host:port`, `rediss://` with TLS. */
  readonly cache: string;
  readonly partitions: number;
  readonly topicPrefix: string;
  readonly topicReplication: number;
  readonly topicMinInsync: number;
  readonly topicRetentionMs: number;
  readonly kafkaTls: 'on' | 'off';
  readonly kafkaCaFile: string | undefined;
  readonly kafkaCertFile: string | undefined;
  readonly kafkaKeyFile: string | undefined;
  readonly kafkaSasl: 'off' | 'plain' | 'scram-sha-256' | 'scram-sha-512';
  readonly kafkaUsername: string | undefined;
  readonly kafkaPassword: string | undefined;
  readonly kafkaSessionMs: number;
  readonly s3AccessKey: string | undefined;
  readonly s3SecretKey: string | undefined;
  readonly s3Region: string;
  readonly s3CaFile: string | undefined;
  readonly s3PublicUrl: string | undefined;
  readonly bucketPrefix: string;
  readonly functionLogDays: number;
  readonly redisUsername: string | undefined;
  readonly redisPassword: string | undefined;
  readonly redisCaFile: string | undefined;
  readonly cachePrefix: string;
  readonly secret: string | undefined;
  readonly joinToken: string | undefined;
  readonly internalHost: string;
  readonly internalPort: number;
  readonly internalUrl: string | undefined;
  readonly controllers: string | undefined;
  readonly workerName: string;
  readonly endpointUrl: string | undefined;
  readonly stopPatienceMs: number;
  readonly dedicated: 'on' | 'off';
  /** Families of runtimes, separated by commas. */
  readonly prestartedRuntimes: string;
  readonly rehearse: 'on' | 'off';
  /** 0: runtimes are processes of the worker. */
  readonly containerRuntimePort: number;
  readonly containerLogStream: string | undefined;
  /** Where environments run: `process:`, in workers that come by themselves, or `kubernetes:namespace/configmap`, in pods. */
  readonly pool: string;
  /** `nodejs=1,python=1`. */
  readonly warmPods: string;
  readonly warmPodMemoryMiB: number;
  readonly maxPods: number;
  readonly maxStartingPods: number;
  readonly environmentsPerWorker: number;
}

export type SettingsTable = { readonly [Name in keyof Settings]: Setting<Settings[Name]> };

const MIB = 1024 * 1024;
/** A container's limit, where there is one: the machine's own memory is not there for it. Without a limit it is 0 or beyond all memory. */
const MEMORY_BYTES = Math.min(totalmem(), process.constrainedMemory() || Infinity);

export const SETTINGS: SettingsTable = {
  host: text('SLUICE_HOST', '127.0.0.1', 'Address that the gateway listens on.', /^\S+$/, 'an address or host name'),
  port: integer('SLUICE_PORT', 9400, 0, 65_535, 'Port that the gateway listens on; 0 takes a free one.'),
  dataDir: path('SLUICE_DATA', '~/.sluice', 'Folder for everything that must survive a restart. One Sluice at a time uses it.'),
  cacheDir: path('SLUICE_CACHE_DIR', `${process.env.XDG_CACHE_HOME ?? '~/.cache'}/sluice`, 'Folder for what can be made again: Python runtimes, compile caches.', '`$XDG_CACHE_HOME/sluice` or `~/.cache/sluice`'),
  account: text('SLUICE_ACCOUNT', '000000000000', 'Account id in every ARN.', /^\d{12}$/, 'twelve digits'),
  region: text('SLUICE_REGION', 'us-east-1', 'Region in every ARN.', /^[a-z]{2}(-[a-z]+)+-\d$/, 'a region such as us-east-1'),
  logLevel: oneOf('SLUICE_LOG_LEVEL', ['debug', 'info', 'warn', 'error', 'silent'], 'warn', 'How much the platform says on standard error.'),
  accountConcurrency: integer('SLUICE_ACCOUNT_CONCURRENCY', 1_000, 1, 1_000_000, 'Invocations that may run at once in the account (Lambda quotas: 1,000).'),
  asyncRetryBaseMs: integer('SLUICE_ASYNC_RETRY_BASE_MS', 60_000, 1, 3_600_000, 'Delay before the first retry of a failed asynchronous invocation; the second waits twice as long.'),
  keepAliveMinMs: integer('SLUICE_KEEP_ALIVE_MIN_MS', 60_000, 0, 86_400_000, 'An idle environment is kept at least this long.'),
  keepAliveMaxMs: integer('SLUICE_KEEP_ALIVE_MAX_MS', 900_000, 0, 86_400_000, 'An idle environment is kept at most this long, however regularly its function is called.'),
  maxEnvironments: integer('SLUICE_MAX_ENVIRONMENTS', Math.max(16, availableParallelism() * 32), 1, 100_000, 'Environments that this machine may host at once.', '32 per core, at least 16'),
  maxEnvironmentMemoryMiB: integer('SLUICE_MAX_ENVIRONMENT_MEMORY_MIB', Math.max(1_024, Math.floor((MEMORY_BYTES / MIB) * 4)), 128, 100_000_000, 'Sum of MemorySize over all environments that this machine may host; above the real memory, since few functions fill theirs.', '4 times the real memory'),
  prestartedPerRuntime: integer('SLUICE_PRESTARTED', 2, 0, 100, 'Processes started ahead for each runtime in use; 0 turns it off.'),
  maxWaitingSync: integer('SLUICE_MAX_WAITING_SYNC', 10_000, 1, 1_000_000, 'Synchronous callers that may wait at once; further ones are throttled.'),
  python: text('SLUICE_PYTHON', 'python3', 'Python interpreter that runs python3.x functions.', /^\S.*$/, 'a command or path'),
  log: text('SLUICE_LOG', 'sqlite:', 'The invocation log: `sqlite:` in the data folder of one process, or `kafka://host:port,host:port`.', /^(sqlite:|kafka:\/\/[^\s,/@]+:\d+(,[^\s,/@]+:\d+)*)$/, 'sqlite: or kafka://host:port,host:port'),
  store: text('SLUICE_STORE', 'file:', 'Objects, functions and function logs: `file:` in the data folder of one process, or an S3 server: `s3://host:port`, `s3s://host:port` with TLS.', /^(file:|s3s?:\/\/[^\s/@]+)$/, 'file:, s3://host:port or s3s://host:port; keys have settings of their own'),
  cache: text('SLUICE_CACHE', 'memory:', 'How processes hear of changes: `memory:` within one process, or `redis://host:port`, `rediss://host:port` with TLS.', /^(memory:|rediss?:\/\/[^\s/@]+(\/\d+)?)$/, 'memory:, redis://host:port or rediss://host:port; the password has a setting of its own'),
  partitions: integer('SLUICE_PARTITIONS', 32, 1, 512, 'Partitions of each topic of the invocation log: the most controllers that can share the work. Cannot be changed once topics exist.'),
  topicPrefix: text('SLUICE_TOPIC_PREFIX', 'sluice', 'Begins the name of every Kafka topic and of the consumer group.', /^[a-zA-Z0-9._-]{1,100}$/, 'up to 100 letters, digits, dots, underscores and hyphens'),
  topicReplication: integer('SLUICE_TOPIC_REPLICATION', 1, 1, 32, 'Replicas of topics that Sluice creates: 3 in production.'),
  topicMinInsync: integer('SLUICE_TOPIC_MIN_INSYNC', 1, 1, 32, '`min.insync.replicas` of topics that Sluice creates: 2 in production. An event is accepted once so many replicas have it.'),
  topicRetentionMs: integer('SLUICE_TOPIC_RETENTION_MS', 7 * 86_400_000, 3_600_000, 10 * 365 * 86_400_000, '`retention.ms` of topics that Sluice creates: above the maximum age of events (6 h) and the longest outage to survive.'),
  kafkaTls: oneOf('SLUICE_KAFKA_TLS', ['off', 'on'], 'off', 'Whether brokers are spoken to over TLS.'),
  kafkaCaFile: optionalFile('SLUICE_KAFKA_CA_FILE', 'PEM file with the authority of the brokers\' certificates.'),
  kafkaCertFile: optionalFile('SLUICE_KAFKA_CERT_FILE', 'PEM file with this client\'s certificate, where brokers ask for one.'),
  kafkaKeyFile: optionalFile('SLUICE_KAFKA_KEY_FILE', 'PEM file with the key of that certificate.'),
  kafkaSasl: oneOf('SLUICE_KAFKA_SASL', ['off', 'plain', 'scram-sha-256', 'scram-sha-512'], 'off', 'How to say who this is to brokers.'),
  kafkaUsername: optional('SLUICE_KAFKA_USERNAME', 'User name for SASL.', /^\S+$/, 'a name without spaces'),
  kafkaPassword: secret('SLUICE_KAFKA_PASSWORD', 'Password for SASL.', /^.+$/, 'a password'),
  kafkaSessionMs: integer('SLUICE_KAFKA_SESSION_MS', 6_000, 2_000, 300_000, 'A controller that Kafka has not heard of for so long is taken for dead, and its functions go to others. Not below the brokers\' `group.min.session.timeout.ms` (6 s).'),
  s3AccessKey: optional('SLUICE_S3_ACCESS_KEY', 'Access key of the S3 server.', /^\S+$/, 'an access key'),
  s3SecretKey: secret('SLUICE_S3_SECRET_KEY', 'Secret key of the S3 server.', /^\S+$/, 'a secret key'),
  s3Region: text('SLUICE_S3_REGION', 'us-east-1', 'Region of the S3 server.', /^[a-z0-9-]+$/, 'a region'),
  s3CaFile: optionalFile('SLUICE_S3_CA_FILE', 'PEM file with the authority of the S3 server\'s certificate.'),
  s3PublicUrl: optional('SLUICE_S3_PUBLIC_URL', 'Where clients reach the S3 server, for URLs that they download code from; by default as Sluice does.', /^https?:\/\/\S+$/, 'a URL'),
  bucketPrefix: text('SLUICE_BUCKET_PREFIX', '', 'Begins the name of every bucket on the S3 server, so that several Sluices can share one.', /^[a-z0-9.-]{0,20}$/, 'at most 20 lower-case letters, digits, dots and hyphens'),
  functionLogDays: integer('SLUICE_FUNCTION_LOG_DAYS', 30, 1, 3_650, 'How long function logs are kept on the S3 server.'),
  redisUsername: optional('SLUICE_REDIS_USERNAME', 'User name for Redis.', /^\S+$/, 'a name without spaces'),
  redisPassword: secret('SLUICE_REDIS_PASSWORD', 'Password for Redis.', /^.+$/, 'a password'),
  redisCaFile: optionalFile('SLUICE_REDIS_CA_FILE', 'PEM file with the authority of the Redis server\'s certificate.'),
  cachePrefix: text('SLUICE_CACHE_PREFIX', 'sluice:', 'Begins every key and channel in Redis.', /^[\w.:-]{1,50}$/, 'at most 50 letters, digits, dots, colons, underscores and hyphens'),
  secret: secret('SLUICE_SECRET', 'Shared by the gateways and controllers of one Sluice, which know each other and their workers by it; at least 32 characters.', /^\S{32,}$/, 'at least 32 characters without spaces, for example from `openssl rand -hex 32`'),
  joinToken: secret('SLUICE_JOIN_TOKEN', 'What a worker shows its controllers, from `sluice token`; where it is not set, the worker makes one from SLUICE_SECRET.', /^\S+\.\d+\.[\w-]+$/, 'a token from `sluice token`'),
  internalHost: text('SLUICE_INTERNAL_HOST', '127.0.0.1', 'Address for Sluice\'s own processes, health checks and metrics; never the one that clients reach.', /^\S+$/, 'an address or host name'),
  internalPort: integer('SLUICE_INTERNAL_PORT', 0, 0, 65_535, 'Port for the same; 0 takes a free one.'),
  internalUrl: optional('SLUICE_INTERNAL_URL', 'Where other processes reach that address, if not at the machine\'s own.', /^http:\/\/\S+$/, 'a URL that begins with http://'),
  controllers: optional('SLUICE_CONTROLLERS', 'Controllers for a worker to serve, besides those that it hears of through the cache; a name that stands for several addresses is all of them.', /^http:\/\/[^\s,]+(,http:\/\/[^\s,]+)*$/, 'http://host:port,http://host:port'),
  workerName: text('SLUICE_WORKER_NAME', hostname(), 'Names the worker among all.', /^[\w.-]{1,200}$/, 'up to 200 letters, digits, dots, underscores and hyphens', 'the host name'),
  endpointUrl: optional('SLUICE_ENDPOINT_URL', 'What functions get as `AWS_ENDPOINT_URL`: where they reach a gateway.', /^https?:\/\/\S+$/, 'a URL'),
  stopPatienceMs: integer('SLUICE_STOP_PATIENCE_MS', 25_000, 0, 3_600_000, 'How long a worker that stops lets running invocations finish; below what its supervisor grants it.'),
  dedicated: oneOf('SLUICE_DEDICATED', ['off', 'on'], 'off', 'Whether a worker runs one function only, the first that it is given, and every controller may use all of its room. So are pods in Kubernetes.'),
  prestartedRuntimes: text('SLUICE_PRESTARTED_RUNTIMES', '', 'Families of runtimes of which a worker starts processes ahead before any function is called: `nodejs`, `python`.', /^(|[a-z]+(,[a-z]+)*)$/, 'families such as nodejs,python'),
  rehearse: oneOf('SLUICE_REHEARSE', ['off', 'on'], 'off', 'Whether a worker runs a function of its own, of each family in SLUICE_PRESTARTED_RUNTIMES, before it takes any other: its start takes 0.2 s longer, that of its first function less. So do pods in Kubernetes that wait.'),
  containerRuntimePort: integer('SLUICE_CONTAINER_RUNTIME_PORT', 0, 0, 65_535, 'Port of the Runtime API for a function whose container image runs beside the worker in its pod; 0: runtimes are processes of the worker. Pools of pods set it.'),
  containerLogStream: optional('SLUICE_CONTAINER_LOG_STREAM', 'Log stream of that function.', /^\S{1,512}$/, 'up to 512 characters without spaces'),
  pool: text('SLUICE_POOL', 'process:', 'Where environments run, for controllers and, since only pods can hold container images, gateways: `process:`, in workers that come by themselves, or `kubernetes:namespace/configmap`, in pods of that namespace, made from the ConfigMap\'s `pod.yaml`.', /^(process:|kubernetes:[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\/[a-z0-9]([a-z0-9.-]{0,200}[a-z0-9])?)$/, 'process: or kubernetes:namespace/configmap'),
  warmPods: text('SLUICE_WARM_PODS', 'nodejs=1,python=1', 'Pods that wait for a function, for each family of runtimes.', /^(|[a-z]+=\d{1,4}(,[a-z]+=\d{1,4})*)$/, 'families with a number each, such as nodejs=2,python=1'),
  warmPodMemoryMiB: integer('SLUICE_WARM_POD_MEMORY_MIB', 512, 128, 10_240, 'MemorySize of functions that waiting pods have memory for; one that needs more has its pod resized or gets another.'),
  maxPods: integer('SLUICE_MAX_PODS', 100, 1, 100_000, 'Worker pods at once, besides those that wait for any function.'),
  maxStartingPods: integer('SLUICE_MAX_STARTING_PODS', 32, 1, 10_000, 'Worker pods that may be starting at once: those beyond what the nodes can do keep each other, and the functions at work, from the processor.'),
  environmentsPerWorker: integer('SLUICE_ENVIRONMENTS_PER_WORKER', 1, 1, 1_000, 'Environments of its function that a worker pod may hold; its memory is for as many.'),
};

/** A setting is wrong. The message names the variable, its value and what is allowed. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError';
}

/**
 * Reads the settings from an environment. Throws {@link SettingsError} for a value out of bounds and for an unknown variable that
 * begins with `SLUICE_`, since that is a misspelt one.
 */
export function readSettings(environment: Readonly<Record<string, string | undefined>>): Settings {
  const known = new Set(Object.values(SETTINGS).map((setting) => setting.variable));
  for (const variable of Object.keys(environment)) {
    if (variable.startsWith('SLUICE_') && !known.has(variable)) {
      throw new SettingsError(`${variable} is not a setting of Sluice. Known settings: ${[...known].sort().join(', ')}.`);
    }
  }
  const read = <Name extends keyof Settings>(name: Name): Settings[Name] => {
    const setting = SETTINGS[name];
    const value = environment[setting.variable];
    if (value === undefined || value === '') return setting.parse(setting.defaultText);
    try {
      return setting.parse(value);
    } catch (error) {
      // Passwords in URLs are refused here, and would otherwise be in the log all the same.
      const shown = setting.secret === true ? '' : `=${value.replace(/\/\/.*@/, '//…@')}`;
      throw new SettingsError(`${setting.variable}${shown} is not valid: ${(error as Error).message}.`);
    }
  };
  const settings = Object.fromEntries(Object.keys(SETTINGS).map((name) => [name, read(name as keyof Settings)])) as unknown as Settings;
  if (settings.keepAliveMaxMs < settings.keepAliveMinMs) {
    throw new SettingsError(`SLUICE_KEEP_ALIVE_MAX_MS=${settings.keepAliveMaxMs} is below SLUICE_KEEP_ALIVE_MIN_MS=${settings.keepAliveMinMs}; raise the one or lower the other.`);
  }
  for (const [chosen, needed] of dependencies(settings)) {
    const missing = needed.filter((name) => settings[name] === undefined).map((name) => SETTINGS[name].variable);
    if (missing.length > 0) throw new SettingsError(`${chosen} needs ${missing.join(' and ')}, which ${missing.length === 1 ? 'is' : 'are'} not set.`);
  }
  return settings;
}

/** What must be set with what, where it is chosen. */
function* dependencies(settings: Settings): Generator<readonly [string, readonly (keyof Settings)[]]> {
  if (settings.store.startsWith('s3')) yield [`SLUICE_STORE=${settings.store}`, ['s3AccessKey', 's3SecretKey']];
  if (settings.kafkaSasl !== 'off') yield [`SLUICE_KAFKA_SASL=${settings.kafkaSasl}`, ['kafkaUsername', 'kafkaPassword']];
  if (settings.kafkaCertFile !== undefined) yield ['SLUICE_KAFKA_CERT_FILE', ['kafkaKeyFile']];
}
