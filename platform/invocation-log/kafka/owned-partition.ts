import type { KafkaMessage } from 'kafkajs';
import type { InvocationRecord } from '../../model/invocation.ts';
import type { ObjectLocation } from '../../object-store/object-store.ts';
import { LogUnavailableError } from '../invocation-log.ts';
import { AsyncIntake } from './async-intake.ts';
import { DelayIntake } from './delay-intake.ts';
import type { OffsetToCommit } from './group-member.ts';
import type { DeliveryOwner, KafkaDelivery } from './kafka-delivery.ts';
import type { PartitionContext } from './partition-context.ts';
import { encodeDead, readRecord, type EncodedRecord, type ReadRecord } from './record-format.ts';
import { SyncIntake } from './sync-intake.ts';
import { DELAY_TIERS, LOG_TOPICS, type DelayTier, type LogTopic } from './topic-names.ts';
import type { TopicTrack } from './topic-track.ts';

/** Records of a newer release that a topic's owner steps over. With more, there is nothing to be gained by going on. */
const NEWER_HELD_MAX = 1_000;
/** Unreadable records on their way to the dead topic, over all topics of a partition. */
const BURYING_MAX = 100;

export interface Collected {
  readonly offsets: readonly OffsetToCommit[];
  /** To be called with the outcome; objects that may be removed now. */
  readonly done: (committed: boolean) => readonly ObjectLocation[];
}

/**
 * One partition that this process owns, from its assignment to its revocation: all its topics, what was taken from them, and what of that is settled. Everything
 * of it is void after `end`; a later assignment begins anew.
 */
export class OwnedPartition implements DeliveryOwner {
  readonly index: number;
  readonly epoch: number;
  readonly #outlet: PartitionContext;
  readonly #context: PartitionContext;
  readonly #tracks: Readonly<Record<LogTopic, TopicTrack>>;
  readonly #sync: SyncIntake;
  readonly #async: AsyncIntake;
  readonly #delays: ReadonlyMap<LogTopic, DelayIntake>;
  readonly #newer = new Map<LogTopic, number>();
  readonly #unburied: (() => void)[] = [];
  #burying = 0;
  #over = false;

  constructor(outlet: PartitionContext, tracks: Readonly<Record<LogTopic, TopicTrack>>) {
    this.index = outlet.index;
    this.epoch = outlet.epoch;
    this.#outlet = outlet;
    const context: PartitionContext = { ...outlet, write: (topic, record) => this.#write(topic, record) };
    this.#context = context;
    this.#tracks = tracks;
    this.#sync = new SyncIntake(context, this, tracks.sync);
    this.#async = new AsyncIntake(context, this, tracks.async, tracks.overflow);
    this.#delays = new Map(DELAY_TIERS.map((tier: DelayTier): [LogTopic, DelayIntake] => [tier, new DelayIntake(context, tracks[tier], tier)]));
  }

  /** Where fetching each of the topics goes on. */
  next(topic: LogTopic): number {
    return this.#tracks[topic].next;
  }

  wantsFetch(topic: LogTopic): boolean {
    return !this.#tracks[topic].paused;
  }

  /** Async records that were taken and not given out. */
  get waiting(): number {
    return this.#async.waiting;
  }

  /** Delayed records that are on their way to the main topic. */
  get leavingDelay(): number {
    return [...this.#delays.values()].reduce((sum, { moving }) => sum + moving, 0);
  }

  unsettled(topic: LogTopic): number {
    return this.#tracks[topic].unsettledCount;
  }

  /** Takes what was fetched, in order, as far as there is room; returns how many. Nothing of what was asked for from another offset than is next: records between would be skipped. */
  take(topic: LogTopic, fetchedFrom: number, messages: readonly KafkaMessage[]): number {
    const track = this.#tracks[topic];
    if (this.#over || fetchedFrom > track.next) return 0;
    let taken = 0;
    for (const message of messages) {
      if (track.stopped || !this.#takeOne(topic, track, message)) break;
      taken++;
    }
    this.#lull(topic);
    if (topic !== 'sync') this.pump();
    this.#mindNotes();
    return taken;
  }

  #lull(topic: LogTopic): void {
    const track = this.#tracks[topic];
    const before = track.paused;
    track.mindQuiet();
    if (track.paused !== before) this.#context.fetchingChanged(topic);
  }

  /** Fetches the quiet topics too, to see whether something has come after all; until `rest`. */
  sweep(): void {
    for (const topic of LOG_TOPICS) {
      const track = this.#tracks[topic];
      if (!track.pausedFor('quiet')) continue;
      track.resume('quiet');
      this.#context.fetchingChanged(topic);
    }
  }

  rest(): void {
    for (const topic of LOG_TOPICS) this.#lull(topic);
  }

  /** Writes a record to another topic of this partition. */
  async #write(topic: LogTopic, record: EncodedRecord): Promise<number> {
    const track = this.#tracks[topic];
    const before = track.paused;
    track.expectOwn();
    if (track.paused !== before) this.#context.fetchingChanged(topic);
    let offset: number | undefined;
    try {
      offset = await this.#outlet.write(topic, record);
      return offset;
    } finally {
      track.ownWritten(offset);
      this.#lull(topic);
    }
  }

  #takeOne(topic: LogTopic, track: TopicTrack, message: KafkaMessage): boolean {
    const offset = Number(message.offset);
    if (offset < track.next) return true;
    const record = readRecord(message);
    if (record.kind === 'record' && !this.#accepts(topic, track, record)) return this.#stop(topic, track, 'buffer');
    if (record.kind === 'poison' && this.#burying >= BURYING_MAX) return this.#stop(topic, track, 'poison');
    if (!track.take(offset)) return true;
    if (record.kind === 'record') this.#place(topic, track, offset, record, Number(message.timestamp));
    else if (record.kind === 'poison') this.#bury(topic, track, message, record.reason);
    else this.#stepOver(topic, track, offset, record.version);
    return true;
  }

  #stop(topic: LogTopic, track: TopicTrack, reason: 'buffer' | 'poison'): false {
    track.pause(reason);
    this.#context.fetchingChanged(topic);
    return false;
  }

  #accepts(topic: LogTopic, track: TopicTrack, record: Extract<ReadRecord, { kind: 'record' }>): boolean {
    if (topic === 'sync') return this.#sync.accepts();
    return this.#delays.get(topic)?.accepts() ?? this.#async.accepts(track, record);
  }

  #place(topic: LogTopic, track: TopicTrack, offset: number, record: Extract<ReadRecord, { kind: 'record' }>, appendedMs: number): void {
    const delay = this.#delays.get(topic);
    if (topic === 'sync') this.#sync.take(offset, record, appendedMs);
    else if (delay !== undefined) delay.take(offset, record);
    else this.#async.take(track, offset, record);
  }

  /**
   * A record in a format of a later release. This one can neither execute it nor judge it: it stays unsettled, others pass, and the next owner
   * gets it again, which after a rolling upgrade is one that can read it. (A release that goes back for good cannot; it says so here.)
   */
  #stepOver(topic: LogTopic, track: TopicTrack, offset: number, version: number): void {
    const count = (this.#newer.get(topic) ?? 0) + 1;
    this.#newer.set(topic, count);
    if (count === 1 || count === NEWER_HELD_MAX) {
      this.#context.logger.error({ partition: this.index, topic, offset, version, count }, 'A record is of a newer release than this one: it is left for one that can read it');
    }
    if (count < NEWER_HELD_MAX) return;
    track.pause('newer');
    this.#context.fetchingChanged(topic);
  }

  /** To the dead topic, then settled. Until that is done it is unsettled like any other, and stands in nobody's way. */
  #bury(topic: LogTopic, track: TopicTrack, message: KafkaMessage, reason: string): void {
    const offset = Number(message.offset);
    const source = `${topic}/${this.index}/${message.offset}`;
    // A copy, as of readable ones.
    const dead = encodeDead({ key: message.key, value: message.value === null ? null : Buffer.from(message.value), ...(message.headers === undefined ? {} : { headers: message.headers }) }, reason, source);
    this.#context.logger.error({ source, reason }, 'An unreadable record goes to the dead topic');
    this.#burying++;
    const attempt = (): void => {
      this.#context.writeDead(dead).then(
        () => {
          this.#burying--;
          if (this.#over) return;
          track.settle(offset);
          this.#context.attend();
          for (const other of LOG_TOPICS) {
            if (!this.#tracks[other].pausedFor('poison')) continue;
            this.#tracks[other].resume('poison');
            this.#context.fetchingChanged(other);
          }
        },
        () => {
          this.#unburied.push(attempt);
          this.#context.attend();
        },
      );
    };
    attempt();
  }

  /** Gives out what may be given out, and moves on what is due. */
  pump(): void {
    if (this.#over) return;
    this.#sync.pump();
    this.#async.pump();
    for (const delay of this.#delays.values()) delay.pump();
  }

  /** As `pump`, after the consumer may have changed its mind, and with what failed before. */
  wake(): void {
    if (this.#over) return;
    for (const attempt of this.#unburied.splice(0)) attempt();
    this.#async.wake();
    this.pump();
    this.#mindNotes();
  }

  /** Moves the lowest unsettled records of the main topic out of the way of its watermark; done by itself when the notes outgrow their room. */
  spill(): void {
    if (!this.#over) this.#async.spill();
  }

  #mindNotes(): void {
    this.#async.mindNotes();
    for (const delay of this.#delays.values()) delay.mindNotes();
  }

  /** Whether it is to be looked at again though nothing happens to it. */
  get restless(): boolean {
    return !this.#over && (this.#async.unwanted || this.#unburied.length > 0 || LOG_TOPICS.some((topic) => this.#tracks[topic].pausedFor('notes')));
  }

  settle(delivery: KafkaDelivery): void {
    if (this.#over) return;
    if (delivery.kind === 'sync') this.#sync.settle(delivery);
    else this.#async.settle(delivery);
  }

  postpone(delivery: KafkaDelivery, change: Pick<InvocationRecord, 'attempt' | 'throttles'>, notBeforeMs: number): Promise<void> {
    if (this.#over) return Promise.reject(new LogUnavailableError(`Invocation ${delivery.head.id} cannot be postponed: its partition ${this.index} is not this consumer's any more.`));
    return delivery.kind === 'sync' ? this.#sync.postpone(delivery, change, notBeforeMs) : this.#async.postpone(delivery, change, notBeforeMs);
  }

  /** What has changed since it was collected last; undefined: nothing. */
  collect(): Collected | undefined {
    if (this.#over) return undefined;
    const changed = LOG_TOPICS.map((topic) => this.#tracks[topic]).filter((track) => track.changed);
    if (changed.length === 0) return undefined;
    const collected = changed.map((track) => ({ track, ...track.collect() }));
    return {
      offsets: collected.map(({ offset }) => offset),
      done: (committed) => {
        if (committed) return collected.flatMap(({ release }) => release);
        for (const { track, release } of collected) track.uncollected(release);
        return [];
      },
    };
  }

  end(): void {
    this.#over = true;
    this.#sync.end();
    this.#async.end();
    for (const delay of this.#delays.values()) delay.end();
  }
}
