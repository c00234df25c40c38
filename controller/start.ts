import type { Clock } from '../platform/clock.ts';
import type { FunctionCatalogue } from '../platform/functions/function-catalogue.ts';
import type { Delivery, InvocationLog } from '../platform/invocation-log/invocation-log.ts';
import type { ControllerLink } from '../platform/protocol/controller-link.ts';
import type { ReplyChannel } from '../platform/protocol/reply.ts';
import type { Logger } from '../platform/telemetry/logger.ts';
import type { WorkerPool } from '../platform/worker-pool/worker-pool.ts';
import { Deliveries } from './deliveries.ts';
import { FunctionChanges } from './function-changes.ts';
import { Polls } from './polls.ts';
import { SchedulerLoop } from './scheduler-loop.ts';
import { decisions } from './scheduler/decisions/decisions.ts';
import { conservationDrift } from './scheduler/ledger.ts';
import type { Command, SchedulerEvent } from './scheduler/messages.ts';
import { Scheduler, type SchedulerSettings, type SchedulerSnapshot } from './scheduler/scheduler.ts';
import { findTarget, knownTarget } from './targets.ts';

export interface ControllerOptions {
  readonly log: InvocationLog;
  readonly catalogue: FunctionCatalogue;
  readonly replies: ReplyChannel;
  readonly clock: Clock;
  /** 0 to 1: jitter of back-offs. */
  readonly random: () => number;
  readonly logger: Logger;
  readonly settings: SchedulerSettings;
  /** Called once, before any work is taken; environments of the pool speak to the link. The controller closes the pool. */
  readonly createPool: (link: ControllerLink) => Promise<WorkerPool>;
}

export interface ControllerSnapshot extends SchedulerSnapshot {
  /** Invocations that are accounted for nowhere or twice (invariant 1): always 0. */
  readonly drift: number;
}

export interface Controller {
  readonly link: ControllerLink;
  /** What is where at this moment. Cheap: no more than a copy of counters. */
  snapshot(): ControllerSnapshot;
  /**
   * Takes no more work, tells waiting callers so, lets running invocations finish for {@link STOP_PATIENCE_MS}, closes the pool
   * and then the log's consumption. Async work that is not done stays in the log. Idempotent.
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
  // A poll comes from an environment, which nobody starts before the controller is there.
  const polls: Polls = new Polls((event) => controller.submit(event));
  const pool = await options.createPool(polls);
  const controller = new RunningController(options, polls, pool);
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
  /** Deliveries whose function is being looked up. */
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
    // Later than every earlier ownership's, as far as the clock can be trusted; environments of an earlier process are unknown here anyway.
    this.scheduler = new Scheduler({ epoch: Math.max(1, clock.now()), settings, capacity: this.pool.capacity, decisions, random });
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
      this.deliveries.attach(await this.options.log.consume({ maxInFlight: MAX_IN_FLIGHT, deliver: (delivery) => this.deliver(delivery) }));
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
    const misplaced = Math.abs(held - snapshot.held) + Math.abs(this.deliveries.size - this.resolving - snapshot.held);
    return { ...snapshot, drift: Math.abs(conservationDrift(sync)) + Math.abs(conservationDrift(events)) + misplaced };
  }

  stop(): Promise<void> {
    this.stopping ??= this.shutDown();
    return this.stopping;
  }

  private async shutDown(): Promise<void> {
    const { clock } = this.options;
    this.changes.stop();
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
    const { head } = delivery;
    const deliveryId = this.deliveries.add(delivery);
    this.changes.seen(head.account);
    const target = knownTarget(this.options.catalogue, head);
    if (target !== undefined) this.loop.submit({ kind: 'arrived', deliveryId, head, target });
    else void this.resolve(deliveryId, delivery);
  }

  private async resolve(deliveryId: number, { head }: Delivery): Promise<void> {
    this.resolving++;
    try {
      const target = await findTarget(this.options.catalogue, head);
      this.resolving--;
      this.loop.submit(target === undefined ? { kind: 'orphaned', deliveryId, head } : { kind: 'arrived', deliveryId, head, target });
    } catch (error) {
      this.resolving--;
      this.options.logger.error({ err: error, function: head.functionName }, 'a function could not be looked up');
      this.loop.submit({ kind: 'unresolved', deliveryId, head, message: `The registry could not say what ${head.functionName} runs on; try again.` });
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
