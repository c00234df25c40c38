import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Admin } from 'kafkajs';
import type { Clock } from '../../clock.ts';
import { functionKey } from '../../model/execution-spec.ts';
import { PAYLOAD_BUCKET, type InvocationRecord } from '../../model/invocation.ts';
import type { ObjectStore } from '../../object-store/object-store.ts';
import type { Logger } from '../../telemetry/logger.ts';
import { LogUnavailableError, partitionOf } from '../invocation-log.ts';
import { KafkaClient, type KafkaConnection } from './client.ts';
import { ProducerLane, within, type LaneKind } from './producer-lane.ts';
import { encodeRecord, type EncodedRecord } from './record-format.ts';
import { LOG_TOPICS, type LogTopic, type TopicNames } from './topic-names.ts';
import { isUnsettled } from './topics.ts';

/** Larger payloads do not travel with their records: a few would fill what a controller keeps in memory of all functions. */
export const INLINE_PAYLOAD_BYTES_MAX = 64 * 1024;
/** Between two looks, while topics that have just been made have no leaders yet. */
const LEADERS_RETRY_MS = 100;
/** Asking who leads which partition. */
const METADATA_WAIT_MS = 3_000;

export interface AppenderOptions {
  readonly connection: KafkaConnection;
  readonly names: TopicNames;
  readonly partitions: number;
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Writes to the topics, over one lane for each broker and kind, so that a broker that is away stops the appends to its own partitions only. */
export class Appender {
  readonly #options: AppenderOptions;
  readonly #lanes = new Map<string, ProducerLane>();
  /** Node id of the leader of `topic/partition`. */
  #leaders = new Map<string, number>();
  #refreshing: Promise<void> | undefined;
  #closed = false;

  constructor(options: AppenderOptions) {
    this.#options = options;
  }

  /** Rejects with kafkajs's error where a broker cannot be reached or does not let us write. */
  async start(): Promise<void> {
    while (!(await this.#readLeaders()) && !this.#closed) await delay(LEADERS_RETRY_MS);
    const nodes = new Set(this.#leaders.values());
    const connecting = [...nodes].flatMap((node) => (['durable', 'fast'] as const).map((kind) => this.#lane(kind, node, false).connect()));
    await Promise.all(connecting);
  }

  /** Durable, in the lane's sense, when it resolves. Rejects with {@link LogUnavailableError}. */
  async append(record: InvocationRecord): Promise<void> {
    if (this.#closed) throw new LogUnavailableError('The invocation log is closed.');
    const key = functionKey(record.account, record.functionName);
    const partition = partitionOf(key, this.#options.partitions);
    if (record.kind === 'sync') {
      await this.write('sync', partition, encodeRecord(record.replyTo === undefined ? record : withoutPayload(record, { kind: 'gateway', bytes: record.payload.length })));
    } else if (record.payload.length <= INLINE_PAYLOAD_BYTES_MAX) await this.write('async', partition, encodeRecord(record));
    else await this.#appendWithClaim(record, partition);
  }

  /** The payload is in the store before the record is in the log, so nobody is ever given a record without one. */
  async #appendWithClaim(record: InvocationRecord, partition: number): Promise<void> {
    const key = `${record.account}/${record.id}/${randomUUID()}`;
    try {
      await this.#options.store.put({ bucket: PAYLOAD_BUCKET, key }, record.payload);
    } catch (error) {
      throw new LogUnavailableError(`The payload of ${record.payload.length} bytes cannot be stored: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
    try {
      await this.write('async', partition, encodeRecord(withoutPayload(record, { kind: 'object', key, bytes: record.payload.length })));
    } catch (error) {
      // Not removed: the record may be in the log all the same. What is left over is for the bucket's lifecycle rule.
      this.#options.logger.debug({ key }, 'A payload was stored for a record that Kafka has not confirmed');
      throw error;
    }
  }

  /** Resolves with the record's offset, see {@link ProducerLane.append}. Rejects with {@link LogUnavailableError}. */
  write(topic: LogTopic, partition: number, record: EncodedRecord): Promise<number> {
    return this.#write(this.#options.names.nameOf(topic), partition, topic === 'sync' ? 'fast' : 'durable', record);
  }

  writeDead(record: EncodedRecord): Promise<number> {
    return this.#write(this.#options.names.dead, 0, 'durable', record);
  }

  #write(topic: string, partition: number, kind: LaneKind, record: EncodedRecord): Promise<number> {
    const leader = this.#leaders.get(`${topic}/${partition}`);
    if (leader === undefined) return Promise.reject(new LogUnavailableError(`Partition ${partition} of ${topic} has no leader now.`));
    return this.#lane(kind, leader, true).append(topic, partition, record);
  }

  #lane(kind: LaneKind, node: number, start: boolean): ProducerLane {
    const name = `${kind}/${node}`;
    let lane = this.#lanes.get(name);
    if (lane === undefined) {
      const { connection, clock, logger } = this.#options;
      lane = new ProducerLane({ kind, connection, clock, logger, onReconnected: () => this.#refreshLeaders() });
      this.#lanes.set(name, lane);
      if (start) lane.start();
    }
    return lane;
  }

  #refreshLeaders(): Promise<void> {
    this.#refreshing ??= this.#readLeaders()
      .then(() => undefined)
      .finally(() => {
        this.#refreshing = undefined;
      });
    return this.#refreshing;
  }

  /** False: some partition has no leader at the moment. */
  async #readLeaders(): Promise<boolean> {
    const { connection, logger, names, clock } = this.#options;
    const client = new KafkaClient(connection, logger, { retries: 1, initialRetryTime: 100 });
    const admin: Admin = client.kafka.admin();
    try {
      const topics = [...LOG_TOPICS.map((topic) => names.nameOf(topic)), names.dead];
      const metadata = await within(
        admin.connect().then(() => admin.fetchTopicMetadata({ topics })),
        METADATA_WAIT_MS,
        clock,
      );
      const found = metadata.topics.flatMap(({ name, partitions }) => partitions.map(({ partitionId, leader }): [string, number] => [`${name}/${partitionId}`, leader]));
      this.#leaders = new Map(found.filter(([, leader]) => leader >= 0));
      return this.#leaders.size === found.length;
    } catch (error) {
      if (isUnsettled(error)) return false;
      throw error;
    } finally {
      client.abandon();
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#lanes.values()].map((lane) => lane.end()));
  }
}

function withoutPayload(record: InvocationRecord, claim: NonNullable<InvocationRecord['claim']>): InvocationRecord {
  if (claim.bytes <= INLINE_PAYLOAD_BYTES_MAX || record.claim !== undefined) return record;
  return { ...record, claim, payload: Buffer.alloc(0) };
}
