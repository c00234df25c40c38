import { INIT_LIMIT_MS } from '../../../platform/model/limits.ts';

/** Names one giving of an invocation to an environment. */
export interface Given {
  readonly invocationId: string;
  readonly epoch: number;
  readonly deliveryId: number;
}

/** Whether what an environment reports is about what it was given: the same invocation under the same ownership (invariant 2), and the same attempt at it. */
export function isCurrent(given: Given, reported: Given): boolean {
  return given.invocationId === reported.invocationId && given.epoch === reported.epoch && given.deliveryId === reported.deliveryId;
}

/**
 * How long past the function's timeout an environment may take to report before it is given up. The worker enforces the timeout itself;
 * this is for a worker that does not speak any more (invariant 3).
 */
const LEASE_MARGIN_MS = 10_000;

/** Until when an invocation is the environment's alone. */
export function leaseEndMs(snapshot: { readonly nowMs: number; readonly timeoutMs: number; /** For how long it has had it already. */ readonly ranMs: number }): number {
  return snapshot.nowMs - snapshot.ranMs + snapshot.timeoutMs + LEASE_MARGIN_MS;
}

/**
 * Until when a start may take. Without a margin, unlike a lease: nothing has run, so nothing can run twice. A worker ends an init that
 * takes this long a little earlier; what it has fetched or installed for a start that came too late is there for the next one.
 */
export function startEndMs(snapshot: { readonly nowMs: number; readonly timeoutMs: number }): number {
  return snapshot.nowMs + INIT_LIMIT_MS + snapshot.timeoutMs;
}

/** Whether an invocation that has just come is already held: the log delivers at least once (invariant 3). */
export function isDuplicate(held: unknown): boolean {
  return held !== undefined;
}
