import type { ExecutionSpec } from '../../platform/model/execution-spec.ts';
import type { Completion, EnvironmentDeparture, HeldEnvironment } from '../../platform/protocol/controller-link.ts';
import type { Rejection } from '../../platform/protocol/reply.ts';
import type { PoolCapacity } from '../../platform/worker-pool/worker-pool.ts';
import type { Delivered } from './ledger.ts';

/** What has happened, as the scheduler is told. The time is given beside it. */
export type SchedulerEvent =
  /** The log delivered an invocation. `target` is what it is to run on, as the catalogue knows it now. Delivery ids are used once. */
  | (Delivered & { readonly kind: 'arrived'; readonly target: Target })
  /** The log delivered an invocation whose function or version does not exist any more. */
  | (Delivered & { readonly kind: 'orphaned' })
  /** The log delivered an invocation of which the registry cannot say now what it is to run on. */
  | (Delivered & { readonly kind: 'unresolved'; readonly message: string })
  /** An environment's first poll: it is ready. */
  | { readonly kind: 'environmentReady'; readonly environmentId: string }
  /** An environment's first poll: its init has failed. It answers one invocation with that, if it is given one, and leaves. */
  | { readonly kind: 'initFailed'; readonly environmentId: string; readonly errorBody: Buffer }
  /** An environment's poll after an invocation. */
  | { readonly kind: 'invocationDone'; readonly environmentId: string; readonly completion: Completion }
  /** A hint: the environment has sent its reply and polls at once. */
  | { readonly kind: 'responded'; readonly environmentId: string }
  | { readonly kind: 'environmentGone'; readonly departure: EnvironmentDeparture }
  /** A dispatch could not be carried out: the payload could not be had from the log, and the environment knows nothing of it. */
  | { readonly kind: 'undelivered'; readonly environmentId: string; readonly deliveryId: number }
  /** What the function's versions are now. Versions that the scheduler holds and that are not in `specs` do not exist any more. */
  | { readonly kind: 'functionChanged'; readonly functionUid: string; readonly reservedConcurrency: number | undefined; readonly specs: ReadonlyMap<string, ExecutionSpec> }
  /** An environment that an earlier owner has left is this one's. `target`: what its version is now. */
  | { readonly kind: 'adopted'; readonly environment: HeldEnvironment; readonly target: Target }
  /** These functions are another owner's: all that is held of them is let go. */
  | { readonly kind: 'revoked'; readonly functionUids: readonly string[] }
  /** The environment's worker would like to stop it. */
  | { readonly kind: 'retire'; readonly environmentId: string }
  | { readonly kind: 'capacityChanged'; readonly capacity: PoolCapacity }
  /** Which part of the account's concurrency functions owned here may use, 0 to 1: the owners' parts together are 1. */
  | { readonly kind: 'shareChanged'; readonly share: number }
  /** Sum of reserved concurrency over all functions of an account. */
  | { readonly kind: 'accountChanged'; readonly account: string; readonly reservedConcurrency: number }
  /** Time has come to {@link Scheduler.nextWakeMs}. */
  | { readonly kind: 'tick' }
  /** No new work is taken: what waits is turned away or left in the log, what runs may finish. */
  | { readonly kind: 'draining' };

export interface Target {
  readonly spec: ExecutionSpec;
  readonly reservedConcurrency: number | undefined;
}

/** What is to be done. Commands of one turn are carried out in their order. */
export type Command =
  /** Give the invocation to the environment, whose poll is outstanding. */
  | { readonly kind: 'dispatch'; readonly environmentId: string; readonly deliveryId: number; readonly epoch: number }
  | { readonly kind: 'start'; readonly environmentId: string; readonly spec: ExecutionSpec }
  /** Stop the environment in whatever state it is. */
  | { readonly kind: 'stop'; readonly environmentId: string }
  /** Let go of the environment as it is: another controller will claim it. */
  | { readonly kind: 'handOver'; readonly environmentId: string }
  /** Done with; its caller, if there is one, has its answer from the worker. */
  | { readonly kind: 'settle'; readonly deliveryId: number; readonly outcome: 'succeeded' | 'failed' | 'duplicate' }
  /** Answer the sync caller that it was not run, and settle. */
  | { readonly kind: 'reject'; readonly deliveryId: number; readonly rejection: Rejection }
  /** Answer the sync caller with the function's own error, and settle. */
  | { readonly kind: 'fail'; readonly deliveryId: number; readonly errorBody: Buffer }
  /** Put the async invocation back into the log until then. */
  | { readonly kind: 'postpone'; readonly deliveryId: number; readonly attempt: number; readonly throttles: number; readonly notBeforeMs: number }
  /** The async invocation is over without success: settle. */
  | { readonly kind: 'deadLetter'; readonly deliveryId: number; readonly reason: DeadLetterReason; readonly errorBody: Buffer | undefined }
  /** Forget the delivery unsettled: the next owner or consumer gets it. */
  | { readonly kind: 'release'; readonly deliveryId: number };

export type DeadLetterReason = 'retriesExhausted' | 'expired' | 'functionGone';

/** What a departure says of its cause, for whoever waited for the environment. */
export function messageOf({ cause }: EnvironmentDeparture): string | undefined {
  return 'message' in cause ? cause.message : undefined;
}
