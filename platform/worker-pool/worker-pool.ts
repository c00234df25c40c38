import type { ExecutionSpec } from '../model/execution-spec.ts';

/**
 * Port: where environments run. "This revision wants one more environment": make it so.
 *
 * The pool says nothing back by itself: an environment announces itself by polling the controller, and leaves by a
 * departure ({@link ../protocol/controller-link.ts}). For every id given to `start`, exactly one departure is reported in the end,
 * whether the environment ever became ready or not.
 */
export interface WorkerPool {
  /** How many environments and how much of their memory fit at once. The scheduler never asks for more. */
  readonly capacity: PoolCapacity;
  /** Starts an environment. Returns at once and never throws: a failure is a departure with cause `cannotStart`. Ids are used once. */
  start(environmentId: string, spec: ExecutionSpec): void;
  /** Stops an environment in whatever state it is. Idempotent; unknown ids are ignored. */
  stop(environmentId: string): void;
  /** A hint that environments of this revision are likely to be wanted soon. */
  expect(spec: ExecutionSpec): void;
  /** Stops every environment, resolves when none is left. `start` after it is a departure. */
  close(): Promise<void>;
}

export interface PoolCapacity {
  readonly maxEnvironments: number;
  readonly maxMemoryMiB: number;
}
