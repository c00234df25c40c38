import { randomBytes } from 'node:crypto';
import type { Clock, Timer } from '../../clock.ts';
import type { PartitionAssignment } from '../../invocation-log/invocation-log.ts';
import { functionIdOf, type ExecutionSpec } from '../../model/execution-spec.ts';
import { findRuntime } from '../../model/runtimes.ts';
import { NO_ROOM, type WorkerRoom } from '../../protocol/wire/messages.ts';
import type { FunctionLogs } from '../../function-logs/function-logs.ts';
import { newLogStream } from '../../function-logs/stream-name.ts';
import type { Logger } from '../../telemetry/logger.ts';
import { Fleet } from '../fleet/fleet.ts';
import type { WorkerOversight } from '../fleet/oversight.ts';
import type { WorkerSession } from '../fleet/worker-session.ts';
import type { PoolCapacity, PoolListener, WorkerPool } from '../worker-pool.ts';
import { AddressWaiters } from './address-waiters.ts';
import { ContainerLogs } from './container-logs.ts';
import { imageFamily } from './image-pod.ts';
import { ANOTHERS, functionNow, isMislabelled, knownPod, sizeNow, type KnownPod } from './known-pod.ts';
import type { ObservedPod } from './observed-pod.ts';
import type { PodCluster, PodOrder } from './pod-cluster.ts';
import { fits, memoryLimitMiB } from './sizes.ts';
import { planSupply, type Need, type SupplyPlan, type SupplyPod } from './supply.ts';

export interface KubernetesPoolOptions {
  readonly listener: PoolListener;
  readonly cluster: PodCluster;
  /** Begins the names of pods that are made here. */
  readonly name: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Takes what functions in containers of their own print. */
  readonly functionLogs: Pick<FunctionLogs, 'append'>;
  readonly settings: KubernetesPoolSettings;
  /** As {@link Fleet}'s. */
  readonly gatherMs?: number;
}

export interface KubernetesPoolSettings {
  readonly maxPods: number;
  readonly maxStartingPods: number;
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
/**
 * A waiting pod that is taken is labelled so much later: its ReplicaSet makes another one in its place then, which would take the processor from the start that a caller waits for. Until then its worker
 * tells other controllers that it is taken.
 */
const ASSIGN_LATER_MS = 200;
/** A label that could not be written is tried again after so long, later after twice as long and so on, as long as the pod lives. */
const ASSIGN_RETRY_MS = 1_000;
const ASSIGN_RETRY_MAX_MS = 30_000;

/** A pod of a container image in which nothing runs any more gets so long to end: many programs hear no signal as process 1. */
const IMAGE_GRACE_SEC = 1;

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
  readonly #waiters: AddressWaiters;
  readonly #logs: ContainerLogs;
  #creating = 0;
  #planned = false;
  #nextLook: Timer | undefined;
  #capacity: PoolCapacity;
  #closed = false;

  private constructor(options: KubernetesPoolOptions) {
    const { listener, clock, logger, gatherMs } = options;
    this.#options = options;
    this.#waiters = new AddressWaiters(clock);
    this.#logs = new ContainerLogs(options);
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
        undecided: () => listener.undecided(),
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
    const { runtime, image } = spec.configuration;
    if (image === undefined && findRuntime(runtime) === undefined) queueMicrotask(() => this.fleet.giveUp(environmentId, `The runtime ${runtime} is not one that workers run.`));
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
    if (known !== undefined) {
      known.mine = false;
      this.#logs.leave(known.seen.name);
    }
    this.fleet.handOver(environmentId);
  }

  async close(): Promise<void> {
    await this.fleet.close();
    this.#closed = true;
    this.#nextLook?.cancel();
    this.#waiters.close();
    this.#logs.close();
    for (const { assigning } of this.#pods.values()) assigning?.cancel();
    await this.#watch?.stop();
  }

  // What workers may be used for

  async admits(worker: string, address: string): Promise<boolean> {
    if (this.#addressOf(worker) === undefined) await this.#waiters.wait(worker);
    return this.#addressOf(worker) === address.replace(/^::ffff:/, '');
  }

  #addressOf(worker: string): string | undefined {
    const seen = this.#pods.get(worker)?.seen;
    return seen?.leaving === false ? seen.address : undefined;
  }

  roomFor({ worker, room }: WorkerSession, spec: ExecutionSpec): WorkerRoom {
    const known = this.#pods.get(worker);
    if (known === undefined || known.seen.leaving || known.removing || known.seen.death !== undefined || known.seen.container?.exit !== undefined) return NO_ROOM;
    // The container of an image holds one environment's state, and goes with it.
    if (known.seen.container !== undefined && known.functionId !== undefined) return NO_ROOM;
    const functionId = functionIdOf(spec);
    if (known.seen.family !== familyOf(spec) || (known.functionId ?? functionId) !== functionId || spec.configuration.ephemeralStorageMiB > known.seen.size.tmpMiB) return NO_ROOM;
    return { maxEnvironments: Math.min(room.maxEnvironments, this.#options.settings.environmentsPerPod), maxMemoryMiB: sizeNow(known).memoryMiB };
  }

  placed({ worker }: WorkerSession, spec: ExecutionSpec): void {
    const known = this.#pods.get(worker);
    if (known === undefined) return;
    known.emptySinceMs = undefined;
    known.vacated = false;
    known.mine = true;
    known.spec = spec;
    const { container, createdAtMs } = known.seen;
    // What it printed before it was taken over has been written by whoever had it.
    if (container !== undefined) this.#logs.follow(known.seen, { group: spec.configuration.logGroup, stream: container.logStream, sinceMs: known.functionId === undefined ? createdAtMs - 1_000 : this.#options.clock.now() });
    if (known.functionId !== undefined) return;
    known.functionId = functionIdOf(spec);
    this.#tally.assigned++;
    const { clock } = this.#options;
    // What its network may reach hangs on the labels.
    if (spec.configuration.vpc !== undefined || known.seen.state !== 'warm') void this.#assign(known, spec, 1);
    else known.assigning = clock.at(clock.now() + ASSIGN_LATER_MS, () => void this.#assign(known, spec, 1));
  }

  /** Another controller was quicker: the pod is that one's function's, as its labels will say. */
  sentBack({ worker, environments }: WorkerSession): void {
    const known = this.#pods.get(worker);
    if (known === undefined || environments > 0) return;
    Object.assign(known, { functionId: ANOTHERS, disowned: known.functionId, mine: false, vacated: false, spec: undefined });
    known.assigning?.cancel();
    known.assigning = undefined;
  }

  /** The kernel grants a pod its memory at once; the cluster shows it up to seconds later. */
  grown({ worker }: WorkerSession, limitMiB: number): void {
    const known = this.#pods.get(worker);
    if (known?.resizingTo === undefined || limitMiB < memoryLimitMiB(known.resizingTo)) return;
    known.grownTo = known.resizingTo;
    known.resizingTo = undefined;
    this.fleet.oversightChanged();
    this.#planSoon();
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
      if (known.grownTo !== undefined && fits(known.grownTo, seen.size)) known.grownTo = undefined;
      if (known.resizingTo !== undefined && (fits(known.resizingTo, seen.size) || seen.resizeRefused)) known.resizingTo = undefined;
      if (size.memoryMiB !== seen.size.memoryMiB) this.fleet.oversightChanged();
      if (isMislabelled(known)) this.#correctLater(known);
    }
    this.#noteContainer(seen, now);
    if (alive && seen.death !== undefined) this.#died(seen.name, seen.death);
    if (seen.address !== undefined) this.#waiters.located(seen.name);
    this.#hasten(seen);
    this.#planSoon();
  }

  #noteContainer({ name, container }: ObservedPod, now: number): void {
    const known = this.#pods.get(name);
    if (known === undefined || container === undefined) return;
    known.containerSinceMs = container.running ? (known.containerSinceMs ?? now) : undefined;
    const { exit } = container;
    if (exit === undefined || known.exitTold) return;
    // The worker answers for what it ran. One that cannot be told has not got as far as that.
    known.exitTold = this.fleet.runtimeEnded(name, exit);
  }

  /** A pod that somebody else has told to end waits for all its containers: the worker has seen to it that nothing runs in the function's. */
  #hasten(seen: ObservedPod): void {
    const known = this.#pods.get(seen.name);
    if (known === undefined || known.removing || !seen.leaving || seen.container?.drained !== true) return;
    known.removing = true;
    this.#withdraw(this.#options.cluster.remove(seen, IMAGE_GRACE_SEC), known);
  }

  #podGone(seen: ObservedPod): void {
    this.#logs.gone(seen.name);
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
    const plan = planSupply({ needs: this.#needs(), pods: this.#supply(), maxPods: settings.maxPods, maxStartingPods: settings.maxStartingPods, environmentsPerPod: settings.environmentsPerPod, nowMs });
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
      this.#withdraw(cluster.remove(known.seen, known.seen.container === undefined ? undefined : IMAGE_GRACE_SEC), known);
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
    const order = this.#orderFor(environmentId, { name, family, size });
    const container = order.function === undefined ? undefined : { running: false, logStream: order.function.logStream, drained: false, exit: undefined };
    const seen: ObservedPod = {
      name, family, size, container, uid: '', address: undefined, state: 'spare', functionId: undefined, createdAtMs: clock.now(), leaving: false, trouble: undefined, death: undefined, ended: false, resizeRefused: false,
    };
    this.#pods.set(name, knownPod(seen, clock.now(), { expected: true, madeFor }));
    this.#creating++;
    try {
      await cluster.create(order);
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

  /** A pod for a container image is made with it. */
  #orderFor(environmentId: string, order: PodOrder): PodOrder {
    const spec = this.fleet.specOf(environmentId);
    const image = spec?.configuration.image;
    return spec === undefined || image === undefined ? order : { ...order, function: { spec, image, logStream: newLogStream(spec.version, this.#options.clock.now()) } };
  }

  async #resize({ name, functionId, size }: SupplyPlan['resize'][number]): Promise<void> {
    const known = this.#pods.get(name);
    if (known === undefined) return;
    known.resizingTo = size;
    known.madeFor = functionId;
    this.#tally.resized++;
    this.fleet.growing(name, memoryLimitMiB(size));
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
      const { memoryMiB, ephemeralStorageMiB, image } = spec.configuration;
      const environments = image === undefined ? environmentsPerPod : 1;
      return { environmentId: id, functionId: functionIdOf(spec), family: familyOf(spec), size: { memoryMiB: environments * memoryMiB, tmpMiB: ephemeralStorageMiB }, alone: image !== undefined };
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
        size: sizeNow(known),
        resizingTo: known.resizingTo,
        resizeRefused: seen.resizeRefused,
        leaving: seen.leaving || known.removing,
        death: seen.death ?? (known.exitTold ? undefined : seen.container?.exit?.message),
        createdAtMs: seen.createdAtMs,
        joinedAtMs: known.joinedAtMs,
        heardAtMs: known.heardAtMs,
        heardBefore: known.heardBefore,
        environments,
        emptySinceMs: known.emptySinceMs,
        vacated: known.vacated,
        trouble: known.trouble,
        containerSinceMs: known.containerSinceMs,
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

function familyOf(spec: ExecutionSpec): string {
  const { configuration } = spec;
  if (configuration.image !== undefined) return imageFamily(spec);
  return findRuntime(configuration.runtime)?.family ?? configuration.runtime;
}
