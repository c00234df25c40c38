import type { Clock } from '../../clock.ts';
import type { PartitionAssignment } from '../../invocation-log/invocation-log.ts';
import type { ExecutionSpec } from '../../model/execution-spec.ts';
import { CODE_BUCKET } from '../../model/function.ts';
import { PAYLOAD_BUCKET } from '../../model/invocation.ts';
import { ANNOUNCE_INTERVAL_MS } from '../../protocol/announcement.ts';
import type { EnvironmentDeparture, EnvironmentPoll, HeldEnvironment, RuntimeExit } from '../../protocol/controller-link.ts';
import type { Answer, SessionRequest, WorkerRoom } from '../../protocol/wire/messages.ts';
import type { Logger } from '../../telemetry/logger.ts';
import { CLAIM_PATIENCE_MAX_MS, type PoolCapacity, type PoolListener, type WorkerPool } from '../worker-pool.ts';
import { EnvironmentPolls } from './environment-polls.ts';
import { BELIEVING, type WorkerOversight } from './oversight.ts';
import { place } from './placement.ts';
import { WorkerSession, type SessionEnd } from './worker-session.ts';

export interface FleetOptions {
  readonly listener: PoolListener;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Without it every worker is believed, and may run whatever it has room for. */
  readonly oversight?: WorkerOversight;
  /** How long after its start workers may still come that were there before; {@link GATHER_MS} by default. */
  readonly gatherMs?: number;
}

interface FleetEnvironment {
  readonly id: string;
  readonly spec: ExecutionSpec;
  readonly polls: EnvironmentPolls;
  /** When it was wished for, or known of. */
  readonly sinceMs: number;
  /** Undefined while no worker has room for it. */
  session: WorkerSession | undefined;
  /** Workers that have sent it back, having no room for it any more. */
  refusals: number;
  /** Its worker has been told to stop it. */
  stopped: boolean;
  /** While the controller is being asked whether it takes it over. */
  adopting?: Promise<boolean>;
}

/** A claim that workers are still to answer. */
interface Claim {
  readonly unanswered: Set<WorkerSession>;
  readonly done: () => void;
}

/** A worker hears of a new controller with its next announcement at the latest, and has a session with it soon after. */
const GATHER_MS = ANNOUNCE_INTERVAL_MS + 1_000;
/** How long a stop waits for workers to take notice of it. */
const CLOSE_PATIENCE_MS = 5_000;
/** An environment that so many workers have sent back is given up: what they say of their room does not hold. */
const REFUSALS_MAX = 5;

/**
 * {@link WorkerPool} of workers in processes of their own, which open sessions with this controller ({@link ../../protocol/wire/messages.ts}). An environment for
 * which no worker has room waits here for one, within the time that the scheduler gives a start.
 */
export class Fleet implements WorkerPool {
  readonly #options: FleetOptions;
  readonly #oversight: WorkerOversight;
  readonly #sessions = new Map<string, WorkerSession>();
  readonly #environments = new Map<string, FleetEnvironment>();
  /** Those without a session, in the order in which they were asked for. */
  readonly #unplaced = new Set<FleetEnvironment>();
  /** By number. */
  readonly #unanswered = new Map<number, Claim>();
  /** All partitions that are this controller's: told to workers that come later. */
  readonly #claimed = new Map<number, number>();
  #claims = 0;
  #gatheredAtMs: number;
  /** Waiting until so many workers are here. */
  #gathering: { readonly count: number; readonly done: () => void } | undefined;
  #closing: (() => void) | undefined;
  #closed: Promise<void> | undefined;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#oversight = options.oversight ?? BELIEVING;
    this.#gatheredAtMs = options.clock.now() + (options.gatherMs ?? GATHER_MS);
  }

  get capacity(): PoolCapacity {
    let [maxEnvironments, maxMemoryMiB, largestMiB] = [0, 0, 0];
    for (const { room } of this.#sessions.values()) {
      if (room.maxEnvironments === 0) continue;
      maxEnvironments += room.maxEnvironments;
      maxMemoryMiB += room.maxMemoryMiB;
      largestMiB = Math.max(largestMiB, room.maxMemoryMiB);
    }
    return { maxEnvironments, maxMemoryMiB, largestMiB };
  }

  get workers(): readonly WorkerSession[] {
    return [...this.#sessions.values()];
  }

  /** How many workers there are, for others to wait for; 0 as long as more may come that were there before. */
  get workersThere(): number {
    return this.#options.clock.now() >= this.#gatheredAtMs ? this.#sessions.size : 0;
  }

  get waitingForRoom(): number {
    return this.#unplaced.size;
  }

  /** Those that no worker has room for, in the order in which they were asked for. */
  get unplaced(): Iterable<{ readonly id: string; readonly spec: ExecutionSpec }> {
    return this.#unplaced;
  }

  /** It takes no worker any more. */
  get closed(): boolean {
    return this.#closed !== undefined;
  }

  // What the controller wants

  start(environmentId: string, spec: ExecutionSpec): void {
    const environment: FleetEnvironment = { id: environmentId, spec, polls: new EnvironmentPolls(this.#options.listener, this.#options.clock), sinceMs: this.#options.clock.now(), session: undefined, refusals: 0, stopped: false };
    this.#environments.set(environmentId, environment);
    if (this.#closed !== undefined) {
      queueMicrotask(() => this.#gone(environment, { environmentId, cause: { kind: 'cannotStart', message: 'The worker pool is closed.' } }));
      return;
    }
    this.#unplaced.add(environment);
    this.#placeWaiting();
  }

  stop(environmentId: string): void {
    const environment = this.#environments.get(environmentId);
    if (environment === undefined) return;
    const { session } = environment;
    environment.stopped = true;
    if (session?.live === true) session.instruct({ do: 'close', environmentId });
    else queueMicrotask(() => this.#gone(environment, { environmentId, cause: session === undefined ? { kind: 'stopped' } : { kind: 'workerLost' } }));
  }

  expect(spec: ExecutionSpec): void {
    for (const session of this.#sessions.values()) {
      grantCode(session, spec);
      session.instruct({ do: 'expect', spec });
    }
  }

  async claim({ partitions, epoch }: PartitionAssignment): Promise<void> {
    for (const partition of partitions) this.#claimed.set(partition, epoch);
    await Promise.all([this.#askWorkers(partitions, epoch), this.#gathered()]);
  }

  /**
   * Resolves once so many workers are here, which are then all that there are, or when those that live must have heard of this controller. Whoever takes over functions after that
   * finds what runs at once.
   */
  async gather(count: number): Promise<void> {
    const { clock } = this.#options;
    if (this.#sessions.size < count && clock.now() < this.#gatheredAtMs) {
      await new Promise<void>((resolve) => {
        const patience = clock.at(this.#gatheredAtMs, resolve);
        this.#gathering = {
          count,
          done: () => {
            patience.cancel();
            resolve();
          },
        };
      });
      this.#gathering = undefined;
    }
    // Where nobody has told how many there are, those that were there before may still come.
    if (count > 0 && this.#sessions.size >= count) this.#gatheredAtMs = clock.now();
  }

  /** Another controller has come: workers open a session with it too. */
  meet(url: string): void {
    for (const session of this.#sessions.values()) session.instruct({ do: 'meet', url });
  }

  /** Workers that live have heard of this controller by then, and have been told what it claims when they came. */
  #gathered(): Promise<void> {
    const { clock } = this.#options;
    if (clock.now() >= this.#gatheredAtMs) return Promise.resolve();
    return new Promise((resolve) => clock.at(this.#gatheredAtMs, resolve));
  }

  async #askWorkers(partitions: readonly number[], epoch: number): Promise<void> {
    if (this.#sessions.size === 0) return;
    const { clock } = this.#options;
    await new Promise<void>((resolve) => {
      const number = ++this.#claims;
      const timer = clock.at(clock.now() + CLAIM_PATIENCE_MAX_MS, () => claim.done());
      const claim: Claim = {
        unanswered: new Set(this.#sessions.values()),
        done: () => {
          timer.cancel();
          this.#unanswered.delete(number);
          resolve();
        },
      };
      this.#unanswered.set(number, claim);
      for (const session of [...claim.unanswered]) session.instruct({ do: 'claim', claim: number, partitions, epoch });
    });
  }

  #answered(claim: Claim, session: WorkerSession): void {
    if (claim.unanswered.delete(session) && claim.unanswered.size === 0) claim.done();
  }

  handOver(environmentId: string): void {
    const environment = this.#environments.get(environmentId);
    if (environment !== undefined) this.#forget(environment);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    const { clock } = this.#options;
    for (const environment of this.#environments.values()) this.stop(environment.id);
    if (this.#environments.size > 0) {
      await new Promise<void>((resolve) => {
        const patience = clock.at(clock.now() + CLOSE_PATIENCE_MS, resolve);
        this.#closing = () => {
          patience.cancel();
          resolve();
        };
      });
    }
    for (const environment of [...this.#environments.values()]) this.#gone(environment, { environmentId: environment.id, cause: { kind: 'workerLost' } });
    for (const session of [...this.#sessions.values()]) {
      session.instruct({ do: 'leave' });
      // After the instruction has gone out with the poll that waits for it.
      await Promise.resolve();
      session.end('left');
    }
  }

  specOf(environmentId: string): ExecutionSpec | undefined {
    return this.#environments.get(environmentId)?.spec;
  }

  /** The name of the worker that has the environment. */
  workerOf(environmentId: string): string | undefined {
    return this.#environments.get(environmentId)?.session?.worker;
  }

  // What is known of workers from elsewhere

  admits(worker: string, address: string): Promise<boolean> {
    return this.#oversight.admits(worker, address);
  }

  /** An environment for which there will be no room departs. */
  giveUp(environmentId: string, message: string): void {
    const environment = this.#environments.get(environmentId);
    if (environment !== undefined && this.#unplaced.has(environment)) this.#gone(environment, { environmentId, cause: { kind: 'cannotStart', message } });
  }

  /** The worker is dead, however its connections look. `message` says how, for those whose invocations it ran. */
  workerDied(worker: string, message: string): void {
    for (const session of [...this.#sessions.values()]) {
      if (session.worker !== worker) continue;
      for (const environment of [...this.#environments.values()]) {
        if (environment.session === session) this.#gone(environment, { environmentId: environment.id, cause: { kind: 'workerLost', message } });
      }
      session.end('closed');
    }
  }

  /** Tells a worker that the runtime in the container beside it has ended; whether it is there to be told. */
  runtimeEnded(worker: string, exit: RuntimeExit): boolean {
    const session = this.#liveSessionOf(worker);
    session?.instruct({ do: 'runtimeEnded', exit });
    return session !== undefined;
  }

  /** Tells a worker that its container is being given so much memory, if it is there to be told: it says when it has it. */
  growing(worker: string, memoryLimitMiB: number): void {
    this.#liveSessionOf(worker)?.instruct({ do: 'grow', memoryLimitMiB });
  }

  #liveSessionOf(worker: string): WorkerSession | undefined {
    return [...this.#sessions.values()].find((session) => session.worker === worker && session.live);
  }

  /** What a worker may be used for has changed: places what waits. */
  oversightChanged(): void {
    this.#placeWaiting();
  }

  // What workers say

  session(id: string): WorkerSession | undefined {
    return this.#sessions.get(id);
  }

  open({ worker, instance, room }: SessionRequest): WorkerSession {
    for (const other of [...this.#sessions.values()]) {
      if (other.worker === worker) other.end(other.instance === instance ? 'reopened' : 'replaced');
    }
    // What a process has left that was silent and is known to be gone now.
    for (const environment of [...this.#environments.values()]) {
      const of = environment.session;
      if (of?.worker === worker && of.instance !== instance) this.#gone(environment, { environmentId: environment.id, cause: { kind: 'workerLost' } });
    }
    const session = new WorkerSession({ worker, instance, room, clock: this.#options.clock, onEnd: (ended, why) => this.#sessionEnded(ended, why) });
    this.#sessions.set(session.id, session);
    // It may hold environments of an owner that is gone.
    const byEpoch = Map.groupBy(this.#claimed, ([, epoch]) => epoch);
    for (const [epoch, entries] of byEpoch) session.instruct({ do: 'claim', claim: ++this.#claims, partitions: entries.map(([partition]) => partition), epoch });
    this.#capacityChanged();
    if (this.#gathering !== undefined && this.#sessions.size >= this.#gathering.count) this.#gathering.done();
    return session;
  }

  roomChanged(session: WorkerSession, room: WorkerRoom): void {
    if (room.maxEnvironments === session.room.maxEnvironments && room.maxMemoryMiB === session.room.maxMemoryMiB) return;
    session.room = room;
    this.#capacityChanged();
  }

  /** The worker says what memory its container has. */
  grown(session: WorkerSession, memoryLimitMiB: number): void {
    this.#oversight.grown?.(session, memoryLimitMiB);
  }

  /** The worker says how many environments it holds, of all controllers. */
  holds(session: WorkerSession, environments: number): void {
    if (environments === session.held) return;
    session.held = environments;
    this.#oversight.holdingChanged?.(session);
  }

  /** The ids of those that are this controller's from now on. */
  async held(session: WorkerSession, claim: number | undefined, environments: readonly HeldEnvironment[]): Promise<readonly string[]> {
    const verdicts = await Promise.all(environments.map((held) => this.#adopt(session, held)));
    const asked = claim === undefined ? undefined : this.#unanswered.get(claim);
    if (asked !== undefined) this.#answered(asked, session);
    return environments.filter((_, index) => verdicts[index]).map(({ environmentId }) => environmentId);
  }

  async #adopt(session: WorkerSession, held: HeldEnvironment): Promise<boolean> {
    const known = this.#environments.get(held.environmentId);
    // A worker may offer one again while the controller is still being asked.
    if (known !== undefined) return known.session === session ? (known.adopting ?? true) : this.#rejoined(known, session);
    if (this.closed || !session.live) return false;
    const { listener, clock } = this.#options;
    // Entered before the controller hears of it: it may want to stop it at once.
    const environment: FleetEnvironment = { id: held.environmentId, spec: held.spec, polls: new EnvironmentPolls(listener, clock, { busy: held.running !== undefined }), sinceMs: clock.now(), session: undefined, refusals: 0, stopped: false };
    this.#settleOn(environment, session);
    environment.adopting = this.#ask(environment, held);
    return environment.adopting;
  }

  async #ask(environment: FleetEnvironment, held: HeldEnvironment): Promise<boolean> {
    const { listener } = this.#options;
    const taken = await listener.adopted(held);
    delete environment.adopting;
    const present = this.#environments.get(environment.id);
    if (!taken && present === environment) this.#forget(environment);
    // Its worker was lost meanwhile, when the controller did not know of it yet.
    if (taken && present === undefined) listener.gone({ environmentId: environment.id, cause: { kind: 'workerLost' } });
    return taken && present === environment;
  }

  /** The worker has opened another session, and this environment, which was busy all along, is back with it. */
  #rejoined(environment: FleetEnvironment, session: WorkerSession): boolean {
    if (environment.session?.live === true || environment.session?.instance !== session.instance) return false;
    this.#settleOn(environment, session);
    return true;
  }

  /** Undefined: the poll may be taken in. Otherwise when that is to be tried. */
  heldBack({ kind }: EnvironmentPoll): Promise<void> | undefined {
    return kind === 'completed' ? this.#options.listener.undecided() : undefined;
  }

  async next(session: WorkerSession, environmentId: string, number: number, poll: EnvironmentPoll): Promise<Answer> {
    const environment = this.#environments.get(environmentId);
    if (environment?.session !== session) return { kind: 'moved' };
    const answer = await environment.polls.next(number, poll);
    const claim = answer.kind === 'invoke' ? answer.invocation.claim : undefined;
    if (claim?.kind === 'object') session.grants.read({ bucket: PAYLOAD_BUCKET, key: claim.key });
    return answer;
  }

  departed(session: WorkerSession, departure: EnvironmentDeparture): void {
    const environment = this.#environments.get(departure.environmentId);
    if (environment?.session !== session) return;
    const { cause } = departure;
    if (cause.kind === 'noRoom') this.#sentBack(environment, session, cause.message);
    else this.#gone(environment, departure);
  }

  /** The worker has no room for the environment any more: it waits for another. */
  #sentBack(environment: FleetEnvironment, session: WorkerSession, message: string): void {
    if (environment.stopped) {
      this.#gone(environment, { environmentId: environment.id, cause: { kind: 'stopped' } });
      return;
    }
    this.#leaveSession(environment);
    this.#oversight.sentBack?.(session);
    if (++environment.refusals > REFUSALS_MAX || this.closed) {
      this.#gone(environment, { environmentId: environment.id, cause: { kind: 'cannotStart', message } });
      return;
    }
    // Full, until it says otherwise.
    session.room = { ...session.room, maxEnvironments: Math.min(session.room.maxEnvironments, session.environments) };
    this.#unplaced.add(environment);
    this.#capacityChanged();
  }

  /** The worker would like to stop this environment: it may where it has nothing to do. */
  retire(session: WorkerSession, environmentId: string): void {
    if (this.#environments.get(environmentId)?.session === session) this.#options.listener.retire(environmentId);
  }

  // Bookkeeping

  #settleOn(environment: FleetEnvironment, session: WorkerSession): void {
    this.#environments.set(environment.id, environment);
    this.#leaveSession(environment);
    environment.session = session;
    session.environments++;
    session.memoryMiB += environment.spec.configuration.memoryMiB;
    session.learnCode(environment.spec.configuration.code.sha256);
    grantCode(session, environment.spec);
    session.grants.log(environment.spec.configuration.logGroup);
    this.#oversight.placed?.(session, environment.spec);
  }

  #leaveSession(environment: FleetEnvironment): void {
    const { session } = environment;
    if (session === undefined) return;
    session.environments--;
    session.memoryMiB -= environment.spec.configuration.memoryMiB;
    environment.session = undefined;
    this.#oversight.holdingChanged?.(session);
  }

  #forget(environment: FleetEnvironment): void {
    this.#environments.delete(environment.id);
    this.#unplaced.delete(environment);
    environment.polls.close();
    this.#leaveSession(environment);
    this.#placeWaiting();
    if (this.#environments.size === 0) this.#closing?.();
  }

  #gone(environment: FleetEnvironment, departure: EnvironmentDeparture): void {
    if (this.#environments.get(environment.id) !== environment) return;
    this.#forget(environment);
    this.#options.listener.gone(departure);
  }

  #placeWaiting(): void {
    if (this.#unplaced.size === 0) return;
    for (const environment of this.#unplaced) {
      const { memoryMiB, code } = environment.spec.configuration;
      const candidates = [...this.#sessions.values()].map((session) => ({
        session, ...this.#oversight.roomFor(session, environment.spec), environments: session.environments, memoryMiB: session.memoryMiB, knowsCode: session.knowsCode(code.sha256),
      }));
      const chosen = place(candidates, memoryMiB)?.session;
      if (chosen === undefined) continue;
      this.#unplaced.delete(environment);
      this.#settleOn(environment, chosen);
      chosen.instruct({ do: 'open', environmentId: environment.id, spec: environment.spec, waitedMs: this.#options.clock.now() - environment.sinceMs });
    }
  }

  #sessionEnded(session: WorkerSession, why: SessionEnd): void {
    this.#sessions.delete(session.id);
    for (const claim of [...this.#unanswered.values()]) this.#answered(claim, session);
    if (why === 'closed' || why === 'silent') this.#options.logger.warn({ worker: session.worker, why }, 'a worker is lost');
    for (const environment of [...this.#environments.values()]) {
      if (environment.session !== session) continue;
      // A worker that says nothing may still run what it was given, one that is back does (invariant 3): that has its lease. What runs nothing is not lost by giving it up.
      if ((why === 'silent' || why === 'reopened') && environment.polls.busy) continue;
      this.#gone(environment, { environmentId: environment.id, cause: { kind: 'workerLost' } });
    }
    this.#capacityChanged();
  }

  #capacityChanged(): void {
    if (this.#closed !== undefined) return;
    this.#options.listener.capacityChanged(this.capacity);
    this.#placeWaiting();
  }
}

/** An image's code does not come from the object store. */
function grantCode({ grants }: WorkerSession, { configuration: { code, image } }: ExecutionSpec): void {
  if (image === undefined) grants.read({ bucket: CODE_BUCKET, key: code.objectKey }, code.sizeBytes);
}
