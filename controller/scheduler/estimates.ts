/** What the scheduler has learnt about one version: of its times, its rhythm and its failed starts. */
export interface Estimates {
  /** Smoothed duration of an invocation. */
  durationMs: number;
  /** Smoothed time from the wish for an environment to its first poll. */
  startMs: number;
  /** Smoothed length of the version's idle spells; undefined while it had none. */
  idleGapMs: number | undefined;
  idleGapDeviationMs: number;
  /** Since when the version has nothing to do; undefined while it has. */
  quietSinceMs: number | undefined;
  /** Failed starts in a row. */
  failedStarts: number;
  startNotBeforeMs: number;
}

/** Before anything was measured, an invocation is taken to last this long: longer than a start, so that a new function scales out at once. */
const DURATION_PRIOR_MS = 1_000;
const START_PRIOR_MS = 100;
/** Weight of a new measurement of durations and gaps: about the last seven count. */
const WEIGHT = 0.25;

/**
 * What is remembered of versions that have no environment and no work at present; the longest unused are forgotten. At about 150
 * bytes each this bounds the memory, and it is far above the number of functions called within one keep-alive.
 */
export const REMEMBERED_MAX = 10_000;

export function estimates(): Estimates {
  return { durationMs: DURATION_PRIOR_MS, startMs: START_PRIOR_MS, idleGapMs: undefined, idleGapDeviationMs: 0, quietSinceMs: undefined, failedStarts: 0, startNotBeforeMs: -Infinity };
}

/** What a worker says is not to be relied on: anything but a length of time teaches nothing. */
function isLength(ms: number): boolean {
  return Number.isFinite(ms) && ms >= 0;
}

export function measuredDuration(learnt: Estimates, durationMs: number): void {
  if (!isLength(durationMs)) return;
  learnt.durationMs = learnt.durationMs === DURATION_PRIOR_MS ? durationMs : learnt.durationMs + WEIGHT * (durationMs - learnt.durationMs);
}

export function measuredStart(learnt: Estimates, startMs: number): void {
  if (!isLength(startMs)) return;
  learnt.startMs = learnt.startMs === START_PRIOR_MS ? startMs : learnt.startMs + WEIGHT * (startMs - learnt.startMs);
  learnt.failedStarts = 0;
  learnt.startNotBeforeMs = -Infinity;
}

/** Work came for the version: the end of an idle spell, if there was one. */
export function calledAt(learnt: Estimates, nowMs: number): void {
  if (learnt.quietSinceMs === undefined) return;
  const gapMs = nowMs - learnt.quietSinceMs;
  learnt.quietSinceMs = undefined;
  if (learnt.idleGapMs === undefined) {
    learnt.idleGapMs = gapMs;
    learnt.idleGapDeviationMs = gapMs / 2;
  } else {
    learnt.idleGapDeviationMs += WEIGHT * (Math.abs(gapMs - learnt.idleGapMs) - learnt.idleGapDeviationMs);
    learnt.idleGapMs += WEIGHT * (gapMs - learnt.idleGapMs);
  }
}

/**
 * Estimates of versions that have no state of their own, bounded by {@link REMEMBERED_MAX}. Two generations, so that forgetting the oldest
 * never walks over what was deleted before.
 */
export class RememberedEstimates {
  private young = new Map<string, Estimates>();
  private old = new Map<string, Estimates>();

  get size(): number {
    return this.young.size + this.old.size;
  }

  /** What is remembered under a name, taken out; new where nothing is. */
  take(name: string): Estimates {
    const learnt = this.young.get(name) ?? this.old.get(name);
    if (learnt === undefined) return estimates();
    this.young.delete(name);
    this.old.delete(name);
    return learnt;
  }

  keep(name: string, learnt: Estimates): void {
    if (this.young.size >= REMEMBERED_MAX / 2) {
      this.old = this.young;
      this.young = new Map();
    }
    this.young.set(name, learnt);
  }
}
