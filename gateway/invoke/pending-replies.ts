import type { Clock, Timer } from '../../platform/clock.ts';
import type { CallerChannel, Reply } from '../../platform/protocol/reply.ts';

/** How often overdue callers are looked for. One timer for all: a timer per invocation would cost more than the invocation. */
const SWEEP_INTERVAL_MS = 1_000;

interface Waiting {
  readonly deadlineMs: number;
  readonly answer: (reply: Reply) => void;
}

/**
 * The synchronous callers that wait at this gateway, by request id.
 *
 * Whatever becomes of the controller and the workers, each caller is answered: by a reply, or when its deadline has passed by
 * `workerLost` (invariant 4). Later replies find nobody and are dropped.
 */
export class PendingReplies implements CallerChannel {
  readonly #waiting = new Map<string, Waiting>();
  readonly #clock: Clock;
  #sweep: Timer | undefined;
  #idle: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** Calls `answer` once, with the reply or at the deadline. */
  expect(invocationId: string, deadlineMs: number, answer: (reply: Reply) => void): void {
    this.#waiting.set(invocationId, { deadlineMs, answer });
    this.#sweep ??= this.#clock.at(this.#clock.now() + SWEEP_INTERVAL_MS, () => this.#answerOverdue());
  }

  /** Nobody waits for this reply any more. */
  forget(invocationId: string): void {
    this.#waiting.delete(invocationId);
    this.#afterRemoval();
  }

  reply(invocation: { readonly id: string }, reply: Reply): void {
    const waiting = this.#waiting.get(invocation.id);
    if (waiting === undefined) return;
    this.#waiting.delete(invocation.id);
    waiting.answer(reply);
    this.#afterRemoval();
  }

  awaited({ id }: { readonly id: string }): Promise<boolean> {
    return Promise.resolve(this.#waiting.has(id));
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
