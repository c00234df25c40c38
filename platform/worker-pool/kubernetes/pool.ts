import { randomBytes } from 'node:crypto';
import type { Clock, Timer } from '../../clock.ts';
import type { PartitionAssignment } from '../../invocation-log/invocation-log.ts';
import { functionIdOf, type ExecutionSpec } from '../../model/execution-spec.ts';
import { findRuntime } from '../../model/runtimes.ts';
import { NO_ROOM, type WorkerRoom } from '../../protocol/wire/messages.ts';
import type { Logger } from '../../telemetry/logger.ts';
import { Fleet } from '../fleet/fleet.ts';
import type { WorkerOversight } from '../fleet/oversight.ts';
import type { WorkerSession } from '../fleet/worker-session.ts';
import type { PoolCapacity, PoolListener, WorkerPool } from '../worker-pool.ts';
import type { ObservedPod, PodTrouble } from './observed-pod.ts';
import type { PodCluster } from './pod-cluster.ts';
import { fits, type PodSize } from './sizes.ts';
import { planSupply, type Need, type SupplyPlan, type SupplyPod } from './supply.ts';

export interface KubernetesPoolOptions {
  readonly listener: PoolListener;
  readonly cluster: PodCluster;
  /** Begins the names of pods that are made here. */
  readonly name: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly settings: KubernetesPoolSettings;
  /** As {@link Fleet}'s. */
  readonly gatherMs?: number;
}

export interface KubernetesPoolSettings {
  readonly maxPods: number;
  readonly environmentsPerPod: number;
  /** Pods that wait, by family of runtimes. */
  readonly warmPods: ReadonlyMap<string, number>;
  readonly warmPodMemoryMiB: number;
}

/** Lambda's smallest /tmp, which waiting pods have (Lambda quotas). */
const WARM_TMP_MIB = 512;
/** The largest MemorySize (Lambda quotas): whether a node has so much is found out when it is asked for. */
const LARGEST_MIB = 10_240;
/** Requests for pods under way at once: above it they wait their turn, so that a burst does not drown the API server. */
const CREATING_MAX = 32;
/** A label that could not be written is tried again after so long, later after twice as long and so on, as long as the pod lives. */
const ASSIGN_RETRY_MS = 1_000;
const ASSIGN_RETRY_MAX_MS = 30_000;

/** In the place of a function's id: it is known only that it is none of this controller's. */
const ANOTHERS = '?';
/** Within the time that a worker waits for an answer. */
const ADDRESS_PATIENCE_MS = 3_000;
/** Workers that wait for that at once; further ones are refused, and ask again. */
const ASKERS_MAX = 1_000;

interface Asker {
  readonly worker: string;
  readonly done: () => void;
}

/** What the pool knows of a pod beyond what the cluster says of it. */
interface KnownPod {
  /** As the cluster showed it last, or as it was asked for. */
  seen: ObservedPod;
  /** It has not been seen yet. */
  expected: boolean;
  /** Ahead of what the cluster shows. */
  functionId: string | undefined;
  resizingTo: PodSize | undefined;
  joinedAtMs: number | undefined;
  heardAtMs: number;
  heardBefore: boolean;
  emptySinceMs: number | undefined;
  vacated: boolean;
  /** The last environment that was put in it is this controller's. */
  mine: boolean;
  trouble: (PodTrouble & { readonly sinceMs: number }) | undefined;
  removing: boolean;
  /** The function for which it was made or resized here. */
  madeFor: string | undefined;
  /** What this controller took it for, and has labelled it as, before it was sent back. */
  disowned: string | undefined;
  /** What was put in it here last. */
  spec: ExecutionSpec | undefined;
  /** The next attempt to write its function on it. */
  assigning: Timer | undefined;
}

/**
 * {@link WorkerPool} of pods. Each holds a worker that serves one function, from the first environment that it is given to its end; before that it waits for any function of its
 * family of runtimes. What a worker says goes through a {@link Fleet}; what pods there are, and for whom, is decided here ({@link planSupply}) and written in their labels,
 * where the next controller finds it.
 */
export class KubernetesPool implements WorkerPool, WorkerOversight {
  readonly fleet: Fleet;
  readonly #options: KubernetesPoolOptions;
  readonly #pods = new Map<string, KnownPod>();
  readonly #tally = { created: 0, refused: 0, assigned: 0, resized: 0, removed: 0, lost: 0 };
  #watch: { stop(): Promise<void> } | undefined;
  readonly #askers = new Set<Asker>();
  #creating = 0;
  #planned = false;
  #nextLook: Timer | undefined;
  #capacity: PoolCapacity;
  #closed = false;

  private constructor(options: KubernetesPoolOptions) {
    const { listener, clock, logger, gatherMs } = options;
    this.#options = options;
    this.fleet = new Fleet({
      clock, logger, oversight: this,
      ...(gatherMs === undefined ? {} : { gatherMs }),
      // What its workers have room for is not what the pool has: pods are made.
      listener: {
        next: (poll) => listener.next(poll),
        responded: (environmentId) => listener.responded(environmentId),
        gone: (departure) => listener.gone(departure),
        adopted: (environment) => listener.adopted(environment),
        retire: (environmentId) => listener.retire(environmentId),
        capacityChanged: () => this.#workersChanged(),
      },
    });
    this.#capacity = this.#capacityNow();
  }

  /** Rejects with {@link PoolSetupError} where the pods cannot be watched, {@link PodRefusedError} where warm ones are refused. */
  static async open(options: KubernetesPoolOptions): Promise<KubernetesPool> {
    const pool = new KubernetesPool(options);
    const { cluster, settings } = options;
    await cluster.keepWarm(settings.warmPods, { memoryMiB: settings.warmPodMemoryMiB, tmpMiB: WARM_TMP_MIB });
    pool.#watch = await cluster.watch({ changed: (pod) => pool.#podChanged(pod), gone: (pod) => pool.#podGone(pod) });
    return pool;
  }

  get capacity(): PoolCapacity {
    return this.#capacity;
  }

  /** Counts since the start. */
  get tally(): Readonly<Record<'created' | 'refused' | 'assigned' | 'resized' | 'removed' | 'lost', number>> {
    return this.#tally;
  }

  get requests(): number {
    return this.#options.cluster.requests;
  }

  /** Pods by what they are for, as the cluster shows them. */
  count(): Readonly<Record<'warm' | 'spare' | 'serving' | 'troubled', number>> {
    const counts = { warm: 0, spare: 0, serving: 0, troubled: 0 };
    for (const { seen, functionId, trouble } of this.#pods.values()) {
      if (trouble !== undefined) counts.troubled++;
      else counts[functionId === undefined ? seen.state : 'serving']++;
    }
    return counts;
  }

  // What the controller wants

  start(environmentId: string, spec: ExecutionSpec): void {
    this.fleet.start(environmentId, spec);
    const { runtime } = spec.configuration;
    if (findRuntime(runtime) === undefined) queueMicrotask(() => this.fleet.giveUp(environmentId, `The runtime ${runtime} is not one that workers run.`));
    else this.#planSoon();
  }

  stop(environmentId: string): void {
    this.fleet.stop(environmentId);
    this.#planSoon();
  }

  /** Waiting pods have their process; which of them will be asked cannot be said. */
  expect(): void {}

  claim(assignment: PartitionAssignment): Promise<void> {
    return this.fleet.claim(assignment);
  }

  handOver(environmentId: string): void {
    const worker = this.fleet.workerOf(environmentId);
    const known = worker === undefined ? undefined : this.#pods.get(worker);
    if (known !== undefined) known.mine = false;
    this.fleet.handOver(environmentId);
  }

  async close(): Promise<void> {
    await this.fleet.close();
    this.#closed = true;
    this.#nextLook?.cancel();
    for (const asker of [...this.#askers]) asker.done();
    for (const { assigning } of this.#pods.values()) assigning?.cancel();
    await this.#watch?.stop();
  }

  // What workers may be used for

  async admits(worker: string, address: string): Promise<boolean> {
    if (this.#addressOf(worker) === undefined) await this.#located(worker);
    return this.#addressOf(worker) === address.replace(/^::ffff:/, '');
  }

  #addressOf(worker: string): string | undefined {
    const seen = this.#pods.get(worker)?.seen;
    return seen?.leaving === false ? seen.address : undefined;
  }

  /** A worker is often quicker than its cluster is to say where its pod is: resolves when it has, or has not for {@link ADDRESS_PATIENCE_MS}. */
  #located(worker: string): Promise<void> {
    if (this.#askers.size >= ASKERS_MAX || this.#closed) return Promise.resolve();
    const { clock } = this.#options;
    return new Promise((resolve) => {
      const asker: Asker = {
        worker,
        done: () => {
          patience.cancel();
          this.#askers.delete(asker);
          resolve();
        },
      };
      const patience = clock.at(clock.now() + ADDRESS_PATIENCE_MS, () => asker.done());
      this.#askers.add(asker);
    });
  }

  roomFor({ worker, room }: WorkerSession, spec: ExecutionSpec): WorkerRoom {
    const known = this.#pods.get(worker);
    if (known === undefined || known.seen.leaving || known.removing || known.seen.death !== undefined) return NO_ROOM;
    const functionId = functionIdOf(spec);
    if (known.seen.family !== familyOf(spec) || (known.functionId ?? functionId) !== functionId || spec.configuration.ephemeralStorageMiB > known.seen.size.tmpMiB) return NO_ROOM;
    return { maxEnvironments: Math.min(room.maxEnvironments, this.#options.settings.environmentsPerPod), maxMemoryMiB: known.seen.size.memoryMiB };
  }

  placed({ worker }: WorkerSession, spec: ExecutionSpec): void {
    const known = this.#pods.get(worker);
    if (known === undefined) return;
    known.emptySinceMs = undefined;
    known.vacated = false;
    known.mine = true;
    known.spec = spec;
    if (known.functionId !== undefined) return;
    known.functionId = functionIdOf(spec);
    this.#tally.assigned++;
    void this.#assign(known, spec, 1);
  }

  /** Another controller was quicker: the pod is that one's function's, as its labels will say. */
  sentBack({ worker, environments }: WorkerSession): void {
    const known = this.#pods.get(worker);
    if (known === undefined || environments > 0) return;
    Object.assign(known, { functionId: ANOTHERS, disowned: known.functionId, mine: false, vacated: false, spec: undefined });
    known.assigning?.cancel();
    known.assigning = undefined;
  }

  holdingChanged({ worker, environments, held }: WorkerSession): void {
    const known = this.#pods.get(worker);
    if (known === undefined) return;
    known.emptySinceMs = undefined;
    known.vacated = known.mine && environments === 0 && held === 0;
    this.#planSoon();
  }

  /** Two controllers have taken the pod at once. The one that is sent back knows it soon; the other writes its function again. */
  #correctLater(known: KnownPod): void {
    const { clock } = this.#options;
    known.assigning ??= clock.at(clock.now() + ASSIGN_RETRY_MS, () => {
      known.assigning = undefined;
      if (isMislabelled(known) && known.spec !== undefined) void this.#assign(known, known.spec, 1);
    });
  }

  async #assign(known: KnownPod, spec: ExecutionSpec, attempt: number): Promise<void> {
    const { cluster, clock, logger } = this.#options;
    known.assigning = undefined;
    try {
      await cluster.assign(known.seen, spec);
    } catch (error) {
      logger.warn({ err: error, pod: known.seen.name, attempt }, 'a pod could not be labelled with its function');
      if (this.#closed || this.#pods.get(known.seen.name) !== known) return;
      known.assigning = clock.at(clock.now() + Math.min(ASSIGN_RETRY_MAX_MS, ASSIGN_RETRY_MS * 2 ** (attempt - 1)), () => void this.#assign(known, spec, attempt + 1));
    }
  }

  // What the cluster shows

  #podChanged(shown: ObservedPod): void {
    const now = this.#options.clock.now();
    const known = this.#pods.get(shown.name);
    // A worker that has run nothing yet is as good as new when Kubernetes has started it again.
    const reborn = shown.state === 'warm' && known?.functionId === undefined && !shown.ended;
    const seen = reborn ? { ...shown, death: undefined } : shown;
    const alive = known?.seen.death === undefined;
    const trouble = seen.trouble === undefined ? undefined : { ...seen.trouble, sinceMs: known?.trouble?.sinceMs ?? now };
    if (known === undefined) {
      this.#pods.set(seen.name, knownPod(seen, now, { trouble }));
    } else {
      const { size } = known.seen;
      Object.assign(known, { seen, expected: false, trouble, functionId: functionNow(known, seen) });
      if (known.resizingTo !== undefined && (fits(known.resizingTo, seen.size) || seen.resizeRefused)) known.resizingTo = undefined;
      if (size.memoryMiB !== seen.size.memoryMiB) this.fleet.oversightChanged();
      if (isMislabelled(known)) this.#correctLater(known);
    }
    if (alive && seen.death !== undefined) this.#died(seen.name, seen.death);
    if (seen.address !== undefined) for (const asker of [...this.#askers]) if (asker.worker === seen.name) asker.done();
    this.#planSoon();
  }

  #podGone(seen: ObservedPod): void {
    this.#died(seen.name, seen.death ?? `The pod ${seen.name} was deleted.`);
    this.#pods.get(seen.name)?.assigning?.cancel();
    this.#pods.delete(seen.name);
    this.#planSoon();
  }

  #died(name: string, message: string): void {
    if (this.fleet.workers.some(({ worker, environments }) => worker === name && environments > 0)) this.#tally.lost++;
    this.fleet.workerDied(name, message);
  }

  #workersChanged(): void {
    const now = this.#options.clock.now();
    const joined = new Set(this.fleet.workers.map(({ worker }) => worker));
    for (const [name, known] of this.#pods) {
      if (joined.has(name)) {
        known.joinedAtMs ??= now;
        known.heardBefore = true;
        known.heardAtMs = now;
      } else if (known.joinedAtMs !== undefined) {
        known.joinedAtMs = undefined;
        known.heardAtMs = now;
      }
    }
    this.#planSoon();
  }

  // What follows

  /** Once for all that happens together. */
  #planSoon(): void {
    if (this.#planned || this.#closed) return;
    this.#planned = true;
    setImmediate(() => {
      this.#planned = false;
      if (!this.#closed) this.#carryOut();
    });
  }

  #carryOut(): void {
    const { clock, settings, cluster } = this.#options;
    const nowMs = clock.now();
    const plan = planSupply({ needs: this.#needs(), pods: this.#supply(), maxPods: settings.maxPods, environmentsPerPod: settings.environmentsPerPod, nowMs });
    for (const { environmentId, message } of plan.giveUp) this.fleet.giveUp(environmentId, message);
    if (plan.giveUp.length > 0) this.#planSoon();
    for (const order of plan.create) {
      if (this.#creating >= CREATING_MAX) break;
      void this.#create(order);
    }
    for (const order of plan.resize) void this.#resize(order);
    for (const name of plan.remove) {
      const known = this.#pods.get(name);
      if (known === undefined || known.removing) continue;
      known.removing = true;
      this.#tally.removed++;
      this.#withdraw(cluster.remove(known.seen), known);
    }
    this.#nextLook?.cancel();
    this.#nextLook = plan.nextLookAtMs === Infinity ? undefined : clock.at(plan.nextLookAtMs, () => this.#planSoon());
    this.#tellCapacity();
  }

  /** A removal that was refused is tried again when there is something to look at. */
  #withdraw(removal: Promise<void>, known: KnownPod): void {
    removal.catch((error: unknown) => {
      this.#options.logger.warn({ err: error, pod: known.seen.name }, 'a pod could not be removed');
      known.removing = false;
    });
  }

  async #create({ environmentId, functionId: madeFor, family, size }: SupplyPlan['create'][number]): Promise<void> {
    const { cluster, clock, name: prefix, logger } = this.#options;
    const name = `${prefix}-${family}-${randomBytes(5).toString('hex')}`;
    const seen: ObservedPod = {
      name, family, size, uid: '', address: undefined, state: 'spare', functionId: undefined, createdAtMs: clock.now(), leaving: false, trouble: undefined, death: undefined, ended: false, resizeRefused: false,
    };
    this.#pods.set(name, knownPod(seen, clock.now(), { expected: true, madeFor }));
    this.#creating++;
    try {
      await cluster.create({ name, family, size });
      this.#tally.created++;
    } catch (error) {
      this.#tally.refused++;
      if (this.#pods.get(name)?.expected === true) this.#pods.delete(name);
      const reason = (error as Error).message;
      logger.warn({ reason, family }, 'a worker pod was refused');
      this.fleet.giveUp(environmentId, `Kubernetes takes no further worker pod: ${reason}`);
    } finally {
      this.#creating--;
      this.#planSoon();
    }
  }

  async #resize({ name, functionId, size }: SupplyPlan['resize'][number]): Promise<void> {
    const known = this.#pods.get(name);
    if (known === undefined) return;
    known.resizingTo = size;
    known.madeFor = functionId;
    this.#tally.resized++;
    try {
      await this.#options.cluster.resize(known.seen, size);
    } catch (error) {
      this.#options.logger.warn({ reason: (error as Error).message, pod: name }, 'a pod cannot be resized; another one is made');
      known.resizingTo = undefined;
      known.seen = { ...known.seen, resizeRefused: true };
      this.#planSoon();
    }
  }

  #needs(): readonly Need[] {
    const { environmentsPerPod } = this.#options.settings;
    return [...this.fleet.unplaced].map(({ id, spec }): Need => {
      const { memoryMiB, ephemeralStorageMiB } = spec.configuration;
      return { environmentId: id, functionId: functionIdOf(spec), family: familyOf(spec), size: { memoryMiB: environmentsPerPod * memoryMiB, tmpMiB: ephemeralStorageMiB } };
    });
  }

  #supply(): readonly SupplyPod[] {
    const held = new Map(this.fleet.workers.map(({ worker, environments, held: all }) => [worker, Math.max(environments, all)]));
    const now = this.#options.clock.now();
    return [...this.#pods.values()].map((known): SupplyPod => {
      const { seen } = known;
      const environments = held.get(seen.name) ?? 0;
      known.emptySinceMs = known.functionId !== undefined && known.joinedAtMs !== undefined && environments === 0 ? (known.emptySinceMs ?? now) : undefined;
      return {
        name: seen.name,
        family: seen.family,
        state: known.functionId === undefined ? seen.state : 'serving',
        functionId: known.functionId,
        madeFor: known.madeFor,
        size: seen.size,
        resizingTo: known.resizingTo,
        resizeRefused: seen.resizeRefused,
        leaving: seen.leaving || known.removing,
        death: seen.death,
        createdAtMs: seen.createdAtMs,
        joinedAtMs: known.joinedAtMs,
        heardAtMs: known.heardAtMs,
        heardBefore: known.heardBefore,
        environments,
        emptySinceMs: known.emptySinceMs,
        vacated: known.vacated,
        trouble: known.trouble,
      };
    });
  }

  /** Room that other controllers' functions have is not there. */
  #capacityNow(): PoolCapacity {
    const { maxPods, environmentsPerPod } = this.#options.settings;
    const mine = new Set(this.fleet.workers.filter(({ environments }) => environments > 0).map(({ worker }) => worker));
    const others = [...this.#pods.values()].filter(({ functionId, seen }) => functionId !== undefined && !seen.leaving && !mine.has(seen.name)).length;
    const maxEnvironments = Math.max(1, maxPods - others) * environmentsPerPod;
    return { maxEnvironments, maxMemoryMiB: maxEnvironments * LARGEST_MIB, largestMiB: LARGEST_MIB };
  }

  #tellCapacity(): void {
    const capacity = this.#capacityNow();
    if (capacity.maxEnvironments === this.#capacity.maxEnvironments) return;
    this.#capacity = capacity;
    this.#options.listener.capacityChanged(capacity);
  }
}

/** A pod that nothing is known of yet but what is seen, or asked for. */
function knownPod(seen: ObservedPod, nowMs: number, more: Partial<Pick<KnownPod, 'expected' | 'madeFor' | 'trouble'>>): KnownPod {
  return {
    seen, functionId: seen.functionId, expected: false, madeFor: undefined, trouble: undefined, heardAtMs: nowMs, heardBefore: false, vacated: false, mine: false, removing: false,
    resizingTo: undefined, joinedAtMs: undefined, emptySinceMs: undefined, disowned: undefined, spec: undefined, assigning: undefined, ...more,
  };
}

/** The function of a pod: what is known here is ahead of its labels, except where another controller's are still to come. */
function functionNow({ functionId, disowned }: KnownPod, seen: ObservedPod): string | undefined {
  if (functionId !== ANOTHERS) return functionId ?? seen.functionId;
  return seen.functionId === undefined || seen.functionId === disowned ? ANOTHERS : seen.functionId;
}

/** Its label names another function than the one that this controller has put in it. */
function isMislabelled({ mine, functionId, seen }: KnownPod): boolean {
  return mine && seen.functionId !== undefined && seen.functionId !== functionId;
}

function familyOf({ configuration }: ExecutionSpec): string {
  return findRuntime(configuration.runtime)?.family ?? configuration.runtime;
}
