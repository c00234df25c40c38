import type { Broker, Cluster, Consumer, EachBatchPayload, KafkaMessage } from 'kafkajs';
import type { Clock } from '../../clock.ts';
import type { Logger } from '../../telemetry/logger.ts';
import type { MemberClaim } from './assign-partitions.ts';
import { KafkaClient, type KafkaConnection } from './client.ts';
import { groupProtocol } from './group-protocol.ts';
import { LOG_TOPICS, type LogTopic, type TopicNames } from './topic-names.ts';

/** One answer holds at most this much of one partition, and of all together. More makes a drain no faster (measured), and memory grows with it. */
const FETCH_PARTITION_BYTES = 256 * 1024;
const FETCH_BYTES = 1024 * 1024;
/** In Kafka's protocol: the kind of coordinator that is asked for. */
const GROUP_COORDINATOR = 0;
/** Leaving the group and closing the connections of a consumer that works. One that does not is cut off. */
const LEAVE_WAIT_MS = 5_000;

export interface GroupMemberOptions {
  readonly connection: KafkaConnection;
  readonly names: TopicNames;
  readonly partitions: number;
  readonly sessionTimeoutMs: number;
  readonly heartbeatIntervalMs: number;
  readonly fetchWaitMs: number;
  /** Real time: the coordinator's. */
  readonly clock: Clock;
  readonly logger: Logger;
  readonly events: GroupMemberEvents;
}

export interface GroupMemberEvents {
  /** What is held; asked at the moment when a request to join goes out. From then on nothing of it may be owned any more. */
  joining(): MemberClaim['held'];
  /** The group is about to be put together anew; what is committed at once still counts. */
  rebalancing(): void;
  /** All partitions that this member has from now on, in this generation. Nothing is fetched before {@link GroupMember.fetchFrom}. */
  joined(assignment: GroupAssignment): void;
  /** Messages from that offset on. Returns how many of them were taken; the rest is fetched again once the partition is resumed. */
  fetched(topic: LogTopic, partition: number, fromOffset: number, messages: readonly KafkaMessage[]): number;
  /** Still a member, as of {@link GroupMember.provenMs}. */
  alive(): void;
  /** It is over with this member; nothing more comes from it. */
  ended(error: Error): void;
}

export interface GroupAssignment {
  readonly generation: number;
  readonly partitions: readonly number[];
}

export interface CommittedOffset {
  readonly topic: LogTopic;
  readonly partition: number;
  /** Undefined: nothing was ever committed. */
  readonly offset: number | undefined;
  readonly metadata: string;
}

export interface OffsetToCommit {
  readonly topic: LogTopic;
  readonly partition: number;
  readonly offset: number;
  readonly metadata: string;
}

/**
 * One life of a kafkajs consumer as a member of the controllers' group, from `start` to `stop`, `abandon` or `ended`.
 *
 * Offsets are committed past kafkajs's consumer, on its connection: its own `commitOffsets` repeats a commit that failed, under whatever generation
 * is current by then, and would so write an old owner's offset over the new owner's.
 */
export class GroupMember {
  readonly #options: GroupMemberOptions;
  readonly #client: KafkaClient;
  readonly #consumer: Consumer;
  #cluster: Cluster | undefined;
  #coordinator: Broker | undefined;
  #generation = -1;
  #memberId = '';
  /** Of the last heartbeat or sync request, while its answer's verdict is not known yet. */
  #askedMs = -Infinity;
  #provenMs = -Infinity;
  #lastSignMs: number;
  #joining = true;
  #over = false;

  constructor(options: GroupMemberOptions) {
    const { connection, names, partitions, sessionTimeoutMs, heartbeatIntervalMs, fetchWaitMs, clock, logger, events } = options;
    this.#options = options;
    this.#lastSignMs = clock.now();
    this.#client = new KafkaClient(connection, logger, { retries: 5, initialRetryTime: 100, maxRetryTime: 1_000 });
    this.#consumer = this.#client.kafka.consumer({
      groupId: names.group,
      sessionTimeout: sessionTimeoutMs,
      rebalanceTimeout: sessionTimeoutMs,
      heartbeatInterval: heartbeatIntervalMs,
      maxWaitTimeInMs: fetchWaitMs,
      minBytes: 1,
      maxBytesPerPartition: FETCH_PARTITION_BYTES,
      maxBytes: FETCH_BYTES,
      allowAutoTopicCreation: false,
      retry: { retries: 5, initialRetryTime: 100, maxRetryTime: 1_000, restartOnFailure: () => Promise.resolve(false) },
      partitionAssigners: [
        groupProtocol({
          names,
          partitions,
          onCluster: (cluster) => {
            this.#cluster = cluster;
          },
          joining: () => {
            this.#joining = true;
            return this.#over ? [] : events.joining();
          },
        }),
      ],
    });
    this.#listen();
  }

  /** When the coordinator last had a request of this member that it answered well: the session cannot end sooner than its time-out after that. */
  get provenMs(): number {
    return this.#provenMs;
  }

  /** When kafkajs last showed that it is at work. */
  get lastSignMs(): number {
    return this.#lastSignMs;
  }

  /** Waiting for the other members. */
  get joining(): boolean {
    return this.#joining;
  }

  #listen(): void {
    const { events, clock } = this.#options;
    const consumer = this.#consumer;
    const { HEARTBEAT, GROUP_JOIN, REBALANCING, RECEIVED_UNSUBSCRIBED_TOPICS, REQUEST, FETCH, CRASH } = consumer.events;
    const sign = (): void => {
      this.#lastSignMs = clock.now();
    };
    consumer.on(REQUEST, ({ payload: { apiName, sentAt } }) => {
      // Back from the time on kafkajs's clock to the one on ours.
      if (apiName === 'Heartbeat' || apiName === 'SyncGroup') this.#askedMs = clock.now() - Math.max(0, Date.now() - sentAt);
    });
    consumer.on(FETCH, sign);
    consumer.on(HEARTBEAT, ({ payload }) => {
      sign();
      if (this.#over || payload.memberId !== this.#memberId || payload.groupGenerationId !== this.#generation) return;
      this.#provenMs = this.#askedMs;
      events.alive();
    });
    consumer.on(RECEIVED_UNSUBSCRIBED_TOPICS, ({ payload }) => {
      this.#generation = payload.generationId;
      this.#memberId = payload.memberId;
    });
    consumer.on(GROUP_JOIN, ({ payload }) => {
      sign();
      this.#joining = false;
      if (this.#over) return;
      this.#provenMs = this.#askedMs;
      const partitions = payload.memberAssignment[this.#options.names.nameOf('async')] ?? [];
      // Nothing is fetched until it is clear where from.
      this.pause(partitions.flatMap((partition) => LOG_TOPICS.map((topic) => ({ topic, partition }))));
      events.joined({ generation: this.#generation, partitions: [...partitions].sort((a, b) => a - b) });
    });
    consumer.on(REBALANCING, () => {
      if (!this.#over) events.rebalancing();
    });
    consumer.on(CRASH, ({ payload: { error } }) => this.#end(error));
  }

  #end(error: Error): void {
    if (this.#over) return;
    this.#over = true;
    this.#client.abandon();
    this.#options.events.ended(error);
  }

  /** Joins; whatever goes wrong is told by `ended`. */
  async start(): Promise<void> {
    const { names, partitions } = this.#options;
    try {
      await this.#consumer.connect();
      await this.#consumer.subscribe({ topics: LOG_TOPICS.map((topic) => names.nameOf(topic)), fromBeginning: true });
      await this.#askForCoordinator();
      await this.#consumer.run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        partitionsConsumedConcurrently: partitions * LOG_TOPICS.length,
        eachBatch: (payload) => this.#take(payload),
      });
    } catch (error) {
      this.#end(error as Error);
    }
  }

  /** kafkajs reports whatever keeps it from finding the coordinator as "not found"; this tells a missing permission. */
  async #askForCoordinator(): Promise<void> {
    const broker = (await this.#cluster?.findControllerBroker()) as (Broker & { findGroupCoordinator(request: { groupId: string; coordinatorType: number }): Promise<unknown> }) | undefined;
    await broker?.findGroupCoordinator({ groupId: this.#options.names.group, coordinatorType: GROUP_COORDINATOR }).catch((error: { readonly retriable?: boolean }) => {
      if (error.retriable === false) throw error;
    });
  }

  #take(payload: EachBatchPayload): Promise<void> {
    const { batch } = payload;
    const topic = this.#options.names.topicOf(batch.topic);
    if (topic !== undefined && !this.#over && !this.#joining && !payload.isStale()) {
      // Left out of kafkajs's types.
      const fromOffset = Number((batch as typeof batch & { fetchedOffset: string }).fetchedOffset);
      const taken = this.#options.events.fetched(topic, batch.partition, fromOffset, batch.messages);
      const last = batch.messages[taken - 1];
      if (last !== undefined) payload.resolveOffset(last.offset);
    }
    return Promise.resolve();
  }

  /** Fetches from there on, in this generation. */
  fetchFrom(topic: LogTopic, partition: number, offset: number): void {
    if (!this.#over) this.#consumer.seek({ topic: this.#options.names.nameOf(topic), partition, offset: String(offset) });
  }

  pause(parts: readonly { readonly topic: LogTopic; readonly partition: number }[]): void {
    if (!this.#over && parts.length > 0) this.#consumer.pause(this.#grouped(parts));
  }

  resume(parts: readonly { readonly topic: LogTopic; readonly partition: number }[]): void {
    if (!this.#over && parts.length > 0) this.#consumer.resume(this.#grouped(parts));
  }

  #grouped(parts: readonly { readonly topic: LogTopic; readonly partition: number }[]): { topic: string; partitions: number[] }[] {
    const byTopic = Map.groupBy(parts, ({ topic }) => topic);
    return [...byTopic].map(([topic, list]) => ({ topic: this.#options.names.nameOf(topic), partitions: list.map(({ partition }) => partition) }));
  }

  /** What is committed for these partitions, in all topics. */
  async committed(partitions: readonly number[]): Promise<CommittedOffset[]> {
    const { names } = this.#options;
    const coordinator = await this.#findCoordinator();
    const request = LOG_TOPICS.map((topic) => ({ topic: names.nameOf(topic), partitions: partitions.map((partition) => ({ partition, offset: '0' })) }));
    const { responses } = await this.#asking(coordinator.offsetFetch({ groupId: names.group, topics: request }));
    return responses.flatMap(({ topic: name, partitions: parts }) => {
      const topic = names.topicOf(name);
      if (topic === undefined) return [];
      return (parts as { partition: number; offset: string; metadata?: string | null }[]).map(({ partition, offset, metadata }) => ({
        topic,
        partition,
        offset: Number(offset) < 0 ? undefined : Number(offset),
        metadata: metadata ?? '',
      }));
    });
  }

  /** Where the topics begin and end, as `topic/partition`. */
  async extents(partitions: readonly number[]): Promise<Map<string, { readonly start: number; readonly end: number }>> {
    const { names } = this.#options;
    const cluster = this.#cluster;
    if (cluster === undefined) throw new Error('The consumer is not connected.');
    const ask = (fromBeginning: boolean) => cluster.fetchTopicsOffset(LOG_TOPICS.map((topic) => ({ topic: names.nameOf(topic), partitions: partitions.map((partition) => ({ partition })), fromBeginning })));
    const [starts, ends] = await Promise.all([ask(true), ask(false)]);
    const endOf = new Map(ends.flatMap(({ topic, partitions: parts }) => parts.map(({ partition, offset }): [string, number] => [`${topic}/${partition}`, Number(offset)])));
    return new Map(
      starts.flatMap(({ topic, partitions: parts }) =>
        parts.map(({ partition, offset }): [string, { start: number; end: number }] => [
          `${names.topicOf(topic) ?? topic}/${partition}`,
          { start: Number(offset), end: endOf.get(`${topic}/${partition}`) ?? Number(offset) },
        ]),
      ),
    );
  }

  /** Commits under the generation given, once. Rejects where that is not the group's any more, or the coordinator does not answer. */
  async commit(offsets: readonly OffsetToCommit[], generation: number): Promise<void> {
    const { names } = this.#options;
    const coordinator = await this.#findCoordinator();
    const byTopic = Map.groupBy(offsets, ({ topic }) => topic);
    const topics = [...byTopic].map(([topic, list]) => ({
      topic: names.nameOf(topic),
      partitions: list.map(({ partition, offset, metadata }) => ({ partition, offset: String(offset), metadata })),
    }));
    await this.#asking(coordinator.offsetCommit({ groupId: names.group, groupGenerationId: generation, memberId: this.#memberId, topics }));
  }

  async #findCoordinator(): Promise<Broker> {
    if (this.#cluster === undefined) throw new Error('The consumer is not connected.');
    if (this.#coordinator?.isConnected() !== true) this.#coordinator = await this.#cluster.findGroupCoordinator({ groupId: this.#options.names.group });
    return this.#coordinator;
  }

  /** After a failure the coordinator is looked for again: it may have moved. */
  async #asking<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      this.#coordinator = undefined;
      throw error;
    }
  }

  /** Leaves the group, so that others take over at once. */
  async stop(): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    await this.#client.end(() => this.#consumer.disconnect(), LEAVE_WAIT_MS);
  }

  /** Cuts the connections off, without a word to the group. */
  abandon(): void {
    this.#over = true;
    this.#client.abandon();
    this.#consumer.disconnect().catch(() => undefined);
  }
}

