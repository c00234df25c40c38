import { headOf } from '../../platform/invocation-log/record-head.ts';
import type { ExecutionSpec } from '../../platform/model/execution-spec.ts';
import type { Assignment, Completion, EnvironmentDeparture, EnvironmentPoll, HeldEnvironment } from '../../platform/protocol/controller-link.ts';
import type { ControllerSession } from './controller-session.ts';

interface PendingPoll {
  readonly poll: EnvironmentPoll;
  readonly number: number;
  readonly resolve: (assignment: Assignment) => void;
  /** A controller has taken it in: another one need not hear of what it reports. */
  taken: boolean;
}

/**
 * What the worker knows of one of its environments and the controllers.
 *
 * Its *home* is the session of the controller that owns its function. Without one it is *parked*: it goes on with what it runs, keeps what it would
 * report, and waits for a controller that claims it.
 */
export class HeldEnvironmentState {
  readonly spec: ExecutionSpec;
  home: ControllerSession | undefined;
  /** Under which it was opened or claimed: only a later owner may claim it. */
  epoch: number;
  /** Since when it is parked; on the clock. */
  parkedAtMs: number | undefined;
  /** Ends the poll that is under way at its home. */
  abort = new AbortController();
  pending: PendingPoll | undefined;
  /** Its process is gone, and how: waits for a controller to tell. */
  departure: EnvironmentDeparture | undefined;
  /** A completion that no poll will carry, since the environment stops instead of polling. */
  lastCompletion: Completion | undefined;
  #running: HeldEnvironment['running'] | undefined;
  #startedAt = 0;
  #polls = 0;
  readonly #wishedAt: number;
  #measured: HeldEnvironment['measured'];

  /** `waitedMs`: how long ago the environment was wished for. */
  constructor(spec: ExecutionSpec, home: ControllerSession, epoch: number, waitedMs: number) {
    this.spec = spec;
    this.home = home;
    this.epoch = epoch;
    this.#wishedAt = performance.now() - waitedMs;
  }

  /** It is running what it was given. */
  get busy(): boolean {
    return this.pending === undefined && this.departure === undefined && this.#running !== undefined;
  }

  polls(poll: EnvironmentPoll, resolve: (assignment: Assignment) => void): void {
    this.#measured ??= { startMs: Math.round(performance.now() - this.#wishedAt) };
    if (poll.kind === 'completed' && poll.completion.outcome !== 'notRun') this.#measured = { ...this.#measured, durationMs: poll.completion.durationMs };
    this.pending = { poll, number: this.#polls++, resolve, taken: false };
  }

  /** Ends its poll. What that would have reported, and nobody has heard, goes with its departure. */
  endPoll(): PendingPoll | undefined {
    const { pending } = this;
    this.pending = undefined;
    if (pending?.taken === false && pending.poll.kind === 'completed') this.lastCompletion = pending.poll.completion;
    return pending;
  }

  given({ invocation, epoch, deliveryId }: Extract<Assignment, { kind: 'invoke' }>): void {
    this.#running = { head: headOf(invocation), epoch, deliveryId, ranMs: 0 };
    this.#startedAt = performance.now();
  }

  /** A controller knows how its last invocation ended. */
  told(): void {
    this.#running = undefined;
    if (this.pending !== undefined) this.pending.taken = true;
  }

  /** Whether it has an invocation whose end no controller has been told of. */
  get untold(): boolean {
    return this.#running !== undefined;
  }

  /** As a controller that claims it is told of it. */
  report(environmentId: string): HeldEnvironment {
    return {
      environmentId, spec: this.spec,
      ...(this.#running === undefined ? {} : { running: { ...this.#running, ranMs: Math.round(performance.now() - this.#startedAt) } }),
      ...(this.#measured === undefined ? {} : { measured: this.#measured }),
    };
  }

  /**
   * The poll for a new home, which has been told what ran when the environment was offered to it. It has to hear how that ended, also where the
   * former home has heard it in between; what only the former home knows of is not said again.
   */
  pollForNewHome(told: HeldEnvironment['running']): PendingPoll | undefined {
    const { pending } = this;
    if (pending?.taken !== true || pending.poll.kind !== 'completed') return pending;
    const { environmentId, completion } = pending.poll;
    const poll: EnvironmentPoll = completion.invocationId === told?.head.id ? pending.poll : { kind: 'initialized', environmentId, initDurationMs: 0 };
    this.pending = { ...pending, poll, taken: false };
    return this.pending;
  }
}
