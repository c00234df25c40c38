import type { Agent } from 'undici';
import type { Clock, Timer } from '../../platform/clock.ts';
import { internalGet } from '../../platform/internal-http/client.ts';
import { partitionOf } from '../../platform/invocation-log/invocation-log.ts';
import { functionIdOf, functionKey } from '../../platform/model/execution-spec.ts';
import { CODE_BUCKET } from '../../platform/model/function.ts';
import type { ObjectLocation } from '../../platform/object-store/object-store.ts';
import type { Assignment, ControllerLink, EnvironmentHost, HeldEnvironment } from '../../platform/protocol/controller-link.ts';
import { NO_ROOM, SMALL_PACKAGE_BYTES, type Instruction, type WireLog, type WorkerRoom } from '../../platform/protocol/wire/messages.ts';
import type { Logger } from '../../platform/telemetry/logger.ts';
import type { CodeSource } from '../code/code-source.ts';
import { ControllerSession } from './controller-session.ts';
import { ClaimedPayloads } from './claimed-payloads.ts';
import { HeldEnvironmentState } from './held-environment.ts';
import { SessionLogs } from './session-logs.ts';

/** An environment that no controller has claimed for so long stops, if it has nothing to do, and what it could not report is forgotten. */
const PARKED_MAX_MS = 60_000;
const PARKED_CHECK_MS = 5_000;
/** A package is 50 MiB at most, on a network of our own. */
const OBJECT_TIMEOUT_MS = 60_000;
/** While its container is to grow, a worker looks this often whether it has: a start waits for it. */
const GROW_LOOK_MS = 5;
/** Then it is left to the cluster to tell. */
const GROW_PATIENCE_MS = 10_000;

export interface ControllersOptions {
  readonly worker: string;
  readonly instance: string;
  readonly joinToken: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly agent: Agent;
  /** Trusts the object store's authority. */
  readonly storeAgent: Agent;
  /** What all controllers together may use. */
  readonly room: WorkerRoom;
  /** It runs environments of one function only: that of the first that it is given. Until then every controller may use all of it. */
  readonly dedicated: boolean;
  /** What the kernel grants this container now; asked while it is to grow. */
  readonly memoryLimitMiB: () => number;
  /** A controller has told of another one. */
  readonly onMet: (url: string) => void;
}

/**
 * The controllers that a worker serves: it opens a session with each, gives each an equal part of its room, and brings every environment's reports to the one that
 * owns its function, whichever that comes to be.
 */
export class Controllers implements ControllerLink {
  /** What functions print goes to the controllers of theirs. */
  readonly logs: SessionLogs;
  readonly #options: ControllersOptions;
  readonly #payloads: ClaimedPayloads;
  readonly #sessions = new Map<string, ControllerSession>();
  readonly #environments = new Map<string, HeldEnvironmentState>();
  #host: EnvironmentHost | undefined;
  #sweep: Timer | undefined;
  #draining: (() => void) | undefined;
  #stopped = false;
  /** The next look at the memory of the container, while it is to grow. */
  #growth: Timer | undefined;
  #grownToMiB: number | undefined;
  /** Where the worker is dedicated: what it is dedicated to ({@link functionIdOf}). */
  #functionId: string | undefined;

  constructor(options: ControllersOptions) {
    this.#options = options;
    this.#payloads = new ClaimedPayloads(options.agent, (location) => this.#read(location));
    this.logs = new SessionLogs({ send: (logs) => this.#sendLogs(logs), clock: options.clock });
  }

  /** Brings a deployment package, of a function that a controller has told this worker of. */
  readonly code: CodeSource = async ({ objectKey: key, sizeBytes }) => {
    const location = { bucket: CODE_BUCKET, key };
    return (sizeBytes <= SMALL_PACKAGE_BYTES ? await this.#ask(location) : undefined) ?? this.#read(location);
  };

  /** A small package, of the first controller that hands it over. */
  async #ask(location: ObjectLocation): Promise<Buffer | undefined> {
    const answers = this.#openSessions.map(async (session) => (await session.package(location)) ?? Promise.reject(new Error('not from here')));
    return Promise.any(answers).catch(() => undefined);
  }

  /** Which of the controllers may say where it lies is theirs to know. */
  async #read(location: ObjectLocation): Promise<Buffer> {
    const url = await Promise.any(this.#openSessions.map((session) => session.locate(location))).catch((error: unknown) => {
      throw new Error(`No controller says where ${location.bucket}/${location.key} lies: ${error instanceof AggregateError ? String(error.errors[0] ?? 'there is none') : String(error)}`, { cause: error });
    });
    const { status, body } = await internalGet(this.#options.storeAgent, url, OBJECT_TIMEOUT_MS);
    if (status !== 200) throw new Error(`The object store answered ${status} when ${location.bucket}/${location.key} was read.`);
    return body;
  }

  /** To the home of an environment that prints there, otherwise to whoever takes it. */
  async #sendLogs(logs: readonly WireLog[]): Promise<readonly WireLog[]> {
    const homes = new Map([...this.#environments.values()].flatMap(({ spec, home }) => (home?.open === true ? [[spec.configuration.logGroup, home] as const] : [])));
    const left: WireLog[] = [];
    for (const [home, some] of Map.groupBy(logs, ({ group }) => homes.get(group))) {
      const others = this.#openSessions.filter((session) => session !== home);
      let taken = false;
      for (const session of home === undefined ? others : [home, ...others]) if ((taken = await session.log(some))) break;
      if (!taken) left.push(...some);
    }
    return left;
  }

  /** Where environments are opened; before it is set no controller is spoken to. */
  attach(host: EnvironmentHost): void {
    this.#host = host;
    this.#sweep = this.#options.clock.at(this.#options.clock.now() + PARKED_CHECK_MS, () => this.#giveUpParked());
  }

  get #openSessions(): ControllerSession[] {
    return [...this.#sessions.values()].filter((session) => session.open);
  }

  /** How many controllers this worker has a session with. */
  get open(): number {
    return this.#openSessions.length;
  }

  get environments(): number {
    return this.#environments.size;
  }

  /** The controllers that there are now, by URL. Sessions with others end. */
  known(urls: ReadonlySet<string>): void {
    if (this.#stopped) return;
    for (const [url, session] of this.#sessions) {
      // One that still speaks is left to say itself that it is gone.
      if (urls.has(url) || session.open) continue;
      this.#sessions.delete(url);
      void session.stop();
    }
    const { worker, instance, joinToken, agent, logger } = this.#options;
    for (const url of urls) {
      if (this.#sessions.has(url)) continue;
      const session = new ControllerSession({
        url, worker, instance, joinToken, agent, logger,
        room: (asking) => this.#share(asking),
        memoryLimitMiB: () => this.#grownToMiB,
        environments: () => this.#environments.size,
        onOpen: (opened) => this.#opened(opened),
        onLost: (lost) => this.#lost(lost),
        onDeparted: (environmentIds) => this.#departed(environmentIds),
        onInstruction: (from, instruction) => this.#carryOut(from, instruction),
      });
      this.#sessions.set(url, session);
    }
  }

  // What environments say

  next: ControllerLink['next'] = (poll) =>
    new Promise((resolve) => {
      const environment = this.#environments.get(poll.environmentId);
      if (environment === undefined) {
        resolve({ kind: 'stop' });
        return;
      }
      if (this.#draining !== undefined && poll.kind === 'completed') {
        environment.lastCompletion = poll.completion;
        resolve({ kind: 'stop' });
        return;
      }
      environment.polls(poll, resolve);
      void this.#poll(poll.environmentId, environment);
    });

  /** The poll that follows at once says the same. */
  responded(): void {}

  gone: ControllerLink['gone'] = (departure) => {
    const environment = this.#environments.get(departure.environmentId);
    if (environment === undefined) return;
    environment.endPoll();
    const { lastCompletion } = environment;
    environment.abort.abort();
    environment.departure = departure.completion === undefined && lastCompletion !== undefined ? { ...departure, completion: lastCompletion } : departure;
    this.#report(departure.environmentId, environment);
  };

  /** Tells the home of an environment that it is gone, or keeps the news for the next one. */
  #report(environmentId: string, environment: HeldEnvironmentState): void {
    const { home, departure } = environment;
    if (departure === undefined) return;
    if (home?.open === true) home.depart(departure);
    else if (departure.completion === undefined || !environment.untold) this.#departed([environmentId]);
    else this.#park(environment);
  }

  #departed(environmentIds: readonly string[]): void {
    for (const id of environmentIds) if (this.#environments.get(id)?.departure !== undefined) this.#environments.delete(id);
    if (this.#environments.size > 0) return;
    this.#draining?.();
    if (this.#options.dedicated) this.#shareAnew();
  }

  /** Brings an environment's poll to its home and the answer back, as long as that is its home. */
  async #poll(environmentId: string, environment: HeldEnvironmentState): Promise<void> {
    const { home, pending, abort } = environment;
    if (pending === undefined) return;
    if (home === undefined) {
      this.#park(environment);
      return;
    }
    const outcome = await home.poll(pending.poll, pending.number, abort.signal, () => {
      if (environment.pending !== pending || environment.home !== home) return;
      environment.told();
      if (this.#draining !== undefined) void home.retire([environmentId]);
    });
    // It was claimed by another owner or ended meanwhile: this answer is nobody's (invariant 2).
    if (environment.home !== home || environment.pending !== pending) return;
    switch (outcome.kind) {
      case 'invoke':
        environment.given(outcome);
        await this.#handOut(environmentId, environment, outcome, pending.resolve);
        return;
      case 'stop':
        environment.pending = undefined;
        pending.resolve(outcome);
        return;
      case 'moved':
      case 'lost':
        environment.home = undefined;
        this.#park(environment);
        // Another owner may have asked for it while the former one still had it.
        void this.#offerTo(this.#ownerOf(environment), [environmentId]);
        return;
      case 'again':
        throw new Error('A session repeats a poll by itself.');
    }
  }

  /** Gives an environment its invocation, with the payload where that has stayed behind. What cannot be had is not run. */
  async #handOut(environmentId: string, environment: HeldEnvironmentState, assignment: Extract<Assignment, { kind: 'invoke' }>, resolve: (assignment: Assignment) => void): Promise<void> {
    const { invocation, epoch, deliveryId } = assignment;
    environment.pending = undefined;
    if (invocation.claim === undefined) {
      resolve(assignment);
      return;
    }
    try {
      resolve({ ...assignment, invocation: { ...invocation, payload: await this.#payloads.fetch(invocation) } });
    } catch (error) {
      this.#options.logger.warn({ err: error, invocation: invocation.id }, 'the payload of an invocation cannot be had; it is not run');
      environment.polls({ kind: 'completed', environmentId, completion: { invocationId: invocation.id, epoch, deliveryId, outcome: 'notRun', durationMs: 0 } }, resolve);
      await this.#poll(environmentId, environment);
    }
  }

  #park(environment: HeldEnvironmentState): void {
    environment.parkedAtMs ??= this.#options.clock.now();
  }

  // What controllers say

  #carryOut(from: ControllerSession, instruction: Instruction): void {
    switch (instruction.do) {
      case 'open':
        this.#openEnvironment(from, instruction);
        return;
      case 'close':
        if (this.#environments.get(instruction.environmentId)?.home === from) this.#host?.close(instruction.environmentId);
        return;
      case 'expect':
        this.#host?.expect(instruction.spec);
        break;
      case 'grow':
        this.#grow(instruction.memoryLimitMiB, this.#options.clock.now() + GROW_PATIENCE_MS);
        return;
      case 'runtimeEnded':
        this.#host?.runtimeEnded?.(instruction.exit);
        return;
      case 'claim':
        void this.#claimed(from, instruction);
        return;
      case 'meet':
        this.#options.onMet(instruction.url);
        return;
      case 'leave':
        return;
    }
  }

  #openEnvironment(from: ControllerSession, { environmentId, spec, waitedMs = 0 }: Extract<Instruction, { do: 'open' }>): void {
    if (this.#environments.has(environmentId)) return;
    const { room } = this.#options;
    const present = [...this.#environments.values()].filter(({ departure }) => departure === undefined);
    const usedMiB = present.reduce((sum, environment) => sum + environment.spec.configuration.memoryMiB, 0);
    const other = this.#options.dedicated && (this.#functionId ?? functionIdOf(spec)) !== functionIdOf(spec);
    if (this.#draining !== undefined || other || present.length >= room.maxEnvironments || usedMiB + spec.configuration.memoryMiB > room.maxMemoryMiB) {
      from.depart({ environmentId, cause: { kind: 'noRoom', message: `The worker ${this.#options.worker} has no room at present.` } });
      return;
    }
    this.#functionId = functionIdOf(spec);
    this.#environments.set(environmentId, new HeldEnvironmentState(spec, from, from.epochs.get(partitionFor(spec, from.partitions)) ?? 0, waitedMs));
    this.#host?.open(environmentId, spec);
    // The others may use nothing of it now, and need not find that out by being sent back.
    if (this.#options.dedicated) this.#shareAnew();
  }

  /** A controller owns these partitions now: it gets what belongs to them from whoever had it under an earlier epoch. */
  async #claimed(by: ControllerSession, { claim, partitions, epoch }: Extract<Instruction, { do: 'claim' }>): Promise<void> {
    const claimed = new Set(partitions);
    const ids = [...this.#environments].filter(([, { spec, home, epoch: since }]) => home !== by && since < epoch && claimed.has(partitionFor(spec, by.partitions))).map(([id]) => id);
    await this.#offerTo(by, ids, claim);
  }

  /** Offers environments to a controller and moves those that it takes. */
  async #offerTo(session: ControllerSession | undefined, ids: readonly string[], claim?: number): Promise<void> {
    if (session === undefined || (ids.length === 0 && claim === undefined)) return;
    const offered = ids.flatMap((id) => {
      const environment = this.#environments.get(id);
      return environment === undefined ? [] : [environment.report(id)];
    });
    const told = new Map(offered.map(({ environmentId, running }) => [environmentId, running]));
    for (const id of await session.offer(offered, claim)) this.#move(id, session, told.get(id));
  }

  /** `told`: what ran when it was offered. */
  #move(environmentId: string, to: ControllerSession, told: HeldEnvironment['running']): void {
    const environment = this.#environments.get(environmentId);
    if (environment === undefined) {
      // It ended while it was offered, and had nothing to tell.
      to.depart({ environmentId, cause: { kind: 'stopped' } });
      return;
    }
    const epoch = to.epochs.get(partitionFor(environment.spec, to.partitions)) ?? environment.epoch;
    if (epoch < environment.epoch) return;
    environment.abort.abort();
    environment.abort = new AbortController();
    environment.home = to;
    environment.parkedAtMs = undefined;
    environment.epoch = epoch;
    this.#report(environmentId, environment);
    if (environment.pollForNewHome(told) !== undefined) void this.#poll(environmentId, environment);
  }

  /** The open session that has claimed the environment's function under the latest epoch, unless the environment is of a later one. */
  #ownerOf({ spec, epoch }: HeldEnvironmentState): ControllerSession | undefined {
    let [owner, latest]: [ControllerSession | undefined, number] = [undefined, epoch];
    for (const session of this.#sessions.values()) {
      const claimed = session.open ? (session.epochs.get(partitionFor(spec, session.partitions)) ?? -1) : -1;
      if (claimed >= latest) [owner, latest] = [session, claimed];
    }
    return owner;
  }

  #opened(session: ControllerSession): void {
    this.#shareAnew();
    // It may be the owner of what lost its own, and may not have claimed it by name.
    const parked = [...this.#environments].filter(([, { home }]) => home === undefined).map(([id]) => id);
    void this.#offerTo(session, parked);
  }

  #lost(session: ControllerSession): void {
    for (const [id, environment] of [...this.#environments]) {
      if (environment.home !== session) continue;
      environment.home = undefined;
      environment.abort.abort();
      environment.abort = new AbortController();
      if (environment.departure === undefined) {
        this.#park(environment);
        // Another one may have claimed its function before this environment was there.
        if (!this.#stopped) void this.#offerTo(this.#ownerOf(environment), [id]);
      } else {
        this.#report(id, environment);
      }
    }
    this.#shareAnew();
  }

  // Room

  /** Each controller's part: it holds without one asking another. Of a dedicated worker all is its function's owner's. */
  #share(of: ControllerSession): WorkerRoom {
    if (this.#draining !== undefined) return NO_ROOM;
    const { room, dedicated } = this.#options;
    if (dedicated) {
      const homes = new Set([...this.#environments.values()].map(({ home }) => home));
      return homes.size === 0 || homes.has(of) ? room : NO_ROOM;
    }
    const parts = Math.max(1, this.open);
    const { maxEnvironments, maxMemoryMiB } = room;
    return { maxEnvironments: Math.max(1, Math.floor(maxEnvironments / parts)), maxMemoryMiB: Math.floor(maxMemoryMiB / parts) };
  }

  /** Nothing tells a process that its limit has changed: it is looked at until it has, or for as long as the cluster may take. */
  #grow(limitMiB: number, untilMs: number): void {
    const { clock, memoryLimitMiB } = this.#options;
    this.#growth?.cancel();
    this.#growth = undefined;
    const grantedMiB = memoryLimitMiB();
    if (grantedMiB >= limitMiB) {
      this.#grownToMiB = grantedMiB;
      this.#shareAnew();
    } else if (!this.#stopped && clock.now() < untilMs) {
      this.#growth = clock.at(clock.now() + GROW_LOOK_MS, () => this.#grow(limitMiB, untilMs));
    }
  }

  #shareAnew(): void {
    for (const session of this.#sessions.values()) if (session.open) session.roomChanged();
  }

  #giveUpParked(): void {
    const { clock, logger } = this.#options;
    for (const [id, environment] of [...this.#environments]) {
      if (environment.parkedAtMs === undefined || environment.busy || clock.now() - environment.parkedAtMs < PARKED_MAX_MS) continue;
      logger.warn({ environmentId: id, function: environment.spec.functionName }, 'an environment that no controller has claimed is stopped');
      const { pending } = environment;
      environment.pending = undefined;
      if (environment.departure !== undefined) this.#departed([id]);
      else pending?.resolve({ kind: 'stop' });
    }
    if (!this.#stopped) this.#sweep = clock.at(clock.now() + PARKED_CHECK_MS, () => this.#giveUpParked());
  }

  // The end

  /** Takes nothing new, stops what has nothing to do, and resolves when everything that runs has ended and is reported, or at `patienceMs`. */
  async drain(patienceMs: number): Promise<void> {
    const { clock } = this.#options;
    await new Promise<void>((resolve) => {
      const patience = clock.at(clock.now() + patienceMs, resolve);
      this.#draining = () => {
        patience.cancel();
        resolve();
      };
      this.#shareAnew();
      for (const session of this.#sessions.values()) {
        void session.retire([...this.#environments].filter(([, { home }]) => home === session).map(([id]) => id));
      }
      for (const environment of this.#environments.values()) if (environment.home === undefined) environment.endPoll()?.resolve({ kind: 'stop' });
      if (this.#environments.size === 0) this.#draining();
    });
  }

  /** Leaves every controller. Idempotent. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#growth?.cancel();
    this.#sweep?.cancel();
    await Promise.all([...this.#sessions.values()].map((session) => session.stop()));
  }
}

function partitionFor({ account, functionName }: HeldEnvironmentState['spec'], partitions: number): number {
  return partitionOf(functionKey(account, functionName), Math.max(1, partitions));
}
