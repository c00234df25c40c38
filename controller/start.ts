import type { Clock } from '../platform/clock.ts';
import type { FunctionCatalogue } from '../platform/functions/function-catalogue.ts';
import { partitionOf, type Delivery, type InvocationLog, type PartitionAssignment } from '../platform/invocation-log/invocation-log.ts';
import { functionKey } from '../platform/model/execution-spec.ts';
import type { ControllerLink, HeldEnvironment } from '../platform/protocol/controller-link.ts';
import type { CallerChannel } from '../platform/protocol/reply.ts';
import type { Logger } from '../platform/telemetry/logger.ts';
import { CLAIM_PATIENCE_MS, type PoolCapacity, type PoolListener, type WorkerPool } from '../platform/worker-pool/worker-pool.ts';
import { Deliveries } from './deliveries.ts';
import { FunctionChanges } from './function-changes.ts';
import { Polls } from './polls.ts';
import { SchedulerLoop } from './scheduler-loop.ts';
import { decisions } from './scheduler/decisions/decisions.ts';
import { conservationDrift, type Delivered } from './scheduler/ledger.ts';
import type { Command, SchedulerEvent, Target } from './scheduler/messages.ts';
import { Scheduler, type SchedulerSettings } from './scheduler/scheduler.ts';
import type { SchedulerSnapshot } from './scheduler/snapshot.ts';
import { findTarget, knownTarget } from './targets.ts';

export interface ControllerOptions {
  /** Names this controller among all that share the log, at any time. */
  readonly name: string;
  readonly log: InvocationLog;
  readonly catalogue: FunctionCatalogue;
  readonly replies: CallerChannel;
  readonly clock: Clock;
  /** 0 to 1: jitter of back-offs. */
  readonly random: () => number;
  readonly logger: Logger;
  readonly settings: SchedulerSettings;
  /**
   * What becomes of work at a stop. `drain`: it ends with this process, whose environments do as well. `handOver`: it is the next owner's, which may be there
   * already.
   */
  readonly atStop: 'drain' | 'handOver';
  /** Called once, before any work is taken; environments of the pool speak to the listener. The controller closes the pool. */
  readonly createPool: (listener: PoolListener) => Promise<WorkerPool>;
}

export interface ControllerSnapshot extends SchedulerSnapshot {
  /** Invocations that are accounted for nowhere or twice (invariant 1): always 0. */
  readonly drift: number;
}

export interface Controller {
  readonly link: ControllerLink;
  /** What is where at this moment. Cheap: no more than a copy of counters. */
  snapshot(): ControllerSnapshot;
  /** The partitions whose functions are dispatched from here, with the epoch of each. */
  owned(): ReadonlyMap<number, number>;
  /**
   * Draining, it takes no more work, tells waiting callers so and lets running invocations finish for {@link STOP_PATIENCE_MS}; handing over, it lets go of
   * everything as it is. Then it closes the pool and the log's consumption. Async work that is not done stays in the log. Idempotent.
   */
  stop(): Promise<void>;
}

/** How long running invocations may take to finish when the controller stops: within the 30 s that Kubernetes grants a pod, with room to settle. */
export const STOP_PATIENCE_MS = 10_000;

/**
 * Unsettled async deliveries per partition. One function has one home partition, so it must be above the default account concurrency
 * (1,000) for that to be reached; at about 1 kB per head it bounds what a backlog costs.
 */
const MAX_IN_FLIGHT = 1_024;

/** Starts the role that decides which invocation runs where. Rejects when the log has a consumer already. */
export async function startController(options: ControllerOptions): Promise<Controller> {
  // Made last. Before it is there, no environment can have been started or adopted; of the pool's capacity it hears when it is made.
  let controller: RunningController | undefined = undefined;
  const polls: Polls = new Polls((event) => controller?.submit(event));
  const pool = await options.createPool({
    next: polls.next,
    responded: polls.responded,
    gone: polls.gone,
    adopted: (environment) => controller?.adopt(environment) ?? Promise.resolve(false),
    capacityChanged: (capacity) => controller?.resize(capacity),
    undecided: () => controller?.undecided(),
    retire: (environmentId) => controller?.submit({ kind: 'retire', environmentId }),
  });
  controller = new RunningController(options, polls, pool);
  await controller.consume();
  return controller;
}

class RunningController implements Controller {
  readonly link: ControllerLink;
  private readonly options: ControllerOptions;
  private readonly scheduler: Scheduler;
  private readonly loop: SchedulerLoop;
  private readonly polls: Polls;
  private readonly pool: WorkerPool;
  private readonly deliveries: Deliveries;
  private readonly changes: FunctionChanges;
  private readonly partitionEpochs = new Map<number, number>();
  /** By partition, while what an earlier owner left running is still being found out. */
  private readonly claims = new Map<number, Promise<void>>();
  /** Deliveries whose function is being looked up, or whose caller is asked after. */
  private resolving = 0;
  private stopping: Promise<void> | undefined;
  private whenQuiet: (() => void) | undefined;

  constructor(options: ControllerOptions, polls: Polls, pool: WorkerPool) {
    this.options = options;
    this.polls = polls;
    this.link = polls;
    this.pool = pool;
    const { clock, logger, settings, random, catalogue } = options;
    this.deliveries = new Deliveries({ clock, logger });
    this.scheduler = new Scheduler({ name: options.name, settings, capacity: this.pool.capacity, decisions, random });
    this.loop = new SchedulerLoop({ scheduler: this.scheduler, clock, logger, carryOut: (command) => this.carryOut(command) });
    this.changes = new FunctionChanges({
      catalogue, clock, logger,
      submit: (event) => this.loop.submit(event),
      heldAs: (key) => this.scheduler.heldAs(key),
      expect: (spec) => this.pool.expect(spec),
    });
  }

  submit(event: SchedulerEvent): void {
    this.loop.submit(event);
  }

  async consume(): Promise<void> {
    try {
      this.deliveries.attach(
        await this.options.log.consume({
          maxInFlight: MAX_IN_FLIGHT,
          inFlightWanted: (key) => Math.max(1, this.scheduler.slots(key, key.slice(0, key.indexOf('/')))),
          assigned: (assignment) => this.assigned(assignment),
          revoked: (partitions) => this.revoked(partitions),
          deliver: (delivery) => this.deliver(delivery),
        }),
      );
    } catch (error) {
      this.changes.stop();
      this.loop.stop();
      await this.pool.close();
      throw error;
    }
  }

  snapshot(): ControllerSnapshot {
    const snapshot = this.scheduler.snapshot();
    const { sync, async: events } = snapshot.invocations;
    const held = sync.waiting + sync.running + events.waiting + events.running;
    const misplaced = Math.abs(held - snapshot.held) + Math.abs(this.deliveries.size - this.resolving + snapshot.undelivered - snapshot.held);
    return { ...snapshot, drift: Math.abs(conservationDrift(sync)) + Math.abs(conservationDrift(events)) + misplaced };
  }

  stop(): Promise<void> {
    this.stopping ??= this.shutDown();
    return this.stopping;
  }

  owned(): ReadonlyMap<number, number> {
    return this.partitionEpochs;
  }

  resize(capacity: PoolCapacity): void {
    this.loop.submit({ kind: 'capacityChanged', capacity });
  }

  undecided(): Promise<void> | undefined {
    return this.deliveries.undecided();
  }

  /** An environment that an earlier owner has left running. */
  async adopt(environment: HeldEnvironment): Promise<boolean> {
    if (!this.ownsFunction(environment.spec)) return false;
    const target = knownTarget(this.options.catalogue, environment.spec) ?? (await this.targetOf(environment.spec));
    // Asked again: it may have become another owner's function meanwhile.
    if (target === undefined || !this.ownsFunction(environment.spec)) return false;
    this.polls.expect(environment.environmentId);
    this.loop.submit({ kind: 'adopted', environment, target });
    return true;
  }

  /** What the environment's function is now; where the registry cannot say, what the environment was started from. */
  private async targetOf(spec: HeldEnvironment['spec']): Promise<Target | undefined> {
    try {
      return await findTarget(this.options.catalogue, spec);
    } catch (error) {
      this.options.logger.warn({ err: error, function: spec.functionName }, 'the function of an adopted environment could not be looked up; it is taken as it is');
      return { spec, reservedConcurrency: undefined };
    }
  }

  private ownsFunction({ account, functionName }: HeldEnvironment['spec']): boolean {
    return this.partitionEpochs.has(partitionOf(functionKey(account, functionName), this.options.log.partitions));
  }

  private async assigned(assignment: PartitionAssignment): Promise<void> {
    for (const partition of assignment.partitions) this.partitionEpochs.set(partition, assignment.epoch);
    this.tellShare();
    const claimed = this.pool.claim(assignment);
    for (const partition of assignment.partitions) this.claims.set(partition, claimed);
    void claimed.then(() => {
      for (const partition of assignment.partitions) if (this.claims.get(partition) === claimed) this.claims.delete(partition);
    });
    const { clock } = this.options;
    await new Promise<void>((resolve) => {
      const patience = clock.at(clock.now() + CLAIM_PATIENCE_MS, resolve);
      void claimed.then(() => {
        patience.cancel();
        resolve();
      });
    });
  }

  private revoked(partitions: readonly number[]): void {
    const { partitions: count } = this.options.log;
    const lost = new Set(partitions);
    for (const partition of partitions) this.partitionEpochs.delete(partition);
    const functionUids = [...this.scheduler.heldFunctions()].filter(({ key }) => lost.has(partitionOf(key, count))).map(({ uid }) => uid);
    this.loop.submit({ kind: 'revoked', functionUids });
    this.tellShare();
  }

  private tellShare(): void {
    this.loop.submit({ kind: 'shareChanged', share: this.partitionEpochs.size / this.options.log.partitions });
  }

  private async shutDown(): Promise<void> {
    const { clock } = this.options;
    this.changes.stop();
    if (this.options.atStop === 'handOver') {
      this.revoked([...this.partitionEpochs.keys()]);
      await this.deliveries.stop();
      await this.pool.close();
      this.loop.stop();
      return;
    }
    this.loop.submit({ kind: 'draining' });
    if (this.deliveries.size > 0) {
      await new Promise<void>((resolve) => {
        const patience = clock.at(clock.now() + STOP_PATIENCE_MS, resolve);
        this.whenQuiet = () => {
          patience.cancel();
          resolve();
        };
      });
    }
    await this.pool.close();
    await this.deliveries.stop();
    this.loop.stop();
  }

  /** The log's call for each delivery: on the warm path nothing is awaited. */
  private deliver(delivery: Delivery): void {
    const { head, epoch } = delivery;
    if (!this.isCurrent(delivery)) return;
    const deliveryId = this.deliveries.add(delivery);
    this.changes.seen(head.account);
    const target = knownTarget(this.options.catalogue, head);
    const mayBeAnswered = delivery.kind === 'sync' && delivery.inherited;
    const mayRun = delivery.inherited && this.claims.has(delivery.partition);
    if (target !== undefined && !mayBeAnswered && !mayRun) this.loop.submit({ kind: 'arrived', deliveryId, head, epoch, target });
    else void this.resolve(deliveryId, delivery, mayBeAnswered);
  }

  /** Whether its partition is still this controller's, under the same ownership. */
  private isCurrent({ partition, epoch }: Delivery): boolean {
    return this.partitionEpochs.get(partition) === epoch;
  }

  private async resolve(deliveryId: number, delivery: Delivery, mayBeAnswered: boolean): Promise<void> {
    const { head, epoch } = delivery;
    this.resolving++;
    if (delivery.inherited) await this.claims.get(delivery.partition);
    const event = await this.eventOf({ deliveryId, head, epoch }, mayBeAnswered);
    this.resolving--;
    if (!this.isCurrent(delivery)) this.deliveries.release(deliveryId);
    else if (event === undefined) this.deliveries.settle(deliveryId);
    else this.loop.submit(event);
    if (this.deliveries.size === 0) this.whenQuiet?.();
  }

  /** What the scheduler is to be told of a delivery that something has to be found out about; undefined: nobody waits for it any more. */
  private async eventOf(delivered: Delivered, mayBeAnswered: boolean): Promise<SchedulerEvent | undefined> {
    const { catalogue, replies, logger } = this.options;
    const { head } = delivered;
    try {
      if (mayBeAnswered && !(await replies.awaited(head))) return undefined;
      const target = await findTarget(catalogue, head);
      return target === undefined ? { kind: 'orphaned', ...delivered } : { kind: 'arrived', ...delivered, target };
    } catch (error) {
      logger.error({ err: error, function: head.functionName }, 'a function could not be looked up');
      return { kind: 'unresolved', ...delivered, message: `The registry could not say what ${head.functionName} runs on; try again.` };
    }
  }

  private carryOut(command: Command): void {
    const { replies, logger } = this.options;
    switch (command.kind) {
      case 'dispatch':
        this.dispatch(command.environmentId, command.deliveryId, command.epoch);
        return;
      case 'start':
        this.polls.expect(command.environmentId);
        this.pool.start(command.environmentId, command.spec);
        return;
      case 'stop':
        this.pool.stop(command.environmentId);
        this.polls.answer(command.environmentId, { kind: 'stop' });
        return;
      case 'handOver':
        this.polls.forget(command.environmentId);
        this.pool.handOver(command.environmentId);
        return;
      case 'settle':
        this.deliveries.settle(command.deliveryId);
        break;
      case 'reject':
        this.reply(command.deliveryId, (head) => replies.reply(head, { kind: 'rejected', rejection: command.rejection }));
        break;
      case 'fail':
        this.reply(command.deliveryId, (head) => replies.reply(head, { kind: 'functionError', functionError: 'Unhandled', body: command.errorBody }));
        break;
      case 'postpone':
        this.deliveries.postpone(command.deliveryId, { attempt: command.attempt, throttles: command.throttles }, command.notBeforeMs);
        break;
      case 'deadLetter':
        logger.info({ invocation: this.deliveries.get(command.deliveryId)?.head.id, reason: command.reason }, 'an asynchronous invocation is given up');
        this.deliveries.settle(command.deliveryId);
        break;
      case 'release':
        this.deliveries.release(command.deliveryId);
        break;
    }
    if (this.deliveries.size === 0) this.whenQuiet?.();
  }

  private reply(deliveryId: number, send: (head: Delivery['head']) => void): void {
    const delivery = this.deliveries.get(deliveryId);
    if (delivery === undefined) return;
    send(delivery.head);
    this.deliveries.settle(deliveryId);
  }

  /** Brings the payload to the environment, unless that has been told to stop meanwhile: then the scheduler has dealt with the invocation. */
  private dispatch(environmentId: string, deliveryId: number, epoch: number): void {
    const poll = this.polls.current(environmentId);
    const delivery = this.deliveries.get(deliveryId);
    if (delivery === undefined) return;
    delivery.load().then(
      (invocation) => {
        if (this.polls.current(environmentId) === poll) this.polls.answer(environmentId, { kind: 'invoke', invocation, epoch, deliveryId });
      },
      (error: unknown) => {
        this.options.logger.warn({ err: error, invocation: delivery.head.id }, 'the payload of an invocation could not be had from the log');
        this.loop.submit({ kind: 'undelivered', environmentId, deliveryId });
      },
    );
  }
}
