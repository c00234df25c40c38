import type { Timer } from '../../clock.ts';
import type { InvocationHead } from '../invocation-log.ts';
import { delayPlan } from './delay-tiers.ts';
import type { PartitionContext } from './partition-context.ts';
import { encodeHead, type ReadRecord } from './record-format.ts';
import type { DelayTier } from './topic-names.ts';
import type { TopicTrack } from './topic-track.ts';

/** Records of a tier held in memory, per partition; those behind them are not read until there is room. */
const HELD_RECORDS_MAX = 500;
/** Beside its payload. */
const ENTRY_BYTES = 1_500;
/** Of a partition's share of the memory for waiting records, for each of the tiers. */
const SHARE_PART = 8;
/** A record that could not be moved on is tried again after this long. */
const RETRY_MS = 1_000;

type Readable = Extract<ReadRecord, { kind: 'record' }>;

interface Held {
  readonly offset: number;
  readonly head: InvocationHead;
  readonly payload: Buffer;
  readonly inherited: boolean;
  readonly notBeforeMs: number;
  readonly leaveMs: number;
  retryMs: number;
}

/**
 * One delay topic of an owned partition. Its records are held until they are due, then written to the main topic and settled here; a
 * crash leaves one or both. Records that are not due when their time in this tier is over stay as long as nobody waits behind those that
 * are held, and otherwise go to the tier that fits what is left: so a tier is as good as exact while it is short, and never blocked when it is long.
 */
export class DelayIntake {
  readonly #context: PartitionContext;
  readonly #track: TopicTrack;
  readonly #tier: DelayTier;
  readonly #held = new Set<Held>();
  #moving = 0;
  #bytes = 0;
  #timer: Timer | undefined;
  #timerMs = Infinity;
  #over = false;

  constructor(context: PartitionContext, track: TopicTrack, tier: DelayTier) {
    this.#context = context;
    this.#track = track;
    this.#tier = tier;
  }

  /** Being written to another topic: they are no longer delayed, and soon counted there. */
  get moving(): number {
    return this.#moving;
  }

  accepts(): boolean {
    return this.#held.size + this.#moving < HELD_RECORDS_MAX && this.#bytes < this.#context.memory.share / SHARE_PART;
  }

  take(offset: number, { head, payload, marks }: Readable): void {
    const { notBeforeMs, leaveMs } = marks.delay ?? { notBeforeMs: 0, leaveMs: 0 };
    this.#held.add({ offset, head, payload, inherited: this.#track.inherited(offset) || marks.passed === true, notBeforeMs, leaveMs, retryMs: -Infinity });
    this.#bytes += payload.length + ENTRY_BYTES;
    this.#expect(notBeforeMs);
  }

  #expect(atMs: number): void {
    if (this.#over || atMs >= this.#timerMs) return;
    this.#timer?.cancel();
    this.#timerMs = atMs;
    this.#timer = this.#context.clock.at(atMs, () => {
      this.#timerMs = Infinity;
      this.pump();
    });
  }

  /** Moves on what is due, or has to make room. */
  pump(): void {
    if (this.#over || !this.#context.mayDeliver()) return;
    const nowMs = this.#context.clock.now();
    // Paused: others wait unread.
    const making = this.#track.stopped;
    let nextMs = Infinity;
    for (const held of this.#held) {
      const due = Math.max(making ? held.leaveMs : held.notBeforeMs, held.retryMs);
      if (due <= nowMs) this.#move(held, nowMs);
      else nextMs = Math.min(nextMs, due);
    }
    if (nextMs < Infinity) this.#expect(nextMs);
  }

  #move(held: Held, nowMs: number): void {
    const { head, payload, inherited, notBeforeMs, offset } = held;
    const plan = delayPlan(notBeforeMs, nowMs);
    this.#held.delete(held);
    this.#moving++;
    const marks = { ...(plan === undefined ? {} : { delay: { notBeforeMs, leaveMs: plan.leaveMs } }), ...(inherited ? { passed: true } : {}) };
    this.#context.write(plan?.tier ?? 'async', encodeHead(head, payload, marks)).then(
      () => {
        this.#moving--;
        this.#bytes -= payload.length + ENTRY_BYTES;
        if (this.#over) return;
        this.#track.settle(offset);
        this.#context.attend();
        this.#considerResuming();
      },
      (error: unknown) => {
        this.#moving--;
        if (this.#over) return;
        this.#context.logger.debug({ err: error, partition: this.#context.index, tier: this.#tier }, 'A delayed invocation could not be moved on; it is tried again');
        this.#held.add(held);
        held.retryMs = this.#context.clock.now() + RETRY_MS;
        this.#expect(held.retryMs);
      },
    );
  }

  #considerResuming(): void {
    if (!this.#track.pausedFor('buffer')) return;
    if (this.#held.size + this.#moving > HELD_RECORDS_MAX / 2 || this.#bytes > this.#context.memory.share / SHARE_PART / 2) return;
    this.#track.resume('buffer');
    this.#context.fetchingChanged(this.#tier);
  }

  /** Keeps the notes on what is settled within their room: nothing more is taken until the first ones have left. */
  mindNotes(): void {
    if (this.#track.pausedFor('notes')) {
      if (!this.#track.roomy) return;
      this.#track.resume('notes');
    } else {
      if (!this.#track.crowded) return;
      this.#track.pause('notes');
    }
    this.#context.fetchingChanged(this.#tier);
  }

  end(): void {
    this.#over = true;
    this.#timer?.cancel();
    this.#held.clear();
  }
}
