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
  if (snapshot.reservedConcurrency === undefined && snapshot.unreservedInUse >= snapshot.accountLimit - snapshot.accountReserved) {
    return 'ConcurrentInvocationLimitExceeded';
  }
  return undefined;
}
