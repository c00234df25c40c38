import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { admit, type AdmissionSnapshot } from '../../../controller/scheduler/decisions/admission.ts';
import { chooseEnvironment } from '../../../controller/scheduler/decisions/environment-choice.ts';
import { victims } from '../../../controller/scheduler/decisions/eviction.ts';
import { maxStarting, startBackOffMs, whomFailedStartAnswers } from '../../../controller/scheduler/decisions/failed-starts.ts';
import { GIVE_WAY_AFTER_MS, givesWay } from '../../../controller/scheduler/decisions/fairness.ts';
import { keepAliveMs } from '../../../controller/scheduler/decisions/keep-alive.ts';
import { isCurrent, isDuplicate, leaseEndMs, startEndMs } from '../../../controller/scheduler/decisions/ownership.ts';
import { afterBackOff, afterFailure, isExpired } from '../../../controller/scheduler/decisions/retry.ts';
import { startsWanted, type EnvironmentComingUp, type EnvironmentInUse } from '../../../controller/scheduler/decisions/starts.ts';

const RESERVED = 'ReservedFunctionConcurrentInvocationLimitExceeded';
const ACCOUNT = 'ConcurrentInvocationLimitExceeded';

test('admission: a slot is given while function, account and unreserved pool have one', () => {
  const plenty: AdmissionSnapshot = { functionInUse: 0, reservedConcurrency: undefined, accountInUse: 0, unreservedInUse: 0, accountLimit: 10, accountReserved: 0, share: 1 };
  const table: [string, Partial<AdmissionSnapshot>, string | undefined][] = [
    ['nothing in use', {}, undefined],
    ['the last slot of a reservation', { functionInUse: 1, reservedConcurrency: 2 }, undefined],
    ['a reservation that is used up', { functionInUse: 2, reservedConcurrency: 2 }, RESERVED],
    ['a reservation of nothing', { reservedConcurrency: 0 }, RESERVED],
    ['the last slot of the account', { accountInUse: 9, unreservedInUse: 9 }, undefined],
    ['an account that is used up', { accountInUse: 10, unreservedInUse: 10 }, ACCOUNT],
    ['slots that are reserved for others', { accountInUse: 7, unreservedInUse: 7, accountReserved: 3 }, ACCOUNT],
    ['a reservation while the unreserved pool is used up', { reservedConcurrency: 3, accountInUse: 7, unreservedInUse: 7, accountReserved: 3 }, undefined],
    ['reservations above the account limit', { accountReserved: 11 }, ACCOUNT],
    ['the last slot of a half of the unreserved pool', { share: 0.5, accountReserved: 3, unreservedInUse: 2 }, undefined],
    ['a half of the unreserved pool that is used up', { share: 0.5, accountReserved: 3, unreservedInUse: 3 }, ACCOUNT],
    ['a share below one slot', { share: 0.01 }, undefined],
    ['no share at all', { share: 0 }, ACCOUNT],
    ['a reservation without a share', { share: 0, reservedConcurrency: 1 }, undefined],
  ];
  for (const [name, change, expected] of table) assert.equal(admit({ ...plenty, ...change }), expected, name);
});

test('starts: one per waiting invocation, less what environments in use take before a start would be ready', () => {
  const began = (agoMs: number): EnvironmentInUse => ({ startedWorkAtMs: 1_000 - agoMs, respondedAtMs: undefined });
  const answered = (agoMs: number): EnvironmentInUse => ({ startedWorkAtMs: 0, respondedAtMs: 1_000 - agoMs });
  const coming = (startedAtMs: number, adopted = false): EnvironmentComingUp => ({ startedAtMs, adopted });
  const table: [string, { waiting: number; starting: number; comingUp?: EnvironmentComingUp[]; meanDurationMs: number; inUse: EnvironmentInUse[] }, number][] = [
    ['nothing waits', { waiting: 0, starting: 0, meanDurationMs: 50, inUse: [] }, 0],
    ['nobody is there', { waiting: 3, starting: 0, meanDurationMs: 50, inUse: [] }, 3],
    ['some start already', { waiting: 3, starting: 2, meanDurationMs: 50, inUse: [] }, 1],
    ['more start than wait', { waiting: 1, starting: 2, meanDurationMs: 50, inUse: [] }, 0],
    ['one is back sooner than a start', { waiting: 1, starting: 0, meanDurationMs: 120, inUse: [began(100)] }, 0],
    ['one is back later than a start', { waiting: 1, starting: 0, meanDurationMs: 300, inUse: [began(100)] }, 1],
    ['one has answered', { waiting: 1, starting: 0, meanDurationMs: 300, inUse: [answered(0)] }, 0],
    ['one has answered long ago and not come back', { waiting: 1, starting: 0, meanDurationMs: 300, inUse: [answered(200)] }, 1],
    ['one that is late is expected to take as long again', { waiting: 1, starting: 0, meanDurationMs: 10, inUse: [began(500)] }, 1],
    ['one that is a little late', { waiting: 1, starting: 0, meanDurationMs: 10, inUse: [began(20)] }, 0],
    ['short work: one takes many', { waiting: 9, starting: 0, meanDurationMs: 10, inUse: [began(0)] }, 0],
    ['short work: but not that many', { waiting: 14, starting: 0, meanDurationMs: 10, inUse: [began(0)] }, 4],
    ['one that starts is ahead by what it takes until then', { waiting: 4, starting: 1, comingUp: [coming(940)], meanDurationMs: 20, inUse: [] }, 0],
    ['but by no more', { waiting: 5, starting: 1, comingUp: [coming(940)], meanDurationMs: 20, inUse: [] }, 1],
    ['one that has just begun is ahead by nothing', { waiting: 4, starting: 1, comingUp: [coming(1_000)], meanDurationMs: 20, inUse: [] }, 3],
    ['one that starts for long work is ahead by nothing', { waiting: 4, starting: 1, comingUp: [coming(940)], meanDurationMs: 100, inUse: [] }, 3],
    ['one whose start takes twice as long as others is not counted on', { waiting: 4, starting: 1, comingUp: [coming(800)], meanDurationMs: 20, inUse: [] }, 3],
    ['one that was adopted polls at once, and is ahead by a whole start', { waiting: 6, starting: 1, comingUp: [coming(1_000, true)], meanDurationMs: 20, inUse: [] }, 0],
    ['but by no more', { waiting: 7, starting: 1, comingUp: [coming(1_000, true)], meanDurationMs: 20, inUse: [] }, 1],
    ['one that was adopted and does not poll is counted on less and less', { waiting: 6, starting: 1, comingUp: [coming(950, true)], meanDurationMs: 20, inUse: [] }, 3],
    ['and then no more', { waiting: 6, starting: 1, comingUp: [coming(900, true)], meanDurationMs: 20, inUse: [] }, 5],
    ['those that start and those in use', { waiting: 8, starting: 1, comingUp: [coming(940)], meanDurationMs: 20, inUse: [answered(0)] }, 0],
  ];
  for (const [name, snapshot, expected] of table) assert.equal(startsWanted({ comingUp: [], ...snapshot, startMs: 100, nowMs: 1_000 }).count, expected, name);
});

test('starts: what was left to expectation is looked at again', () => {
  const inUse = [{ startedWorkAtMs: 900, respondedAtMs: undefined }];
  assert.deepEqual(startsWanted({ waiting: 1, starting: 0, comingUp: [], meanDurationMs: 120, startMs: 100, inUse, nowMs: 1_000 }), { count: 0, recheckAtMs: 1_020 });
  assert.equal(startsWanted({ waiting: 1, starting: 0, comingUp: [], meanDurationMs: 300, startMs: 100, inUse, nowMs: 1_000 }).recheckAtMs, Infinity);
});

test('starts: never more than invocations wait, whatever was measured', () => {
  const environment = fc.record({ startedWorkAtMs: fc.double({ min: 0, max: 1_000, noNaN: true }), respondedAtMs: fc.option(fc.double({ min: 0, max: 1_000, noNaN: true }), { nil: undefined }) });
  const snapshot = fc.record({ waiting: fc.nat(1_000), starting: fc.nat(100), comingUp: fc.array(fc.record({ startedAtMs: fc.double({ min: 0, max: 1_000, noNaN: true }), adopted: fc.boolean() }), { maxLength: 20 }), meanDurationMs: fc.double({ min: 0, max: 1e6, noNaN: true }), startMs: fc.double({ min: 0, max: 1e6, noNaN: true }), inUse: fc.array(environment, { maxLength: 20 }) });
  fc.assert(
    fc.property(snapshot, (given) => {
      const { count, recheckAtMs } = startsWanted({ ...given, nowMs: 1_000 });
      assert.ok(Number.isInteger(count) && count >= 0 && count <= Math.max(0, given.waiting - given.starting));
      assert.ok(recheckAtMs > 1_000);
      if (count < given.waiting - given.starting) assert.ok(recheckAtMs < Infinity, 'an invocation without a start is never forgotten');
    }),
  );
});

test('keep-alive: as long as the gaps between calls make it worthwhile, within its bounds', () => {
  const table: [string, number | undefined, number, number][] = [
    ['never called again so far', undefined, 0, 60],
    ['called all the time', 1, 1, 60],
    ['called regularly', 200, 10, 240],
    ['called irregularly', 200, 300, 900],
    ['called so rarely that keeping it would not help', 901, 0, 60],
  ];
  for (const [name, idleGapMs, idleGapDeviationMs, expected] of table) assert.equal(keepAliveMs({ idleGapMs, idleGapDeviationMs, minMs: 60, maxMs: 900 }), expected, name);
});

test('eviction: the least recently used go, and only if that makes room enough', () => {
  const a = { specId: 'a', memoryMiB: 128 };
  const b = { specId: 'b', memoryMiB: 512 };
  const c = { specId: 'c', memoryMiB: 128 };
  const table: [string, { forSpecId: string; environments: number; memoryMiB: number }, readonly unknown[] | undefined][] = [
    ['a place is wanted', { forSpecId: 'x', environments: 1, memoryMiB: 0 }, [a]],
    ['memory is wanted', { forSpecId: 'x', environments: 1, memoryMiB: 600 }, [a, b]],
    ['its own kind stays', { forSpecId: 'a', environments: 1, memoryMiB: 0 }, [b]],
    ['there is not enough', { forSpecId: 'x', environments: 1, memoryMiB: 1_000 }, undefined],
    ['there are not enough', { forSpecId: 'x', environments: 4, memoryMiB: 0 }, undefined],
  ];
  for (const [name, wish, expected] of table) assert.deepEqual(victims({ idle: [a, b, c], ...wish }), expected, name);
});

test('choice: the most recently used environment', () => {
  assert.equal(chooseEnvironment({ first: 'old', last: 'fresh' }), 'fresh');
  assert.equal(chooseEnvironment({ first: undefined, last: undefined }), undefined);
});

test('fairness: a full pool gives way to whoever came earlier and has waited long enough', () => {
  const table: [string, { ownHeadSinceMs: number; otherHeadSinceMs: number; otherStartMs: number }, boolean][] = [
    ['the other has not waited long', { ownHeadSinceMs: Infinity, otherHeadSinceMs: 1_000 - GIVE_WAY_AFTER_MS + 1, otherStartMs: 1 }, false],
    ['the other has waited', { ownHeadSinceMs: 900, otherHeadSinceMs: 1_000 - GIVE_WAY_AFTER_MS, otherStartMs: 1 }, true],
    ['its own came earlier', { ownHeadSinceMs: 1, otherHeadSinceMs: 2, otherStartMs: 1 }, false],
    ['a slow start is not worth it yet', { ownHeadSinceMs: 900, otherHeadSinceMs: 400, otherStartMs: 300 }, false],
  ];
  for (const [name, snapshot, expected] of table) assert.equal(givesWay({ ...snapshot, nowMs: 1_000 }), expected, name);
});

test('retry: twice, after the base delay and after twice as long, within the age', () => {
  const failure = { attempt: 1, maxRetries: 2, expiresAtMs: 1_000_000, baseMs: 60_000, nowMs: 0 };
  assert.deepEqual(afterFailure(failure), { kind: 'again', notBeforeMs: 60_000 });
  assert.deepEqual(afterFailure({ ...failure, attempt: 2 }), { kind: 'again', notBeforeMs: 120_000 });
  assert.deepEqual(afterFailure({ ...failure, attempt: 3 }), { kind: 'over', reason: 'retriesExhausted' });
  assert.deepEqual(afterFailure({ ...failure, maxRetries: 0 }), { kind: 'over', reason: 'retriesExhausted' });
  assert.deepEqual(afterFailure({ ...failure, expiresAtMs: 60_000 }), { kind: 'over', reason: 'expired' });
});

test('back-off: from one second, doubling, to five minutes; up to half of it is jitter', () => {
  const delay = (throttles: number, random: number): unknown => {
    const decision = afterBackOff({ throttles, random, nowMs: 0, expiresAtMs: 1e9 });
    return decision.kind === 'again' ? decision.notBeforeMs : decision.reason;
  };
  assert.deepEqual([0, 1, 2, 8, 9, 1_000].map((throttles) => delay(throttles, 0)), [1_000, 2_000, 4_000, 256_000, 300_000, 300_000]);
  assert.equal(delay(0, 0.999), 501);
  assert.deepEqual(afterBackOff({ throttles: 0, random: 0, nowMs: 0, expiresAtMs: 1_000 }), { kind: 'over', reason: 'expired' });
});

test('failed starts: a hint first, a verdict later', () => {
  const table: [number, 'init' | 'platform' | 'silence', string][] = [
    [1, 'init', 'none'],
    [1, 'platform', 'none'],
    [1, 'silence', 'oldest'],
    [2, 'init', 'none'],
    [2, 'platform', 'none'],
    [2, 'silence', 'oldest'],
    [3, 'init', 'all'],
    [3, 'platform', 'all'],
    [3, 'silence', 'all'],
  ];
  for (const [failures, cause, expected] of table) assert.equal(whomFailedStartAnswers({ failures, cause, inUse: 0 }), expected, `${failures} by ${cause}`);
  assert.equal(whomFailedStartAnswers({ failures: 10, cause: 'platform', inUse: 1 }), 'none', 'those at work come to those who wait');
  for (const cause of ['init', 'silence'] as const) assert.notEqual(whomFailedStartAnswers({ failures: 10, cause, inUse: 1 }), 'none');
  assert.deepEqual([1, 2, 3, 4, 8, 9, 1_000].map(startBackOffMs), [0, 0, 100, 200, 3_200, 5_000, 5_000]);
  assert.deepEqual([0, 2, 3].map(maxStarting), [Infinity, Infinity, 1]);
});

test('ownership: a report counts for the same invocation under the same epoch; a lease outlasts the timeout, a start the limit of init as well', () => {
  const given = { invocationId: 'a', epoch: 2, deliveryId: 5 };
  assert.equal(isCurrent(given, { invocationId: 'a', epoch: 2, deliveryId: 5 }), true);
  assert.equal(isCurrent(given, { invocationId: 'a', epoch: 2, deliveryId: 4 }), false);
  assert.equal(isCurrent(given, { invocationId: 'a', epoch: 1, deliveryId: 5 }), false);
  assert.equal(isCurrent(given, { invocationId: 'b', epoch: 2, deliveryId: 5 }), false);
  assert.ok(leaseEndMs({ nowMs: 0, timeoutMs: 900_000, ranMs: 0 }) > 900_000);
  assert.equal(leaseEndMs({ nowMs: 5_000, timeoutMs: 3_000, ranMs: 5_000 }), leaseEndMs({ nowMs: 0, timeoutMs: 3_000, ranMs: 0 }), 'a lease that was taken over ends when it would have');
  assert.equal(startEndMs({ nowMs: 5, timeoutMs: 3_000 }), 13_005);
  assert.deepEqual([isDuplicate(undefined), isDuplicate({})], [false, true]);
  assert.deepEqual([isExpired(10, 9), isExpired(10, 10)], [false, true]);
});
