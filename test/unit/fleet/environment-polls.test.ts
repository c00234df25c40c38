import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, test } from 'node:test';
import { NEXT_HOLD_MS } from '../../../platform/protocol/wire/messages.ts';
import { EnvironmentPolls } from '../../../platform/worker-pool/fleet/environment-polls.ts';
import { completionOf, FakeListener, initialized, invoke } from '../../support/fleet-listener.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const FIRST = initialized('e');
const GIVEN = invoke('a');
const DONE = { kind: 'completed', environmentId: 'e', completion: completionOf(GIVEN) } as const;

const clocks: VirtualClock[] = [];

/** After each test: a poll that was answered leaves no timer behind. */
afterEach(() => {
  for (const clock of clocks.splice(0)) assert.equal(clock.pending, 0, 'timers are left');
});

function environment(came?: { readonly busy: boolean }): { readonly polls: EnvironmentPolls; readonly listener: FakeListener; readonly clock: VirtualClock } {
  const listener = new FakeListener();
  const clock = new VirtualClock();
  clocks.push(clock);
  return { polls: new EnvironmentPolls(listener, clock, came), listener, clock };
}

test('a poll is taken in and answered', async () => {
  const { polls, listener } = environment();
  const answer = polls.next(0, FIRST);
  assert.deepEqual(listener.polls, [FIRST]);
  assert.equal(polls.busy, false);
  listener.answer('e', GIVEN);
  assert.deepEqual(await answer, GIVEN);
  assert.equal(polls.busy, true);
});

test('the same number twice is one poll; the first of the two is answered with nothing', async () => {
  const { polls, listener } = environment();
  const lost = polls.next(0, FIRST);
  const repeated = polls.next(0, FIRST);
  assert.deepEqual(await lost, { kind: 'again' });
  assert.deepEqual(listener.polls, [FIRST]);
  listener.answer('e', GIVEN);
  assert.deepEqual(await repeated, GIVEN);
});

test('an answer that was lost is sent again, as often as it is asked for', async () => {
  const { polls, listener } = environment();
  const lost = polls.next(0, FIRST);
  listener.answer('e', GIVEN);
  await lost;
  assert.deepEqual(await polls.next(0, FIRST), GIVEN);
  assert.deepEqual(await polls.next(0, FIRST), GIVEN);
  assert.equal(listener.polls.length, 1, 'and the poll is taken in once');
});

test('an answer that comes while nobody asks waits for the next who does', async () => {
  const { polls, listener, clock } = environment();
  const held = polls.next(0, FIRST);
  clock.advance(NEXT_HOLD_MS);
  assert.deepEqual(await held, { kind: 'again' });
  listener.answer('e', GIVEN);
  await turn();
  assert.deepEqual(await polls.next(0, FIRST), GIVEN);
});

test('a greater number is the next poll', async () => {
  const { polls, listener } = environment();
  const first = polls.next(0, FIRST);
  listener.answer('e', GIVEN);
  await first;
  const second = polls.next(1, DONE);
  assert.equal(polls.busy, false, 'it has said that it is done');
  assert.deepEqual(listener.polls, [FIRST, DONE]);
  listener.answer('e', { kind: 'stop' });
  assert.deepEqual(await second, { kind: 'stop' });
  assert.equal(polls.busy, false);
});

test('a number that is over is refused, and what waits is not disturbed', async () => {
  const { polls, listener } = environment();
  const waiting = polls.next(3, FIRST);
  await assert.rejects(polls.next(2, DONE), RangeError);
  assert.deepEqual(listener.polls, [FIRST]);
  listener.answer('e', GIVEN);
  assert.deepEqual(await waiting, GIVEN);
});

test('an answer to a poll that is over is nobody\'s', async () => {
  const { polls, listener, clock } = environment();
  let late: ((assignment: typeof GIVEN) => void) | undefined;
  const slow = new EnvironmentPolls({ next: () => new Promise((resolve) => (late ??= resolve)) }, clock);
  void slow.next(0, FIRST);
  const waiting = slow.next(1, FIRST);
  late?.(GIVEN);
  await turn();
  assert.equal(slow.busy, false);
  slow.close();
  assert.deepEqual(await waiting, { kind: 'moved' });
  // Its twin: with the number of the one that waits it is somebody's.
  const answered = polls.next(0, FIRST);
  listener.answer('e', GIVEN);
  assert.deepEqual(await answered, GIVEN);
});

test('a poll is held for a while, then it is to be sent again', async () => {
  const { polls, clock } = environment();
  let answered = false;
  const held = polls.next(0, FIRST).finally(() => (answered = true));
  clock.advance(NEXT_HOLD_MS - 1);
  await turn();
  assert.equal(answered, false);
  clock.advance(1);
  assert.deepEqual(await held, { kind: 'again' });
});

test('what waits at the end, and what comes after it, is told that the environment has moved', async () => {
  const { polls, listener } = environment();
  const waiting = polls.next(0, FIRST);
  polls.close();
  assert.deepEqual(await waiting, { kind: 'moved' });
  listener.answer('e', GIVEN);
  await turn();
  assert.deepEqual(await polls.next(0, FIRST), { kind: 'moved' });
  assert.deepEqual(await polls.next(1, DONE), { kind: 'moved' });
  assert.deepEqual(listener.polls, [FIRST]);
  assert.equal(polls.busy, false);
});

test('one that came with an invocation is busy until it polls', () => {
  const { polls } = environment({ busy: true });
  assert.equal(polls.busy, true);
  void polls.next(4, DONE);
  assert.equal(polls.busy, false);
  polls.close();
});
