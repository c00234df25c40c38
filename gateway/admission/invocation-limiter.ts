import type { Cache } from '../../platform/cache/cache.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import { BoundedView } from '../../platform/functions/bounded-view.ts';
import { functionKey } from '../../platform/model/execution-spec.ts';
import type { FunctionRecord } from '../../platform/model/function.ts';
import type { Logger } from '../../platform/telemetry/logger.ts';
import { SharedBucket, type Rate } from './shared-bucket.ts';

/**
 * Lambda quotas, "Invocation requests per function per Region (synchronous)": "Each instance of your execution environment can serve up to
 * 10 requests per second. In other words, the total invocation limit is 10 times your concurrency limit."
 */
const PER_SEC_AND_CONCURRENCY = 10;
/** The quota is one of requests per second: a second's worth may come at once. */
const BURST_SEC = 1;
/** How often the gateways tell one another what they drew. It is heard of at the next telling: after two of them at most. */
export const SETTLE_INTERVAL_MS = 100;
/** Buckets settled in one round. Further ones have their turn in the next; so many cost some 4 ms of computing. */
const ROUND_BUCKETS_MAX = 256;
/** Buckets that wait for their turn. One beyond is settled when it is drawn from again. */
const WAITING_BUCKETS_MAX = 10_000;
/** Functions that have a bucket, some 300 bytes each. A further one takes the place of the one unused for longest, which begins with a full bucket when it is back. */
const FUNCTIONS_MAX = 10_000;
/** A counter is of use between two reports. When it goes, only what was drawn since the last report is not heard of. */
const COUNTER_TTL_MS = 3_600_000;

/** Lambda's names (`ThrottleReason` in its service model) for the limits of rate; the guide has no more on them than the names. */
export type RateReason =
  /** A function takes more than all of the account's concurrency can. */
  | 'FunctionInvocationRateLimitExceeded'
  /** A function takes more than its reserved concurrency can. */
  | 'ReservedFunctionInvocationRateLimitExceeded'
  /** The account's functions together take more than its concurrency can. */
  | 'CallerRateLimitExceeded';

export interface RateThrottle {
  readonly reason: RateReason;
  /** For the header `Retry-After`. */
  readonly retryAfterSec: number;
}

export interface InvocationLimiterOptions {
  /** Shared by the gateways. Where it is one process's own, that gateway is alone. */
  readonly cache: Cache;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The account's limit of concurrent executions. */
  readonly accountConcurrency: number;
  readonly maxFunctions?: number;
}

export interface LimiterStatistics {
  readonly refused: Readonly<Record<RateReason, number>>;
  readonly functions: number;
  /** The cache is away: each gateway goes by the whole rate. */
  readonly alone: boolean;
}

interface Entry {
  /** Of its counter in the cache. */
  readonly key: string;
  readonly bucket: SharedBucket;
  waiting: boolean;
  /** Its first report has been begun. */
  settled: boolean;
}

/**
 * Holds synchronous invocations to Lambda's request rates, together with the other gateways: ten times the concurrency limit per second, for
 * a function and for the account. (Asynchronous invocations have no such limit: Lambda quotas, same table.)
 *
 * Every decision is made here and at once; what was drawn is settled with the others in the background, through counters in the cache, only for
 * functions that are being invoked. What gateways overdraw before they have heard of one another is bounded and owed ({@link SharedBucket}), with
 * `w` two settling intervals and however long the cache takes.
 *
 * While the cache is away each gateway goes by the whole rate alone: it is better that functions are invoked too often, by a factor of the number
 * of gateways at most, than that they are not.
 */
export class InvocationLimiter {
  readonly #options: InvocationLimiterOptions;
  readonly #accounts = new BoundedView<Entry>(FUNCTIONS_MAX);
  readonly #functions: BoundedView<Entry>;
  /** Waiting to be settled. Those that have not been settled ever go before the others, and at once. */
  readonly #waiting: Entry[] = [];
  readonly #fresh: Entry[] = [];
  readonly #refused: Record<RateReason, number> = { FunctionInvocationRateLimitExceeded: 0, ReservedFunctionInvocationRateLimitExceeded: 0, CallerRateLimitExceeded: 0 };
  #timer: Timer | undefined;
  #round: Promise<void> | undefined;
  #alone = false;
  #closed = false;

  constructor(options: InvocationLimiterOptions) {
    this.#options = options;
    this.#functions = new BoundedView(options.maxFunctions ?? FUNCTIONS_MAX);
  }

  /**
   * Whether a synchronous invocation may go on: undefined, or why not. What is refused takes nothing of any limit. A reserved concurrency of 0 is
   * not looked at here: it refuses by concurrency, which the scheduler knows.
   */
  take({ account, name, reservedConcurrency }: Pick<FunctionRecord, 'account' | 'name' | 'reservedConcurrency'>): RateThrottle | undefined {
    const { accountConcurrency, clock } = this.#options;
    // Not when the request began: a body that comes slowly would set the buckets back, and they would fill twice.
    const nowMs = clock.now();
    const reserved = reservedConcurrency === 0 ? undefined : reservedConcurrency;
    const ofFunction = entryOf(this.#functions, 'rate/function/', functionKey(account, name), reserved ?? accountConcurrency, nowMs);
    const ofAccount = entryOf(this.#accounts, 'rate/account/', account, accountConcurrency, nowMs);
    this.#await(ofFunction);
    this.#await(ofAccount);
    const functionWaitMs = ofFunction.bucket.waitMs(nowMs);
    if (functionWaitMs > 0) return this.#refuse(reserved === undefined ? 'FunctionInvocationRateLimitExceeded' : 'ReservedFunctionInvocationRateLimitExceeded', functionWaitMs);
    const accountWaitMs = ofAccount.bucket.waitMs(nowMs);
    if (accountWaitMs > 0) return this.#refuse('CallerRateLimitExceeded', accountWaitMs);
    ofFunction.bucket.draw();
    ofAccount.bucket.draw();
    return undefined;
  }

  get statistics(): LimiterStatistics {
    return { refused: { ...this.#refused }, functions: this.#functions.size, alone: this.#alone };
  }

  /** Settles no more. Resolves once nothing is under way. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.#round;
  }

  #refuse(reason: RateReason, waitMs: number): RateThrottle {
    this.#refused[reason]++;
    return { reason, retryAfterSec: Math.max(1, Math.ceil(waitMs / 1_000)) };
  }

  /** Also what is refused waits to be settled: whoever owes has to hear when others stop. */
  #await(entry: Entry): void {
    if (entry.waiting || this.#closed || this.#waiting.length + this.#fresh.length >= WAITING_BUCKETS_MAX) return;
    entry.waiting = true;
    (entry.settled ? this.#waiting : this.#fresh).push(entry);
    if (this.#round !== undefined) return;
    if (!entry.settled && this.#fresh.length === 1) this.#timer?.cancel();
    else if (this.#timer !== undefined) return;
    this.#timer = this.#nextRound();
  }

  #nextRound(): Timer {
    const { clock } = this.#options;
    return clock.at(clock.now() + (this.#fresh.length > 0 ? 0 : SETTLE_INTERVAL_MS), () => {
      this.#timer = undefined;
      this.#round = this.#settle().finally(() => {
        this.#round = undefined;
        if (this.#waiting.length + this.#fresh.length > 0 && !this.#closed) this.#timer = this.#nextRound();
      });
    });
  }

  async #settle(): Promise<void> {
    const fresh = this.#fresh.splice(0, ROUND_BUCKETS_MAX);
    const entries = [...fresh, ...this.#waiting.splice(0, ROUND_BUCKETS_MAX - fresh.length)];
    for (const entry of entries) {
      entry.waiting = false;
      entry.settled = true;
    }
    if (this.#alone) {
      // One finds out whether the cache is back, for all.
      const [first, ...others] = entries;
      for (const { bucket } of others) bucket.unreported(this.#options.clock.now());
      if (first !== undefined) this.#heard(await this.#report(first));
    } else {
      const errors = await Promise.all(entries.map((entry) => this.#report(entry)));
      this.#heard(errors.find((error) => error !== undefined));
    }
  }

  async #report(entry: Entry): Promise<Error | undefined> {
    const { cache, clock } = this.#options;
    const { key, bucket } = entry;
    const drawn = bucket.report();
    try {
      bucket.reported(drawn, await cache.increment(key, drawn, COUNTER_TTL_MS), clock.now());
      if (bucket.toReport) this.#await(entry);
      return undefined;
    } catch (error) {
      bucket.unreported(clock.now());
      return error as Error;
    }
  }

  #heard(error: Error | undefined): void {
    const alone = error !== undefined;
    if (alone === this.#alone) return;
    this.#alone = alone;
    const { logger } = this.#options;
    if (alone) logger.warn(`this gateway holds invocations to their whole rate by itself: ${error.message}`);
    else logger.info('gateways share the rates of invocations again');
  }
}

/** The entry of that name, made where it is missing, with the rate that goes with the concurrency. */
function entryOf(view: BoundedView<Entry>, prefix: string, name: string, concurrency: number, nowMs: number): Entry {
  const known = view.get(name);
  if (known?.bucket.perSec === PER_SEC_AND_CONCURRENCY * concurrency) return known;
  const rate = rateOf(concurrency);
  if (known !== undefined) {
    known.bucket.changeRate(rate);
    return known;
  }
  const entry = { key: prefix + name, bucket: new SharedBucket(rate, nowMs), waiting: false, settled: false };
  view.set(name, entry);
  return entry;
}

function rateOf(concurrency: number): Rate {
  const perSec = PER_SEC_AND_CONCURRENCY * concurrency;
  return { perSec, burst: perSec * BURST_SEC };
}
