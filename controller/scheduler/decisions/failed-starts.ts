/** What failed starts in a row mean. One is a hint, not a verdict: it answers at most the one invocation that it was started for. */
export interface FailedStartsSnapshot {
  /** Starts of this version that failed in a row, the last one included. */
  readonly failures: number;
  /**
   * How the last one failed. `init`: by the function's own doing; the environment itself answers the invocation at the head of the
   * queue, as on Lambda, where each failed init belongs to one invocation. `platform`: the worker said that it cannot. `silence`: nothing
   * was heard of it for as long as a start may take.
   */
  readonly cause: 'init' | 'platform' | 'silence';
  /** Environments of this version that run an invocation now. */
  readonly inUse: number;
}

/** From this many in a row on, a version is in a crash loop. */
const CRASH_LOOP_AFTER = 3;
const BACK_OFF_FIRST_MS = 100;
/** A caller waits at most this long for the next attempt of a function that crashes at every start. */
const BACK_OFF_MAX_MS = 5_000;

/**
 * Whom the scheduler answers because of a failed start, of those who waited when it began and wait still.
 * - `none`: nobody; there is another start for each of them.
 * - `oldest`: the one at the head of the queue, who has waited for as long as init and the function together may take.
 * - `all`: in a crash loop each of them would get the same answer, only later.
 *
 * Where the platform has no room for more while others of the version are at work, these come to those who wait.
 */
export function whomFailedStartAnswers(snapshot: FailedStartsSnapshot): 'none' | 'oldest' | 'all' {
  if (snapshot.cause === 'platform' && snapshot.inUse > 0) return 'none';
  if (snapshot.failures >= CRASH_LOOP_AFTER) return 'all';
  return snapshot.cause === 'silence' ? 'oldest' : 'none';
}

/** How long no further start of this version is begun. */
export function startBackOffMs(failures: number): number {
  if (failures < CRASH_LOOP_AFTER) return 0;
  return Math.min(BACK_OFF_MAX_MS, BACK_OFF_FIRST_MS * 2 ** Math.min(failures - CRASH_LOOP_AFTER, 30));
}

/** In a crash loop one start at a time is enough to find out whether it is over. */
export function maxStarting(failures: number): number {
  return failures < CRASH_LOOP_AFTER ? Infinity : 1;
}
