import type { ExecutionSpec } from '../../platform/model/execution-spec.ts';
import type { PoolCapacity } from '../../platform/worker-pool/worker-pool.ts';
import { measuredStart } from './estimates.ts';
import type { Functions } from './functions.ts';
import { IndexedHeap } from './indexed-heap.ts';
import { LinkedList } from './linked-list.ts';
import { environmentState, type Environment, type TimerOwner, type VersionState, type Work } from './state.ts';
import type { Timers } from './timers.ts';
import type { Turn } from './turn.ts';

/** Environments and their memory, in numbers. */
export interface Room {
  environments: number;
  memoryMiB: number;
}

/** Room that is being made for a version. */
interface Claim {
  readonly version: VersionState;
  readonly memoryMiB: number;
}

export interface EnvironmentsOptions {
  readonly turn: Turn;
  readonly timers: Timers<TimerOwner>;
  readonly functions: Functions;
  readonly capacity: PoolCapacity;
  readonly keepAliveMinMs: number;
  readonly keepAliveMaxMs: number;
  /** Begins the id of every environment that is started here. */
  readonly name: string;
}

/**
 * The environments of the pool and the room they take. A version that wants an environment for which there is no room stands in
 * `wanting`, where the version whose oldest invocation came first is served first. Room is made by stopping idle environments;
 * what such a stop will free is a *claim* of the version that it is made for, so that nobody else takes it in between.
 */
export class Environments {
  /** Of every state. */
  readonly used: Room = { environments: 0, memoryMiB: 0 };
  readonly tally = { started: 0, evicted: 0, gaveWay: 0 };
  private readonly byId = new Map<string, Environment>();
  /** Idle ones of all versions, least recently used first. */
  private readonly recency = new LinkedList<Environment>();
  private readonly wanting = new IndexedHeap<VersionState>();
  /** Versions for which room is being made, in order; at most one per environment that leaves. */
  private readonly claims: Claim[] = [];
  /** The part of `used` that has been told to stop. */
  private readonly leaving: Room = { environments: 0, memoryMiB: 0 };
  private readonly claimed: Room = { environments: 0, memoryMiB: 0 };
  private readonly options: EnvironmentsOptions;
  private capacity: PoolCapacity;
  private draining = false;

  constructor(options: EnvironmentsOptions) {
    this.options = options;
    this.capacity = options.capacity;
  }

  get(id: string): Environment | undefined {
    return this.byId.get(id);
  }

  /** Environments of every state, spent and leaving ones included. */
  of(version: VersionState): readonly Environment[] {
    return [...this.byId.values()].filter((environment) => environment.version === version);
  }

  get idleCount(): number {
    return this.recency.length;
  }

  get leavingCount(): number {
    return this.leaving.environments;
  }

  get wantingCount(): number {
    return this.wanting.size;
  }

  get largestMiB(): number {
    return this.capacity.largestMiB;
  }

  /** Whether an environment of this size fits into the pool when it is empty. Where there is no worker at present, one may come. */
  fitsEver(memoryMiB: number): boolean {
    return this.capacity.maxEnvironments === 0 || memoryMiB <= this.capacity.largestMiB;
  }

  /** The pool has another size now. What is too much leaves when it is idle, least recently used first. */
  resize(capacity: PoolCapacity, sequence: number): void {
    this.capacity = capacity;
    for (let idle = this.recency.first; idle !== undefined && this.exceeds(this.staying); idle = this.recency.first) {
      this.stop(idle);
      this.tally.evicted++;
    }
    this.makeRoom(sequence);
  }

  /** Takes over an environment that an earlier owner started. Its poll is still to come: until then it counts as starting. */
  adopt(id: string, version: VersionState, spec: ExecutionSpec, sequence: number): Environment {
    const { turn, timers } = this.options;
    const environment = environmentState(id, version, spec, turn.nowMs, sequence);
    environment.adopted = true;
    this.enter(environment);
    version.starting.append(environment.place);
    timers.set(environment.timer, turn.decisions.startEndMs({ nowMs: turn.nowMs, timeoutMs: environment.timeoutMs }));
    return environment;
  }

  /** The adopted environment runs an invocation since before it was adopted. */
  occupy(environment: Environment, work: Work, ranMs: number): void {
    this.unlist(environment);
    this.engage(environment, work, ranMs);
  }

  /** Lets go of an environment without a word to it: it is another owner's. */
  handOver(environment: Environment): void {
    this.remove(environment);
    this.options.turn.commands.push({ kind: 'handOver', environmentId: environment.id });
  }

  /** Starts as many environments for a version as are wanted and have room; for the rest it waits its turn. */
  consider(version: VersionState, sequence: number): void {
    let wanted = this.wanted(version);
    while (wanted > 0 && this.wanting.size === 0 && this.fits(this.used, version.spec.configuration.memoryMiB)) {
      this.start(version, sequence);
      wanted--;
    }
    if (wanted > 0) {
      this.queueFor(version);
      this.makeRoom(sequence);
    }
  }

  /** Room or the wish for it has changed: serves those who wait for it, oldest first. */
  makeRoom(sequence: number): void {
    this.serveClaims(sequence);
    const { turn } = this.options;
    for (let top = this.wanting.top; top !== undefined; top = this.wanting.top) {
      const version = top.item;
      if (this.wanted(version) === 0) {
        this.wanting.remove(top);
        continue;
      }
      const { memoryMiB } = version.spec.configuration;
      if (this.fits(this.used, memoryMiB)) {
        this.start(version, sequence);
        continue;
      }
      const { staying, capacity } = this;
      if (!this.fits(staying, memoryMiB)) {
        const victims = turn.decisions.victims({
          idle: this.recency,
          forSpecId: version.spec.id,
          environments: Math.max(0, staying.environments + this.claimed.environments + 1 - capacity.maxEnvironments),
          memoryMiB: Math.max(0, staying.memoryMiB + this.claimed.memoryMiB + memoryMiB - capacity.maxMemoryMiB),
        });
        if (victims === undefined) return;
        for (const victim of victims) this.stop(victim);
        this.tally.evicted += victims.length;
      }
      this.claim(version);
    }
  }

  /** The queue of a version has another head or none: its turn for room follows from it. */
  headChanged(version: VersionState): void {
    if (version.wanting.index < 0) return;
    if (version.waiting.first === undefined) this.wanting.remove(version.wanting);
    else this.wanting.set(version.wanting, version.waiting.first.sequence);
  }

  /** Whether an environment that has just finished should leave the pool to another version that waits for room. */
  givesWay(environment: Environment): boolean {
    const other = this.wanting.top?.item;
    if (other === undefined || other === environment.version || other.waiting.first === undefined) return false;
    const { turn } = this.options;
    const yes = turn.decisions.givesWay({
      ownHeadSinceMs: environment.version.waiting.first?.arrivedAtMs ?? Infinity,
      otherHeadSinceMs: other.waiting.first.arrivedAtMs,
      otherStartMs: other.estimates.startMs,
      nowMs: turn.nowMs,
    });
    if (yes) this.tally.gaveWay++;
    return yes;
  }

  ready(environment: Environment): void {
    this.unlist(environment);
    if (!environment.adopted) measuredStart(environment.version.estimates, this.options.turn.nowMs - environment.startedAtMs);
  }

  /** Its init has failed: what it can still do is answer one invocation. */
  spent(environment: Environment): void {
    this.unlist(environment);
    environment.spent = true;
  }

  /** Gives an environment that is not in any list an invocation. Nobody is to wait for one that is spent. */
  assign(environment: Environment, work: Work): void {
    this.engage(environment, work, 0);
    this.options.turn.commands.push({ kind: 'dispatch', environmentId: environment.id, deliveryId: work.deliveryId, epoch: work.givenEpoch });
  }

  private engage(environment: Environment, work: Work, ranMs: number): void {
    const { turn, timers } = this.options;
    environment.state = 'busy';
    environment.work = work;
    environment.startedWorkAtMs = turn.nowMs - ranMs;
    environment.respondedAtMs = undefined;
    if (!environment.spent) environment.version.inUse.append(environment.place);
    timers.set(environment.timer, turn.decisions.leaseEndMs({ nowMs: turn.nowMs, timeoutMs: environment.timeoutMs, ranMs }));
  }

  /** An idle environment for a version's next invocation, taken out of the lists. */
  takeIdle(version: VersionState): Environment | undefined {
    const environment = this.options.turn.decisions.chooseEnvironment(version.idle);
    if (environment !== undefined) this.unlist(environment);
    return environment;
  }

  rest(environment: Environment): void {
    const { turn, timers, keepAliveMinMs, keepAliveMaxMs } = this.options;
    const { version } = environment;
    environment.state = 'idle';
    version.idle.append(environment.place);
    this.recency.append(environment.recency);
    if (version.inUse.length === 0) version.estimates.quietSinceMs ??= turn.nowMs;
    const { idleGapMs, idleGapDeviationMs } = version.estimates;
    timers.set(environment.timer, turn.nowMs + turn.decisions.keepAliveMs({ idleGapMs, idleGapDeviationMs, minMs: keepAliveMinMs, maxMs: keepAliveMaxMs }));
  }

  /** Takes the environment out of use for good and tells the pool; its work, if any, is the caller's to end first. */
  stop(environment: Environment): void {
    if (environment.state !== 'leaving') {
      this.unlist(environment);
      this.options.timers.cancel(environment.timer);
      environment.state = 'leaving';
      this.leaving.environments++;
      this.leaving.memoryMiB += environment.memoryMiB;
    }
    this.options.turn.commands.push({ kind: 'stop', environmentId: environment.id });
  }

  /** Its worker would like to stop it, which it may where it has nothing to do. */
  retire(id: string): void {
    const environment = this.byId.get(id);
    if (environment?.state === 'idle') this.stop(environment);
  }

  /** The environment has left the pool. */
  remove(environment: Environment): void {
    this.unlist(environment);
    this.options.timers.cancel(environment.timer);
    this.byId.delete(environment.id);
    environment.version.environments--;
    this.used.environments--;
    this.used.memoryMiB -= environment.memoryMiB;
    if (environment.state === 'leaving') {
      this.leaving.environments--;
      this.leaving.memoryMiB -= environment.memoryMiB;
    }
  }

  /** Stops all that does not run an invocation, and starts none any more. */
  drain(): void {
    this.draining = true;
    for (const environment of this.byId.values()) {
      if (environment.state === 'starting' || environment.state === 'idle') this.stop(environment);
    }
  }

  /** Takes an environment out of the lists of its version and of the pool. */
  unlist(environment: Environment): void {
    const { version, place, recency } = environment;
    place.list?.remove(place);
    recency.list?.remove(recency);
    if (environment.state === 'busy' && version.inUse.length === 0 && version.waiting.length === 0) version.estimates.quietSinceMs = this.options.turn.nowMs;
  }

  /** How many environments a version wants now beyond those that come; sets the time to ask again. */
  private wanted(version: VersionState): number {
    const { turn, timers } = this.options;
    const { estimates } = version;
    if (this.draining || version.deleted || version.waiting.length === 0) return 0;
    if (estimates.startNotBeforeMs > turn.nowMs) {
      timers.set(version.timer, estimates.startNotBeforeMs);
      return 0;
    }
    const starting = version.starting.length + version.claims;
    const { count, recheckAtMs } = turn.decisions.startsWanted({
      waiting: version.waiting.length,
      starting,
      comingUp: version.starting,
      meanDurationMs: estimates.durationMs,
      startMs: estimates.startMs,
      inUse: version.inUse,
      nowMs: turn.nowMs,
    });
    if (recheckAtMs !== Infinity) timers.set(version.timer, recheckAtMs);
    return Math.max(0, Math.min(count, turn.decisions.maxStarting(estimates.failedStarts) - starting));
  }

  private start(version: VersionState, sequence: number): void {
    const { turn, timers, name } = this.options;
    const environment = environmentState(`${name}-${this.tally.started++}`, version, version.spec, turn.nowMs, sequence);
    this.enter(environment);
    version.starting.append(environment.place);
    timers.set(environment.timer, turn.decisions.startEndMs({ nowMs: turn.nowMs, timeoutMs: environment.timeoutMs }));
    turn.commands.push({ kind: 'start', environmentId: environment.id, spec: version.spec });
  }

  private enter(environment: Environment): void {
    this.byId.set(environment.id, environment);
    environment.version.environments++;
    this.used.environments++;
    this.used.memoryMiB += environment.memoryMiB;
  }

  private queueFor(version: VersionState): void {
    const oldest = version.waiting.first;
    if (oldest !== undefined) this.wanting.set(version.wanting, oldest.sequence);
  }

  private claim(version: VersionState): void {
    const { memoryMiB } = version.spec.configuration;
    this.claims.push({ version, memoryMiB });
    version.claims++;
    this.claimed.environments++;
    this.claimed.memoryMiB += memoryMiB;
  }

  private serveClaims(sequence: number): void {
    const { capacity } = this;
    for (let claim = this.claims[0]; claim !== undefined; claim = this.claims[0]) {
      const { version } = claim;
      const memoryMiB = Math.max(claim.memoryMiB, version.spec.configuration.memoryMiB);
      const stillWanted = version.waiting.length > 0;
      if (stillWanted && (this.used.environments + 1 > capacity.maxEnvironments || this.used.memoryMiB + memoryMiB > capacity.maxMemoryMiB)) return;
      this.claims.shift();
      version.claims--;
      this.claimed.environments--;
      this.claimed.memoryMiB -= claim.memoryMiB;
      if (stillWanted && this.wanted(version) > 0) this.start(version, sequence);
      else this.options.functions.dropUnused(version);
    }
  }

  /** What is left when all that leaves has left. */
  private get staying(): Room {
    return { environments: this.used.environments - this.leaving.environments, memoryMiB: this.used.memoryMiB - this.leaving.memoryMiB };
  }

  private exceeds(room: Room): boolean {
    return room.environments > this.capacity.maxEnvironments || room.memoryMiB > this.capacity.maxMemoryMiB;
  }

  private fits(taken: Room, memoryMiB: number): boolean {
    const { capacity } = this;
    return taken.environments + this.claimed.environments + 1 <= capacity.maxEnvironments && taken.memoryMiB + this.claimed.memoryMiB + memoryMiB <= capacity.maxMemoryMiB;
  }
}
