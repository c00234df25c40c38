export type RetryDecision =
  | { readonly kind: 'again'; readonly notBeforeMs: number }
  | { readonly kind: 'over'; readonly reason: 'retriesExhausted' | 'expired' };

export interface FailureSnapshot {
  /** The attempt that failed, from 1. */
  readonly attempt: number;
  readonly maxRetries: number;
  readonly expiresAtMs: number;
  /** Delay before the first retry. */
  readonly baseMs: number;
  readonly nowMs: number;
}

/**
 * Lambda guide, "How Lambda handles errors and retries with asynchronous invocation": "By default, Lambda retries an error two times,
 * with a one-minute wait between the first two attempts, and two minutes between the second and third attempts."
 */
export const DEFAULT_MAX_RETRIES = 2;

/** What follows on an attempt of an async invocation that the function failed. */
export function afterFailure(snapshot: FailureSnapshot): RetryDecision {
  if (snapshot.attempt > snapshot.maxRetries) return { kind: 'over', reason: 'retriesExhausted' };
  return notAfterExpiry(snapshot.nowMs + snapshot.baseMs * 2 ** (snapshot.attempt - 1), snapshot.expiresAtMs);
}

export interface BackOffSnapshot {
  /** How often in a row the invocation was sent back already. */
  readonly throttles: number;
  readonly expiresAtMs: number;
  readonly nowMs: number;
  /** 0 to 1, drawn by the caller. */
  readonly random: number;
}

/**
 * Same page: "For throttling errors (429) and system errors (500-series), Lambda returns the event to the queue and attempts to run the
 * function again for up to 6 hours by default. The retry interval increases exponentially from 1 second after the first attempt to a
 * maximum of 5 minutes."
 */
const BACK_OFF_FIRST_MS = 1_000;
const BACK_OFF_MAX_MS = 300_000;

/** What follows when the platform could not run an async invocation: back to wait, without counting as an attempt. Half of the delay is jitter. */
export function afterBackOff(snapshot: BackOffSnapshot): RetryDecision {
  const delayMs = Math.min(BACK_OFF_MAX_MS, BACK_OFF_FIRST_MS * 2 ** Math.min(snapshot.throttles, 30));
  return notAfterExpiry(Math.ceil(snapshot.nowMs + delayMs * (1 - snapshot.random / 2)), snapshot.expiresAtMs);
}

/** An invocation that could not be started before its expiry any more is over now: waiting would not change that. */
function notAfterExpiry(notBeforeMs: number, expiresAtMs: number): RetryDecision {
  return notBeforeMs >= expiresAtMs ? { kind: 'over', reason: 'expired' } : { kind: 'again', notBeforeMs };
}

/** Whether an invocation may not be started any more. */
export function isExpired(expiresAtMs: number, nowMs: number): boolean {
  return nowMs >= expiresAtMs;
}
