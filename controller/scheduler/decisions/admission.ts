/** What admission looks at. A slot is held from acceptance by the scheduler until the invocation is done, waiting for an environment included. */
export interface AdmissionSnapshot {
  /** Slots that the function holds, over all its versions. */
  readonly functionInUse: number;
  /** The function's reserved concurrency; undefined: it takes from the account's unreserved pool. */
  readonly reservedConcurrency: number | undefined;
  readonly accountInUse: number;
  /** Slots held by functions without reserved concurrency. */
  readonly unreservedInUse: number;
  readonly accountLimit: number;
  /** Sum of reserved concurrency over all functions of the account, idle ones included. */
  readonly accountReserved: number;
  /** The part of the unreserved pool that is this owner's, 0 to 1: those of all owners together are 1. */
  readonly share: number;
}

export type ThrottleReason = 'ReservedFunctionConcurrentInvocationLimitExceeded' | 'ConcurrentInvocationLimitExceeded';

/**
 * Whether one more invocation may hold a slot; otherwise the Reason of the `TooManyRequestsException`
 * (Lambda API reference, "Invoke", errors).
 *
 * Lambda guide, "Understanding Lambda function scaling": reserved concurrency is both the most that a function may use and a share that
 * no other function may use.
 */
export function admit(snapshot: AdmissionSnapshot): ThrottleReason | undefined {
  if (snapshot.reservedConcurrency !== undefined && snapshot.functionInUse >= snapshot.reservedConcurrency) {
    return 'ReservedFunctionConcurrentInvocationLimitExceeded';
  }
  if (snapshot.accountInUse >= snapshot.accountLimit) return 'ConcurrentInvocationLimitExceeded';
  if (snapshot.reservedConcurrency === undefined && snapshot.unreservedInUse >= unreservedLimit(snapshot)) return 'ConcurrentInvocationLimitExceeded';
  return undefined;
}

/**
 * What functions without reserved concurrency may use together under this owner. The account's pool is divided among the owners rather than shared, so
 * that it holds without one asking another; an owner of any part has at least one slot, or its functions could never run.
 */
export function unreservedLimit(snapshot: Pick<AdmissionSnapshot, 'accountLimit' | 'accountReserved' | 'share'>): number {
  const pool = Math.max(0, snapshot.accountLimit - snapshot.accountReserved);
  return snapshot.share > 0 ? Math.max(Math.min(1, pool), Math.floor(pool * snapshot.share)) : 0;
}
