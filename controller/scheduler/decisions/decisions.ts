import { admit } from './admission.ts';
import { chooseEnvironment } from './environment-choice.ts';
import { victims } from './eviction.ts';
import { maxStarting, startBackOffMs, whomFailedStartAnswers } from './failed-starts.ts';
import { givesWay } from './fairness.ts';
import { keepAliveMs } from './keep-alive.ts';
import { isCurrent, isDuplicate, leaseEndMs, startEndMs } from './ownership.ts';
import { afterBackOff, afterFailure, isExpired } from './retry.ts';
import { startsWanted } from './starts.ts';

/**
 * Everything that the scheduler decides rather than records: pure functions of a snapshot. Given to it as one object, so that a test can
 * hand in a twin that lacks a guard and see the invariant break.
 */
export const decisions = {
  admit,
  chooseEnvironment,
  victims,
  whomFailedStartAnswers,
  startBackOffMs,
  maxStarting,
  givesWay,
  keepAliveMs,
  afterBackOff,
  afterFailure,
  isExpired,
  startsWanted,
  isCurrent,
  isDuplicate,
  leaseEndMs,
  startEndMs,
} as const;

export type Decisions = typeof decisions;
