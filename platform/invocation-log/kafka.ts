import { systemClock, type Clock } from '../clock.ts';
import type { ObjectStore } from '../object-store/object-store.ts';
import type { Logger } from '../telemetry/logger.ts';
import { LogUnavailableError, type InvocationLog, type LogBacklog, type LogConsumer, type LogConsumption } from './invocation-log.ts';
import type { InvocationRecord } from '../model/invocation.ts';
import { Appender } from './kafka/appender.ts';
import { BacklogReader, openBacklogConnection } from './kafka/backlog.ts';
import { KafkaClient, type KafkaConnection } from './kafka/client.ts';
import { Consumption } from './kafka/consumption.ts';
import { within } from './kafka/producer-lane.ts';
import { diagnose } from './kafka/setup-error.ts';
import { topicNames } from './kafka/topic-names.ts';
import { createTopics, DEFAULT_PARTITIONS, describeMismatch, checkTopics, type TopicPlan, type TopicReport } from './kafka/topics.ts';

export { LogSetupError, type KafkaSetting } from './kafka/setup-error.ts';
export { brokersOf, type KafkaConnection, type KafkaSasl } from './kafka/client.ts';
export { DEFAULT_PARTITIONS, describeMismatch, type TopicMismatch, type TopicPlan, type TopicReport } from './kafka/topics.ts';
export { TOPIC_PREFIX } from './kafka/topic-names.ts';

/** Kafka's own default is 45 s; a controller that dies would be missed for as long. */
export const SESSION_TIMEOUT_MS = 10_000;
/** A member learns by its next heartbeat that the group is put together anew, and the others wait for it, so it is short beside the session. */
const HEARTBEATS_PER_SESSION = 5;
const HEARTBEAT_INTERVAL_MAX_MS = 500;
/** How long a fetch waits for something new; also how long a partition waits that is fetched again after a pause. */
const FETCH_WAIT_MS = 100;
/** A start that cannot succeed ends within 10 s; finding out the reason takes up to 3 s of that. */
const SETUP_WAIT_MS = 6_500;

export interface KafkaLogOptions {
  readonly connection: KafkaConnection;
  /** Holds the payloads that do not travel, in the bucket PAYLOAD_BUCKET, which is there. */
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly topicPrefix?: string;
  readonly topics?: Partial<TopicPlan>;
  /** After how long without a sign of life a controller's partitions are given to others. */
  readonly sessionTimeoutMs?: number;
  readonly fetchWaitMs?: number;
  /** The brokers' time, where a test has another one for what is due. */
  readonly wireClock?: Clock;
}

/**
 * Opens the log in Kafka; creates the topics that are missing. Appending works from then on, consuming begins with `consume`: a gateway never joins the group.
 *
 * What this driver adds to the port's promises: a payload over 64 KiB does not travel with its record (see {@link InvocationRecord.claim}), and records of a
 * function that were moved to the overflow topic may be overtaken by later ones after the partition has changed hands.
 *
 * Rejects within 10 s with {@link LogSetupError}, which names the setting, where the brokers cannot be used as set.
 */
export async function openKafkaLog(options: KafkaLogOptions): Promise<InvocationLog> {
  const { connection, logger } = options;
  const wireClock = options.wireClock ?? systemClock;
  const names = topicNames(options.topicPrefix);
  const deadlineMs = wireClock.now() + SETUP_WAIT_MS;
  const report = await setUpTopics(options, 'create');
  for (const mismatch of report.mismatches) logger.warn(mismatch, describeMismatch(mismatch));
  const partitions = report.partitions ?? DEFAULT_PARTITIONS;
  const appender = new Appender({ connection, names, partitions, store: options.store, clock: wireClock, logger });
  try {
    await within(appender.start(), Math.max(1, deadlineMs - wireClock.now()), wireClock);
  } catch (error) {
    await appender.close();
    throw await diagnose(error, connection);
  }
  const backlog = new BacklogReader({ names, clock: wireClock, open: () => openBacklogConnection(connection, logger) });
  return new KafkaLog({ options, appender, backlog, partitions, wireClock });
}

export type TopicStepOptions = Pick<KafkaLogOptions, 'connection' | 'logger' | 'topicPrefix' | 'topics' | 'wireClock'>;

/**
 * Looks at the topics, and with `create` makes those that are missing. Never changes one that exists: what differs is in the report. Rejects as {@link openKafkaLog} does.
 */
export async function setUpTopics({ connection, logger, topicPrefix, topics, wireClock = systemClock }: TopicStepOptions, mode: 'create' | 'check'): Promise<TopicReport> {
  const client = new KafkaClient(connection, logger, { retries: 1, initialRetryTime: 100 });
  const admin = client.kafka.admin();
  const plan: TopicPlan = { partitions: DEFAULT_PARTITIONS, ...topics };
  try {
    const step = mode === 'create' ? createTopics : checkTopics;
    return await within(
      admin.connect().then(() => step(admin, topicNames(topicPrefix), plan)),
      SETUP_WAIT_MS,
      wireClock,
    );
  } catch (error) {
    throw await diagnose(error, connection);
  } finally {
    client.abandon();
  }
}

interface KafkaLogParts {
  readonly options: KafkaLogOptions;
  readonly appender: Appender;
  readonly backlog: BacklogReader;
  readonly partitions: number;
  readonly wireClock: Clock;
}

class KafkaLog implements InvocationLog {
  readonly partitions: number;
  readonly #parts: KafkaLogParts;
  #consumption: Consumption | undefined;
  /** The last consumption's stop, while it is under way. */
  #stopping: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  constructor(parts: KafkaLogParts) {
    this.#parts = parts;
    this.partitions = parts.partitions;
  }

  append(record: InvocationRecord): Promise<void> {
    if (this.#closed !== undefined) return Promise.reject(new LogUnavailableError('The invocation log is closed.'));
    return this.#parts.appender.append(record);
  }

  async consume(consumer: LogConsumer): Promise<LogConsumption> {
    await this.#stopping;
    if (this.#closed !== undefined) throw new LogUnavailableError('The invocation log is closed.');
    if (this.#consumption !== undefined) throw new Error('The invocation log has a consumer already; stop that one first.');
    if (!Number.isInteger(consumer.maxInFlight) || consumer.maxInFlight < 1) {
      throw new RangeError(`maxInFlight is ${consumer.maxInFlight}; it must be a whole number from 1.`);
    }
    const { options, appender, partitions, wireClock } = this.#parts;
    const sessionTimeoutMs = options.sessionTimeoutMs ?? SESSION_TIMEOUT_MS;
    const consumption = new Consumption({
      connection: options.connection,
      names: topicNames(options.topicPrefix),
      partitions,
      sessionTimeoutMs,
      heartbeatIntervalMs: Math.min(HEARTBEAT_INTERVAL_MAX_MS, sessionTimeoutMs / HEARTBEATS_PER_SESSION),
      fetchWaitMs: options.fetchWaitMs ?? FETCH_WAIT_MS,
      appender,
      store: options.store,
      clock: options.clock,
      wireClock,
      logger: options.logger,
      consumer,
    });
    this.#consumption = consumption;
    try {
      await consumption.start();
    } catch (error) {
      this.#consumption = undefined;
      throw error;
    }
    // After whoever waits for this call has gone on: deliveries may want to be settled at once.
    setImmediate(() => consumption.open());
    return {
      settle: (delivery) => consumption.settle(delivery),
      postpone: (delivery, change, notBeforeMs) => consumption.postpone(delivery, change, notBeforeMs),
      undecided: () => consumption.undecided(),
      stop: () => this.#stop(consumption),
    };
  }

  #stop(consumption: Consumption): Promise<void> {
    if (this.#consumption !== consumption) return consumption.stop();
    this.#stopping ??= consumption.stop().finally(() => {
      this.#consumption = undefined;
      this.#stopping = undefined;
    });
    return this.#stopping;
  }

  backlog(): Promise<LogBacklog> {
    if (this.#closed !== undefined) return Promise.reject(new LogUnavailableError('The invocation log is closed.'));
    return this.#parts.backlog.read(this.#consumption);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    if (this.#consumption !== undefined) await this.#stop(this.#consumption);
    await this.#parts.appender.close();
    this.#parts.backlog.close();
  }
}
