import type { Clock } from '../../../platform/clock.ts';

/** A clock whose hands the test turns. */
export class HandClock implements Clock {
  #nowMs = 0;
  readonly #actions: { atMs: number; action: () => void }[] = [];

  now(): number {
    return this.#nowMs;
  }
  at(atMs: number, action: () => void): { cancel(): void } {
    const entry = { atMs, action };
    this.#actions.push(entry);
    return { cancel: () => void (this.#actions.includes(entry) && this.#actions.splice(this.#actions.indexOf(entry), 1)) };
  }
  turn(byMs: number): void {
    this.#nowMs += byMs;
    for (const entry of this.#actions.filter(({ atMs }) => atMs <= this.#nowMs)) {
      this.#actions.splice(this.#actions.indexOf(entry), 1);
      entry.action();
    }
  }
}
