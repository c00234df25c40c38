import type { InvocationHead } from '../../platform/invocation-log/invocation-log.ts';
import type { InvocationKind } from '../../platform/model/invocation.ts';
import type { Rejection } from '../../platform/protocol/reply.ts';
import { DEFAULT_MAX_RETRIES } from './decisions/retry.ts';
import type { DeadLetterReason } from './messages.ts';
import type { TimerOwner, Work } from './state.ts';
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
  /** Async: left in the log by a scheduler that stopped. */
  released: number;
}

export function conservationDrift(counts: InvocationCounts): number {
  return counts.accepted - counts.waiting - counts.running - counts.retrying - counts.succeeded - counts.failed - counts.rejected - counts.deadLettered - counts.expired - counts.released;
}

/** An invocation as it is delivered, held or not. */
export interface Delivered {
  readonly deliveryId: number;
  readonly head: InvocationHead;
}

/**
 * Holds the invocations that wait or run, with the slots that they take of their function's and account's concurrency, and ends each of
 * them in exactly one way. Every exit of an invocation is one method here.
 */
export class Ledger {
  readonly counts: Readonly<Record<InvocationKind, InvocationCounts>> = { sync: zero(), async: zero() };
  /** By invocation id. */
  private readonly held = new Map<string, Work>();
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

  /** Gives the slot back; one of the exits below follows in the same turn. */
  let(work: Work): void {
    const { owner } = work.version;
    owner.inUse--;
    owner.account.inUse--;
    if (owner.reservedConcurrency === undefined) owner.account.unreservedInUse--;
    if (this.held.get(work.head.id) === work) this.held.delete(work.head.id);
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

  succeed({ deliveryId, head }: Delivered): void {
    this.counts[head.kind].succeeded++;
    this.turn.commands.push({ kind: 'settle', deliveryId, outcome: 'succeeded' });
  }

  /** The function failed: a sync caller has been answered by the worker; an async invocation is tried again or over. */
  functionFailed(delivered: Delivered, errorBody: Buffer | undefined): void {
    const { deliveryId, head } = delivered;
    if (head.kind === 'sync') {
      this.counts.sync.failed++;
      this.turn.commands.push({ kind: 'settle', deliveryId, outcome: 'failed' });
      return;
    }
    this.retry(delivered, errorBody);
  }

  /** The function's init keeps failing, and no environment answers this invocation with it: a sync caller is answered from here. */
  initFailed(delivered: Delivered, errorBody: Buffer): void {
    if (delivered.head.kind === 'async') {
      this.retry(delivered, errorBody);
      return;
    }
    this.counts.sync.failed++;
    this.turn.commands.push({ kind: 'fail', deliveryId: delivered.deliveryId, errorBody });
  }

  /** The platform could not run it or lost it: a sync caller is told, an async invocation waits and comes back, which is no attempt. */
  platformFailed(delivered: Delivered, rejection: Rejection): void {
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

  expired(delivered: Delivered): void {
    if (delivered.head.kind === 'async') {
      this.deadLetter(delivered, 'expired', undefined);
      return;
    }
    this.counts.sync.expired++;
    this.turn.commands.push({ kind: 'reject', deliveryId: delivered.deliveryId, rejection: { code: 'expired' } });
  }

  functionGone(delivered: Delivered): void {
    if (delivered.head.kind === 'async') this.deadLetter(delivered, 'functionGone', undefined);
    else this.reject(delivered, { code: 'functionGone' });
  }

  /** The scheduler stops: a sync caller is told, an async invocation stays in the log. */
  shutDown(delivered: Delivered): void {
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

  private reject({ deliveryId, head }: Delivered, rejection: Rejection): void {
    this.counts[head.kind].rejected++;
    this.turn.commands.push({ kind: 'reject', deliveryId, rejection });
  }

  private retry(delivered: Delivered, errorBody: Buffer | undefined): void {
    const { head } = delivered;
    const decision = this.turn.decisions.afterFailure({ attempt: head.attempt, maxRetries: DEFAULT_MAX_RETRIES, expiresAtMs: head.expiresAtMs, baseMs: this.retryBaseMs, nowMs: this.turn.nowMs });
    if (decision.kind === 'over') this.deadLetter(delivered, decision.reason, errorBody);
    else this.postpone(delivered, head.attempt + 1, 0, decision.notBeforeMs);
  }

  private postpone({ deliveryId }: Delivered, attempt: number, throttles: number, notBeforeMs: number): void {
    this.counts.async.retrying++;
    this.turn.commands.push({ kind: 'postpone', deliveryId, attempt, throttles, notBeforeMs });
  }

  private deadLetter({ deliveryId }: Delivered, reason: DeadLetterReason, errorBody: Buffer | undefined): void {
    if (reason === 'expired') this.counts.async.expired++;
    else this.counts.async.deadLettered++;
    this.turn.commands.push({ kind: 'deadLetter', deliveryId, reason, errorBody });
  }
}

function zero(): InvocationCounts {
  return { accepted: 0, waiting: 0, running: 0, retrying: 0, succeeded: 0, failed: 0, rejected: 0, deadLettered: 0, expired: 0, released: 0 };
}
