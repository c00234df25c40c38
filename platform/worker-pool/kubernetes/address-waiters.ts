import type { Clock } from '../../clock.ts';

/** Within the time that a worker waits for an answer. */
const PATIENCE_MS = 3_000;
/** Workers that wait at once; further ones are refused, and ask again. */
const WAITERS_MAX = 1_000;

interface Waiter {
  readonly worker: string;
  readonly done: () => void;
}

/** Workers that ask to join before it is known where their pods are: a worker is often quicker than its cluster is to say so. */
export class AddressWaiters {
  readonly #clock: Clock;
  readonly #waiters = new Set<Waiter>();
  #closed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Resolves when it was {@link located}, or has not been for {@link PATIENCE_MS}; at once where too many wait. */
  wait(worker: string): Promise<void> {
    if (this.#waiters.size >= WAITERS_MAX || this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      const waiter: Waiter = {
        worker,
        done: () => {
          patience.cancel();
          this.#waiters.delete(waiter);
          resolve();
        },
      };
      const patience = this.#clock.at(this.#clock.now() + PATIENCE_MS, () => waiter.done());
      this.#waiters.add(waiter);
    });
  }

  located(worker: string): void {
    for (const waiter of [...this.#waiters]) if (waiter.worker === worker) waiter.done();
  }

  close(): void {
    this.#closed = true;
    for (const waiter of [...this.#waiters]) waiter.done();
  }
}
