export interface GiveWaySnapshot {
  /** Since when the oldest waiting invocation of the environment's own version waits; Infinity when none does. */
  readonly ownHeadSinceMs: number;
  /** Since when the oldest invocation waits whose version has no room in the pool. */
  readonly otherHeadSinceMs: number;
  /** What a start of that version takes. */
  readonly otherStartMs: number;
  readonly nowMs: number;
}

/**
 * A function whose environments fill the pool keeps them this long while another waits for room. Lower, and two functions that share
 * a full pool pay a cold start per invocation; higher, and the neighbour of a busy function waits longer than anyone would call a blip.
 */
export const GIVE_WAY_AFTER_MS = 500;

/** Room that changes hands costs a start; it is not worth it before the other has waited for a few of them. */
const STARTS_WAITED = 3;

/**
 * Whether an environment that has just finished leaves the full pool instead of taking its own version's next invocation: yes when
 * another version's head is older and has waited long enough to be worth a start. So nobody starves beside a function with endless work.
 */
export function givesWay(snapshot: GiveWaySnapshot): boolean {
  if (snapshot.otherHeadSinceMs >= snapshot.ownHeadSinceMs) return false;
  return snapshot.nowMs - snapshot.otherHeadSinceMs >= Math.max(GIVE_WAY_AFTER_MS, STARTS_WAITED * snapshot.otherStartMs);
}
