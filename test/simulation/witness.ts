import type { Command } from '../../controller/scheduler/messages.ts';
import { changesHands } from './functions.ts';
import type { Scenario } from './scenario.ts';

/** An invariant of ARCHITECTURE.md does not hold. The message begins with its number. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

/** A function as the world knows it. */
export interface SimFunction {
  readonly index: number;
  readonly uid: string;
  readonly name: string;
  readonly durationMeanMs: number;
  readonly startMeanMs: number;
  readonly timeoutMs: number;
  readonly memoryMiB: number;
  readonly crashes: boolean;
  readonly hasPublished: boolean;
  reservedConcurrency: number | undefined;
  revision: number;
  deleted: boolean;
  held: number;
  /** Held and not running, by version. */
  readonly waiting: Map<string, number>;
  readonly starting: Map<string, number>;
}

/** An invocation as the world knows it, from acceptance until it is over. */
export interface SimInvocation {
  readonly id: string;
  readonly kind: 'sync' | 'async';
  readonly fn: SimFunction;
  readonly version: string;
  readonly acceptedAtMs: number;
  readonly expiresAtMs: number;
  attempt: number;
  throttles: number;
  /** In the hands of the scheduler: which delivery, since when, and whether it was given to an environment. */
  deliveryId: number | undefined;
  deliveredAtMs: number;
  environmentId: string | undefined;
  startedAtMs: number | undefined;
  /** How its present run ended, once it has. */
  result: 'success' | 'functionError' | undefined;
  /** Its run ended and was reported to an owner that had not been given its delivery. */
  concluded: boolean;
  answered: boolean;
}

export interface SimEnvironment {
  readonly id: string;
  readonly fn: SimFunction;
  readonly version: string;
  readonly specId: string;
  readonly memoryMiB: number;
  /** `spent`: its init has failed, so it can only answer one invocation with that. */
  state: 'starting' | 'ready' | 'spent' | 'running' | 'gone';
  toldToStop: boolean;
  invocation: SimInvocation | undefined;
  runs: number;
  /** Epoch and delivery under which it was given the invocation. */
  given: { readonly epoch: number; readonly deliveryId: number } | undefined;
  /** What it would have told an owner while there was none. */
  untold: (() => void) | undefined;
}

/** Longest a running invocation may take beyond its function's timeout before its caller has an answer. */
const LEASE_MARGIN_MS = 10_000;
/** While nobody owns a function its callers are not answered from here; the gateway answers them itself so long after patience and time-out have ended. */
export const GATEWAY_MARGIN_MS = 5_000;

/**
 * Watches every command against what really is the case in the simulated world, and throws a {@link Violation} at the first that breaks an
 * invariant. Knows nothing of the scheduler's insides.
 */
export class Witness {
  readonly totals = { accepted: 0, succeeded: 0, failed: 0, rejected: 0, deadLettered: 0, expired: 0, lostWithController: 0, starts: 0, dispatches: 0, longestWaitMs: 0 };
  /** Environments that are not gone, and their memory. */
  readonly pool = { environments: 0, memoryMiB: 0 };
  accountHeld = 0;
  unreservedHeld = 0;
  accountReserved = 0;
  private readonly concluded = new Set<SimInvocation>();
  private readonly scenario: Scenario;

  constructor(scenario: Scenario) {
    this.scenario = scenario;
  }

  fail(invariant: number, text: string): never {
    throw new Violation(`${invariant}: ${text}`);
  }

  delivered(invocation: SimInvocation, deliveryId: number, nowMs: number): void {
    invocation.deliveryId = deliveryId;
    invocation.deliveredAtMs = nowMs;
    // An adopted environment has it: it holds its slot already, or, where it has ended, gets one for this turn.
    if (invocation.environmentId !== undefined) {
      if (invocation.concluded) this.hold(invocation, 1);
      return;
    }
    invocation.startedAtMs = undefined;
    this.hold(invocation, 1);
    bump(invocation.fn.waiting, invocation.version, 1);
  }

  /** Its owner is gone. An environment that lives on with it keeps it and its slot; otherwise it is in no one's hands. */
  disowned(invocation: SimInvocation, livesOn: boolean): void {
    if (livesOn) invocation.deliveryId = undefined;
    else this.release(invocation);
  }

  /** An adopted environment has reported the end of an invocation that is still to be delivered to the new owner. */
  conclude(invocation: SimInvocation): void {
    invocation.concluded = true;
    this.concluded.add(invocation);
    this.hold(invocation, -1);
  }

  /** The owner that knew of such ends is gone: those invocations come to the next one as if they had never run. */
  forgetConcluded(): void {
    for (const invocation of this.concluded) {
      invocation.concluded = false;
      invocation.environmentId = undefined;
    }
    this.concluded.clear();
  }

  /** The invocation was just delivered and the scheduler has kept it: then there was a slot for it. */
  admitted({ id, fn }: SimInvocation): void {
    const { accountConcurrency } = this.scenario;
    if (fn.reservedConcurrency !== undefined && fn.held > fn.reservedConcurrency) this.fail(5, `${id} makes ${fn.held} invocations of ${fn.name}, whose reserved concurrency is ${fn.reservedConcurrency}.`);
    if (this.accountHeld > accountConcurrency) this.fail(5, `${id} makes ${this.accountHeld} invocations of the account, whose limit is ${accountConcurrency}.`);
    if (fn.reservedConcurrency === undefined && this.unreservedHeld > accountConcurrency - this.accountReserved) this.fail(5, `${id} takes from the ${this.accountReserved} slots that are reserved for others.`);
  }

  dispatched(invocation: SimInvocation | undefined, environment: SimEnvironment | undefined, currentSpecId: string | undefined, nowMs: number): void {
    if (invocation === undefined) this.fail(3, 'an invocation is dispatched that the scheduler does not have.');
    if (environment === undefined || environment.state === 'gone') this.fail(3, `${invocation.id} is given to an environment that is gone.`);
    if ((environment.state !== 'ready' && environment.state !== 'spent') || environment.toldToStop) this.fail(3, `${invocation.id} is given to ${environment.id}, which is not free.`);
    if (invocation.environmentId !== undefined) this.fail(3, `${invocation.id} is given to ${environment.id} while ${invocation.environmentId} has it.`);
    if (environment.specId !== currentSpecId) this.fail(3, `${invocation.id} is given to ${environment.id} of revision ${environment.specId}, now ${currentSpecId}.`);
    if (nowMs >= invocation.expiresAtMs) this.fail(4, `${invocation.id} is started after its expiry.`);
    this.waited(invocation, nowMs);
    this.totals.dispatches++;
    bump(invocation.fn.waiting, invocation.version, -1);
    invocation.environmentId = environment.id;
    invocation.startedAtMs = nowMs;
    invocation.result = undefined;
    environment.state = 'running';
    environment.invocation = invocation;
    environment.runs++;
  }

  started(environment: SimEnvironment): void {
    const { maxEnvironments, maxMemoryMiB } = this.scenario;
    const { fn, version } = environment;
    this.totals.starts++;
    this.pool.environments++;
    this.pool.memoryMiB += environment.memoryMiB;
    bump(fn.starting, version, 1);
    if (this.pool.environments > maxEnvironments || this.pool.memoryMiB > maxMemoryMiB) this.fail(7, `${this.pool.environments} environments of ${this.pool.memoryMiB} MiB in a pool of ${maxEnvironments} and ${maxMemoryMiB} MiB.`);
    const waiting = fn.waiting.get(version) ?? 0;
    if ((fn.starting.get(version) ?? 0) > waiting) this.fail(6, `more environments of ${fn.name} start than its ${waiting} waiting invocations.`);
  }

  /** The environment does not start any more: it is ready, told to stop or gone. */
  noLongerStarting(environment: SimEnvironment): void {
    bump(environment.fn.starting, environment.version, -1);
  }

  environmentGone(environment: SimEnvironment): void {
    environment.state = 'gone';
    this.pool.environments--;
    this.pool.memoryMiB -= environment.memoryMiB;
  }

  /** A sync caller gets an answer; a later one to the same caller would be dropped by the reply channel. */
  answered(invocation: SimInvocation, nowMs: number): void {
    if (invocation.answered) return;
    invocation.answered = true;
    const deadlineMs = invocation.startedAtMs === undefined ? invocation.expiresAtMs : invocation.startedAtMs + invocation.fn.timeoutMs + LEASE_MARGIN_MS;
    const lastMs = changesHands(this.scenario) ? Math.max(deadlineMs, invocation.expiresAtMs + invocation.fn.timeoutMs) + GATEWAY_MARGIN_MS : deadlineMs;
    if (nowMs > lastMs) this.fail(4, `the caller of ${invocation.id} is answered ${nowMs - deadlineMs} ms after its deadline.`);
  }

  /** The scheduler is done with a delivery: by what command, and was that true? `event` is what it was told in this turn. */
  ended(invocation: SimInvocation | undefined, command: Command, functionFailed: boolean, nowMs: number): void {
    if (invocation === undefined) this.fail(1, `${command.kind} for a delivery that the scheduler does not have.`);
    const { id, kind, fn } = invocation;
    const started = invocation.environmentId !== undefined;
    if (!started) this.waited(invocation, nowMs);
    this.release(invocation);
    switch (command.kind) {
      case 'settle':
        if (!started || invocation.result !== (command.outcome === 'succeeded' ? 'success' : 'functionError')) this.fail(2, `${id} is settled as ${command.outcome}, but its run came to ${invocation.result ?? 'nothing yet'}.`);
        this.totals[command.outcome === 'succeeded' ? 'succeeded' : 'failed']++;
        if (kind === 'async' && command.outcome !== 'succeeded') this.fail(1, `${id} is settled without success or dead letter.`);
        break;
      case 'reject':
      case 'fail':
        if (kind === 'async') this.fail(1, `${id} has no caller to ${command.kind}.`);
        if (command.kind === 'reject' && command.rejection.code === 'functionGone' && !fn.deleted) this.fail(4, `${id} is told that its function is gone, which it is not.`);
        this.answered(invocation, nowMs);
        this.totals[command.kind === 'fail' ? 'failed' : command.rejection.code === 'expired' ? 'expired' : 'rejected']++;
        break;
      case 'postpone':
        this.postponed(invocation, command.attempt, command.throttles, functionFailed);
        break;
      case 'deadLetter':
        if (command.reason === 'retriesExhausted' && (invocation.attempt < 3 || !functionFailed)) this.fail(1, `${id} is given up after ${invocation.attempt} attempts.`);
        if (command.reason === 'functionGone' && !fn.deleted) this.fail(1, `${id} is given up for a function that exists.`);
        this.totals[command.reason === 'expired' ? 'expired' : 'deadLettered']++;
        break;
      default:
        this.fail(1, `${command.kind} does not end ${id}.`);
    }
  }

  /** The controller is lost: what it held is in no one's hands. */
  release(invocation: SimInvocation): void {
    if (invocation.environmentId === undefined) bump(invocation.fn.waiting, invocation.version, -1);
    this.hold(invocation, -1);
    invocation.deliveryId = undefined;
    invocation.environmentId = undefined;
    invocation.concluded = false;
    this.concluded.delete(invocation);
  }

  reserve(fn: SimFunction, reservedConcurrency: number | undefined): void {
    if (fn.reservedConcurrency === undefined) this.unreservedHeld -= fn.held;
    this.accountReserved += (reservedConcurrency ?? 0) - (fn.reservedConcurrency ?? 0);
    fn.reservedConcurrency = reservedConcurrency;
    if (reservedConcurrency === undefined) this.unreservedHeld += fn.held;
  }

  private postponed(invocation: SimInvocation, attempt: number, throttles: number, functionFailed: boolean): void {
    const { id, kind } = invocation;
    if (kind === 'sync') this.fail(4, `${id} is postponed while its caller waits.`);
    const counted = attempt === invocation.attempt + 1 && throttles === 0 && functionFailed;
    const uncounted = attempt === invocation.attempt && throttles === invocation.throttles + 1;
    if (!counted && !uncounted) this.fail(5, `${id} goes from attempt ${invocation.attempt} to ${attempt} without having been tried.`);
    if (attempt > 3) this.fail(1, `${id} is tried a ${attempt}th time.`);
    invocation.attempt = attempt;
    invocation.throttles = throttles;
  }

  private waited({ id, deliveredAtMs, fn }: SimInvocation, nowMs: number): void {
    const waitedMs = nowMs - deliveredAtMs;
    if (waitedMs > this.totals.longestWaitMs) this.totals.longestWaitMs = waitedMs;
    if (waitedMs > this.scenario.maxWaitMs) this.fail(6, `${id} of ${fn.name} waited ${waitedMs} ms for an environment.`);
  }

  private hold({ fn }: SimInvocation, by: number): void {
    fn.held += by;
    this.accountHeld += by;
    if (fn.reservedConcurrency === undefined) this.unreservedHeld += by;
  }
}

function bump(counts: Map<string, number>, key: string, by: number): void {
  counts.set(key, (counts.get(key) ?? 0) + by);
}
