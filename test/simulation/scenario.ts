import { Prng } from './prng.ts';

/** What happens in one simulated run. Everything else follows from the seed. */
export interface Scenario {
  readonly seed: number;
  readonly functions: number;
  readonly invocations: number;
  /** Time over which the invocations arrive. */
  readonly spanMs: number;
  /** Share of arrivals that are bursts, and how many invocations one is. */
  readonly burstShare: number;
  readonly burstSize: number;
  readonly syncShare: number;
  readonly syncPatienceMs: number;
  readonly maxEventAgeMs: number;
  readonly durationMeanMs: number;
  readonly startMeanMs: number;
  readonly functionErrorShare: number;
  readonly initFailureShare: number;
  /** Share of functions whose every start fails. */
  readonly crashLoopShare: number;
  /** Share of invocations during which the environment is lost, or says nothing any more; of starts, the latter too. */
  readonly lossShare: number;
  readonly hangShare: number;
  /** Share of async records that the log delivers late: its backlog. */
  readonly lateShare: number;
  /** Share of async records that the log delivers twice, and of completions that a worker reports again later. */
  readonly duplicateShare: number;
  readonly staleReportShare: number;
  /** How often in the span each of these happens. */
  readonly restarts: number;
  /** Changes of owner that environments survive: by agreement, and by the death of the earlier owner. */
  readonly handovers: number;
  readonly takeovers: number;
  readonly workerLosses: number;
  readonly updates: number;
  readonly deletions: number;
  readonly reservationChanges: number;
  /** A reservation takes at most this share of the account's concurrency that is still unreserved. */
  readonly reservationShareMax: number;
  readonly accountConcurrency: number;
  readonly maxEnvironments: number;
  readonly maxMemoryMiB: number;
  readonly asyncRetryBaseMs: number;
  readonly keepAliveMinMs: number;
  readonly keepAliveMaxMs: number;
  /** An invocation that has waited longer for an environment, in one piece, is starving. */
  readonly maxWaitMs: number;
}

/** Seeds of small worlds that once broke an invariant: in the first, a late report of one attempt was taken for that of the next. */
export const ONCE_BROKEN_SEEDS: readonly number[] = [179546095904594];

/** A small world with much going wrong in it, different for each seed. */
export function smallScenario(seed: number): Scenario {
  const dice = new Prng(seed ^ 0x5eed);
  return {
    seed,
    functions: dice.between(1, 40),
    invocations: dice.between(100, 1_500),
    spanMs: dice.between(2_000, 120_000),
    burstShare: dice.chance(0.5) ? 0.01 : 0,
    burstSize: 100,
    syncShare: dice.next(),
    syncPatienceMs: dice.between(500, 30_000),
    maxEventAgeMs: dice.chance(0.5) ? 21_600_000 : dice.between(5_000, 300_000),
    durationMeanMs: dice.between(1, 400),
    startMeanMs: dice.between(2, 200),
    functionErrorShare: dice.next() * 0.3,
    initFailureShare: dice.next() * 0.2,
    crashLoopShare: dice.chance(0.3) ? 0.2 : 0,
    lossShare: dice.next() * 0.05,
    hangShare: dice.chance(0.3) ? 0.01 : 0,
    lateShare: dice.next() * 0.02,
    duplicateShare: dice.next() * 0.05,
    staleReportShare: dice.next() * 0.1,
    restarts: dice.between(0, 3),
    handovers: 0,
    takeovers: 0,
    workerLosses: dice.between(0, 4),
    updates: dice.between(0, 20),
    deletions: dice.between(0, 5),
    reservationChanges: dice.between(0, 6),
    reservationShareMax: 0.5,
    accountConcurrency: dice.between(2, 300),
    maxEnvironments: dice.between(1, 60),
    maxMemoryMiB: dice.between(1_024, 20_000),
    asyncRetryBaseMs: dice.between(10, 60_000),
    keepAliveMinMs: dice.between(0, 5_000),
    keepAliveMaxMs: dice.between(5_000, 900_000),
    maxWaitMs: Infinity,
  };
}

/** A small world whose functions change hands again and again while their environments live on. */
export function changingHandsScenario(seed: number): Scenario {
  const dice = new Prng(seed ^ 0xa5);
  return { ...smallScenario(seed), restarts: 0, handovers: dice.between(1, 8), takeovers: dice.between(1, 8) };
}

/** The size that the first issue asks for: 10,000 functions, a million invocations, bursts of a hundred. */
export function bigScenario(seed: number): Scenario {
  return {
    seed,
    functions: 10_000,
    invocations: 1_000_000,
    spanMs: 1_800_000,
    burstShare: 0.002,
    burstSize: 100,
    syncShare: 0.6,
    syncPatienceMs: 60_000,
    maxEventAgeMs: 21_600_000,
    durationMeanMs: 120,
    startMeanMs: 60,
    functionErrorShare: 0.01,
    initFailureShare: 0.005,
    crashLoopShare: 0.001,
    lossShare: 0.0005,
    hangShare: 0.00001,
    lateShare: 0.001,
    duplicateShare: 0.001,
    staleReportShare: 0.001,
    restarts: 3,
    handovers: 5,
    takeovers: 5,
    workerLosses: 20,
    updates: 2_000,
    deletions: 200,
    reservationChanges: 50,
    reservationShareMax: 0.01,
    accountConcurrency: 1_000,
    maxEnvironments: 9_000,
    maxMemoryMiB: 9_000 * 256,
    asyncRetryBaseMs: 60_000,
    keepAliveMinMs: 60_000,
    keepAliveMaxMs: 900_000,
    maxWaitMs: Infinity,
  };
}

/**
 * One function with more work than the pool can do, and others that are called now and then, in a pool of three environments. Nothing else goes
 * wrong, so that a long wait can only be the scheduler's doing.
 */
export function neighbourScenario(seed: number): Scenario {
  return {
    ...smallScenario(seed),
    functions: 4,
    invocations: 3_000,
    spanMs: 60_000,
    burstShare: 0,
    syncShare: 0.5,
    syncPatienceMs: 30_000,
    maxEventAgeMs: 21_600_000,
    durationMeanMs: 100,
    startMeanMs: 20,
    functionErrorShare: 0,
    initFailureShare: 0,
    crashLoopShare: 0,
    lossShare: 0,
    hangShare: 0,
    lateShare: 0,
    duplicateShare: 0,
    staleReportShare: 0,
    restarts: 0,
    handovers: 0,
    takeovers: 0,
    workerLosses: 0,
    updates: 0,
    deletions: 0,
    reservationChanges: 0,
    accountConcurrency: 60,
    maxEnvironments: 3,
    maxMemoryMiB: 20_000,
    keepAliveMinMs: 60_000,
    keepAliveMaxMs: 900_000,
    maxWaitMs: 10_000,
  };
}
