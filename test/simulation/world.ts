import { decisions as guarded } from '../../controller/scheduler/decisions/decisions.ts';
import type { Command, SchedulerEvent } from '../../controller/scheduler/messages.ts';
import { Scheduler } from '../../controller/scheduler/scheduler.ts';
import type { ExecutionSpec } from '../../platform/model/execution-spec.ts';
import type { Completion, EnvironmentDeparture } from '../../platform/protocol/controller-link.ts';
import { auditSnapshot } from './audit.ts';
import { Future } from './future.ts';
import { Prng } from './prng.ts';
import type { Sabotage } from './sabotage.ts';
import type { Scenario } from './scenario.ts';
import { changesHands, newFunction, simHead, specOf } from './functions.ts';
import { TraceHash } from './trace-hash.ts';
import { GATEWAY_MARGIN_MS, Violation, Witness, type SimEnvironment, type SimFunction, type SimInvocation } from './witness.ts';

export interface RunResult {
  /** Of every command with its time: equal for equal runs. */
  readonly hash: string;
  readonly totals: Witness['totals'];
  /** Largest number of functions that the scheduler held state of at once. */
  readonly mostFunctions: number;
  readonly turns: number;
}

const STARTED_AT_MS = 1_700_000_000_000;
const ERROR_BODY = Buffer.from('{"errorType":"Simulated"}');
/** How long a stop takes, and how long a controller is away. */
const STOP_MEAN_MS = 3;
const RESTART_MS = 500;
/** How long nobody owns the functions when they change hands, and how much later the log delivers some of what the earlier owner had. */
const OWNERLESS_MS = 100;
const REDELIVERY_MEAN_MS = 200;
const LATE_MEAN_MS = 30_000;
/** Invariants over the whole state are checked every so many turns. */
const AUDIT_EVERY = 1_000;
/** A run that needs more turns per invocation does not come to rest. */
const TURNS_PER_INVOCATION_MAX = 2_000;

/** Runs one scenario to its end under virtual time. Throws {@link Violation}. */
export function simulate(scenario: Scenario, sabotage: Sabotage = {}): RunResult {
  return new World(scenario, sabotage).run();
}

/** Gateways, log, catalogue and workers around one scheduler after another. */
class World {
  private nowMs = STARTED_AT_MS;
  private readonly dice: Prng;
  private readonly future = new Future();
  private readonly trace = new TraceHash();
  private readonly witness: Witness;
  private readonly functions: SimFunction[] = [];
  private readonly environments = new Map<string, SimEnvironment>();
  /** By delivery, what the scheduler has. */
  private readonly held = new Map<number, SimInvocation>();
  /** Async invocations that are in the log: accepted and not over. */
  private readonly logged = new Map<string, SimInvocation>();
  /** Deliveries of invocations that were delivered before. */
  private readonly duplicates = new Set<number>();
  private waitingForController: SimInvocation[] = [];
  private scheduler: Scheduler | undefined;
  private epoch = 0;
  private invocations = 0;
  private deliveries = 0;
  private turns = 0;
  private mostFunctions = 0;
  /** One owner has let go of environments and the next has not been told of all of them yet. */
  private changing = false;
  /** What happened in this turn lets a function's failure count as an attempt. */
  private functionFailed = false;
  private readonly scenario: Scenario;
  private readonly sabotage: Sabotage;

  constructor(scenario: Scenario, sabotage: Sabotage) {
    this.scenario = scenario;
    this.sabotage = sabotage;
    this.dice = new Prng(scenario.seed);
    this.witness = new Witness(scenario);
    for (let index = 0; index < scenario.functions; index++) this.functions.push(newFunction(this.dice, this.scenario, index, 0));
    this.startController();
    this.planDisturbances();
    this.planArrival();
  }

  run(): RunResult {
    const { scenario } = this;
    const turnsMax = scenario.invocations * TURNS_PER_INVOCATION_MAX;
    for (;;) {
      const wakeMs = this.scheduler?.nextWakeMs ?? Infinity;
      const nextMs = Math.min(this.future.nextMs, wakeMs);
      if (nextMs === Infinity) break;
      this.nowMs = Math.max(this.nowMs, nextMs);
      if (wakeMs <= this.future.nextMs) this.tell({ kind: 'tick' });
      else this.future.take()?.();
      if (this.turns > turnsMax) this.witness.fail(7, 'the scheduler does not come to rest.');
    }
    this.auditEnd();
    return { hash: this.trace.digest(), totals: this.witness.totals, mostFunctions: this.mostFunctions, turns: this.turns };
  }

  private tell(event: SchedulerEvent): void {
    if (this.scheduler === undefined || this.sabotage.hides?.(event) === true) return;
    const commands = this.scheduler.handle(this.sabotage.tells?.(event) ?? event, this.nowMs);
    for (const command of this.sabotage.commands?.(commands) ?? commands) this.carryOut(command);
    this.functionFailed = false;
    if (++this.turns % AUDIT_EVERY === 0 && !this.changing) this.audit();
  }

  private carryOut(command: Command): void {
    this.trace.add(this.nowMs, command);
    switch (command.kind) {
      case 'handOver':
        return;
      case 'release':
        this.disown(command.deliveryId);
        return;
      case 'start':
        this.startEnvironment(command.environmentId, command.spec);
        return;
      case 'stop':
        this.stopEnvironment(command.environmentId);
        return;
      case 'dispatch':
        this.dispatch(command.deliveryId, this.environments.get(command.environmentId));
        return;
      default:
        this.end(command);
    }
  }

  /** The scheduler is done with a delivery. */
  private end(command: Exclude<Command, { kind: 'start' | 'stop' | 'dispatch' | 'handOver' | 'release' }>): void {
    if (command.kind === 'settle' && command.outcome === 'duplicate') {
      if (!this.duplicates.delete(command.deliveryId)) this.witness.fail(1, `delivery ${command.deliveryId} is dropped as a second one, which it is not.`);
      return;
    }
    const invocation = this.held.get(command.deliveryId);
    this.held.delete(command.deliveryId);
    this.witness.ended(invocation, command, this.functionFailed, this.nowMs);
    if (invocation === undefined) return;
    if (command.kind === 'postpone') this.future.plan(command.notBeforeMs, () => this.deliver(invocation));
    else this.logged.delete(invocation.id);
  }

  private deliver(invocation: SimInvocation): void {
    if (this.scheduler === undefined) {
      this.waitingForController.push(invocation);
      return;
    }
    // The gateway says that nobody waits for it any more.
    if (invocation.kind === 'sync' && invocation.answered) {
      this.witness.totals[invocation.result === 'success' ? 'succeeded' : 'failed']++;
      return;
    }
    const deliveryId = this.deliveries++;
    this.held.set(deliveryId, invocation);
    const runsAlready = invocation.environmentId !== undefined;
    this.functionFailed = invocation.concluded && invocation.result === 'functionError';
    this.witness.delivered(invocation, deliveryId, this.nowMs);
    this.tell(this.delivery(invocation, deliveryId));
    if (this.held.has(deliveryId) && !runsAlready) this.witness.admitted(invocation);
    if (invocation.kind === 'async' && this.dice.chance(this.scenario.duplicateShare) && invocation.deliveryId !== undefined) {
      this.future.plan(this.nowMs + this.dice.around(5), () => this.deliverAgain(invocation, deliveryId));
    }
  }

  /** The log delivers at least once: here a second time, while the first is not settled. */
  private deliverAgain(invocation: SimInvocation, firstDeliveryId: number): void {
    if (this.scheduler === undefined || this.held.get(firstDeliveryId) !== invocation) return;
    const deliveryId = this.deliveries++;
    this.duplicates.add(deliveryId);
    this.tell(this.delivery(invocation, deliveryId));
    if (this.duplicates.has(deliveryId)) this.witness.fail(3, `${invocation.id} was delivered twice and is held twice.`);
  }

  private delivery(invocation: SimInvocation, deliveryId: number): SchedulerEvent {
    const { fn } = invocation;
    const head = simHead(invocation);
    const { epoch } = this;
    if (fn.deleted) return { kind: 'orphaned', deliveryId, head, epoch };
    return { kind: 'arrived', deliveryId, head, epoch, target: { spec: specOf(fn, invocation.version), reservedConcurrency: fn.reservedConcurrency } };
  }

  // Gateways

  private planArrival(): void {
    if (this.invocations >= this.scenario.invocations) return;
    const { burstShare, burstSize, spanMs, invocations } = this.scenario;
    const perArrival = 1 - burstShare + burstShare * burstSize;
    this.future.plan(this.nowMs + Math.round(-Math.log(1 - this.dice.next()) * (spanMs / invocations) * perArrival), () => {
      const fn = this.someFunction();
      const count = this.dice.chance(burstShare) ? burstSize : 1;
      for (let i = 0; i < count && this.invocations < invocations; i++) this.accept(fn);
      this.planArrival();
    });
  }

  /** Some functions are called far more often than others. */
  private someFunction(): SimFunction {
    return this.functions[Math.floor(this.functions.length * this.dice.next() ** 3)] as SimFunction;
  }

  private accept(fn: SimFunction): void {
    const { syncShare, syncPatienceMs, maxEventAgeMs } = this.scenario;
    const kind = this.dice.chance(syncShare) ? 'sync' : 'async';
    const version = fn.hasPublished && this.dice.chance(0.3) ? '1' : '$LATEST';
    const invocation: SimInvocation = {
      id: `i${this.invocations++}`, kind, fn, version, acceptedAtMs: this.nowMs, expiresAtMs: this.nowMs + (kind === 'sync' ? syncPatienceMs : maxEventAgeMs), attempt: 1, throttles: 0,
      deliveryId: undefined, deliveredAtMs: 0, environmentId: undefined, startedAtMs: undefined, result: undefined, concluded: false, answered: false,
    };
    if (kind === 'sync' && this.scheduler === undefined) return;
    this.witness.totals.accepted++;
    if (kind === 'sync' && changesHands(this.scenario)) this.future.plan(invocation.expiresAtMs + fn.timeoutMs + GATEWAY_MARGIN_MS, () => void (invocation.answered = true));
    if (kind === 'async') this.logged.set(invocation.id, invocation);
    if (kind === 'async' && this.dice.chance(this.scenario.lateShare)) this.future.plan(this.nowMs + this.dice.around(LATE_MEAN_MS), () => this.deliver(invocation));
    else this.deliver(invocation);
  }

  // Workers

  private startEnvironment(id: string, spec: ExecutionSpec): void {
    const named = this.functions[Number(spec.functionName.slice(1))];
    const fn = named?.uid === spec.functionUid ? named : this.witness.fail(3, `an environment of ${spec.id} is started, which does not exist.`);
    const environment: SimEnvironment = { id, fn, version: spec.version, specId: spec.id, memoryMiB: spec.configuration.memoryMiB, state: 'starting', toldToStop: false, invocation: undefined, runs: 0, given: undefined, untold: undefined };
    this.environments.set(id, environment);
    this.witness.started(environment);
    if (this.dice.chance(this.scenario.hangShare)) return;
    const fails = fn.crashes || this.dice.chance(this.scenario.initFailureShare);
    this.future.plan(this.nowMs + this.dice.around(fn.startMeanMs), () => {
      if (environment.state !== 'starting' || environment.toldToStop) return;
      if (fails && this.dice.chance(0.8)) {
        this.failInit(environment);
      } else if (fails) {
        this.leave(environment, { kind: 'cannotStart', message: 'simulated' });
      } else {
        environment.state = 'ready';
        this.witness.noLongerStarting(environment);
        this.announceReady(environment);
      }
    });
  }

  /** The failure is the answer to one invocation or the end, and nobody needs the environment any more. */
  private failInit(environment: SimEnvironment): void {
    environment.state = 'spent';
    this.witness.noLongerStarting(environment);
    this.announceFailedInit(environment);
  }

  private announceFailedInit(environment: SimEnvironment): void {
    if (this.scheduler === undefined) {
      environment.untold = () => this.announceFailedInit(environment);
      return;
    }
    this.functionFailed = true;
    this.tell({ kind: 'initFailed', environmentId: environment.id, errorBody: ERROR_BODY });
    if (environment.state === 'spent' && !environment.toldToStop) this.witness.fail(7, `${environment.id} is kept, whose init has failed.`);
  }

  private announceReady(environment: SimEnvironment): void {
    if (this.scheduler === undefined) environment.untold = () => this.announceReady(environment);
    else if (environment.state === 'ready' && !environment.toldToStop) this.tell({ kind: 'environmentReady', environmentId: environment.id });
  }

  private stopEnvironment(id: string): void {
    const environment = this.environments.get(id);
    if (environment === undefined || environment.toldToStop) return;
    if (environment.state === 'starting') this.witness.noLongerStarting(environment);
    environment.toldToStop = true;
    // The lease of what it runs is over; nothing else stops an environment at work.
    this.endUndelivered(environment, false);
    this.future.plan(this.nowMs + this.dice.around(STOP_MEAN_MS), () => this.leave(environment, { kind: 'stopped' }));
  }

  private leave(environment: SimEnvironment, cause: EnvironmentDeparture['cause'], completion?: Completion): void {
    if (environment.state === 'gone') return;
    // A worker keeps the end of an invocation that nobody has been told for whoever claims the environment.
    if (this.scheduler === undefined && completion !== undefined) {
      environment.untold = () => this.leave(environment, cause, completion);
      return;
    }
    if (environment.state === 'starting' && !environment.toldToStop) this.witness.noLongerStarting(environment);
    this.endUndelivered(environment, completion !== undefined);
    this.functionFailed = completion?.outcome === 'functionError';
    this.witness.environmentGone(environment);
    this.environments.delete(environment.id);
    this.tell({ kind: 'environmentGone', departure: { environmentId: environment.id, cause, ...(completion && { completion }) } });
  }

  private dispatch(deliveryId: number, environment: SimEnvironment | undefined): void {
    const invocation = this.held.get(deliveryId);
    const currentSpecId = environment !== undefined && !environment.fn.deleted ? specOf(environment.fn, environment.version).id : undefined;
    const spent = environment?.state === 'spent';
    this.witness.dispatched(invocation, environment, currentSpecId, this.nowMs);
    if (invocation === undefined || environment === undefined) return;
    const { fn } = environment;
    const { dice, scenario, epoch } = this;
    environment.given = { epoch, deliveryId };
    if (dice.chance(scenario.hangShare)) return;
    const run = environment.runs;
    const tookMs = spent ? 1 : Math.min(fn.timeoutMs, dice.around(fn.durationMeanMs));
    const fatal = spent || tookMs === fn.timeoutMs;
    const lost = dice.chance(scenario.lossShare);
    const outcome = fatal || dice.chance(scenario.functionErrorShare) ? 'functionError' : 'success';
    const completion: Completion = { invocationId: invocation.id, epoch, deliveryId, outcome, durationMs: tookMs };
    this.future.plan(this.nowMs + (lost ? dice.between(0, tookMs) : tookMs), () => {
      if (environment.state !== 'running' || environment.runs !== run) return;
      if (lost) {
        this.leave(environment, { kind: 'workerLost' });
        return;
      }
      if (invocation.environmentId === environment.id) {
        invocation.result = outcome;
        if (invocation.kind === 'sync') this.witness.answered(invocation, this.nowMs);
      }
      if (fatal) {
        this.leave(environment, { kind: 'failed' }, completion);
        return;
      }
      this.tell({ kind: 'responded', environmentId: environment.id });
      this.future.plan(this.nowMs + dice.between(0, 1), () => this.report(environment, completion));
    });
  }

  private report(environment: SimEnvironment, completion: Completion): void {
    if (environment.state !== 'running' || environment.invocation?.id !== completion.invocationId) return;
    if (this.scheduler === undefined) {
      environment.untold = () => this.report(environment, completion);
      return;
    }
    this.endUndelivered(environment, true);
    environment.state = 'ready';
    environment.invocation = undefined;
    environment.given = undefined;
    this.functionFailed = completion.outcome === 'functionError';
    this.tell({ kind: 'invocationDone', environmentId: environment.id, completion });
    if (this.dice.chance(this.scenario.staleReportShare)) this.future.plan(this.nowMs + this.dice.around(20), () => this.tell({ kind: 'invocationDone', environmentId: environment.id, completion }));
  }

  /** The environment is done with an invocation, well or not, that the present owner has not been given. */
  private endUndelivered({ id, invocation }: SimEnvironment, reported: boolean): void {
    if (invocation === undefined || invocation.environmentId !== id || invocation.deliveryId !== undefined) return;
    if (reported) this.witness.conclude(invocation);
    else this.witness.release(invocation);
  }

  // What goes wrong, and what changes

  private planDisturbances(): void {
    const { restarts, handovers, takeovers, workerLosses, updates, deletions, reservationChanges, spanMs } = this.scenario;
    const plan = (count: number, action: () => void): void => {
      for (let i = 0; i < count; i++) this.future.plan(STARTED_AT_MS + this.dice.between(0, spanMs), action);
    };
    plan(restarts, () => this.loseController());
    plan(handovers, () => this.changeHands('revoked'));
    plan(takeovers, () => this.changeHands('dead'));
    plan(workerLosses, () => {
      for (const environment of [...this.environments.values()]) if (this.dice.chance(0.2)) this.leave(environment, { kind: 'workerLost' });
    });
    plan(updates, () => {
      const fn = this.someFunction();
      fn.revision++;
      this.announce(fn);
    });
    plan(deletions, () => {
      const fn = this.someFunction();
      this.witness.reserve(fn, undefined);
      fn.deleted = true;
      this.functions[fn.index] = newFunction(this.dice, this.scenario, fn.index, fn.revision + 1);
      this.tell({ kind: 'functionChanged', functionUid: fn.uid, reservedConcurrency: undefined, specs: new Map() });
      this.announceAccount();
    });
    plan(reservationChanges, () => {
      const fn = this.someFunction();
      const spare = this.scenario.accountConcurrency - this.witness.accountReserved + (fn.reservedConcurrency ?? 0);
      this.witness.reserve(fn, this.dice.chance(0.3) ? undefined : this.dice.between(0, Math.floor(spare * this.scenario.reservationShareMax)));
      this.announceAccount();
      this.announce(fn);
    });
  }

  private announce(fn: SimFunction): void {
    const versions = fn.hasPublished ? ['$LATEST', '1'] : ['$LATEST'];
    this.tell({ kind: 'functionChanged', functionUid: fn.uid, reservedConcurrency: fn.reservedConcurrency, specs: new Map(versions.map((version) => [version, specOf(fn, version)])) });
  }

  private announceAccount(): void {
    this.tell({ kind: 'accountChanged', account: '000000000000', reservedConcurrency: this.witness.accountReserved });
  }

  private startController(): void {
    const { accountConcurrency, asyncRetryBaseMs, keepAliveMinMs, keepAliveMaxMs, maxEnvironments, maxMemoryMiB } = this.scenario;
    this.scheduler = new Scheduler({
      name: `c${++this.epoch}`,
      settings: { accountConcurrency, asyncRetryBaseMs, keepAliveMinMs, keepAliveMaxMs },
      capacity: { maxEnvironments, maxMemoryMiB, largestMiB: maxMemoryMiB },
      decisions: { ...guarded, ...this.sabotage.decisions },
      random: this.dice.next,
    });
    this.changing = true;
    this.announceAccount();
    for (const environment of [...this.environments.values()]) this.adopt(environment);
    this.changing = false;
    const delivered = this.waitingForController;
    this.waitingForController = [];
    for (const invocation of delivered) {
      if (changesHands(this.scenario) && this.dice.chance(0.5)) this.future.plan(this.nowMs + this.dice.around(REDELIVERY_MEAN_MS), () => this.deliver(invocation));
      else this.deliver(invocation);
    }
  }

  /** The environment has outlived its owner, and speaks to the new one from now on. */
  private adopt(environment: SimEnvironment): void {
    const { fn, version, invocation, given, untold } = environment;
    environment.untold = undefined;
    if (fn.deleted) {
      this.leave(environment, { kind: 'stopped' });
      return;
    }
    this.tell({
      kind: 'adopted',
      environment: {
        environmentId: environment.id,
        spec: { ...specOf(fn, version), id: environment.specId },
        ...(invocation !== undefined && given !== undefined && { running: { head: simHead(invocation), ...given, ranMs: this.nowMs - (invocation.startedAtMs ?? this.nowMs) } }),
      },
      target: { spec: specOf(fn, version), reservedConcurrency: fn.reservedConcurrency },
    });
    if (untold !== undefined) this.future.plan(this.nowMs + this.dice.between(0, 5), untold);
    else if (environment.state === 'ready') this.future.plan(this.nowMs + this.dice.between(0, 5), () => this.announceReady(environment));
  }

  /** Another owner comes, environments and callers stay; what the earlier one had and did not settle is delivered again. */
  private changeHands(how: 'revoked' | 'dead'): void {
    const earlier = this.scheduler;
    if (earlier === undefined) return;
    this.changing = true;
    if (how === 'revoked') {
      this.tell({ kind: 'revoked', functionUids: [...earlier.heldFunctions()].map(({ uid }) => uid) });
      const { held, undelivered, environments } = earlier.snapshot();
      if (held + undelivered > 0 || environments.all !== environments.leaving || this.held.size > 0) this.witness.fail(2, `an owner that let go of everything keeps ${held} invocations and ${environments.all} environments.`);
    }
    this.scheduler = undefined;
    this.witness.forgetConcluded();
    for (const deliveryId of [...this.held.keys()]) this.disown(deliveryId);
    this.duplicates.clear();
    for (const environment of [...this.environments.values()]) if (environment.toldToStop) this.leave(environment, { kind: 'stopped' });
    this.future.plan(this.nowMs + OWNERLESS_MS, () => this.startController());
  }

  private disown(deliveryId: number): void {
    const invocation = this.held.get(deliveryId);
    if (invocation === undefined) this.witness.fail(1, `delivery ${deliveryId} is let go of, which the scheduler does not have.`);
    this.held.delete(deliveryId);
    const environment = this.environments.get(invocation.environmentId ?? '');
    this.witness.disowned(invocation, environment?.invocation === invocation);
    this.waitingForController.push(invocation);
  }

  /** The process dies with its environments and its callers' connections; what is in the log is delivered again. */
  private loseController(): void {
    if (this.scheduler === undefined) return;
    this.scheduler = undefined;
    for (const environment of this.environments.values()) {
      if (environment.state === 'starting' && !environment.toldToStop) this.witness.noLongerStarting(environment);
      this.witness.environmentGone(environment);
    }
    this.environments.clear();
    this.duplicates.clear();
    for (const invocation of this.held.values()) {
      this.witness.release(invocation);
      if (invocation.kind === 'async') this.waitingForController.push(invocation);
      else this.witness.totals.lostWithController++;
    }
    this.held.clear();
    this.future.plan(this.nowMs + RESTART_MS, () => this.startController());
  }

  // Audits of the whole state

  private audit(): void {
    const snapshot = this.scheduler?.snapshot();
    if (snapshot === undefined) return;
    auditSnapshot(this.witness, snapshot, this.held.size);
    this.mostFunctions = Math.max(this.mostFunctions, snapshot.functions);
  }

  private auditEnd(): void {
    const snapshot = this.scheduler?.snapshot();
    for (const { id, kind, answered } of this.held.values()) {
      if (kind === 'sync' && !answered) this.witness.fail(4, `the caller of ${id} waits for ever.`);
    }
    if (this.logged.size > 0) this.witness.fail(1, `${this.logged.size} async invocations were accepted and never came to an end, ${[...this.logged.keys()][0]} first.`);
    this.audit();
    if (snapshot === undefined || snapshot.functions + snapshot.held + snapshot.timers + snapshot.environments.all > 0) this.witness.fail(7, `at rest the scheduler keeps ${JSON.stringify(snapshot)}.`);
    const { accepted, succeeded, failed, rejected, deadLettered, expired, lostWithController } = this.witness.totals;
    if (accepted !== succeeded + failed + rejected + deadLettered + expired + lostWithController) this.witness.fail(1, `${accepted} accepted, but ${JSON.stringify(this.witness.totals)}.`);
  }
}

export { Violation };
