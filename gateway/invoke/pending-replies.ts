import type { Clock, Timer } from '../../platform/clock.ts';
import { INLINE_PAYLOAD_BYTES_MAX } from '../../platform/model/limits.ts';
import type { InvocationRecord } from '../../platform/model/invocation.ts';
import type { CallerChannel, StreamedReply, WorkerReplies } from '../../platform/protocol/reply.ts';
import type { IncomingReply } from '../replies/incoming-reply.ts';

/** How often overdue callers are looked for. One timer for all: a timer per invocation would cost more than the invocation. */
const SWEEP_INTERVAL_MS = 1_000;

interface Waiting {
  readonly deadlineMs: number;
  readonly answer: (reply: IncomingReply) => void;
  /** Where the caller takes a stream. */
  readonly begin: ((streamed: StreamedReply) => void) | undefined;
  /** Its response has begun: what can still come is a rejection that cuts it short. */
  streaming: boolean;
  /** Kept for whoever runs the invocation, where it is too large to travel with the record. */
  readonly payload: Buffer | undefined;
}

export interface PendingRepliesOptions {
  readonly clock: Clock;
  /** Where replies from other processes come in: a URL that is good for this caller until its deadline. Absent where there are no other processes. */
  readonly addressOf?: (invocationId: string, deadlineMs: number) => string;
}

/**
 * The synchronous callers that wait at this gateway, by request id.
 *
 * Whatever becomes of the controller and the workers, each caller is answered: by a reply, or when its deadline has passed by
 * `workerLost` (invariant 4), also in the middle of a response that is streamed. Later replies find nobody and are dropped.
 */
export class PendingReplies implements CallerChannel, WorkerReplies {
  readonly #waiting = new Map<string, Waiting>();
  readonly #clock: Clock;
  readonly #addressOf: PendingRepliesOptions['addressOf'];
  #sweep: Timer | undefined;
  #idle: (() => void) | undefined;

  constructor({ clock, addressOf }: PendingRepliesOptions) {
    this.#clock = clock;
    this.#addressOf = addressOf;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** The record as it travels: with the address for its reply, where there is one. */
  addressed(record: InvocationRecord, deadlineMs: number): InvocationRecord {
    return this.#addressOf === undefined ? record : { ...record, replyTo: this.#addressOf(record.id, deadlineMs) };
  }

  /**
   * Calls `answer` once, with the reply or at the deadline. A caller that takes a stream gives `begin` as well: called at most once, with the beginning of one; then `answer` is called only if something cuts it short
   * before whoever passes it on has called {@link forget}.
   */
  expect(record: InvocationRecord, deadlineMs: number, answer: (reply: IncomingReply) => void, begin?: (streamed: StreamedReply) => void): void {
    const payload = record.replyTo !== undefined && record.payload.length > INLINE_PAYLOAD_BYTES_MAX ? record.payload : undefined;
    this.#waiting.set(record.id, { deadlineMs, answer, begin, streaming: false, payload });
    this.#sweep ??= this.#clock.at(this.#clock.now() + SWEEP_INTERVAL_MS, () => this.#answerOverdue());
  }

  /** The payload that was kept for an invocation whose caller still waits. */
  payload(invocationId: string): Buffer | undefined {
    return this.#waiting.get(invocationId)?.payload;
  }

  /** Nobody waits for this reply any more. */
  forget(invocationId: string): void {
    this.#waiting.delete(invocationId);
    this.#afterRemoval();
  }

  reply(invocation: { readonly id: string }, reply: IncomingReply): void {
    const waiting = this.#waiting.get(invocation.id);
    if (waiting === undefined || (waiting.streaming && reply.kind !== 'rejected')) {
      if (reply.kind !== 'rejected' && 'stream' in reply.body) reply.body.stream.resume();
      return;
    }
    this.#waiting.delete(invocation.id);
    waiting.answer(reply);
    this.#afterRemoval();
  }

  stream({ id }: { readonly id: string }, streamed: StreamedReply): void {
    const waiting = this.#waiting.get(id);
    if (waiting?.begin === undefined || waiting.streaming) {
      streamed.body.destroy();
      return;
    }
    waiting.streaming = true;
    waiting.begin(streamed);
  }

  awaited({ id }: { readonly id: string }): Promise<boolean> {
    return Promise.resolve(this.#waiting.get(id)?.streaming === false);
  }

  /** Whether there is somebody whom a rejection would reach: a caller that waits, or one whose response is being streamed. */
  reachable(id: string): boolean {
    return this.#waiting.has(id);
  }

  /** Resolves when nobody waits any more. */
  idle(): Promise<void> {
    if (this.#waiting.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle = resolve;
    });
  }

  /** Answers everybody who still waits, and stops. */
  close(): void {
    this.#sweep?.cancel();
    this.#sweep = undefined;
    for (const [id] of this.#waiting) this.reply({ id }, { kind: 'rejected', rejection: { code: 'shuttingDown' } });
  }

  #afterRemoval(): void {
    if (this.#waiting.size > 0) return;
    this.#idle?.();
    this.#idle = undefined;
  }

  #answerOverdue(): void {
    const now = this.#clock.now();
    for (const [id, { deadlineMs }] of this.#waiting) {
      if (deadlineMs <= now) this.reply({ id }, { kind: 'rejected', rejection: { code: 'workerLost' } });
    }
    this.#sweep = this.#waiting.size === 0 ? undefined : this.#clock.at(now + SWEEP_INTERVAL_MS, () => this.#answerOverdue());
  }
}
