import type { Clock, Timer } from '../../clock.ts';
import { Grants } from './grants.ts';
import { randomToken } from '../../protocol/wire/tokens.ts';
import { INSTRUCTIONS_HOLD_MS, type Instruction, type InstructionsAnswer, type WorkerRoom } from '../../protocol/wire/messages.ts';

/**
 * A worker that closed a connection and is not heard of for this long is dead: the kernel closes the connections of a process that ends. A connection can end for
 * other reasons, but a worker that lives is heard of every {@link INSTRUCTIONS_HOLD_MS}.
 */
export const RECONNECT_MS = 2 * INSTRUCTIONS_HOLD_MS;
/** A worker of which nothing was heard for this long, while no connection of its ended, may live on behind a broken network: it gets nothing new, and what it runs has its lease. */
export const SILENCE_MS = 15_000;
/** Instructions that a worker has not acknowledged; one that lets so many gather is treated as silent. */
export const UNACKNOWLEDGED_MAX = 10_000;
/** Code that a session is known to have fetched; beyond it the oldest is taken for forgotten. */
const KNOWN_CODE_MAX = 1_000;

export type SessionEnd =
  | 'closed'
  | 'silent'
  | 'left'
  /** Another process goes by the worker's name. */
  | 'replaced'
  /** The same process has opened another session: it had lost this one, and lives. */
  | 'reopened';

export interface SessionOptions {
  readonly worker: string;
  readonly instance: string;
  readonly room: WorkerRoom;
  readonly clock: Clock;
  /** The session ends for good, once. */
  readonly onEnd: (session: WorkerSession, why: SessionEnd) => void;
}

/**
 * One worker's session with this controller.
 *
 * *Live* from the beginning; ended when the worker leaves, comes back as another process (*replaced*) or with another session (*reopened*), loses its connection and
 * does not return in time (*closed*), or is not heard of for {@link SILENCE_MS} (*silent*). An ended session never becomes live again: the worker opens another one.
 */
export class WorkerSession {
  readonly id = randomToken();
  readonly token = randomToken();
  readonly worker: string;
  readonly instance: string;
  room: WorkerRoom;
  /** Of this controller; those that were only just asked for included. */
  environments = 0;
  memoryMiB = 0;
  /** Environments that the worker holds for all controllers, as it said last. */
  held = 0;
  ended: SessionEnd | undefined;
  readonly grants = new Grants();
  readonly #clock: Clock;
  readonly #onEnd: SessionOptions['onEnd'];
  readonly #knownCode = new Set<string>();
  /** Sent or to be sent, until the worker says that it has carried them out. */
  #instructions: (Instruction & { readonly number: number })[] = [];
  #nextNumber = 1;
  #waiting: ((answer: InstructionsAnswer) => void) | undefined;
  #hold: Timer | undefined;
  #watch: Timer;

  constructor({ worker, instance, room, clock, onEnd }: SessionOptions) {
    this.worker = worker;
    this.instance = instance;
    this.room = room;
    this.#clock = clock;
    this.#onEnd = onEnd;
    this.#watch = this.#watchFor(SILENCE_MS, 'silent');
  }

  get live(): boolean {
    return this.ended === undefined;
  }

  /** The worker was heard of. */
  heard(): void {
    if (!this.live) return;
    this.#watch.cancel();
    this.#watch = this.#watchFor(SILENCE_MS, 'silent');
  }

  /** A connection of the worker ended. */
  connectionLost(): void {
    if (!this.live) return;
    this.#watch.cancel();
    this.#watch = this.#watchFor(RECONNECT_MS, 'closed');
  }

  knowsCode(sha256: string): boolean {
    return this.#knownCode.has(sha256);
  }

  learnCode(sha256: string): void {
    this.#knownCode.delete(sha256);
    this.#knownCode.add(sha256);
    if (this.#knownCode.size <= KNOWN_CODE_MAX) return;
    for (const oldest of this.#knownCode) {
      this.#knownCode.delete(oldest);
      break;
    }
  }

  instruct(instruction: Instruction): void {
    if (!this.live) return;
    if (this.#instructions.length >= UNACKNOWLEDGED_MAX) {
      this.end('silent');
      return;
    }
    this.#instructions.push({ ...instruction, number: this.#nextNumber++ });
    this.#tell();
  }

  /** Waits for instructions behind the acknowledged one, at most as long as a poll is held. Another call takes the place of the one before. */
  instructions(acknowledged: number): Promise<InstructionsAnswer> {
    this.#instructions = this.#instructions.filter(({ number }) => number > acknowledged);
    this.#answer([]);
    return new Promise((resolve) => {
      this.#waiting = resolve;
      if (this.#instructions.length > 0 || !this.live) this.#tell();
      else this.#hold = this.#clock.at(this.#clock.now() + INSTRUCTIONS_HOLD_MS, () => this.#answer([]));
    });
  }

  #tell(): void {
    // In the next turn, so that what one event causes goes out together.
    queueMicrotask(() => this.#answer(this.#instructions));
  }

  #answer(instructions: InstructionsAnswer['instructions']): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    this.#hold?.cancel();
    this.#hold = undefined;
    this.#waiting = undefined;
    waiting({ instructions: [...instructions] });
  }

  end(why: SessionEnd): void {
    if (!this.live) return;
    this.ended = why;
    this.#watch.cancel();
    this.#answer([]);
    this.#onEnd(this, why);
  }

  #watchFor(ms: number, why: SessionEnd): Timer {
    return this.#clock.at(this.#clock.now() + ms, () => this.end(why));
  }
}
