export interface StartsSnapshot {
  /** Invocations of this version that wait for an environment. */
  readonly waiting: number;
  /** Environments of this version that have been asked for and are not ready: how many, and those of them that have begun. */
  readonly starting: number;
  readonly comingUp: Iterable<EnvironmentComingUp>;
  /** What one invocation takes here, as measured. */
  readonly meanDurationMs: number;
  /** What a start takes here, as measured. */
  readonly startMs: number;
  readonly inUse: Iterable<EnvironmentInUse>;
  readonly nowMs: number;
}

export interface EnvironmentComingUp {
  readonly startedAtMs: number;
  /** It is there since an earlier owner of the function, and polls here any moment. */
  readonly adopted: boolean;
}

export interface EnvironmentInUse {
  readonly startedWorkAtMs: number;
  /** When the environment said that its reply is out; undefined while it still works. */
  readonly respondedAtMs: number | undefined;
}

export interface StartsDecision {
  /** How many environments to start now. */
  readonly count: number;
  /** When the expectation that some in use come back has proved right or wrong; Infinity when nothing was left to expectation. */
  readonly recheckAtMs: number;
}

/** A start that takes more than this many times what starts take here is not expected to be ahead of one begun now. */
const LATE_START = 2;

/** An expectation is given this long at least before it is looked at again: below it the clock costs more than the answer is worth. */
const MIN_RECHECK_MS = 5;

/** No start is taken to be quicker, so that an environment on its way back always counts. */
const MIN_START_MS = 1;

/** Below this a duration says nothing: it keeps the division sane. */
const MIN_DURATION_MS = 0.1;

const NONE: StartsDecision = { count: 0, recheckAtMs: Infinity };

/**
 * An environment per waiting invocation, less those that are starting and less the invocations that these, and environments in use, are expected
 * to take before a start begun now would be ready. Never more than there are invocations waiting. Where starts are slow, as of pods, and invocations short, this keeps a few
 * seconds of calls from asking for a hundred of them.
 */
export function startsWanted(snapshot: StartsSnapshot): StartsDecision {
  const uncovered = snapshot.waiting - snapshot.starting;
  if (uncovered <= 0) return NONE;
  const meanMs = Math.max(snapshot.meanDurationMs, MIN_DURATION_MS);
  const startMs = Math.max(snapshot.startMs, MIN_START_MS);
  let taken = 0;
  let soonestMs = Infinity;
  for (const { startedAtMs, adopted } of snapshot.comingUp) {
    const elapsedMs = snapshot.nowMs - startedAtMs;
    const lateInMs = (adopted ? startMs : LATE_START * startMs) - elapsedMs;
    const ahead = lateInMs > 0 ? Math.floor((adopted ? lateInMs : elapsedMs) / meanMs) : 0;
    if (ahead === 0) continue;
    taken += ahead;
    if (lateInMs < soonestMs) soonestMs = lateInMs;
    if (taken >= uncovered) break;
  }
  for (const environment of snapshot.inUse) {
    const backInMs = expectedBackInMs(environment, meanMs, snapshot.nowMs);
    if (taken >= uncovered) break;
    if (backInMs >= startMs) continue;
    taken += 1 + Math.floor((startMs - backInMs) / meanMs);
    if (backInMs < soonestMs) soonestMs = backInMs;
    if (taken >= uncovered) break;
  }
  if (taken === 0) return { count: uncovered, recheckAtMs: Infinity };
  return { count: Math.max(0, uncovered - taken), recheckAtMs: snapshot.nowMs + Math.max(soonestMs, MIN_RECHECK_MS) };
}

/**
 * An environment that has answered is back at once, give or take what a poll takes; one that works takes what invocations take here; one for which either has not come true
 * is expected to need as long again as it has taken, so that a stuck one is soon no longer counted on.
 */
export function expectedBackInMs(environment: EnvironmentInUse, meanMs: number, nowMs: number): number {
  if (environment.respondedAtMs !== undefined) {
    const agoMs = nowMs - environment.respondedAtMs;
    return agoMs <= MIN_RECHECK_MS ? 0 : agoMs;
  }
  const ranMs = nowMs - environment.startedWorkAtMs;
  return ranMs < meanMs ? meanMs - ranMs : ranMs;
}
