import type { Clock, Timer } from '../../platform/clock.ts';
import { memoryUse, type MemoryUse } from './process-tree.ts';

/** How often the memory of a busy process is looked at, as long as there are few. One look costs some 20 to 30 µs. */
const SAMPLE_INTERVAL_MS = 50;
/** Above this many busy processes the interval grows, so that looking never takes more than about 3 % of a core. */
const PROCESSES_PER_INTERVAL = 50;
/** Looks between the samples, at the end of invocations: at most one in this time over all processes. */
const EXTRA_LOOK_INTERVAL_MS = 2;

export interface WatchedProcess {
  /** 0: not one that is seen here; it is never sampled. */
  readonly pid: number;
  /** Called with each sample. */
  sampled(use: MemoryUse): void;
}

/** Looks at the memory of busy processes from time to time, and on request when there is time for it. */
export class MemoryWatch {
  readonly #clock: Clock;
  readonly #busy = new Set<WatchedProcess>();
  #timer: Timer | undefined;
  #lastExtraMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  busy(process: WatchedProcess): void {
    if (process.pid === 0) return;
    this.#busy.add(process);
    this.#timer ??= this.#arm();
  }

  idle(process: WatchedProcess): void {
    this.#busy.delete(process);
  }

  /** A sample now, unless there was one of any process a moment ago. */
  look(process: WatchedProcess, nowMs: number): void {
    if (process.pid === 0) return;
    if (nowMs - this.#lastExtraMs < EXTRA_LOOK_INTERVAL_MS) return;
    this.#lastExtraMs = nowMs;
    sample(process);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#busy.clear();
  }

  #arm(): Timer {
    const intervalMs = SAMPLE_INTERVAL_MS * Math.max(1, Math.ceil(this.#busy.size / PROCESSES_PER_INTERVAL));
    return this.#clock.at(this.#clock.now() + intervalMs, () => {
      for (const process of [...this.#busy]) sample(process);
      this.#timer = this.#busy.size === 0 ? undefined : this.#arm();
    });
  }
}

function sample(process: WatchedProcess): void {
  const use = memoryUse(process.pid);
  if (use !== undefined) process.sampled(use);
}
