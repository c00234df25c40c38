import type { PartitionAssignment } from '../invocation-log/invocation-log.ts';
import type { ExecutionSpec } from '../model/execution-spec.ts';
import type { ControllerLink, HeldEnvironment } from '../protocol/controller-link.ts';

/**
 * Port: where environments run. "This revision wants one more environment": make it so.
 *
 * The pool says nothing back by itself: an environment announces itself by polling the controller, and leaves by a
 * departure ({@link ../protocol/controller-link.ts}). For every id given to `start`, exactly one departure is reported in the end,
 * whether the environment ever became ready or not.
 */
export interface WorkerPool {
  /** How many environments and how much of their memory fit at this moment. A change is told to the {@link PoolListener}. */
  readonly capacity: PoolCapacity;
  /** Starts an environment. Returns at once and never throws: a failure is a departure with cause `cannotStart`. Ids are used once. */
  start(environmentId: string, spec: ExecutionSpec): void;
  /** Stops an environment in whatever state it is. Idempotent; unknown ids are ignored. */
  stop(environmentId: string): void;
  /** A hint that environments of this revision are likely to be wanted soon. */
  expect(spec: ExecutionSpec): void;
  /**
   * The controller owns these partitions from now on: environments of their functions that an earlier owner has left running become its own.
   * Each of them is told to {@link PoolListener.adopted}. Resolves when all workers have been asked and have answered, or {@link CLAIM_PATIENCE_MAX_MS}
   * are over; one that is found later is told then.
   */
  claim(assignment: PartitionAssignment): Promise<void>;
  /** The environment is this controller's no more: it goes on with what it runs and waits for the one that claims it. No departure is reported for it. */
  handOver(environmentId: string): void;
  /** Stops every environment that was not handed over, resolves when none is left. `start` after it is a departure. */
  close(): Promise<void>;
}

/** What a pool tells the controller: what its environments say, and what becomes of the pool itself. */
export interface PoolListener extends ControllerLink {
  /**
   * A worker holds an environment of an earlier owner. True: it is this controller's now, and polls, or leaves, like one that was started here, but not before
   * the promise has resolved. False: its function is not this controller's, or does not exist any more and the environment is to stop. Never rejects.
   */
  adopted(environment: HeldEnvironment): Promise<boolean>;
  capacityChanged(capacity: PoolCapacity): void;
  /**
   * Undefined: what an environment says that it has completed may be taken in. Otherwise it is to be held back until this resolves: it is not clear whose it is, and the
   * environment may be another controller's by then.
   */
  undecided(): Promise<void> | undefined;
  /** The environment's worker would like to stop it: it is told to, if it has nothing to do. */
  retire(environmentId: string): void;
}

export interface PoolCapacity {
  /** 0: there is no worker at present. */
  readonly maxEnvironments: number;
  readonly maxMemoryMiB: number;
  /** What the largest environment may take: the room of one worker. */
  readonly largestMiB: number;
}

/** How long an owner waits for what an earlier one has left before it begins with what is new: the pause that a change of ownership costs at most. */
export const CLAIM_PATIENCE_MS = 1_000;
/** What an earlier owner may have given out already waits longer: a worker that is slow to answer may run it still. */
export const CLAIM_PATIENCE_MAX_MS = 5_000;
