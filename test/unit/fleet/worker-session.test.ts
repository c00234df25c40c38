import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, test } from 'node:test';
import { INSTRUCTIONS_HOLD_MS, type InstructionsAnswer } from '../../../platform/protocol/wire/messages.ts';
import { RECONNECT_MS, SILENCE_MS, UNACKNOWLEDGED_MAX, WorkerSession, type SessionEnd } from '../../../platform/worker-pool/fleet/worker-session.ts';
import { specOf } from '../../support/fleet-listener.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

interface Opened {
  readonly session: WorkerSession;
  readonly clock: VirtualClock;
  readonly ends: SessionEnd[];
}

const opened: Opened[] = [];

/** After each test: an ended session leaves no timer behind. */
afterEach(() => {
  for (const { session, clock } of opened.splice(0)) {
    session.end('left');
    assert.equal(clock.pending, 0, 'timers are left');
  }
});

function open(): Opened {
  const clock = new VirtualClock();
  const ends: SessionEnd[] = [];
  const session = new WorkerSession({ worker: 'w', instance: 'i', room: { maxEnvironments: 1, maxMemoryMiB: 128 }, clock, onEnd: (_, why) => ends.push(why) });
  opened.push({ session, clock, ends });
  return { session, clock, ends };
}

const numbers = ({ instructions }: InstructionsAnswer): readonly number[] => instructions.map(({ number }) => number);

test('a worker that says nothing is silent after a while, and not before', () => {
  const { session, clock, ends } = open();
  clock.advance(SILENCE_MS - 1);
  assert.ok(session.live);
  clock.advance(1);
  assert.deepEqual(ends, ['silent']);
  assert.equal(session.live, false);
});

test('whatever is heard of it begins the wait anew', () => {
  const { session, clock, ends } = open();
  for (let i = 0; i < 5; i++) {
    clock.advance(SILENCE_MS - 1);
    session.heard();
  }
  assert.deepEqual(ends, []);
  clock.advance(SILENCE_MS);
  assert.deepEqual(ends, ['silent']);
});

test('a worker that lost its connection is dead unless it returns soon', () => {
  const { session, clock, ends } = open();
  session.connectionLost();
  clock.advance(RECONNECT_MS);
  assert.deepEqual(ends, ['closed']);
});

test('one that returns in time lives on, and may be silent as long as before', () => {
  const { session, clock, ends } = open();
  session.connectionLost();
  clock.advance(RECONNECT_MS - 1);
  session.heard();
  clock.advance(SILENCE_MS - 1);
  assert.deepEqual(ends, []);
  clock.advance(1);
  assert.deepEqual(ends, ['silent']);
});

test('an ended session ends once, and nothing brings it back', () => {
  const { session, clock, ends } = open();
  session.end('left');
  session.end('replaced');
  session.heard();
  session.connectionLost();
  session.instruct({ do: 'leave' });
  clock.advance(10 * SILENCE_MS);
  assert.deepEqual(ends, ['left']);
});

test('instructions are repeated until they are acknowledged, and then no more', async () => {
  const { session } = open();
  session.instruct({ do: 'close', environmentId: 'a' });
  session.instruct({ do: 'close', environmentId: 'b' });
  assert.deepEqual(numbers(await session.instructions(0)), [1, 2]);
  assert.deepEqual(numbers(await session.instructions(0)), [1, 2]);
  session.instruct({ do: 'close', environmentId: 'c' });
  assert.deepEqual(numbers(await session.instructions(1)), [2, 3]);
  session.instruct({ do: 'close', environmentId: 'd' });
  assert.deepEqual(numbers(await session.instructions(3)), [4]);
});

test('what one event causes goes out together, to the poll that waits', async () => {
  const { session } = open();
  const waiting = session.instructions(0);
  session.instruct({ do: 'open', environmentId: 'a', spec: specOf('f') });
  session.instruct({ do: 'open', environmentId: 'b', spec: specOf('f') });
  assert.deepEqual((await waiting).instructions.map((instruction) => ('environmentId' in instruction ? instruction.environmentId : '')), ['a', 'b']);
});

test('a poll is held while there is nothing to say, and answered with nothing in the end', async () => {
  const { session, clock } = open();
  let answered = false;
  const waiting = session.instructions(0).finally(() => (answered = true));
  clock.advance(INSTRUCTIONS_HOLD_MS - 1);
  await turn();
  assert.equal(answered, false);
  clock.advance(1);
  assert.deepEqual(await waiting, { instructions: [] });
});

test('a second poll takes the place of the first', async () => {
  const { session } = open();
  const first = session.instructions(0);
  const second = session.instructions(0);
  assert.deepEqual(await first, { instructions: [] });
  session.instruct({ do: 'close', environmentId: 'a' });
  assert.deepEqual(numbers(await second), [1]);
});

test('a poll that waits, or comes, at the end of the session is answered with nothing', async () => {
  const { session } = open();
  const waiting = session.instructions(0);
  session.end('replaced');
  assert.deepEqual(await waiting, { instructions: [] });
  assert.deepEqual(await session.instructions(0), { instructions: [] });
});

test('a worker that lets too many instructions gather is taken for silent', () => {
  const { session, ends } = open();
  for (let i = 0; i < UNACKNOWLEDGED_MAX; i++) session.instruct({ do: 'close', environmentId: 'a' });
  assert.deepEqual(ends, []);
  session.instruct({ do: 'close', environmentId: 'a' });
  assert.deepEqual(ends, ['silent']);
});

test('its twin that acknowledges takes any number', async () => {
  const { session, ends } = open();
  for (let i = 1; i <= UNACKNOWLEDGED_MAX + 10; i++) {
    session.instruct({ do: 'close', environmentId: 'a' });
    if (i % 1_000 === 0) await session.instructions(i - 1);
  }
  assert.deepEqual(ends, []);
});

test('what code a worker has is known up to a bound; what it has used last is kept', () => {
  const { session } = open();
  for (let i = 0; i < 1_000; i++) session.learnCode(`c${i}`);
  session.learnCode('c0');
  session.learnCode('new');
  assert.deepEqual(['c0', 'c1', 'c2', 'new'].map((code) => session.knowsCode(code)), [true, false, true, true]);
});

test('every session has an id and a token of its own', () => {
  const sessions = Array.from({ length: 10 }, () => open().session);
  assert.equal(new Set(sessions.flatMap(({ id, token }) => [id, token])).size, 20);
});
