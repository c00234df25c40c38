import { setTimeout as delay } from 'node:timers/promises';
import kafkajs, { type Admin, type ITopicConfig } from 'kafkajs';
import { LOG_TOPICS, type TopicNames } from './topic-names.ts';
import { LogSetupError } from './setup-error.ts';

/** What the topics are to be like. Where something is left out, the broker's default holds and is not looked at. */
export interface TopicPlan {
  /** Of every topic but the one for dead records. For good: a function's partition follows from it. */
  readonly partitions: number;
  readonly replicationFactor?: number;
  readonly minInsyncReplicas?: number;
  /** How long records of asynchronous invocations are kept. Longer than the longest time that nobody consumes: what is older is gone. */
  readonly retentionMs?: number;
}

export const DEFAULT_PARTITIONS = 32;
/** Far above an event's maximum age of 6 h ("Error handling for asynchronous invocation"): an outage over a long weekend loses nothing. */
export const DEFAULT_RETENTION_MS = 7 * 24 * 3_600_000;
/** Callers of synchronous invocations wait 15 minutes at most. */
const SYNC_RETENTION_MS = 3_600_000;
/** A synchronous payload of 6 MiB where it travels with its record, and its head. */
const SYNC_MESSAGE_BYTES_MAX = 8 * 1024 * 1024;
/** Kafka's default, named because batches are made to fit into it. */
export const MESSAGE_BYTES_MAX = 1_048_588;

const INSPECT_ATTEMPTS = 40;
const INSPECT_RETRY_MS = 100;

export interface TopicMismatch {
  readonly topic: string;
  readonly setting: string;
  readonly is: string;
  readonly shouldBe: string;
}

export interface TopicReport {
  readonly created: readonly string[];
  /** What differs from the plan. Nothing of it is changed. */
  readonly mismatches: readonly TopicMismatch[];
  /** Of the topics as they are; undefined while one is missing. */
  readonly partitions: number | undefined;
  readonly missing: readonly string[];
}

/** One line for one mismatch. */
export function describeMismatch({ topic, setting, is, shouldBe }: TopicMismatch): string {
  return `topic ${topic}: ${setting} is ${is}, should be ${shouldBe}`;
}

/** Creates what is missing, then looks at all as {@link checkTopics} does. Any number of processes may do so at once. */
export async function createTopics(admin: Admin, names: TopicNames, plan: TopicPlan): Promise<TopicReport> {
  const { missing } = await inspected(admin, names, plan, 'any');
  if (missing.length > 0) {
    // Not waited for here: kafkajs gives up when the broker that it asks has not heard of a topic yet.
    await admin.createTopics({ topics: missing.map((topic) => topicConfig(topic, names, plan)), waitForLeaders: false, timeout: 5_000 }).catch((error: unknown) => {
      if (!isOnlyAlreadyThere(error)) throw error;
    });
  }
  return { ...report(await inspected(admin, names, plan, 'all'), names, plan), created: missing };
}

/** Compares the topics with the plan. Rejects with {@link LogSetupError} where the log cannot work with them: fewer partitions than planned, or not the same number in all. */
export async function checkTopics(admin: Admin, names: TopicNames, plan: TopicPlan): Promise<TopicReport> {
  return report(await inspected(admin, names, plan, 'any'), names, plan);
}

function report({ found, missing }: Inspection, names: TopicNames, plan: TopicPlan): TopicReport {
  const mismatches = [...found].flatMap(([topic, facts]) => compare(topic, facts, expected(topic, names, plan)));
  const counts = new Map([...found].filter(([topic]) => topic !== names.dead).map(([topic, { partitions }]) => [topic, partitions]));
  const distinct = new Set(counts.values());
  const few = [...counts].find(([, partitions]) => partitions < plan.partitions);
  if (few !== undefined) {
    throw new LogSetupError('SLUICE_PARTITIONS', `topic ${few[0]} has ${few[1]} partitions, ${plan.partitions} are set; set what it has, or another topic prefix`);
  }
  if (distinct.size > 1) {
    const list = [...counts].map(([topic, partitions]) => `${topic} ${partitions}`).join(', ');
    throw new LogSetupError('SLUICE_PARTITIONS', `the topics differ in their number of partitions (${list}); they must have the same`);
  }
  const [partitions] = distinct;
  return { created: [], mismatches, missing, partitions: missing.length > 0 ? undefined : partitions };
}

interface TopicFacts {
  readonly partitions: number;
  readonly replicationFactor: number;
  readonly config: ReadonlyMap<string, string>;
}

type Expectation = Readonly<Record<string, string>>;

const PARTITIONS = 'partitions';
const REPLICATION = 'replication factor';

/** Settings of a topic that are of the plan, as texts. */
function expected(topic: string, names: TopicNames, plan: TopicPlan): Expectation {
  const isSync = topic === names.nameOf('sync');
  return {
    [PARTITIONS]: String(topic === names.dead ? 1 : plan.partitions),
    ...(plan.replicationFactor === undefined ? {} : { [REPLICATION]: String(plan.replicationFactor) }),
    ...(plan.minInsyncReplicas === undefined ? {} : { 'min.insync.replicas': String(plan.minInsyncReplicas) }),
    'cleanup.policy': 'delete',
    'retention.ms': String(isSync ? SYNC_RETENTION_MS : (plan.retentionMs ?? DEFAULT_RETENTION_MS)),
    'max.message.bytes': String(isSync ? SYNC_MESSAGE_BYTES_MAX : MESSAGE_BYTES_MAX),
  };
}

function topicConfig(topic: string, names: TopicNames, plan: TopicPlan): ITopicConfig {
  const { [PARTITIONS]: partitions, [REPLICATION]: replication, ...config } = expected(topic, names, plan);
  return {
    topic,
    numPartitions: Number(partitions),
    ...(replication === undefined ? {} : { replicationFactor: Number(replication) }),
    configEntries: Object.entries(config).map(([name, value]) => ({ name, value })),
  };
}

function compare(topic: string, facts: TopicFacts, expectation: Expectation): TopicMismatch[] {
  return Object.entries(expectation).flatMap(([setting, shouldBe]) => {
    const is = setting === PARTITIONS ? String(facts.partitions) : setting === REPLICATION ? String(facts.replicationFactor) : (facts.config.get(setting) ?? 'not told');
    return is === shouldBe ? [] : [{ topic, setting, is, shouldBe }];
  });
}

/** A topic that has just been made is known to some brokers before others: it is asked for again until they agree, and with `all` until none is missing. */
async function inspected(admin: Admin, names: TopicNames, plan: TopicPlan, wanted: 'any' | 'all'): Promise<Inspection> {
  for (let attempt = 1; ; attempt++) {
    try {
      const inspection = await inspect(admin, names, plan);
      if (wanted === 'any' || inspection.missing.length === 0) return inspection;
      if (attempt === INSPECT_ATTEMPTS) throw new LogSetupError('SLUICE_LOG', `the brokers have made the topics ${inspection.missing.join(', ')}, but do not show them`);
    } catch (error) {
      if (attempt === INSPECT_ATTEMPTS || !isUnsettled(error)) throw error;
    }
    await delay(INSPECT_RETRY_MS);
  }
}

interface Inspection {
  readonly found: ReadonlyMap<string, TopicFacts>;
  readonly missing: readonly string[];
}

/** Brokers do not agree yet on where a topic is. */
export function isUnsettled(error: unknown): boolean {
  for (let link: unknown = error; link instanceof Error; link = link.cause) {
    if (/UNKNOWN_TOPIC_OR_PARTITION|LEADER_NOT_AVAILABLE/.test((link as { type?: string }).type ?? '')) return true;
  }
  return false;
}

async function inspect(admin: Admin, names: TopicNames, plan: TopicPlan): Promise<Inspection> {
  const wanted = [...LOG_TOPICS.map((topic) => names.nameOf(topic)), names.dead];
  const present = new Set(await admin.listTopics());
  const there = wanted.filter((topic) => present.has(topic));
  const missing = wanted.filter((topic) => !present.has(topic));
  if (there.length === 0) return { found: new Map(), missing };
  const settings = Object.keys(expected(names.dead, names, plan)).filter((setting) => setting !== PARTITIONS && setting !== REPLICATION);
  const [metadata, configs] = await Promise.all([
    admin.fetchTopicMetadata({ topics: there }),
    admin.describeConfigs({ includeSynonyms: false, resources: there.map((name) => ({ type: kafkajs.ConfigResourceTypes.TOPIC, name, configNames: settings })) }),
  ]);
  const configOf = new Map(configs.resources.map(({ resourceName, configEntries }) => [resourceName, new Map(configEntries.map(({ configName, configValue }) => [configName, configValue]))]));
  const found = new Map(
    metadata.topics.map(({ name, partitions }): [string, TopicFacts] => [
      name,
      { partitions: partitions.length, replicationFactor: Math.min(...partitions.map(({ replicas }) => replicas.length)), config: configOf.get(name) ?? new Map<string, string>() },
    ]),
  );
  return { found, missing };
}

function isOnlyAlreadyThere(error: unknown): boolean {
  const { errors, type } = error as { errors?: readonly { type?: string }[]; type?: string };
  return errors === undefined ? type === 'TOPIC_ALREADY_EXISTS' : errors.every((inner) => inner.type === 'TOPIC_ALREADY_EXISTS');
}
