import type { Clock } from '../../clock.ts';

export interface CachedReadingOptions<Value> {
  readonly clock: Clock;
  /** Asks for a new value. May reject, and may take its time. */
  readonly ask: () => Promise<Value>;
  /** A value is given out for so long before another is asked for. */
  readonly freshMs: number;
  /** It is given out for so long where no newer one can be had. */
  readonly usableMs: number;
  /** Whoever asks waits so long for a newer value, and then takes the one there is. */
  readonly patienceMs: number;
}

/** A value that is costly or slow to come by: asked for one at a time and not often, so that whoever scrapes never waits for a broken service. */
export class CachedReading<Value> {
  readonly #options: CachedReadingOptions<Value>;
  #last: { readonly value: Value; readonly atMs: number } | undefined;
  #asking: Promise<void> | undefined;
  #failures = 0;

  constructor(options: CachedReadingOptions<Value>) {
    this.#options = options;
  }

  /** How often no value could be had. */
  get failures(): number {
    return this.#failures;
  }

  /** The latest value; undefined where it is too old. Never rejects. */
  async get(): Promise<Value | undefined> {
    const { clock, freshMs, usableMs } = this.#options;
    if (this.#last === undefined || clock.now() - this.#last.atMs >= freshMs) await this.#atMostPatience((this.#asking ??= this.#ask()));
    return this.#last !== undefined && clock.now() - this.#last.atMs <= usableMs ? this.#last.value : undefined;
  }

  async #ask(): Promise<void> {
    const { ask, clock } = this.#options;
    try {
      const value = await ask();
      this.#last = { value, atMs: clock.now() };
    } catch {
      // Told by its absence and by the count: an outage of the service is in its owner's log.
      this.#failures++;
    } finally {
      this.#asking = undefined;
    }
  }

  #atMostPatience(asking: Promise<void>): Promise<void> {
    const { clock, patienceMs } = this.#options;
    return new Promise((resolve) => {
      const patience = clock.at(clock.now() + patienceMs, resolve);
      void asking.finally(() => {
        patience.cancel();
        resolve();
      });
    });
  }
}
