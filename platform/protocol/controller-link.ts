import type { InvocationHead } from '../invocation-log/invocation-log.ts';
import type { ExecutionSpec } from '../model/execution-spec.ts';
import type { InvocationRecord } from '../model/invocation.ts';

/**
 * What a worker and its controller say to each other. The worker dials; one outstanding `next` is one free environment is one credit.
 * In one process the link is a call; between processes an HTTP long poll with the same messages.
 */
export interface ControllerLink {
  /**
   * Reports what the environment did since its last poll and waits for its next assignment, whoever may come to own its function meanwhile. Call again
   * only after the previous call settled. Rejects only when no controller can be reached any more.
   */
  next(poll: EnvironmentPoll): Promise<Assignment>;
  /**
   * A hint that never needs an answer: the environment has sent its reply and will poll again at once, so nobody need
   * start another one in its place.
   */
  responded(environmentId: string): void;
  /** The environment is gone; it never polls again. Idempotent. */
  gone(departure: EnvironmentDeparture): void;
}

export type EnvironmentPoll =
  /** The first poll: init has succeeded. */
  | { readonly kind: 'initialized'; readonly environmentId: string; readonly initDurationMs: number }
  /**
   * The only poll: init has failed, by the function's own doing, and the environment can run nothing. The one invocation that it may be
   * assigned it answers with that failure, as on Lambda, where a failed init belongs to an invocation; then it departs.
   * `errorBody` is Lambda's JSON error object, at most 256 KiB, in words that belong to no invocation: for others who wait.
   */
  | { readonly kind: 'initFailed'; readonly environmentId: string; readonly errorBody: Buffer }
  | { readonly kind: 'completed'; readonly environmentId: string; readonly completion: Completion };

/** How an invocation ended in its environment, from the retry policy's point of view. */
export interface Completion {
  readonly invocationId: string;
  /** Echo of {@link Assignment}'s epoch: a completion of an earlier ownership is refused. */
  readonly epoch: number;
  /** Echo of {@link Assignment}'s: a late report of one attempt is not taken for that of the next. */
  readonly deliveryId: number;
  /** `notRun`: its payload could not be had, so it never reached the function. */
  readonly outcome: 'success' | 'functionError' | 'notRun';
  readonly durationMs: number;
  /** The error body for the retry's bookkeeping and the destination record: JSON, at most 256 KiB; only on `functionError`. */
  readonly errorBody?: Buffer;
}

export type EnvironmentDeparture = {
  readonly environmentId: string;
  /** How the invocation ended that the environment had when it left, unless a poll has said so before or it did not end by the function's doing. */
  readonly completion?: Completion;
  readonly cause:
    /** It was asked to stop. An invocation that it had then has no `completion` and its caller no answer: it may be run again. */
    | { readonly kind: 'stopped' }
    /** Time-out, out of memory or exit, in init or since: `completion` says what was told to the caller, if there was one. */
    | { readonly kind: 'failed' }
    /** The platform could not start it. */
    | { readonly kind: 'cannotStart'; readonly message: string }
    /** The worker died with it: nobody has answered the caller. `message` says how, where that is known: a sentence for the caller. */
    | { readonly kind: 'workerLost'; readonly message?: string }
    /** The worker has not begun with it, since others have taken its room meanwhile. Said to the pool alone, which finds another place. */
    | { readonly kind: 'noRoom'; readonly message: string };
};

/**
 * An environment as its worker reports it to a controller that has come to own its function. It polls there next: `initialized` where it runs
 * nothing, `completed` where it runs or has run the invocation.
 */
export interface HeldEnvironment {
  readonly environmentId: string;
  readonly spec: ExecutionSpec;
  /** What it was given and nobody has been told the end of. */
  readonly running?: {
    readonly head: InvocationHead;
    /** Of the {@link Assignment} under which it was given. */
    readonly epoch: number;
    readonly deliveryId: number;
    readonly ranMs: number;
  };
  /** What its start took, from the wish for it to its first poll, and its last invocation: so a new owner knows what the former one had learnt. Absent before its first poll. */
  readonly measured?: { readonly startMs: number; readonly durationMs?: number };
}

export type Assignment =
  | { readonly kind: 'invoke'; readonly invocation: InvocationRecord; readonly epoch: number; readonly deliveryId: number }
  | { readonly kind: 'stop' };

/** What a worker offers to the worker pool that starts it: environments by id. */
export interface EnvironmentHost {
  /**
   * Starts an environment; returns at once. Everything that follows is said over the {@link ControllerLink}: a first poll, or a
   * departure. Exactly one departure ends every environment that was ever opened.
   */
  open(environmentId: string, spec: ExecutionSpec): void;
  /** Stops an environment, also one that is starting or running an invocation. Idempotent; unknown ids are ignored. */
  close(environmentId: string): void;
  /** Says that environments of this revision are likely: its code may be fetched and processes started ahead. A hint. */
  expect(spec: ExecutionSpec): void;
  /** Says that the runtime in the container beside this worker has ended. There where there can be one. */
  runtimeEnded?(exit: RuntimeExit): void;
}

/** How a runtime in a container of its own has ended. */
export interface RuntimeExit {
  /** As a shell has it: 128 and its number for a signal. */
  readonly code: number;
  /** The kernel killed it for its memory. */
  readonly outOfMemory: boolean;
}
