import type { InvocationHead } from '../../platform/invocation-log/invocation-log.ts';
import type { InvocationKind } from '../../platform/model/invocation.ts';
import type { Completion } from '../../platform/protocol/controller-link.ts';
import type { Rejection } from '../../platform/protocol/reply.ts';
import { DEFAULT_MAX_RETRIES } from './decisions/retry.ts';
import type { DeadLetterReason } from './messages.ts';
import { UNDELIVERED, type TimerOwner, type Work } from './state.ts';
import type { Timers } from './timers.ts';
import type { Turn } from './turn.ts';

/**
 * Where the invocations of one kind are (invariant 1): `accepted` is the sum of all others, at any moment.
 */
export interface InvocationCounts {
  accepted: number;
  waiting: number;
  running: number;
  /** Async: back in the log until a later time. */
  retrying: number;
  succeeded: number;
  /** Sync: answered with the function's error. */
  failed: number;
  /** Sync: answered that it was not run, or lost. */
  rejected: number;
  /** Async: over without success, and not by age. */
  deadLettered: number;
  expired: number;
  /** Left in the log: by a scheduler that stopped, or for the next owner of the function. */
  released: number;
  /** Ended in an adopted environment before the log delivered it here. */
  concluded: number;
}

export function conservationDrift(counts: InvocationCounts): number {
  return counts.accepted - counts.waiting - counts.running - counts.retrying - counts.succeeded - counts.failed - counts.rejected - counts.deadLettered - counts.expired - counts.released - counts.concluded;
}

/** An invocation as it is delivered, held or not. */
export interface Delivered {
  readonly deliveryId: number;
  readonly head: InvocationHead;
  /** Of the ownership under which it was delivered. */
  readonly epoch: number;
}

/** An invocation's place in the log, as long as it is held or not. */
type Ending = Pick<Delivered, 'deliveryId' | 'head'>;

/** How an invocation ended whose delivery is still to come. */
interface Conclusion {
  readonly kind: InvocationKind;
  readonly outcome: Exclude<Completion['outcome'], 'notRun'>;
  readonly errorBody: Buffer | undefined;
}

/**
 * Invocations that ended in adopted environments before they were delivered. Each was among the unsettled ones of an earlier owner; more than this
 * are forgotten, oldest first, and run again. Some never come, since the earlier owner had settled them after all.
 */
const CONCLUDED_MAX = 10_000;
/** A larger error object is not kept for one whose delivery is still to come: all of them together stay below 80 MiB. */
const CONCLUDED_ERROR_BYTES_MAX = 8 * 1024;

/**
 * Holds the invocations that wait or run, with the slots that they take of their function's and account's concurrency, and ends each of
 * them in exactly one way. Every exit of an invocation is one method here.
 */
export class Ledger {
  readonly counts: Readonly<Record<InvocationKind, InvocationCounts>> = { sync: zero(), async: zero() };
  /** By invocation id. */
  private readonly held = new Map<string, Work>();
  /** By invocation id, oldest first. */
  private readonly concluded = new Map<string, Conclusion>();
  /** Of those held, how many the log has not delivered here. */
  private undelivered = 0;
  private readonly turn: Turn;
  private readonly timers: Timers<TimerOwner>;
  private readonly retryBaseMs: number;

  constructor(turn: Turn, timers: Timers<TimerOwner>, retryBaseMs: number) {
    this.turn = turn;
    this.timers = timers;
    this.retryBaseMs = retryBaseMs;
  }

  get size(): number {
    return this.held.size;
  }

  get undeliveredSize(): number {
    return this.undelivered;
  }

  find(invocationId: string): Work | undefined {
    return this.held.get(invocationId);
  }

  /** Counts a delivery. One that comes back after a postponement was counted before, unless an earlier process did. */
  arrived({ head }: Delivered): void {
    const counts = this.counts[head.kind];
    const returned = head.attempt > 1 || head.throttles > 0;
    if (returned && counts.retrying > 0) counts.retrying--;
    else counts.accepted++;
  }

  /** Takes a slot for an admitted invocation. */
  hold(work: Work): void {
    const { owner } = work.version;
    owner.inUse++;
    owner.account.inUse++;
    if (owner.reservedConcurrency === undefined) owner.account.unreservedInUse++;
    this.held.set(work.head.id, work);
    this.counts[work.head.kind].waiting++;
  }

  /** Takes a slot for an invocation that an adopted environment runs. The log delivers it later: see {@link bind}. */
  adopt(work: Work): void {
    this.counts[work.head.kind].accepted++;
    this.undelivered++;
    this.hold(work);
    this.running(work);
  }

  /** One that waits is found to run in an adopted environment: it is that one from now on, counted once. */
  replace(waiting: Work, running: Work): void {
    this.let(waiting);
    this.adopt(running);
    this.counts[running.head.kind].accepted--;
    running.deliveryId = waiting.deliveryId;
    this.undelivered--;
  }

  /** Takes a delivery for one that is known already, from an environment that runs it or has run it; whether it was. */
  bind(delivered: Delivered): boolean {
    const { id, kind } = delivered.head;
    const work = this.held.get(id);
    if (work?.deliveryId === UNDELIVERED) {
      work.deliveryId = delivered.deliveryId;
      this.undelivered--;
      return true;
    }
    const conclusion = this.concluded.get(id);
    if (conclusion === undefined) return false;
    this.concluded.delete(id);
    this.counts[kind].concluded--;
    if (conclusion.outcome === 'success') this.succeed(delivered);
    else this.functionFailed(delivered, conclusion.errorBody);
    return true;
  }

  /** The environment says how it ended. */
  complete(work: Work, { outcome, errorBody }: Completion): void {
    if (outcome === 'notRun') this.lose(work);
    else if (work.deliveryId === UNDELIVERED) this.conclude(work, { kind: work.head.kind, outcome, errorBody });
    else if (outcome === 'success') this.succeed(work);
    else this.functionFailed(work, errorBody);
  }

  /** Nobody knows how it ended: its environment is lost, or says nothing any more. */
  lose(work: Work, message?: string): void {
    // Its delivery is still to come, and is then a new one.
    if (work.deliveryId === UNDELIVERED) this.counts[work.head.kind].accepted--;
    else this.platformFailed(work, { code: 'workerLost', ...(message === undefined ? {} : { message }) });
  }

  /** Leaves it to the next owner. */
  release({ deliveryId, head }: Work): void {
    this.counts[head.kind].released++;
    if (deliveryId !== UNDELIVERED) this.turn.commands.push({ kind: 'release', deliveryId });
  }

  private conclude(work: Work, conclusion: Conclusion): void {
    const { kind, errorBody } = conclusion;
    const kept = errorBody !== undefined && errorBody.length > CONCLUDED_ERROR_BYTES_MAX ? undefined : errorBody;
    this.concluded.set(work.head.id, { ...conclusion, errorBody: kept });
    this.counts[kind].concluded++;
    if (this.concluded.size <= CONCLUDED_MAX) return;
    for (const [id, oldest] of this.concluded) {
      this.concluded.delete(id);
      this.counts[oldest.kind].concluded--;
      this.counts[oldest.kind].accepted--;
      break;
    }
  }

  /** Gives the slot back; one of the exits below follows in the same turn. */
  let(work: Work): void {
    const { owner } = work.version;
    owner.inUse--;
    owner.account.inUse--;
    if (owner.reservedConcurrency === undefined) owner.account.unreservedInUse--;
    if (this.held.get(work.head.id) === work) this.held.delete(work.head.id);
    if (work.deliveryId === UNDELIVERED) this.undelivered--;
    this.counts[work.head.kind][work.state]--;
    this.timers.cancel(work.timer);
  }

  running(work: Work): void {
    work.state = 'running';
    this.timers.cancel(work.timer);
    const counts = this.counts[work.head.kind];
    counts.waiting--;
    counts.running++;
  }

  private succeed({ deliveryId, head }: Ending): void {
    this.counts[head.kind].succeeded++;
    this.turn.commands.push({ kind: 'settle', deliveryId, outcome: 'succeeded' });
  }

  /** The function failed: a sync caller has been answered by the worker; an async invocation is tried again or over. */
  private functionFailed(delivered: Ending, errorBody: Buffer | undefined): void {
    const { deliveryId, head } = delivered;
    if (head.kind === 'sync') {
      this.counts.sync.failed++;
      this.turn.commands.push({ kind: 'settle', deliveryId, outcome: 'failed' });
      return;
    }
    this.retry(delivered, errorBody);
  }

  /** The function's init keeps failing, and no environment answers this invocation with it: a sync caller is answered from here. */
  initFailed(delivered: Ending, errorBody: Buffer): void {
    if (delivered.head.kind === 'async') {
      this.retry(delivered, errorBody);
      return;
    }
    this.counts.sync.failed++;
    this.turn.commands.push({ kind: 'fail', deliveryId: delivered.deliveryId, errorBody });
  }

  /** The platform could not run it or lost it: a sync caller is told, an async invocation waits and comes back, which is no attempt. */
  platformFailed(delivered: Ending, rejection: Rejection): void {
    const { head, deliveryId } = delivered;
    if (head.kind === 'sync') {
      this.reject(delivered, rejection);
      return;
    }
    const { nowMs, decisions, random } = this.turn;
    const decision = decisions.afterBackOff({ throttles: head.throttles, expiresAtMs: head.expiresAtMs, nowMs, random: random() });
    if (decision.kind === 'over') this.deadLetter(delivered, decision.reason, undefined);
    else this.postpone({ deliveryId, head }, head.attempt, head.throttles + 1, decision.notBeforeMs);
  }

  expired(delivered: Ending): void {
    if (delivered.head.kind === 'async') {
      this.deadLetter(delivered, 'expired', undefined);
      return;
    }
    this.counts.sync.expired++;
    this.turn.commands.push({ kind: 'reject', deliveryId: delivered.deliveryId, rejection: { code: 'expired' } });
  }

  functionGone(delivered: Ending): void {
    if (delivered.head.kind === 'async') this.deadLetter(delivered, 'functionGone', undefined);
    else this.reject(delivered, { code: 'functionGone' });
  }

  /** The scheduler stops: a sync caller is told, an async invocation stays in the log. */
  shutDown(delivered: Ending): void {
    if (delivered.head.kind === 'sync') {
      this.reject(delivered, { code: 'shuttingDown' });
      return;
    }
    this.counts.async.released++;
    this.turn.commands.push({ kind: 'release', deliveryId: delivered.deliveryId });
  }

  /** A second delivery of an invocation that is held; never counted as accepted. */
  duplicate({ deliveryId }: Delivered): void {
    this.turn.commands.push({ kind: 'settle', deliveryId, outcome: 'duplicate' });
  }

  private reject({ deliveryId, head }: Ending, rejection: Rejection): void {
    this.counts[head.kind].rejected++;
    this.turn.commands.push({ kind: 'reject', deliveryId, rejection });
  }

  private retry(delivered: Ending, errorBody: Buffer | undefined): void {
    const { head } = delivered;
    const decision = this.turn.decisions.afterFailure({ attempt: head.attempt, maxRetries: head.maxRetries ?? DEFAULT_MAX_RETRIES, expiresAtMs: head.expiresAtMs, baseMs: this.retryBaseMs, nowMs: this.turn.nowMs });
    if (decision.kind === 'over') this.deadLetter(delivered, decision.reason, errorBody);
    else this.postpone(delivered, head.attempt + 1, 0, decision.notBeforeMs);
  }

  private postpone({ deliveryId }: Ending, attempt: number, throttles: number, notBeforeMs: number): void {
    this.counts.async.retrying++;
    this.turn.commands.push({ kind: 'postpone', deliveryId, attempt, throttles, notBeforeMs });
  }

  private deadLetter({ deliveryId }: Ending, reason: DeadLetterReason, errorBody: Buffer | undefined): void {
    if (reason === 'expired') this.counts.async.expired++;
    else this.counts.async.deadLettered++;
    this.turn.commands.push({ kind: 'deadLetter', deliveryId, reason, errorBody });
  }
}

function zero(): InvocationCounts {
  return { accepted: 0, waiting: 0, running: 0, retrying: 0, succeeded: 0, failed: 0, rejected: 0, deadLettered: 0, expired: 0, released: 0, concluded: 0 };
}
