import type { KafkaMessage } from 'kafkajs';
import type { Clock, Timer } from '../../clock.ts';
import type { InvocationRecord } from '../../model/invocation.ts';
import type { ObjectLocation, ObjectStore } from '../../object-store/object-store.ts';
import type { Logger } from '../../telemetry/logger.ts';
import { LogUnavailableError, SETTLE_INTERVAL_MS, UNDECIDED_MAX_MS, type Delivery, type LogConsumer } from '../invocation-log.ts';
import type { Appender } from './appender.ts';
import type { KafkaConnection } from './client.ts';
import { GroupMember, type GroupAssignment } from './group-member.ts';
import { KafkaDelivery } from './kafka-delivery.ts';
import { OwnedPartition } from './owned-partition.ts';
import { MemoryBudget, type PartitionContext } from './partition-context.ts';
import { within } from './producer-lane.ts';
import { diagnose, LogSetupError } from './setup-error.ts';
import { planTakeover } from './takeover.ts';
import { LOG_TOPICS, type LogTopic, type TopicNames } from './topic-names.ts';
import { TopicTrack } from './topic-track.ts';
import { Watchdog, WATCH_INTERVAL_MS } from './watchdog.ts';

/** Records that were fetched and wait in memory, over all partitions. */
const BUFFER_BYTES_MAX = 64 * 1024 * 1024;
/** `consume` waits this long for the group to take this member in: others have the rebalance time-out to come, and this one may have to try again. */
const CONSUME_WAIT_MS = 60_000;
/** Between two attempts to find out about an assignment. */
const SETTLE_IN_RETRY_MS = 200;
/** After so many the client is built anew. */
const SETTLE_IN_ATTEMPTS = 25;
/** Between two lives of the kafkajs client. */
const REBUILD_MS = 500;
/** Asking the coordinator to take the last commit. */
const LAST_COMMIT_WAIT_MS = 2_000;
/** Quiet topics of one partition after another are fetched for so long: a few fetches. */
const SWEEP_MS = 250;
/** What is being written when the consumption ends is waited for. */
const LAST_WRITES_WAIT_MS = 2_000;

export interface ConsumptionOptions {
  readonly connection: KafkaConnection;
  readonly names: TopicNames;
  readonly partitions: number;
  readonly sessionTimeoutMs: number;
  readonly heartbeatIntervalMs: number;
  readonly fetchWaitMs: number;
  readonly appender: Appender;
  readonly store: ObjectStore;
  /** When something is due. */
  readonly clock: Clock;
  /** When the coordinator's patience ends: real time, unless a test says otherwise. */
  readonly wireClock: Clock;
  readonly logger: Logger;
  readonly consumer: LogConsumer;
}

/**
 * What a consumption knows of its membership.
 *
 * - `outside`: there is no client, or it is connecting. To `doubtful` when it asks to join.
 * - `rejoining`: a member that owned has asked to join anew. The generation before ends when all have asked; until then the coordinator takes what is committed under it, and nobody else owns
 *   anything. To `doubtful` when the request is answered.
 * - `doubtful`: a request to join is under way from outside, or answered, and it is being found out what this process owns. To `owning` when that
 *   is clear; again to `doubtful` when the group is put together anew meanwhile.
 * - `owning`: the partitions held are this process's, as long as the session lasts since the last proof. To `rejoining` at every request to join.
 * - `ended`: for good.
 *
 * From everywhere to `outside` when the client has crashed or is given up; partitions are kept through that: whether they
 * are still owned shows when the group is joined again. Nothing is given out or moved but in `owning` with a session, and nothing committed but there and in `rejoining`.
 */
type Membership = 'outside' | 'rejoining' | 'doubtful' | 'owning' | 'ended';

/** One span from `consume` to `stop`: a member of the group, the partitions that it owns, and the consumer that is given their records. */
export class Consumption {
  readonly #options: ConsumptionOptions;
  readonly #memory = new MemoryBudget(BUFFER_BYTES_MAX);
  readonly #owned = new Map<number, OwnedPartition>();
  /** Partitions that have to begin anew, whoever owned them last. */
  readonly #broken = new Set<number>();
  /** Partitions whose consumer is still looking through what it inherits. */
  readonly #unready = new Set<OwnedPartition>();
  readonly #watchdog: Watchdog;
  /** Records on their way to other topics: postponed, moved, due. */
  readonly #writes = new Set<Promise<unknown>>();
  readonly #started = Promise.withResolvers<void>();
  #membership: Membership = 'outside';
  #member: GroupMember | undefined;
  #generation = -1;
  /** Counts assignments, so that what is found out about one is not taken for the next. */
  #turn = 0;
  /** Deliveries begin after `consume` has resolved. */
  #gate = false;
  /** Waiting for an end of doubt. */
  #waiters: (() => void)[] = [];
  /** Partitions are being divided anew: what was settled may be another one's by the time that it could be committed. */
  #dividing: { readonly decided: Promise<void>; readonly end: () => void; readonly sinceMs: number } | undefined;
  /** What is committed and on its way; a second commit waits for the first. */
  #committing: Promise<void> | undefined;
  #tickTimer: Timer | undefined;
  #sweepTimer: Timer | undefined;
  #swept: OwnedPartition | undefined;
  #watchTimer: Timer | undefined;
  #rebuildTimer: Timer | undefined;
  #stopping: Promise<void> | undefined;

  constructor(options: ConsumptionOptions) {
    this.#options = options;
    const { sessionTimeoutMs } = options;
    this.#watchdog = new Watchdog({ sessionTimeoutMs, rebalanceTimeoutMs: sessionTimeoutMs });
  }

  get ended(): boolean {
    return this.#membership === 'ended';
  }

  /** Resolves once the first assignment is known. Rejects with LogSetupError or LogUnavailableError. */
  async start(): Promise<void> {
    this.#join();
    this.#watch();
    this.#sweep();
    try {
      await within(this.#started.promise, CONSUME_WAIT_MS, this.#options.wireClock);
    } catch (error) {
      await this.stop();
      throw error instanceof LogSetupError ? error : new LogUnavailableError(`The group of controllers could not be joined: ${(error as Error).message}`, { cause: error });
    }
  }

  /** From now on the consumer is given deliveries. */
  open(): void {
    this.#gate = true;
    this.#pumpAll();
  }

  #join(): void {
    const { connection, names, partitions, sessionTimeoutMs, heartbeatIntervalMs, fetchWaitMs, wireClock, logger } = this.#options;
    const member: GroupMember = new GroupMember({
      connection,
      names,
      partitions,
      sessionTimeoutMs,
      heartbeatIntervalMs,
      fetchWaitMs,
      clock: wireClock,
      logger,
      events: {
        joining: () => {
          this.#divide();
          this.#doubt(this.#membership === 'owning' ? 'rejoining' : 'doubtful');
          return [...this.#owned.values()].map(({ index, epoch }) => ({ partition: index, epoch }));
        },
        rebalancing: () => {
          this.#divide();
          void this.#commitAll();
        },
        joined: (assignment) => void this.#settleIn(member, assignment),
        fetched: (topic, partition, fromOffset, messages) => this.#take(member, topic, partition, fromOffset, messages),
        alive: () => this.#pumpAll(),
        ended: (error) => this.#lost(member, error),
      },
    });
    this.#member = member;
    void member.start();
  }

  #doubt(membership: 'rejoining' | 'doubtful'): void {
    if (this.#membership === 'ended') return;
    this.#membership = membership;
    this.#turn++;
  }

  #divide(): void {
    if (this.#dividing !== undefined || this.#owned.size === 0) return;
    const { wireClock } = this.#options;
    const { promise: decided, resolve } = Promise.withResolvers<void>();
    const patience = wireClock.at(wireClock.now() + UNDECIDED_MAX_MS, resolve);
    this.#dividing = {
      decided,
      sinceMs: wireClock.now(),
      end: () => {
        patience.cancel();
        resolve();
      },
    };
  }

  #divided(): void {
    this.#dividing?.end();
    this.#dividing = undefined;
  }

  undecided(): Promise<void> | undefined {
    if (this.#dividing === undefined || this.#options.wireClock.now() - this.#dividing.sinceMs >= UNDECIDED_MAX_MS) return undefined;
    return this.#dividing.decided;
  }

  #lost(member: GroupMember, error: Error): void {
    if (this.#member !== member || this.#membership === 'ended') return;
    this.#membership = 'outside';
    this.#turn++;
    this.#member = undefined;
    this.#options.logger.warn({ err: error }, 'The connection to the group of controllers is lost; it is built anew');
    void diagnoseForGood(error, this.#options.connection).then((fault) => {
      if (fault !== undefined) this.#started.reject(fault);
    });
    this.#rebuildTimer = this.#options.wireClock.at(this.#options.wireClock.now() + REBUILD_MS, () => {
      if (this.#membership === 'outside' && this.#member === undefined) this.#join();
    });
  }

  #watch(): void {
    const { wireClock, logger } = this.#options;
    this.#watchTimer = wireClock.at(wireClock.now() + WATCH_INTERVAL_MS, () => {
      if (this.#membership === 'ended') return;
      const member = this.#member;
      if (member !== undefined && this.#watchdog.look(member, wireClock.now())) {
        logger.error({ silentMs: wireClock.now() - member.lastSignMs }, 'The Kafka client neither fetches nor sends heartbeats; it is built anew');
        member.abandon();
        this.#lost(member, new Error('The Kafka client has stopped working.'));
      }
      this.#watch();
    });
  }

  /** Looks at the quiet topics of one partition at a time. */
  #sweep(): void {
    const { wireClock } = this.#options;
    this.#sweepTimer = wireClock.at(wireClock.now() + SWEEP_MS, () => {
      this.#swept?.rest();
      const indexes = [...this.#owned.keys()].sort((a, b) => a - b);
      const next = indexes.find((index) => index > (this.#swept?.index ?? -1)) ?? indexes[0];
      this.#swept = next === undefined ? undefined : this.#owned.get(next);
      this.#swept?.sweep();
      this.#sweep();
    });
  }

  /** Owned beyond doubt: the coordinator cannot have given this process up yet. */
  get #certain(): boolean {
    if (this.#membership !== 'owning' || this.#member === undefined) return false;
    return this.#options.wireClock.now() - this.#member.provenMs < this.#options.sessionTimeoutMs;
  }

  /** Finds out what this process owns in a new generation. Partitions whose committed epoch is still ours have had no other owner and go on as they are; all others begin anew. */
  async #settleIn(member: GroupMember, { generation, partitions }: GroupAssignment): Promise<void> {
    this.#doubt('doubtful');
    const turn = this.#turn;
    const current = (): boolean => this.#turn === turn && this.#member === member && this.#membership === 'doubtful';
    this.#generation = generation;
    this.#revoke([...this.#owned.keys()].filter((index) => !partitions.includes(index)));
    this.#divided();
    for (let attempt = 1; current(); attempt++) {
      try {
        const begun = partitions.length === 0 ? { fresh: [], epoch: 0 } : await this.#begin(member, generation, partitions, current);
        if (!current() || begun === undefined) return;
        this.#own(member, begun.fresh, begun.epoch);
        return;
      } catch (error) {
        if (!current()) return;
        this.#options.logger.warn({ err: error, generation, attempt }, 'It could not be found out what of the log is to be read; it is tried again');
        const fault = await diagnoseForGood(error, this.#options.connection);
        if (fault !== undefined) this.#started.reject(fault);
        if (attempt === SETTLE_IN_ATTEMPTS) {
          member.abandon();
          this.#lost(member, error as Error);
          return;
        }
        await new Promise<void>((resolve) => this.#options.wireClock.at(this.#options.wireClock.now() + SETTLE_IN_RETRY_MS, resolve));
      }
    }
  }

  /** Reads what is committed, and takes possession of what is new by committing a greater epoch. Undefined: overtaken by another generation. */
  async #begin(member: GroupMember, generation: number, partitions: readonly number[], current: () => boolean): Promise<{ fresh: OwnedPartition[]; epoch: number } | undefined> {
    const { clock, names, logger } = this.#options;
    const [committed, extents] = await Promise.all([member.committed(partitions), member.extents(partitions)]);
    if (!current()) return undefined;
    const held = new Map([...this.#owned.values()].filter(({ index }) => !this.#broken.has(index)).map(({ index, epoch }) => [index, epoch]));
    const { fresh, epoch, findings } = planTakeover({ names, partitions, committed, extents, held, nowMs: clock.now() });
    for (const finding of findings) {
      if (finding.problem === 'offset out of range') logger.error(finding, 'The committed offset is not in the topic any more: records were removed before they were settled, or the topic was made anew');
      else logger.warn(finding, 'The notes on what is settled above the watermark cannot be used; the partition is replayed from there');
    }
    this.#revoke(fresh.map(({ partition }) => partition).filter((partition) => this.#owned.has(partition)));
    if (fresh.length === 0) return { fresh: [], epoch: 0 };
    const tracks = fresh.map(({ topics }) => topics.map((state) => new TopicTrack(state)));
    // Under the new epoch exactly what was committed under the old one: it is a claim, and must not be a step forward.
    const claim = tracks.flatMap((ofPartition) => ofPartition.filter(({ topic }) => topic === 'async').map((track) => track.collect().offset));
    await member.commit(claim, generation);
    if (!current()) return undefined;
    return { epoch, fresh: tracks.map((ofPartition) => this.#makePartition(ofPartition, epoch)) };
  }

  #makePartition(tracks: readonly TopicTrack[], epoch: number): OwnedPartition {
    const index = tracks[0]?.partition ?? 0;
    const { consumer, clock, logger, appender } = this.#options;
    const context: PartitionContext = {
      index,
      epoch,
      consumer,
      clock,
      logger,
      memory: this.#memory,
      mayDeliver: () => this.#gate && this.#certain && !this.#unready.has(partition),
      write: (topic, record) => this.#writing(appender.write(topic, index, record)),
      writeDead: (record) => this.#writing(appender.writeDead(record)),
      attend: () => this.#tickSoon(),
      fetchingChanged: (topic) => this.#applyFetching(topic, partition),
    };
    const partition: OwnedPartition = new OwnedPartition(context, Object.fromEntries(tracks.map((track) => [track.topic, track])) as Record<LogTopic, TopicTrack>);
    return partition;
  }

  #writing(write: Promise<number>): Promise<number> {
    const outcome = write.catch(() => undefined);
    this.#writes.add(outcome);
    void outcome.then(() => this.#writes.delete(outcome));
    return write;
  }

  #own(member: GroupMember, fresh: readonly OwnedPartition[], epoch: number): void {
    const { consumer, logger } = this.#options;
    this.#broken.clear();
    for (const partition of fresh) {
      this.#owned.set(partition.index, partition);
      this.#unready.add(partition);
    }
    this.#memory.partitions = this.#owned.size;
    this.#membership = 'owning';
    if (fresh.length > 0) {
      const partitions = fresh.map(({ index }) => index);
      logger.info({ partitions, epoch, generation: this.#generation }, 'Partitions of the invocation log are assigned');
      void consumer
        .assigned({ partitions, epoch })
        .catch((error: unknown) => logger.error({ err: error }, 'The consumer could not look through what it inherits'))
        .then(() => {
          for (const partition of fresh) {
            this.#unready.delete(partition);
            partition.pump();
          }
        });
    }
    const resumed: { topic: LogTopic; partition: number }[] = [];
    for (const partition of this.#owned.values()) {
      for (const topic of LOG_TOPICS) {
        member.fetchFrom(topic, partition.index, partition.next(topic));
        if (partition.wantsFetch(topic)) resumed.push({ topic, partition: partition.index });
      }
    }
    member.resume(resumed);
    this.#started.resolve();
    this.#pumpAll();
  }

  #revoke(indexes: readonly number[]): void {
    if (indexes.length === 0) return;
    for (const index of indexes) {
      const partition = this.#owned.get(index);
      this.#owned.delete(index);
      if (partition === undefined) continue;
      this.#unready.delete(partition);
      partition.end();
    }
    this.#options.logger.info({ partitions: indexes }, 'Partitions of the invocation log are revoked');
    this.#options.consumer.revoked(indexes);
  }

  #take(member: GroupMember, topic: LogTopic, index: number, fromOffset: number, messages: readonly KafkaMessage[]): number {
    const partition = this.#owned.get(index);
    if (partition === undefined || this.#membership !== 'owning') return 0;
    if (fromOffset > partition.next(topic)) {
      // What should come next is gone from the topic; kafkajs has gone back to its beginning, and has committed that.
      this.#options.logger.error({ topic, partition: index, next: partition.next(topic), start: fromOffset }, 'Records were removed from a topic before they were read; the partition begins anew');
      this.#broken.add(index);
      void this.#settleIn(member, { generation: this.#generation, partitions: [...this.#owned.keys()] });
      return 0;
    }
    return partition.take(topic, fromOffset, messages);
  }

  #applyFetching(topic: LogTopic, partition: OwnedPartition): void {
    if (this.#membership !== 'owning' || this.#owned.get(partition.index) !== partition) return;
    const part = [{ topic, partition: partition.index }];
    if (partition.wantsFetch(topic)) this.#member?.resume(part);
    else this.#member?.pause(part);
  }

  #pumpAll(): void {
    if (!this.#certain) return;
    for (const met of this.#waiters.splice(0)) met();
    for (const partition of this.#owned.values()) partition.pump();
    this.#tickSoon();
  }

  /** Commits what was settled, and looks at what waits. */
  #tickSoon(): void {
    if (this.#membership === 'ended') return;
    this.#tickTimer ??= this.#options.clock.at(this.#options.clock.now() + SETTLE_INTERVAL_MS, () => {
      this.#tickTimer = undefined;
      if (this.#certain) for (const partition of this.#owned.values()) partition.wake();
      void this.#commit();
      if ([...this.#owned.values()].some(({ restless }) => restless)) this.#tickSoon();
    });
  }

  /** Commits what has changed, one request at a time. What fails is committed with the next, if this process still owns it then. */
  async #commit(): Promise<void> {
    if (this.#committing !== undefined) {
      this.#tickSoon();
      return this.#committing;
    }
    if ((this.#membership !== 'rejoining' && !this.#certain) || this.#member === undefined) return;
    const collected = [...this.#owned.values()].flatMap((partition) => partition.collect() ?? []);
    if (collected.length === 0) return;
    this.#committing = this.#member
      .commit(
        collected.flatMap(({ offsets }) => offsets),
        this.#generation,
      )
      .then(
        () => this.#remove(collected.flatMap(({ done }) => done(true))),
        (error: unknown) => {
          for (const { done } of collected) done(false);
          this.#options.logger.debug({ err: error }, 'What was settled could not be committed; it is tried again');
          this.#tickSoon();
        },
      )
      .finally(() => {
        this.#committing = undefined;
      });
    return this.#committing;
  }

  /** Payloads of settled invocations. One that stays is no harm: the bucket's lifecycle rule removes it. */
  #remove(objects: readonly ObjectLocation[]): void {
    for (const location of objects) {
      this.#options.store.delete(location).catch((error: unknown) => this.#options.logger.warn({ err: error, key: location.key }, 'The payload of a settled invocation could not be removed'));
    }
  }

  settle(delivery: Delivery): void {
    if (delivery instanceof KafkaDelivery && !this.ended) delivery.owner.settle(delivery);
  }

  postpone(delivery: Delivery, change: Pick<InvocationRecord, 'attempt' | 'throttles'>, notBeforeMs: number): Promise<void> {
    if (!(delivery instanceof KafkaDelivery) || this.ended || this.#stopping !== undefined) {
      return Promise.reject(new LogUnavailableError(`Invocation ${delivery.head.id} cannot be postponed: its consumption has ended.`));
    }
    if (!this.#certain) return Promise.reject(new LogUnavailableError(`Invocation ${delivery.head.id} cannot be postponed now: it is in doubt whether partition ${delivery.partition} is still this consumer's.`));
    return delivery.owner.postpone(delivery, change, notBeforeMs);
  }

  /** Async records that partitions have taken and not given out, and delayed ones on their way out, by partition; for what is owned. */
  local(index: number): { readonly next: (topic: LogTopic) => number; readonly waiting: number; readonly leavingDelay: number; readonly unsettled: (topic: LogTopic) => number } | undefined {
    return this.#owned.get(index);
  }

  /** Ends giving out, commits what was settled, and leaves the group. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const { wireClock } = this.#options;
    this.#gate = false;
    this.#started.promise.catch(() => undefined);
    // No new ones begin; what they settle is to be in the last commit, or it would come twice.
    await within(Promise.all(this.#writes), LAST_WRITES_WAIT_MS, wireClock).catch(() => undefined);
    await new Promise((resolve) => setImmediate(resolve));
    await within(this.#lastCommit(), LAST_COMMIT_WAIT_MS, wireClock).catch(() => undefined);
    this.#membership = 'ended';
    this.#divided();
    this.#tickTimer?.cancel();
    this.#watchTimer?.cancel();
    this.#sweepTimer?.cancel();
    this.#rebuildTimer?.cancel();
    for (const partition of this.#owned.values()) partition.end();
    this.#owned.clear();
    await this.#member?.stop();
  }

  async #lastCommit(): Promise<void> {
    if (!this.#certain && this.#owned.size > 0) await new Promise<void>((met) => this.#waiters.push(met));
    await this.#commitAll();
  }

  /** Also what was settled while a commit was under way. */
  async #commitAll(): Promise<void> {
    await this.#committing;
    await this.#commit();
  }
}

/** Set for what no waiting mends. */
async function diagnoseForGood(error: unknown, connection: KafkaConnection): Promise<LogSetupError | undefined> {
  const fault = /AUTHORIZATION_FAILED|SASL_AUTHENTICATION_FAILED|INVALID_SESSION_TIMEOUT|INCONSISTENT_GROUP_PROTOCOL/;
  for (let link: unknown = error; link instanceof Error; link = link.cause) {
    if (fault.test((link as { type?: string }).type ?? '') || link.name === 'KafkaJSSASLAuthenticationError') return diagnose(error, connection);
  }
  return undefined;
}
