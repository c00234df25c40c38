/**
 * The scheduler: a pure, deterministic state machine. Events go in with the time, commands come out; it does no I/O, asks no clock and
 * rolls no dice but those it is given. The same events at the same times give the same commands.
 *
 * An *invocation* (`Work`) is in one of these states, and leaves each in one of these ways:
 *
 * - *delivered*: the log has handed it over. It is done with at once when it is a second delivery of one that is held, when the scheduler
 *   drains, when it is older than its expiry, or when no slot of concurrency is free (a sync caller is rejected, an async
 *   invocation goes back to the log with a back-off). Otherwise it takes a slot and becomes *waiting*, or, when an environment of its version
 *   is idle, *running* at once.
 * - *waiting*: it stands in its version's queue, first come, first served. It becomes *running* when an environment becomes free, or when one
 *   reports that its init failed, which is then its answer. It is done with when it expires, when its function or version is deleted, when a start
 *   that began after it came was never heard of or was one of a crash loop, or when the scheduler drains.
 * - *running*: one environment has it, and no other gets it before that one has reported or left, or its lease has ended. It is done with
 *   by the environment's completion, by the environment's departure, or by the end of the lease.
 * An invocation can also be *running* before it is delivered: in an environment that was *adopted* from an earlier owner of its function. Its delivery, when
 * it comes, is then that of the one that runs, or that has ended meanwhile. When another owner takes the function, everything is let go: what waits or runs stays
 * unsettled in the log, and environments are handed over as they are.
 *
 * - *done with*: the slot is free, and exactly one exit of the {@link Ledger} was taken: settled, answered, dead-lettered, or back in the log.
 *
 * An *environment* is in one of these states:
 *
 * - *starting*: the pool was told to start it. Its first poll makes it free or, where that says that its init failed, *spent*. A failed init, a
 *   departure and the end of the time that a start may take are failed starts. Told to stop, it is *leaving*.
 * - *busy*: it has exactly one invocation. Its completion makes it free; one that is spent departs with it.
 * - *idle*: free, and nothing waits for it. An arrival makes it *busy*. It is told to stop, and is *leaving*, when its keep-alive ends,
 *   when its room is needed, and when its revision is no longer the version's.
 * - *leaving*: told to stop; it has no work and gets none. Its departure ends it, and only then is its room free.
 *
 * *Free* is no state: an environment that becomes free stops when its revision is old, its version is deleted, the scheduler drains or another
 * version has waited too long for room; otherwise it takes its version's next waiting invocation; otherwise it is idle. *Spent* is none either:
 * an environment that becomes spent takes its version's next waiting invocation, which it answers with the failure of its init, or stops.
 *
 * Whatever else is reported (a completion under an old epoch or of an earlier attempt, of an invocation that the environment does not have, or from an environment
 * that is leaving) changes nothing and is counted in `tally.staleReports`; one that is leaving is told again to stop.
 */
import type { ExecutionSpec, FunctionKey } from '../../platform/model/execution-spec.ts';
import type { Completion, EnvironmentDeparture } from '../../platform/protocol/controller-link.ts';
import type { PoolCapacity } from '../../platform/worker-pool/worker-pool.ts';
import { unreservedLimit } from './decisions/admission.ts';
import type { Decisions } from './decisions/decisions.ts';
import { Environments } from './environments.ts';
import { calledAt, measuredDuration } from './estimates.ts';
import { Functions, type HeldFunction } from './functions.ts';
import { Handover } from './handover.ts';
import { Ledger, type Delivered } from './ledger.ts';
import { messageOf, type Command, type SchedulerEvent } from './messages.ts';
import type { SchedulerSnapshot } from './snapshot.ts';
import { workState, type Environment, type TimerOwner, type VersionState, type Work } from './state.ts';
import { Timers } from './timers.ts';
import type { Turn } from './turn.ts';

export interface SchedulerSettings {
  readonly accountConcurrency: number;
  readonly asyncRetryBaseMs: number;
  readonly keepAliveMinMs: number;
  readonly keepAliveMaxMs: number;
}

export interface SchedulerOptions {
  /** Names this scheduler among all that ever were: begins the id of every environment that it starts. */
  readonly name: string;
  readonly settings: SchedulerSettings;
  readonly capacity: PoolCapacity;
  readonly decisions: Decisions;
  /** 0 to 1. */
  readonly random: () => number;
}

type FailedStart = { readonly kind: 'init'; readonly errorBody: Buffer } | { readonly kind: 'platform' | 'silence'; readonly message: string };

export class Scheduler {
  private readonly options: SchedulerOptions;
  private readonly turn: Turn;
  private readonly timers: Timers<TimerOwner>;
  private readonly functions: Functions;
  private readonly environments: Environments;
  private readonly ledger: Ledger;
  private readonly handover: Handover;
  private readonly tally = { startsFailed: 0, leasesEnded: 0, throttled: 0, duplicates: 0, staleReports: 0 };
  /** Order of arrival; also the time-line of starts. */
  private sequence = 0;
  private draining = false;
  private share = 1;

  constructor(options: SchedulerOptions) {
    const { settings, capacity, name } = options;
    this.options = options;
    this.turn = { nowMs: 0, commands: [], decisions: options.decisions, random: options.random };
    this.timers = new Timers<TimerOwner>((owner) => owner.timer);
    this.functions = new Functions(this.timers);
    this.environments = new Environments({ turn: this.turn, timers: this.timers, functions: this.functions, capacity, name, keepAliveMinMs: settings.keepAliveMinMs, keepAliveMaxMs: settings.keepAliveMaxMs });
    this.ledger = new Ledger(this.turn, this.timers, settings.asyncRetryBaseMs);
    this.handover = new Handover({
      turn: this.turn, functions: this.functions, environments: this.environments, ledger: this.ledger,
      nextSequence: () => this.sequence++,
      isDraining: () => this.draining,
      leaveQueue: (work) => this.leaveQueue(work),
      endWork: (environment, work) => this.endWork(environment, work),
      revise: (version, spec) => this.revise(version, spec),
    });
  }

  /** When the next `tick` is due; Infinity when none is. */
  get nextWakeMs(): number {
    return this.timers.nextMs;
  }

  /** Takes one event at a time that never runs backwards, and returns what is to be done, in order. */
  handle(event: SchedulerEvent, nowMs: number): readonly Command[] {
    this.turn.nowMs = nowMs;
    this.turn.commands = [];
    this.change(event);
    return this.turn.commands;
  }

  /** What is held under a function's name: usually one incarnation, or none. */
  heldAs(key: FunctionKey): readonly HeldFunction[] {
    return this.functions.heldAs(key);
  }

  /** Functions of which anything is held. */
  *heldFunctions(): Generator<{ readonly uid: string; readonly key: FunctionKey }> {
    for (const { uid, key } of this.functions.all()) yield { uid, key };
  }

  /** How many invocations of the function may be held here as things stand: those that are, and as many more as would be admitted. */
  slots(key: FunctionKey, account: string): number {
    const owner = this.functions.named(key);
    const inUse = owner?.inUse ?? 0;
    if (owner?.reservedConcurrency !== undefined) return owner.reservedConcurrency;
    const { reservedConcurrency: accountReserved, unreservedInUse } = this.functions.account(account);
    return inUse + Math.max(0, unreservedLimit({ accountLimit: this.options.settings.accountConcurrency, accountReserved, share: this.share }) - unreservedInUse);
  }

  snapshot(): SchedulerSnapshot {
    const { environments, functions, ledger } = this;
    return {
      invocations: { sync: { ...ledger.counts.sync }, async: { ...ledger.counts.async } },
      held: ledger.size,
      undelivered: ledger.undeliveredSize,
      functions: functions.size,
      rememberedVersions: functions.rememberedSize,
      timers: this.timers.size,
      environments: { all: environments.used.environments, idle: environments.idleCount, leaving: environments.leavingCount, memoryMiB: environments.used.memoryMiB },
      versionsWithoutRoom: environments.wantingCount,
      tally: { ...this.tally, ...environments.tally },
    };
  }

  private change(event: SchedulerEvent): void {
    switch (event.kind) {
      case 'arrived':
        this.arrived(event, event.target.spec, event.target.reservedConcurrency);
        break;
      case 'orphaned':
        if (this.taken(event)) this.ledger.functionGone(event);
        break;
      case 'unresolved':
        if (this.taken(event)) this.ledger.platformFailed(event, { code: 'cannotStart', message: event.message });
        break;
      case 'environmentReady':
        this.environmentReady(event.environmentId);
        break;
      case 'initFailed':
        this.initFailed(event.environmentId, event.errorBody);
        break;
      case 'invocationDone':
        this.invocationDone(event.environmentId, event.completion);
        break;
      case 'responded':
        this.responded(event.environmentId);
        break;
      case 'environmentGone':
        this.environmentGone(event.departure);
        break;
      case 'undelivered':
        this.undelivered(event.environmentId, event.deliveryId);
        break;
      case 'functionChanged':
        this.functionChanged(event.functionUid, event.reservedConcurrency, event.specs);
        break;
      case 'adopted':
        this.handover.adopt(event.environment, event.target);
        break;
      case 'revoked':
        for (const uid of event.functionUids) this.handover.revoke(uid);
        this.environments.makeRoom(this.sequence);
        break;
      case 'retire':
        this.environments.retire(event.environmentId);
        break;
      case 'capacityChanged':
        this.environments.resize(event.capacity, this.sequence);
        break;
      case 'shareChanged':
        this.share = event.share;
        break;
      case 'accountChanged':
        this.functions.account(event.account).reservedConcurrency = event.reservedConcurrency;
        break;
      case 'tick':
        this.tick();
        break;
      case 'draining':
        this.drain();
        break;
    }
  }

  private arrived(delivered: Delivered, spec: ExecutionSpec, reservedConcurrency: number | undefined): void {
    if (!this.taken(delivered)) return;
    const { deliveryId, head, epoch } = delivered;
    const { turn, ledger, environments } = this;
    const version = this.functions.version(head, spec, reservedConcurrency);
    if (version.spec.id !== spec.id || version.deleted) this.revise(version, spec);
    if (version.owner.reservedConcurrency !== reservedConcurrency) this.functions.reserve(version.owner, reservedConcurrency);
    const { memoryMiB } = spec.configuration;
    const throttle = this.throttle(version);
    if (!environments.fitsEver(memoryMiB)) {
      ledger.platformFailed(delivered, { code: 'cannotStart', message: `An environment of ${memoryMiB} MB does not fit into this Sluice, which has room for ${environments.largestMiB} MB: raise SLUICE_MAX_ENVIRONMENT_MEMORY_MIB or lower MemorySize.` });
    } else if (throttle !== undefined) {
      this.tally.throttled++;
      ledger.platformFailed(delivered, { code: 'throttled', reason: throttle });
    } else {
      const work = workState({ deliveryId, head, givenEpoch: epoch, givenDeliveryId: deliveryId }, version, this.sequence++, turn.nowMs);
      calledAt(version.estimates, turn.nowMs);
      ledger.hold(work);
      const environment = version.waiting.length === 0 ? environments.takeIdle(version) : undefined;
      if (environment !== undefined) {
        ledger.running(work);
        environments.assign(environment, work);
      } else {
        version.waiting.append(work.place);
        this.timers.set(work.timer, head.expiresAtMs);
        environments.consider(version, this.sequence);
      }
      return;
    }
    this.functions.dropUnused(version);
  }

  /** Counts a delivery and ends it where nothing about its function matters; whether it is still to be dealt with. */
  private taken(delivered: Delivered): boolean {
    const { ledger, turn } = this;
    if (ledger.bind(delivered)) return false;
    if (turn.decisions.isDuplicate(ledger.find(delivered.head.id))) {
      this.tally.duplicates++;
      ledger.duplicate(delivered);
      return false;
    }
    ledger.arrived(delivered);
    if (this.draining) ledger.shutDown(delivered);
    else if (turn.decisions.isExpired(delivered.head.expiresAtMs, turn.nowMs)) ledger.expired(delivered);
    else return true;
    return false;
  }

  private throttle(version: VersionState): ReturnType<Decisions['admit']> {
    const { owner } = version;
    return this.turn.decisions.admit({
      functionInUse: owner.inUse,
      reservedConcurrency: owner.reservedConcurrency,
      accountInUse: owner.account.inUse,
      unreservedInUse: owner.account.unreservedInUse,
      accountLimit: this.options.settings.accountConcurrency,
      accountReserved: owner.account.reservedConcurrency,
      share: this.share,
    });
  }

  private environmentReady(environmentId: string): void {
    const environment = this.environments.get(environmentId);
    if (environment?.state === 'starting') {
      this.environments.ready(environment);
      this.free(environment);
    } else {
      this.stale(environment);
    }
  }

  /** The failure is the answer to one invocation, which the environment gives itself. */
  private initFailed(environmentId: string, errorBody: Buffer): void {
    const environment = this.environments.get(environmentId);
    if (environment?.state !== 'starting') {
      this.stale(environment);
      return;
    }
    const { environments } = this;
    environments.spent(environment);
    if (!this.giveNext(environment)) environments.stop(environment);
    this.startFailed(environment, { kind: 'init', errorBody });
    environments.consider(environment.version, this.sequence);
    environments.makeRoom(this.sequence);
  }

  private invocationDone(environmentId: string, completion: Completion): void {
    const environment = this.environments.get(environmentId);
    const work = environment?.work;
    if (environment === undefined || work === undefined || !this.isCurrent(work, completion)) {
      // What it reports is of an earlier owner that did not know of the new one yet; it is its first poll here all the same.
      if (environment?.state === 'starting') this.environmentReady(environmentId);
      this.stale(environment);
      return;
    }
    if (completion.outcome !== 'notRun') measuredDuration(environment.version.estimates, Math.max(completion.durationMs, this.turn.nowMs - environment.startedWorkAtMs));
    this.endWork(environment, work);
    this.ledger.complete(work, completion);
    this.free(environment);
  }

  private responded(environmentId: string): void {
    const environment = this.environments.get(environmentId);
    if (environment?.state === 'busy') environment.respondedAtMs = this.turn.nowMs;
  }

  private environmentGone(departure: EnvironmentDeparture): void {
    const environment = this.environments.get(departure.environmentId);
    if (environment === undefined) return;
    const { environments } = this;
    const { version, state, work } = environment;
    environments.remove(environment);
    if (state === 'starting') this.startFailed(environment, { kind: 'platform', message: messageOf(departure) ?? 'The environments of the function end while they start.' });
    else if (work !== undefined) this.lost(environment, work, departure);
    environments.consider(version, this.sequence);
    environments.makeRoom(this.sequence);
    this.functions.dropUnused(version);
  }

  /** An environment left with an invocation: ended as the departure tells, or lost. */
  private lost(environment: Environment, work: Work, departure: EnvironmentDeparture): void {
    const { completion } = departure;
    this.endWork(environment, work);
    if (completion !== undefined && this.isCurrent(work, completion)) this.ledger.complete(work, completion);
    else this.ledger.lose(work, messageOf(departure));
  }

  /** Counts a failed start and answers those whom it answers. */
  private startFailed(environment: Environment, failure: FailedStart): void {
    const { version } = environment;
    const { estimates } = version;
    const { decisions, nowMs } = this.turn;
    this.tally.startsFailed++;
    estimates.failedStarts++;
    estimates.startNotBeforeMs = nowMs + decisions.startBackOffMs(estimates.failedStarts);
    const whom = decisions.whomFailedStartAnswers({ failures: estimates.failedStarts, cause: failure.kind, inUse: version.inUse.length });
    if (whom === 'none') return;
    for (let work = version.waiting.first; work !== undefined && work.sequence < environment.startedSequence; work = version.waiting.first) {
      this.leaveQueue(work);
      this.ledger.let(work);
      if (failure.kind === 'init') this.ledger.initFailed(work, failure.errorBody);
      else this.ledger.platformFailed(work, { code: 'cannotStart', message: failure.message });
      if (whom === 'oldest') return;
    }
  }

  private undelivered(environmentId: string, deliveryId: number): void {
    const environment = this.environments.get(environmentId);
    const work = environment?.work;
    if (environment === undefined || work?.deliveryId !== deliveryId) return;
    this.endWork(environment, work);
    this.ledger.platformFailed(work, { code: 'cannotStart', message: 'The invocation log could not hand over the payload.' });
    this.free(environment);
  }

  private functionChanged(functionUid: string, reservedConcurrency: number | undefined, specs: ReadonlyMap<string, ExecutionSpec>): void {
    const owner = this.functions.get(functionUid);
    if (owner === undefined) return;
    if (owner.reservedConcurrency !== reservedConcurrency) this.functions.reserve(owner, reservedConcurrency);
    for (const version of [...owner.versions.values()]) {
      const spec = specs.get(version.version);
      if (spec === undefined) this.deleteVersion(version);
      else if (spec.id !== version.spec.id || version.deleted) this.revise(version, spec);
    }
  }

  /** A version is another revision now: environments of the one before serve no more. */
  private revise(version: VersionState, spec: ExecutionSpec): void {
    version.spec = spec;
    version.deleted = false;
    version.estimates.failedStarts = 0;
    version.estimates.startNotBeforeMs = -Infinity;
    this.stopUnused(version);
    this.environments.consider(version, this.sequence);
  }

  private deleteVersion(version: VersionState): void {
    version.deleted = true;
    for (let work = version.waiting.first; work !== undefined; work = version.waiting.first) {
      this.leaveQueue(work);
      this.ledger.let(work);
      this.ledger.functionGone(work);
    }
    this.stopUnused(version);
    this.functions.dropUnused(version);
  }

  private stopUnused(version: VersionState): void {
    for (const environment of version.starting) this.environments.stop(environment);
    for (const environment of version.idle) this.environments.stop(environment);
  }

  private tick(): void {
    for (let owner = this.timers.takeDue(this.turn.nowMs); owner !== undefined; owner = this.timers.takeDue(this.turn.nowMs)) {
      if (owner.kind === 'version') this.environments.consider(owner, this.sequence);
      else if (owner.kind === 'work') this.expire(owner);
      else this.environmentDue(owner);
    }
  }

  private expire(work: Work): void {
    this.leaveQueue(work);
    this.ledger.let(work);
    this.ledger.expired(work);
    this.functions.dropUnused(work.version);
  }

  /** A keep-alive, a lease or the time for a start is over. */
  private environmentDue(environment: Environment): void {
    const { work, state, version } = environment;
    if (work !== undefined) {
      this.tally.leasesEnded++;
      this.endWork(environment, work);
      this.ledger.lose(work);
    }
    this.environments.stop(environment);
    if (state === 'starting') this.startFailed(environment, { kind: 'silence', message: 'The environment was not ready in time.' });
    this.environments.consider(version, this.sequence);
  }

  private drain(): void {
    this.draining = true;
    this.environments.drain();
    for (const owner of [...this.functions.all()]) {
      for (const version of [...owner.versions.values()]) {
        for (let work = version.waiting.first; work !== undefined; work = version.waiting.first) {
          this.leaveQueue(work);
          this.ledger.let(work);
          this.ledger.shutDown(work);
        }
      }
    }
  }

  /** What an environment does next that has nothing to do and is in no list. */
  private free(environment: Environment): void {
    const { environments } = this;
    const { version } = environment;
    if (environment.spent || this.draining || version.deleted || environment.specId !== version.spec.id || environments.givesWay(environment)) {
      environments.stop(environment);
      environments.makeRoom(this.sequence);
      return;
    }
    if (this.giveNext(environment)) return;
    environments.rest(environment);
    environments.makeRoom(this.sequence);
  }

  /** Gives an environment its version's next waiting invocation; whether there was one. */
  private giveNext(environment: Environment): boolean {
    const work = this.nextWaiting(environment.version);
    if (work === undefined) return false;
    this.ledger.running(work);
    this.environments.assign(environment, work);
    return true;
  }

  /** Takes the first waiting invocation that may still be started out of the queue. */
  private nextWaiting(version: VersionState): Work | undefined {
    for (let work = version.waiting.first; work !== undefined; work = version.waiting.first) {
      this.leaveQueue(work);
      if (!this.turn.decisions.isExpired(work.head.expiresAtMs, this.turn.nowMs)) return work;
      this.ledger.let(work);
      this.ledger.expired(work);
    }
    return undefined;
  }

  private leaveQueue(work: Work): void {
    work.version.waiting.remove(work.place);
    this.environments.headChanged(work.version);
  }

  private endWork(environment: Environment, work: Work): void {
    this.environments.unlist(environment);
    environment.work = undefined;
    this.ledger.let(work);
  }

  private stale(environment: Environment | undefined): void {
    this.tally.staleReports++;
    if (environment?.state === 'leaving') this.environments.stop(environment);
  }

  private isCurrent(work: Work, completion: Completion): boolean {
    return this.turn.decisions.isCurrent({ invocationId: work.head.id, epoch: work.givenEpoch, deliveryId: work.givenDeliveryId }, completion);
  }
}
