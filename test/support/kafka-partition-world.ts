import type { KafkaMessage } from 'kafkajs';
import { LogUnavailableError, type Delivery, type LogConsumer } from '../../platform/invocation-log/invocation-log.ts';
import type { CommittedOffset } from '../../platform/invocation-log/kafka/group-member.ts';
import { KafkaDelivery } from '../../platform/invocation-log/kafka/kafka-delivery.ts';
import { OwnedPartition, type Collected } from '../../platform/invocation-log/kafka/owned-partition.ts';
import { MemoryBudget } from '../../platform/invocation-log/kafka/partition-context.ts';
import { encodeRecord, OFFSET_UNKNOWN, type EncodedRecord } from '../../platform/invocation-log/kafka/record-format.ts';
import { planTakeover, type TakeoverFinding } from '../../platform/invocation-log/kafka/takeover.ts';
import { LOG_TOPICS, topicNames, type LogTopic } from '../../platform/invocation-log/kafka/topic-names.ts';
import { TopicTrack } from '../../platform/invocation-log/kafka/topic-track.ts';
import type { InvocationRecord } from '../../platform/model/invocation.ts';
import type { ObjectLocation } from '../../platform/object-store/object-store.ts';
import { createLogger } from '../../platform/telemetry/logger.ts';
import { VirtualClock } from './virtual-clock.ts';

const names = topicNames('world');

type WorldTopic = LogTopic | 'dead';

/** A write that the brokers have not answered yet. */
export interface PendingWrite {
  readonly topic: WorldTopic;
  readonly record: EncodedRecord;
  /** Who writes; after its death a write may still arrive. */
  readonly owner: WorldOwner;
  /** `stored`: it is in the topic. `answered`: the owner is told whether it is. */
  settle(outcome: { readonly stored: boolean; readonly answered: boolean }): void;
}

/** Rules of the acknowledgement protocol, each to be switched off by a twin. */
export interface WorldRules {
  /** Commits are of the watermark; otherwise of whatever was taken, as parallel-consumer#826 did. */
  readonly commitsWatermark: boolean;
  /** Notes that cannot be read claim nothing; otherwise the first record is taken as done, as parallel-consumer#875 did. */
  readonly distrustsForeignNotes: boolean;
  /** A record is settled when its copy is durable; otherwise when it is on its way. */
  readonly copiesBeforeSettling: boolean;
  /** A write that is confirmed tells where the record lies; otherwise only that it is there. */
  readonly tellsOffsets: boolean;
}

export const ALL_RULES: WorldRules = { commitsWatermark: true, distrustsForeignNotes: true, copiesBeforeSettling: true, tellsOffsets: true };

/** One partition of a Kafka in memory, with the driver's own code as its owners, one after another. Nothing moves by itself. */
export class PartitionWorld {
  readonly clock = new VirtualClock();
  readonly topics = new Map<WorldTopic, KafkaMessage[]>();
  readonly committed = new Map<LogTopic, { offset: number; metadata: string }>();
  readonly pending: PendingWrite[] = [];
  readonly removed: ObjectLocation[] = [];
  readonly rules: WorldRules;

  constructor(rules: WorldRules = ALL_RULES) {
    this.rules = rules;
    for (const topic of [...LOG_TOPICS, 'dead' as const]) this.topics.set(topic, []);
  }

  log(topic: WorldTopic): KafkaMessage[] {
    return this.topics.get(topic) ?? [];
  }

  append(record: InvocationRecord): void {
    this.store(record.kind === 'sync' ? 'sync' : 'async', encodeRecord(record));
  }

  store(topic: WorldTopic, { key, value, headers }: Pick<EncodedRecord, 'key' | 'value' | 'headers'>): number {
    const log = this.log(topic);
    const buffers = Object.fromEntries(Object.entries(headers).map(([name, text]) => [name, Buffer.from(String(text))]));
    const offset = log.length;
    log.push({ key: Buffer.from(key), value, headers: buffers, offset: String(offset), timestamp: String(this.clock.now()), attributes: 0 });
    return offset;
  }

  own(consumer: LogConsumer, options: Partial<WorldOwnerOptions> = {}): WorldOwner {
    return new WorldOwner(this, consumer, options);
  }

  /** Answers every write that waits, and those that come of it. */
  flush(): void {
    while (this.pending.length > 0) this.pending.shift()?.settle({ stored: true, answered: true });
  }
}

export interface WorldOwnerOptions {
  readonly bufferBytes: number;
  /** Writes are stored and answered at once. */
  readonly autoWrite: boolean;
}

/** An owner of the world's partition, from its assignment until it is passed over. */
export class WorldOwner {
  readonly world: PartitionWorld;
  readonly partition: OwnedPartition;
  readonly epoch: number;
  readonly findings: readonly TakeoverFinding[];
  /** In doubt whether it owns anything. */
  doubtful = false;
  alive = true;
  attended = 0;

  constructor(world: PartitionWorld, consumer: LogConsumer, { bufferBytes = 64 * 1024 * 1024, autoWrite = false }: Partial<WorldOwnerOptions>) {
    this.world = world;
    const committed = LOG_TOPICS.map((topic): CommittedOffset => ({ topic, partition: 0, offset: world.committed.get(topic)?.offset, metadata: world.committed.get(topic)?.metadata ?? '' }));
    const extents = new Map(LOG_TOPICS.map((topic) => [`${topic}/0`, { start: 0, end: world.log(topic).length }]));
    const { fresh, epoch, findings } = planTakeover({ names, partitions: [0], committed, extents, held: new Map(), nowMs: world.clock.now() });
    this.epoch = epoch;
    this.findings = findings;
    const tracks = Object.fromEntries(
      (fresh[0]?.topics ?? []).map((state) => {
        const blind = !world.rules.distrustsForeignNotes && findings.some(({ topic, problem }) => topic === state.topic && problem === 'foreign');
        return [state.topic, new TopicTrack(blind ? { ...state, settled: [{ start: state.watermark, end: state.watermark + 1 }] } : state)];
      }),
    ) as Record<LogTopic, TopicTrack>;
    const write = (topic: WorldTopic, record: EncodedRecord): Promise<number> => this.#write(topic, record, autoWrite);
    this.partition = new OwnedPartition(
      {
        index: 0,
        epoch,
        consumer,
        clock: world.clock,
        logger: createLogger('silent'),
        memory: new MemoryBudget(bufferBytes),
        mayDeliver: () => this.alive && !this.doubtful,
        write,
        writeDead: (record) => write('dead', record),
        attend: () => void this.attended++,
        fetchingChanged: () => undefined,
      },
      tracks,
    );
    const claim = tracks.async.collect().offset;
    world.committed.set('async', { offset: claim.offset, metadata: claim.metadata });
  }

  #write(topic: WorldTopic, record: EncodedRecord, auto: boolean): Promise<number> {
    if (auto) return Promise.resolve(this.world.store(topic, record));
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    if (!this.world.rules.copiesBeforeSettling) resolve(OFFSET_UNKNOWN);
    this.world.pending.push({
      topic,
      record,
      owner: this,
      settle: ({ stored, answered }) => {
        const offset = stored ? this.world.store(topic, record) : undefined;
        if (offset !== undefined && answered) resolve(this.world.rules.tellsOffsets ? offset : OFFSET_UNKNOWN);
        else reject(new LogUnavailableError('The brokers are away.'));
      },
    });
    return promise;
  }

  /** Fetches a topic once, if the owner wants it. False: there was nothing to take. */
  fetch(topic: LogTopic, countMax = 100): boolean {
    if (!this.alive || !this.partition.wantsFetch(topic)) return false;
    const from = this.partition.next(topic);
    const messages = this.world.log(topic).slice(from, from + countMax);
    return messages.length > 0 && this.partition.take(topic, from, messages) > 0;
  }

  fetchAll(): void {
    while (LOG_TOPICS.map((topic) => this.fetch(topic)).some(Boolean));
  }

  /** Commits what has changed. `applied`: the coordinator takes it. `answered`: the owner learns so. */
  commit({ applied, answered }: { readonly applied: boolean; readonly answered: boolean } = { applied: true, answered: true }): void {
    const collected: Collected | undefined = this.partition.collect();
    if (collected === undefined) return;
    for (const { topic, offset, metadata } of collected.offsets) {
      if (!applied) break;
      this.world.committed.set(topic, { offset: this.world.rules.commitsWatermark ? offset : this.partition.next(topic), metadata });
    }
    this.world.removed.push(...collected.done(applied && answered));
  }

  settle(delivery: Delivery): void {
    if (delivery instanceof KafkaDelivery) delivery.owner.settle(delivery);
  }

  postpone(delivery: Delivery, change: Pick<InvocationRecord, 'attempt' | 'throttles'>, notBeforeMs: number): Promise<void> {
    if (!(delivery instanceof KafkaDelivery)) throw new TypeError('not a delivery of this world');
    return delivery.owner.postpone(delivery, change, notBeforeMs);
  }

  /** Gone; it commits nothing more. */
  end(): void {
    this.alive = false;
    this.partition.end();
  }
}

/** Lets promises that are settled be acted upon. */
export async function turns(count = 6): Promise<void> {
  for (let i = 0; i < count; i++) await Promise.resolve();
}
