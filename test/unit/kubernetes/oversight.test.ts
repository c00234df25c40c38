/** A fleet whose workers are known from elsewhere: who may have what, and what becomes of what a worker sends back. */
import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, test } from 'node:test';
import { createLogger } from '../../../platform/telemetry/logger.ts';
import { Fleet } from '../../../platform/worker-pool/fleet/fleet.ts';
import { BELIEVING, type WorkerOversight } from '../../../platform/worker-pool/fleet/oversight.ts';
import type { WorkerSession } from '../../../platform/worker-pool/fleet/worker-session.ts';
import { closeFleet } from '../../support/closed-fleet.ts';
import { FakeListener, heldEnvironment, initialized, invoke, specOf } from '../../support/fleet-listener.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const ROOM = { maxEnvironments: 4, maxMemoryMiB: 1_024 };
const NONE = { maxEnvironments: 0, maxMemoryMiB: 0 };
const F = specOf('f');
const G = specOf('g');
const NO_ROOM = 'The worker w has no room at present.';
/** As the fleet's REFUSALS_MAX. */
const REFUSALS_MAX = 5;

interface Bench {
  readonly fleet: Fleet;
  readonly listener: FakeListener;
  readonly clock: VirtualClock;
  /** What the oversight was told. */
  readonly heard: string[];
}

const benches: Bench[] = [];

afterEach(async () => {
  for (const made of benches.splice(0)) await closeFleet(made);
});

function bench(oversight: Partial<WorkerOversight> = {}): Bench {
  const listener = new FakeListener();
  const clock = new VirtualClock();
  const heard: string[] = [];
  const telling: WorkerOversight = {
    ...BELIEVING,
    placed: ({ worker, environments }, { functionName }) => void heard.push(`placed ${functionName} ${worker} ${environments}`),
    holdingChanged: ({ worker, environments, held }) => void heard.push(`holds ${worker} ${environments} ${held}`),
    ...oversight,
  };
  const made = { listener, clock, heard, fleet: new Fleet({ gatherMs: 0, listener, clock, logger: createLogger('silent'), oversight: telling }) };
  benches.push(made);
  return made;
}

function join({ fleet }: Bench, worker = 'w', room = ROOM): WorkerSession {
  return fleet.open({ v: 1, worker, instance: `${worker}-1`, room });
}

function sendBack({ fleet }: Bench, session: WorkerSession, environmentId: string): void {
  fleet.departed(session, { environmentId, cause: { kind: 'noRoom', message: NO_ROOM } });
}

const waiting = ({ fleet }: Bench): readonly string[] => [...fleet.unplaced].map(({ id }) => id);

test('without oversight a worker has what room it says, and a token for all lets nobody in', async () => {
  const made = bench();
  const session = join(made);
  assert.deepEqual(BELIEVING.roomFor(session, F), ROOM);
  assert.equal(await BELIEVING.admits('w', '10.0.0.7'), false);
});

test('the oversight says who is let in', async () => {
  const { fleet } = bench({ admits: (worker, address) => Promise.resolve(worker === 'w' && address === '10.0.0.7') });
  assert.deepEqual(await Promise.all([fleet.admits('w', '10.0.0.7'), fleet.admits('w', '10.0.0.8'), fleet.admits('x', '10.0.0.7')]), [true, false, false]);
});

test('a worker is given only what the oversight lets it have, whatever room it says', () => {
  const made = bench({ roomFor: ({ worker, room }, { functionName }) => (worker === functionName ? { ...room, maxEnvironments: 1 } : NONE) });
  const [f, g] = [join(made, 'f'), join(made, 'g')];
  for (const [id, spec] of [['a', F], ['b', F], ['c', G]] as const) made.fleet.start(id, spec);
  assert.deepEqual([f.environments, g.environments, waiting(made)], [1, 1, ['b']]);
  assert.deepEqual(made.heard, ['placed f f 1', 'placed g g 1']);
});

test('what waits is placed when the oversight changes its mind', () => {
  let room = NONE;
  const made = bench({ roomFor: () => room });
  join(made);
  made.fleet.start('a', F);
  made.fleet.oversightChanged();
  assert.deepEqual(waiting(made), ['a']);
  room = ROOM;
  made.fleet.oversightChanged();
  assert.deepEqual(waiting(made), []);
});

test('the oversight hears how much a worker holds: of this controller when something leaves, of all when that changes', () => {
  const made = bench();
  const session = join(made);
  made.fleet.start('a', F);
  for (const holds of [1, 1, 2]) made.fleet.holds(session, holds);
  made.fleet.departed(session, { environmentId: 'a', cause: { kind: 'stopped' } });
  made.fleet.holds(session, 0);
  assert.deepEqual(made.heard, ['placed f w 1', 'holds w 1 1', 'holds w 1 2', 'holds w 0 2', 'holds w 0 0']);
});

// Giving up

test('what waits for room can be given up, with a word of why', () => {
  const made = bench();
  for (const id of ['a', 'b']) made.fleet.start(id, F);
  made.fleet.giveUp('a', 'There is none.');
  made.fleet.giveUp('a', 'There is none.');
  made.fleet.giveUp('unknown', 'There is none.');
  assert.deepEqual(made.listener.departures, [{ environmentId: 'a', cause: { kind: 'cannotStart', message: 'There is none.' } }]);
  assert.deepEqual(waiting(made), ['b']);
});

test('what has been placed meanwhile is not given up', () => {
  const made = bench();
  made.fleet.start('a', F);
  join(made);
  made.fleet.giveUp('a', 'There is none.');
  assert.deepEqual(made.listener.departures, []);
});

// A worker whose end is known from elsewhere

test('a worker that died loses all that it had, busy or not, with a word of how', async () => {
  const made = bench();
  const [session, other] = [join(made), join(made, 'other', { maxEnvironments: 1, maxMemoryMiB: 128 })];
  await made.fleet.held(session, undefined, [heldEnvironment('busy', F, invoke('a')), heldEnvironment('idle', F)]);
  await made.fleet.held(other, undefined, [heldEnvironment('elsewhere', F)]);
  made.fleet.workerDied('w', 'It ran out of memory.');
  const cause = { kind: 'workerLost', message: 'It ran out of memory.' } as const;
  assert.deepEqual(made.listener.departures, [{ environmentId: 'busy', cause }, { environmentId: 'idle', cause }]);
  assert.deepEqual([session.ended, other.live, made.fleet.workers.length], ['closed', true, 1]);
  made.fleet.workerDied('w', 'Once more.');
  made.fleet.workerDied('unknown', 'Never was.');
  assert.equal(made.listener.departures.length, 2);
});

test('nothing of what it had is placed with it again while it dies', () => {
  const made = bench();
  const session = join(made, 'w', { maxEnvironments: 1, maxMemoryMiB: 128 });
  for (const id of ['a', 'b']) made.fleet.start(id, F);
  made.fleet.workerDied('w', 'It ran out of memory.');
  assert.equal(session.live, false);
  assert.deepEqual([...made.listener.departures.map(({ environmentId }) => environmentId), ...waiting(made)].sort(), ['a', 'b'], 'each has departed or waits');
});

// What a worker sends back

test('what a worker has no room for is placed with another, and the controller hears nothing of it', async () => {
  const made = bench();
  const full = join(made);
  made.fleet.start('a', F);
  const other = join(made, 'other');
  sendBack(made, full, 'a');
  assert.deepEqual([full.environments, full.memoryMiB, other.environments, made.listener.departures], [0, 0, 1, []]);
  const polled = made.fleet.next(other, 'a', 0, initialized('a'));
  made.listener.answer('a', { kind: 'stop' });
  assert.deepEqual(await polled, { kind: 'stop' });
});

test('without another it waits, and the worker that sent it back has it when it says that it has room', () => {
  const made = bench();
  const session = join(made);
  made.fleet.start('a', F);
  sendBack(made, session, 'a');
  assert.deepEqual([waiting(made), session.room.maxEnvironments, made.listener.capacities.at(-1)?.maxEnvironments], [['a'], 0, 0]);
  made.fleet.start('b', F);
  assert.deepEqual(waiting(made), ['a', 'b'], 'it is full, until it says otherwise');
  made.fleet.roomChanged(session, ROOM);
  assert.deepEqual([waiting(made), session.environments], [[], 2]);
});

test('a worker that has sent one back keeps what it has', () => {
  const made = bench();
  const session = join(made);
  for (const id of ['a', 'b']) made.fleet.start(id, F);
  sendBack(made, session, 'b');
  assert.deepEqual([session.environments, session.room.maxEnvironments, waiting(made), made.listener.departures], [1, 1, ['b'], []]);
});

test(`what ${REFUSALS_MAX} workers have sent back may be sent back once more, and is given up`, () => {
  const made = bench();
  made.fleet.start('a', F);
  for (let i = 0; i < REFUSALS_MAX; i++) sendBack(made, join(made, `w${i}`), 'a');
  assert.deepEqual([made.listener.departures, waiting(made)], [[], ['a']]);
  sendBack(made, join(made, 'last'), 'a');
  assert.deepEqual(made.listener.departures, [{ environmentId: 'a', cause: { kind: 'cannotStart', message: NO_ROOM } }]);
  assert.deepEqual(waiting(made), []);
});

test('what was to be stopped meanwhile is stopped by being sent back', () => {
  const made = bench();
  const session = join(made);
  made.fleet.start('a', F);
  made.fleet.stop('a');
  sendBack(made, session, 'a');
  assert.deepEqual(made.listener.departures, [{ environmentId: 'a', cause: { kind: 'stopped' } }]);
  assert.deepEqual(waiting(made), []);
});

test('what is sent back by a worker that does not have it is nobody\'s', () => {
  const made = bench();
  const [session, other] = [join(made), join(made, 'other', NONE)];
  made.fleet.start('a', F);
  sendBack(made, other, 'a');
  sendBack(made, other, 'unknown');
  assert.deepEqual([session.environments, waiting(made), made.listener.departures], [1, [], []]);
});

test('what waits after it was sent back departs when it is stopped, and when the fleet closes', async () => {
  const made = bench();
  const session = join(made, 'w', { maxEnvironments: 2, maxMemoryMiB: 256 });
  for (const id of ['a', 'b']) made.fleet.start(id, F);
  for (const id of ['a', 'b']) sendBack(made, session, id);
  made.fleet.stop('a');
  await turn();
  const closing = made.fleet.close();
  made.clock.advance(60_000);
  await closing;
  assert.deepEqual(made.listener.departures.map(({ environmentId, cause: { kind } }) => [environmentId, kind]), [['a', 'stopped'], ['b', 'stopped']]);
});
