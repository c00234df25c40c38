import type { FunctionKey } from '../../model/execution-spec.ts';
import { PAYLOAD_BUCKET, type InvocationRecord } from '../../model/invocation.ts';
import type { ObjectLocation } from '../../object-store/object-store.ts';
import { LogUnavailableError, type InvocationHead } from '../invocation-log.ts';
import { delayPlan } from './delay-tiers.ts';
import { FunctionQueues, type Queued, type QueueLane } from './function-queues.ts';
import { KafkaDelivery, type DeliveryOwner } from './kafka-delivery.ts';
import type { PartitionContext } from './partition-context.ts';
import { encodeHead, OFFSET_UNKNOWN, type ReadRecord, type RecordMarks } from './record-format.ts';
import type { TopicTrack } from './topic-track.ts';

/** A function that has this many waiting in the main topic has its further ones moved to the overflow topic. Well above what one that is being served has waiting for a moment. */
export const OVERFLOW_THRESHOLD = 500;
/** Records that wait in memory, per partition and topic. What waits for its function's turn only is moved rather than kept when this is reached. */
export const BUFFER_RECORDS_MAX = 2_000;
/** Records on their way to the overflow topic. */
const MOVING_MAX = 2_000;
/** Blockers spilled at a time; the notes are looked at again after each time. */
const SPILL_RECORDS = 64;
/** Invocations that were settled and of which a copy may come whose offset is not known. */
const STRAYS_MAX = 10_000;
/** Beside its payload: the parsed head, its entries in maps and queues. */
const ENTRY_BYTES = 1_500;
/** Payloads of deliveries that all partitions together have given out. Beyond, a partition gives out one at a time. */
const DELIVERED_BYTES_MAX = 64 * 1024 * 1024;
/** Of `maxInFlight`, at least an eighth is kept from any single function, where there is enough to divide. */
const DIVISIBLE_IN_FLIGHT = 16;

type Readable = Extract<ReadRecord, { kind: 'record' }>;

/** Where a copy of an entry's record lies. */
interface Place {
  readonly track: TopicTrack;
  readonly offset: number;
}

interface Entry extends Queued {
  readonly key: FunctionKey;
  readonly head: InvocationHead;
  readonly payload: Buffer;
  readonly marks: RecordMarks;
  readonly inherited: boolean;
  readonly bytes: number;
  readonly offset: number;
  /** All that is known to be in the log of this invocation: what was taken, and copies that are confirmed, met or not; settled together. */
  places: Place[];
  /** Apart from the entry, whose payload need not be kept as long. */
  readonly copies: Copies;
  state: 'queued' | 'moving' | 'delivered' | 'over';
  lane: QueueLane;
  spilling: boolean;
  delivery: KafkaDelivery | undefined;
  /** Of the same invocation, a later attempt: it waits until this one is settled. */
  successor: { readonly track: TopicTrack; readonly offset: number; readonly record: Readable } | undefined;
}

/** Copies of an entry in the overflow topic that are no places yet. */
interface Copies {
  /** Being written. */
  writing: number;
  /** One may be there that nobody can tell the offset of: writing it has failed, and it may be there all the same. */
  stray: boolean;
  /** Once the entry is settled: what is to be removed with the last of it. */
  release: ObjectLocation | undefined;
}

/**
 * The asynchronous invocations of one owned partition, from the main topic and the overflow topic.
 *
 * What is taken from a topic is given out in turn among functions, in order within each, as far as the consumer wants it. What it does not
 * want yet waits in memory; a function that has too much waiting there has the rest moved, once, to the overflow topic, behind which it stands in nobody's way. A function
 * that has records there has its new ones moved too, so that they do not overtake.
 *
 * **Moving** writes a copy to the overflow topic, then settles the original: a crash leaves one or both. **Spilling** is the same for the
 * lowest unsettled records of a partition whose notes outgrow their room. A record that is being executed may be spilled: the copy is the same
 * invocation and never given out while it runs. The rule: whatever lies in the log of one *try* (an invocation's id with attempt and throttles, of which every postponing makes
 * another) is a *place* of its entry, and settling an entry settles all its places.
 *
 * - What is taken from the log while an entry of the same try is unsettled becomes a place of it. A later try waits until the earlier one is settled.
 * - A copy becomes a place when the brokers confirm it, for they tell its offset. It may be settled there before it is met, and then the notes say so: the next owner passes it over
 *   too, whenever the partition changes hands.
 * - A copy whose offset is not known, for it is still being written or writing it has failed, is known by its try when it comes. By the invocation's id alone a later try would be
 *   taken for it, and lost.
 */
export class AsyncIntake {
  readonly #context: PartitionContext;
  readonly #owner: DeliveryOwner;
  readonly #main: TopicTrack;
  readonly #overflow: TopicTrack;
  readonly #queues = new FunctionQueues<Entry>();
  /** Unsettled, by invocation id, of all states. */
  readonly #byId = new Map<string, Entry>();
  /** Unsettled entries that lie in the main topic, by offset; ascending, because they were taken so. */
  readonly #inMain = new Map<number, Entry>();
  /** Settled, by their try, while copies were being written or after that had failed: what comes of them is settled when it comes. */
  readonly #strays = new Map<string, Copies>();
  /** Per function, moved and not come back. */
  readonly #onTheWay = new Map<FunctionKey, number>();
  #moving = 0;
  #movingBytes = 0;
  #pumping = false;
  #over = false;

  constructor(context: PartitionContext, owner: DeliveryOwner, main: TopicTrack, overflow: TopicTrack) {
    this.#context = context;
    this.#owner = owner;
    this.#main = main;
    this.#overflow = overflow;
  }

  /** Records taken and not given out: they still wait, in memory. */
  get waiting(): number {
    return this.#queues.size('main') + this.#queues.size('overflow') + this.#moving;
  }

  /** Whether functions have something waiting that the consumer did not want when it was asked last. */
  get unwanted(): boolean {
    return this.waiting > 0;
  }

  /** False: there is no room now; the record stays in the log. */
  accepts(track: TopicTrack, record: Readable): boolean {
    if (track === this.#overflow) return !this.#full('overflow');
    return this.#decide(record.key) !== 'stop';
  }

  /** A record that the track has taken. */
  take(track: TopicTrack, offset: number, record: Readable): void {
    if (track === this.#overflow) {
      if (!track.inherited(offset)) this.#arrived(record.key);
      if (this.#isStray(offset, record)) return;
    }
    this.#admit(track, offset, record);
  }

  #admit(track: TopicTrack, offset: number, record: Readable): void {
    const known = this.#byId.get(record.head.id);
    if (known !== undefined) {
      this.#takeAgain(known, track, offset, record);
      return;
    }
    const entry = this.#entry(track, offset, record);
    if (track === this.#main && this.#decide(record.key) === 'move') {
      this.#move(entry);
      return;
    }
    this.#enqueue(entry, track === this.#main ? 'main' : 'overflow');
    this.pump();
  }

  #entry(track: TopicTrack, offset: number, { key, head, payload, marks }: Readable): Entry {
    const entry: Entry = {
      key,
      head,
      payload,
      marks,
      inherited: track.inherited(offset) || marks.passed === true,
      bytes: payload.length + ENTRY_BYTES,
      offset,
      places: [{ track, offset }],
      copies: { writing: 0, stray: false, release: undefined },
      state: 'queued',
      lane: 'main',
      spilling: false,
      delivery: undefined,
      successor: undefined,
    };
    this.#byId.set(head.id, entry);
    if (track === this.#main) this.#inMain.set(offset, entry);
    return entry;
  }

  /** There is an unsettled entry of the same invocation. */
  #takeAgain(known: Entry, track: TopicTrack, offset: number, record: Readable): void {
    const { attempt, throttles } = record.head;
    if (known.head.attempt === attempt && known.head.throttles === throttles) {
      this.#addPlace(known, { track, offset });
    } else if (known.successor === undefined) {
      known.successor = { track, offset, record };
    } else {
      // A third of one invocation: an owner died twice between writing a successor and settling the original. One of them is enough.
      this.#context.logger.warn({ invocation: record.head.id, partition: this.#context.index }, 'A further copy of an invocation is dropped');
      track.settle(offset);
    }
  }

  #addPlace(entry: Entry, { track, offset }: Place): void {
    if (entry.places.some((place) => place.track === track && place.offset === offset)) return;
    entry.places.push({ track, offset });
    if (track === this.#main) this.#inMain.set(offset, entry);
  }

  /** A copy of a try that is settled, met before its offset was known. */
  #isStray(offset: number, { head }: Readable): boolean {
    const copies = this.#strays.get(tryOf(head));
    if (copies === undefined) return false;
    this.#overflow.settle(offset, copies.writing === 1 ? copies.release : undefined);
    this.#context.attend();
    return true;
  }

  #enqueue(entry: Entry, lane: QueueLane): void {
    entry.state = 'queued';
    entry.lane = lane;
    this.#queues.add(entry, lane);
  }

  #full(lane: QueueLane): boolean {
    return this.#queues.size(lane) >= BUFFER_RECORDS_MAX || this.#queues.bytes(lane) >= this.#context.memory.share / 2;
  }

  /** What becomes of a function's next record from the main topic. */
  #decide(key: FunctionKey): 'keep' | 'move' | 'stop' {
    const { consumer } = this.#context;
    if (!this.#context.mayDeliver()) return this.#full('main') ? 'stop' : 'keep';
    const unwanted = this.#queues.inFlightOf(key) >= this.#wanted(key);
    const noisy = this.#overflowing(key) || this.#queues.queuedOf(key, 'main') >= OVERFLOW_THRESHOLD || (unwanted && this.#full('main'));
    if (noisy) return this.#mayMove() ? 'move' : 'stop';
    if (!unwanted && this.#queues.inFlight < consumer.maxInFlight) return 'keep';
    return this.#full('main') ? 'stop' : 'keep';
  }

  /** What cannot be moved goes back to where it waited, so there has to be room for it there too. */
  #mayMove(): boolean {
    return this.#mayCarry() && this.#queues.size('main') < 2 * BUFFER_RECORDS_MAX && this.#queues.bytes('main') < this.#context.memory.share;
  }

  #mayCarry(): boolean {
    return this.#moving < MOVING_MAX && this.#movingBytes < this.#context.memory.share / 2;
  }

  #overflowing(key: FunctionKey): boolean {
    return this.#onTheWay.has(key) || this.#queues.queuedOf(key, 'overflow') > 0;
  }

  #wanted(key: FunctionKey): number {
    const { consumer } = this.#context;
    const share = consumer.maxInFlight < DIVISIBLE_IN_FLIGHT ? consumer.maxInFlight : consumer.maxInFlight - Math.ceil(consumer.maxInFlight / 8);
    return Math.min(share, Math.max(1, consumer.inFlightWanted(key)));
  }

  /** Gives out what may be given out. */
  pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    while (!this.#over && this.#context.mayDeliver() && this.#hasRoom()) {
      const entry = this.#queues.next((key) => this.#wanted(key));
      if (entry === undefined) break;
      this.#deliver(entry);
    }
    this.#pumping = false;
    this.#considerResuming();
  }

  #hasRoom(): boolean {
    const { consumer, memory } = this.#context;
    const { inFlight } = this.#queues;
    return inFlight < consumer.maxInFlight && (inFlight === 0 || memory.deliveredBytes < DELIVERED_BYTES_MAX);
  }

  #deliver(entry: Entry): void {
    const { index, epoch, consumer, memory } = this.#context;
    const { head, payload, inherited, offset } = entry;
    entry.state = 'delivered';
    entry.delivery = new KafkaDelivery({ kind: 'async', partition: index, offset, epoch, inherited, head, payload, owner: this.#owner });
    memory.deliveredBytes += payload.length;
    consumer.deliver(entry.delivery);
  }

  /** Fetching goes on at half of what stopped it, so that it does not stop again at once. */
  #considerResuming(): void {
    for (const lane of ['main', 'overflow'] as const) {
      const track = lane === 'main' ? this.#main : this.#overflow;
      if (!track.pausedFor('buffer')) continue;
      const half = this.#queues.size(lane) <= BUFFER_RECORDS_MAX / 2 && this.#queues.bytes(lane) <= this.#context.memory.share / 4;
      // With room left after giving out, what waits is not wanted: further ones of it can be moved, and others pass.
      const passable = lane === 'main' && this.#context.mayDeliver() && this.#hasRoom() && this.#mayMove();
      if (!(half || passable) || (lane === 'main' && (this.#moving > MOVING_MAX / 2 || this.#movingBytes > this.#context.memory.share / 4))) continue;
      track.resume('buffer');
      this.#context.fetchingChanged(track.topic);
    }
  }

  /** The consumer may want more than when it was asked last. */
  wake(): void {
    this.#queues.wake();
    this.pump();
    this.mindNotes();
    if (this.#full('main') && this.#context.mayDeliver()) this.#moveNewest();
  }

  /** Moves what could not be moved when it came, from the end, so that a function's records keep their order. */
  #moveNewest(): void {
    const newest: Entry[] = [];
    const left = new Map<FunctionKey, number>();
    for (const entry of [...this.#inMain.values()].reverse()) {
      if (newest.length === BUFFER_RECORDS_MAX / 2) break;
      if (entry.state !== 'queued' || entry.lane !== 'main') continue;
      const queued = left.get(entry.key) ?? this.#queues.queuedOf(entry.key, 'main');
      if (queued <= OVERFLOW_THRESHOLD) continue;
      left.set(entry.key, queued - 1);
      newest.push(entry);
    }
    for (const entry of newest.reverse()) {
      if (!this.#mayCarry()) break;
      this.#queues.remove(entry, 'main');
      this.#move(entry);
    }
  }

  settle(delivery: KafkaDelivery): void {
    const entry = this.#byId.get(delivery.head.id);
    if (entry?.delivery !== delivery) return;
    const { claim } = delivery.head;
    this.#finish(entry, claim?.kind === 'object' ? { bucket: PAYLOAD_BUCKET, key: claim.key } : undefined);
  }

  async postpone(delivery: KafkaDelivery, change: Pick<InvocationRecord, 'attempt' | 'throttles'>, notBeforeMs: number): Promise<void> {
    const entry = this.#byId.get(delivery.head.id);
    if (entry?.delivery !== delivery || delivery.state !== 'unsettled') {
      throw new LogUnavailableError(`Invocation ${delivery.head.id} cannot be postponed: its delivery is settled.`);
    }
    delivery.state = 'postponing';
    const plan = delayPlan(notBeforeMs, this.#context.clock.now());
    const delay = plan === undefined ? {} : { delay: { notBeforeMs, leaveMs: plan.leaveMs } };
    try {
      await this.#context.write(plan?.tier ?? 'async', encodeHead({ ...delivery.head, ...change }, delivery.payload, delay));
    } catch (error) {
      if (delivery.state === 'postponing') delivery.state = 'unsettled';
      throw error;
    }
    this.#finish(entry, undefined);
  }

  #finish(entry: Entry, release: ObjectLocation | undefined): void {
    if (entry.state === 'over') return;
    entry.state = 'over';
    this.#byId.delete(entry.head.id);
    // A payload outlives every record that speaks of it. One that may be spoken of by a stray is left to the bucket's lifecycle rule.
    const { copies } = entry;
    copies.release = copies.stray ? undefined : release;
    this.#settlePlaces(entry, entry.places);
    if (copies.writing > 0 || copies.stray) this.#mindStrays(entry);
    this.#context.memory.deliveredBytes -= entry.payload.length;
    entry.delivery?.finish();
    this.#queues.settled(entry.key);
    const { successor } = entry;
    if (successor !== undefined && !this.#over) this.#admit(successor.track, successor.offset, successor.record);
    this.#context.attend();
    this.pump();
  }

  /** Copies that were never written do not come, so the oldest are forgotten. What is forgotten comes twice, at worst. */
  #mindStrays(entry: Entry): void {
    this.#strays.set(tryOf(entry.head), entry.copies);
    if (this.#strays.size <= STRAYS_MAX) return;
    const [oldest] = this.#strays.keys();
    if (oldest !== undefined) this.#strays.delete(oldest);
  }

  /** Some places of an entry, or all; what it has in the object store goes with the last of all. */
  #settlePlaces(entry: Entry, places: readonly Place[]): void {
    entry.places = entry.places.filter((place) => !places.includes(place));
    const { writing, release } = entry.copies;
    const last = entry.places.length === 0 && writing === 0 ? places.at(-1) : undefined;
    for (const place of places) {
      const { track, offset } = place;
      // It is passed over when its turn comes.
      if (track === this.#overflow && !track.met(offset)) this.#arrived(entry.key);
      track.settle(offset, place === last ? release : undefined);
      if (track === this.#main) this.#inMain.delete(offset);
    }
  }

  #arrived(key: FunctionKey): void {
    const count = this.#onTheWay.get(key);
    if (count === undefined) return;
    if (count === 1) this.#onTheWay.delete(key);
    else this.#onTheWay.set(key, count - 1);
  }

  /** Writes an entry to the overflow topic and settles it where it lies now. */
  #copy(entry: Entry, done: (durable: boolean) => void): void {
    const { key, head, payload, marks, inherited, copies } = entry;
    const before = [...entry.places];
    const written = (): void => {
      copies.writing--;
      this.#moving--;
      this.#movingBytes -= entry.bytes;
    };
    copies.writing++;
    this.#moving++;
    this.#movingBytes += entry.bytes;
    this.#onTheWay.set(key, (this.#onTheWay.get(key) ?? 0) + 1);
    this.#context.write('overflow', encodeHead(head, payload, { ...marks, spilled: true, ...(inherited ? { passed: true } : {}) })).then(
      (offset) => {
        written();
        if (this.#over) return;
        if (offset === OFFSET_UNKNOWN) copies.stray = true;
        else this.#addPlace(entry, { track: this.#overflow, offset });
        if (entry.state === 'over') this.#settleLate(entry);
        else this.#settlePlaces(entry, before);
        done(true);
        this.#context.attend();
        this.pump();
      },
      (error: unknown) => {
        written();
        if (this.#over) return;
        this.#context.logger.debug({ err: error, partition: this.#context.index }, 'A record could not be moved to the overflow topic; it stays where it is');
        copies.stray = true;
        copies.release = undefined;
        this.#arrived(key);
        done(false);
        this.pump();
      },
    );
  }

  /** The entry was settled before its copy was confirmed. */
  #settleLate(entry: Entry): void {
    if (entry.copies.writing === 0 && !entry.copies.stray) this.#strays.delete(tryOf(entry.head));
    this.#settlePlaces(entry, entry.places);
  }

  #move(entry: Entry): void {
    entry.state = 'moving';
    this.#copy(entry, (durable) => {
      if (entry.state !== 'moving') return;
      if (!durable) this.#enqueue(entry, 'main');
      // Its copy was read before the writing of it was confirmed.
      else if (entry.places.some(({ track, offset }) => track.met(offset))) this.#enqueue(entry, 'overflow');
      else this.#forget(entry);
    });
  }

  /** Its copy will be met again in the overflow topic. */
  #forget(entry: Entry): void {
    entry.state = 'over';
    this.#byId.delete(entry.head.id);
    const { successor } = entry;
    if (successor !== undefined) this.#admit(successor.track, successor.offset, successor.record);
  }

  /** Keeps the notes on what is settled within their room: the topics are paused, and in the main topic the blockers are spilled. */
  mindNotes(): void {
    for (const track of [this.#main, this.#overflow]) {
      if (track.pausedFor('notes')) {
        if (!track.roomy) continue;
        track.resume('notes');
        this.#context.fetchingChanged(track.topic);
      } else if (track.crowded) {
        track.pause('notes');
        this.#context.fetchingChanged(track.topic);
      }
    }
    if (this.#main.pausedFor('notes')) this.spill();
  }

  /** Spills the lowest unsettled records of the main topic, some at a time. */
  spill(): void {
    if (!this.#context.mayDeliver()) return;
    let left = SPILL_RECORDS - this.#moving;
    for (const entry of this.#inMain.values()) {
      if (left <= 0) break;
      if (entry.state === 'queued' && entry.lane === 'main') {
        this.#queues.remove(entry, 'main');
        this.#move(entry);
      } else if (entry.state === 'delivered' && !entry.spilling && entry.delivery?.state === 'unsettled') {
        entry.spilling = true;
        this.#copy(entry, () => {
          entry.spilling = false;
        });
      } else continue;
      left--;
    }
  }

  /** Another may own the partition from now on. */
  end(): void {
    this.#over = true;
    for (const entry of this.#byId.values()) {
      if (entry.delivery === undefined) continue;
      this.#context.memory.deliveredBytes -= entry.payload.length;
      entry.delivery.finish();
    }
    this.#byId.clear();
    this.#inMain.clear();
  }
}

/** Another one with each postponing: attempts grow, and throttles within an attempt. */
function tryOf({ id, attempt, throttles }: InvocationHead): string {
  return `${id}/${attempt}/${throttles}`;
}
