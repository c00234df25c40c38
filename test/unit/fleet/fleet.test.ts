import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, test } from 'node:test';
import type { Instruction } from '../../../platform/protocol/wire/messages.ts';
import { createLogger } from '../../../platform/telemetry/logger.ts';
import { Fleet } from '../../../platform/worker-pool/fleet/fleet.ts';
import { RECONNECT_MS, SILENCE_MS, type SessionEnd, type WorkerSession } from '../../../platform/worker-pool/fleet/worker-session.ts';
import { CLAIM_PATIENCE_MAX_MS } from '../../../platform/worker-pool/worker-pool.ts';
import { closeFleet } from '../../support/closed-fleet.ts';
import { completionOf, FakeListener, heldEnvironment, initialized, invoke, specOf } from '../../support/fleet-listener.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const ROOM = { maxEnvironments: 4, maxMemoryMiB: 1_024 };
const F = specOf('f');
const GIVEN = invoke('a');
const DONE = { kind: 'completed', environmentId: 'e', completion: completionOf(GIVEN) } as const;
const LOST = { kind: 'workerLost' } as const;

interface Bench {
  readonly fleet: Fleet;
  readonly listener: FakeListener;
  readonly clock: VirtualClock;
}

const benches: Bench[] = [];

afterEach(async () => {
  for (const made of benches.splice(0)) await closeFleet(made);
});

function bench(): Bench {
  const listener = new FakeListener();
  const clock = new VirtualClock();
  const made = { listener, clock, fleet: new Fleet({ gatherMs: 0, listener, clock, logger: createLogger('silent') }) };
  benches.push(made);
  return made;
}

function join(fleet: Fleet, worker = 'w', room = ROOM, instance = `${worker}-1`): WorkerSession {
  return fleet.open({ v: 1, worker, instance, room });
}

/** What the worker is told, acknowledged up to the instruction before. */
async function told(session: WorkerSession, acknowledged = 0): Promise<readonly Instruction[]> {
  const { instructions } = await session.instructions(acknowledged);
  return instructions.map(({ number: _, ...instruction }) => instruction);
}

/** An environment `e` that was started in this session and waits, or runs an invocation. */
async function started({ fleet, listener }: Bench, session: WorkerSession, state: 'idle' | 'busy'): Promise<void> {
  fleet.start('e', F);
  const polled = fleet.next(session, 'e', 0, initialized('e'));
  if (state === 'idle') return;
  listener.answer('e', GIVEN);
  assert.deepEqual(await polled, GIVEN);
}

const departures = ({ listener }: Bench): readonly (readonly [string, string])[] => listener.departures.map(({ environmentId, cause }) => [environmentId, cause.kind]);

test('a start is an instruction to a worker, and its departure the controller\'s to know', async () => {
  const made = bench();
  const { fleet, listener } = made;
  const session = join(fleet);
  fleet.start('e', F);
  assert.deepEqual(await told(session), [{ do: 'open', environmentId: 'e', spec: F, waitedMs: 0 }]);
  assert.deepEqual([session.environments, session.memoryMiB, session.knowsCode('f')], [1, 128, true]);
  const departure = { environmentId: 'e', cause: { kind: 'cannotStart', message: 'no room' } } as const;
  fleet.departed(session, departure);
  fleet.departed(session, departure);
  assert.deepEqual(listener.departures, [departure], 'once, however often it is reported');
  assert.deepEqual([session.environments, session.memoryMiB], [0, 0]);
});

test('a controller that knows how many workers there are waits until they are here, and then finds at once what they hold', async (t) => {
  const listener = new FakeListener();
  const clock = new VirtualClock();
  const fleet = new Fleet({ listener, clock, logger: createLogger('silent') });
  t.after(() => closeFleet({ fleet, clock }));
  const here: string[] = [];
  const gathered = fleet.gather(2).then(() => here.push('all'));
  join(fleet, 'w1');
  await turn();
  assert.deepEqual(here, []);
  const sessions = [...fleet.workers, join(fleet, 'w2')];
  await gathered;
  const claimed = fleet.claim({ partitions: [0], epoch: 1 });
  for (const session of sessions) await fleet.held(session, (await told(session)).flatMap((instruction) => (instruction.do === 'claim' ? [instruction.claim] : []))[0], []);
  await claimed;
});

test('one for which workers do not come goes on after a while, and is still open to them; one that needs none waits for none', async (t) => {
  const listener = new FakeListener();
  const clock = new VirtualClock();
  const fleet = new Fleet({ listener, clock, logger: createLogger('silent') });
  t.after(() => closeFleet({ fleet, clock }));
  const gathered = fleet.gather(2);
  join(fleet, 'w1');
  clock.advance(3_000);
  await gathered;
  await fleet.gather(0);
  assert.equal(clock.pending > 0, true, 'the session lives');
});

test('a controller that nobody tells how many there are waits for what workers hold, and tells no number before', async (t) => {
  const listener = new FakeListener();
  const clock = new VirtualClock();
  const fleet = new Fleet({ listener, clock, logger: createLogger('silent') });
  t.after(() => closeFleet({ fleet, clock }));
  await fleet.gather(0);
  const claimed: string[] = [];
  const claiming = fleet.claim({ partitions: [0], epoch: 1 }).then(() => claimed.push('all'));
  join(fleet, 'w1');
  await turn();
  assert.deepEqual([claimed, fleet.workersThere], [[], 0], 'it may have run before what the log delivers again');
  clock.advance(3_000);
  await claiming;
  assert.equal(fleet.workersThere, 1);
});

test('workers are told of another controller', async () => {
  const { fleet } = bench();
  const session = join(fleet);
  fleet.meet('http://10.0.0.2:9500');
  assert.deepEqual(await told(session), [{ do: 'meet', url: 'http://10.0.0.2:9500' }]);
});

test('a stop is an instruction as well, and again where it is repeated', async () => {
  const made = bench();
  const session = join(made.fleet);
  made.fleet.start('e', F);
  made.fleet.stop('e');
  made.fleet.stop('unknown');
  assert.deepEqual((await told(session)).slice(1), [{ do: 'close', environmentId: 'e' }]);
  assert.deepEqual(departures(made), []);
});

test('what nobody has room for waits, in order, and is placed when somebody has', async () => {
  const made = bench();
  const { fleet } = made;
  for (const id of ['large', 'a', 'b']) fleet.start(id, id === 'large' ? specOf('large', { memoryMiB: 2_048 }) : F);
  assert.equal(fleet.waitingForRoom, 3);
  const small = join(fleet, 'small', { maxEnvironments: 1, maxMemoryMiB: 1_024 });
  assert.deepEqual(await told(small), [{ do: 'open', environmentId: 'a', spec: F, waitedMs: 0 }]);
  fleet.departed(small, { environmentId: 'a', cause: { kind: 'stopped' } });
  assert.deepEqual((await told(small, 1)).map((instruction) => 'environmentId' in instruction && instruction.environmentId), ['b'], 'a departure makes room');
  assert.equal(fleet.waitingForRoom, 1);
  join(fleet, 'big', { maxEnvironments: 1, maxMemoryMiB: 2_048 });
  assert.equal(fleet.waitingForRoom, 0);
});

test('more room is used at once; less is taken notice of', () => {
  const { fleet, listener } = bench();
  const session = join(fleet, 'w', { maxEnvironments: 1, maxMemoryMiB: 128 });
  fleet.start('a', F);
  fleet.start('b', F);
  assert.equal(fleet.waitingForRoom, 1);
  fleet.roomChanged(session, { maxEnvironments: 2, maxMemoryMiB: 256 });
  assert.equal(fleet.waitingForRoom, 0);
  fleet.roomChanged(session, { maxEnvironments: 2, maxMemoryMiB: 256 });
  fleet.roomChanged(session, { maxEnvironments: 0, maxMemoryMiB: 0 });
  assert.deepEqual(listener.capacities.map(({ maxEnvironments }) => maxEnvironments), [1, 2, 0], 'and what is as before is no change');
  fleet.start('c', F);
  assert.equal(fleet.waitingForRoom, 1);
});

test('one that still waits for room departs when it is stopped', async () => {
  const made = bench();
  made.fleet.start('e', F);
  made.fleet.stop('e');
  await turn();
  assert.deepEqual(departures(made), [['e', 'stopped']]);
  assert.equal(made.fleet.waitingForRoom, 0);
});

test('capacity is the sum of all workers that take anything, and the room of the largest', () => {
  const { fleet, listener } = bench();
  assert.deepEqual(fleet.capacity, { maxEnvironments: 0, maxMemoryMiB: 0, largestMiB: 0 });
  join(fleet, 'a', { maxEnvironments: 4, maxMemoryMiB: 1_024 });
  const b = join(fleet, 'b', { maxEnvironments: 2, maxMemoryMiB: 3_072 });
  join(fleet, 'draining', { maxEnvironments: 0, maxMemoryMiB: 8_192 });
  assert.deepEqual(fleet.capacity, { maxEnvironments: 6, maxMemoryMiB: 4_096, largestMiB: 3_072 });
  b.end('left');
  assert.deepEqual(listener.capacities.at(-1), { maxEnvironments: 4, maxMemoryMiB: 1_024, largestMiB: 1_024 });
});

test('what is expected is told to every worker', async () => {
  const { fleet } = bench();
  const sessions = [join(fleet, 'a'), join(fleet, 'b')];
  fleet.expect(F);
  for (const session of sessions) assert.deepEqual(await told(session), [{ do: 'expect', spec: F }]);
});

test('a retirement is asked of the controller, for what is the session\'s', () => {
  const { fleet, listener } = bench();
  const [session, other] = [join(fleet), join(fleet, 'other', { maxEnvironments: 0, maxMemoryMiB: 0 })];
  fleet.start('e', F);
  fleet.retire(other, 'e');
  fleet.retire(session, 'unknown');
  assert.deepEqual(listener.retiring, []);
  fleet.retire(session, 'e');
  assert.deepEqual(listener.retiring, ['e']);
});

// Claims

test('a claim waits until every worker has answered', async () => {
  const { fleet } = bench();
  const [a, b] = [join(fleet, 'a'), join(fleet, 'b')];
  let done = false;
  const claiming = fleet.claim({ partitions: [3, 5], epoch: 7 }).finally(() => (done = true));
  assert.deepEqual(await told(a), [{ do: 'claim', claim: 1, partitions: [3, 5], epoch: 7 }]);
  assert.deepEqual(await fleet.held(a, 1, []), []);
  await fleet.held(b, undefined, []);
  await turn();
  assert.equal(done, false, 'an offer that answers no claim is none');
  await fleet.held(b, 1, []);
  await claiming;
});

test('a claim waits no longer than its patience', async () => {
  const { fleet, clock } = bench();
  join(fleet);
  let done = false;
  const claiming = fleet.claim({ partitions: [0], epoch: 1 }).finally(() => (done = true));
  clock.advance(CLAIM_PATIENCE_MAX_MS - 1);
  await turn();
  assert.equal(done, false);
  clock.advance(1);
  await claiming;
});

test('a worker that is lost is not waited for, and where there is none there is nothing to wait for', async () => {
  const { fleet } = bench();
  await fleet.claim({ partitions: [0], epoch: 1 });
  const [a, b] = [join(fleet, 'a'), join(fleet, 'b')];
  const claiming = fleet.claim({ partitions: [1], epoch: 2 });
  const number = (await told(a)).flatMap((instruction) => (instruction.do === 'claim' && instruction.epoch === 2 ? [instruction.claim] : []))[0];
  await fleet.held(a, number, []);
  b.end('closed');
  await claiming;
});

test('a claim is not cut short by the next one', async () => {
  const { fleet } = bench();
  const session = join(fleet);
  let first = false;
  const claiming = fleet.claim({ partitions: [0], epoch: 1 }).finally(() => (first = true));
  const next = fleet.claim({ partitions: [1], epoch: 2 });
  await fleet.held(session, 2, []);
  await next;
  assert.equal(first, false);
  await fleet.held(session, 1, []);
  await claiming;
});

test('a worker that comes later is told of all claims, each under its epoch', async () => {
  const { fleet } = bench();
  await fleet.claim({ partitions: [0, 1], epoch: 1 });
  await fleet.claim({ partitions: [1, 2], epoch: 4 });
  const claims = (await told(join(fleet))).flatMap((instruction) => (instruction.do === 'claim' ? [instruction] : []));
  assert.deepEqual(claims.map(({ partitions, epoch }) => [epoch, partitions]), [[1, [0]], [4, [1, 2]]]);
});

// Adoption

test('an environment that the controller takes is its own from then on', async () => {
  const { fleet, listener } = bench();
  const session = join(fleet);
  const held = heldEnvironment('e', F, GIVEN);
  assert.deepEqual(await fleet.held(session, undefined, [held]), ['e']);
  assert.deepEqual(listener.offered, [held]);
  assert.equal(session.environments, 1);
  void fleet.next(session, 'e', 4, DONE);
  assert.deepEqual(listener.polls, [DONE], 'its polls go on with the number that they have');
});

test('one that the controller does not take is nobody\'s', async () => {
  const made = bench();
  const { fleet, listener } = made;
  const session = join(fleet);
  listener.adopts = ({ environmentId }) => environmentId === 'mine';
  assert.deepEqual(await fleet.held(session, undefined, [heldEnvironment('mine', F), heldEnvironment('other', F)]), ['mine']);
  assert.equal(session.environments, 1);
  assert.deepEqual(await fleet.next(session, 'other', 0, initialized('other')), { kind: 'moved' });
  assert.deepEqual(departures(made), []);
});

test('one that is offered twice at a time has been taken only when the controller has taken it', async () => {
  const { fleet, listener } = bench();
  const session = join(fleet);
  const verdict = Promise.withResolvers<boolean>();
  listener.adopts = () => verdict.promise;
  let answered = 0;
  const offers = [1, 2].map(() => fleet.held(session, undefined, [heldEnvironment('e', F)]).finally(() => answered++));
  await turn();
  assert.equal(answered, 0);
  verdict.resolve(true);
  assert.deepEqual(await Promise.all(offers), [['e'], ['e']]);
  assert.equal(listener.offered.length, 1);
});

test('one whose worker is lost while the controller makes up its mind is not left with it', async () => {
  const made = bench();
  const { fleet, listener } = made;
  const session = join(fleet);
  const verdict = Promise.withResolvers<boolean>();
  listener.adopts = () => verdict.promise;
  const offer = fleet.held(session, undefined, [heldEnvironment('e', F)]);
  session.end('closed');
  const early = listener.departures.length;
  verdict.resolve(true);
  assert.deepEqual(await offer, []);
  assert.deepEqual(departures(made).slice(early), [['e', 'workerLost']], 'told again, now that it is known');
});

test('what a session offers that has ended is not taken', async () => {
  const { fleet, listener } = bench();
  const session = join(fleet);
  session.end('silent');
  assert.deepEqual(await fleet.held(session, undefined, [heldEnvironment('e', F)]), []);
  assert.deepEqual(listener.offered, []);
});

test('an environment is polled for and left only by the session that has it', async () => {
  const made = bench();
  const { fleet, listener } = made;
  const session = join(fleet);
  await started(made, session, 'idle');
  const other = join(fleet, 'other');
  assert.deepEqual(await fleet.next(other, 'e', 1, initialized('e')), { kind: 'moved' });
  assert.deepEqual(await fleet.held(other, undefined, [heldEnvironment('e', F)]), []);
  fleet.departed(other, { environmentId: 'e', cause: { kind: 'failed' } });
  assert.deepEqual([listener.polls.length, listener.departures.length, listener.offered.length], [1, 0, 0]);
});

test('what is handed over goes on without a word, and its poll is told to wait for another', async () => {
  const made = bench();
  const { fleet } = made;
  const session = join(fleet);
  fleet.start('e', F);
  const polled = fleet.next(session, 'e', 0, initialized('e'));
  fleet.handOver('e');
  assert.deepEqual(await polled, { kind: 'moved' });
  assert.deepEqual(departures(made), []);
  assert.deepEqual([session.environments, session.memoryMiB], [0, 0]);
  fleet.departed(session, { environmentId: 'e', cause: { kind: 'stopped' } });
  assert.deepEqual(departures(made), []);
});

// The end of a session

const ends: readonly (readonly [SessionEnd, 'idle' | 'busy', 'gone' | 'kept'])[] = [
  ['closed', 'idle', 'gone'],
  ['closed', 'busy', 'gone'],
  ['left', 'idle', 'gone'],
  ['left', 'busy', 'gone'],
  ['replaced', 'idle', 'gone'],
  ['replaced', 'busy', 'gone'],
  ['silent', 'idle', 'gone'],
  ['silent', 'busy', 'kept'],
  ['reopened', 'idle', 'gone'],
  ['reopened', 'busy', 'kept'],
];
for (const [why, state, expected] of ends) {
  test(`a session that ends (${why}): what is ${state} is ${expected === 'gone' ? 'lost with it' : 'left its lease (invariant 3)'}`, async () => {
    const made = bench();
    const session = join(made.fleet);
    await started(made, session, state);
    session.end(why);
    assert.deepEqual(made.listener.departures, expected === 'gone' ? [{ environmentId: 'e', cause: LOST }] : []);
    assert.deepEqual(made.fleet.workers, []);
    assert.equal(made.fleet.session(session.id), undefined);
    assert.deepEqual(made.listener.capacities.at(-1)?.maxEnvironments, 0);
  });
}

test('the clock ends sessions: after silence, and after a lost connection', () => {
  const made = bench();
  join(made.fleet, 'silent');
  join(made.fleet, 'cut').connectionLost();
  made.clock.advance(RECONNECT_MS);
  assert.deepEqual(made.fleet.workers.map(({ worker }) => worker), ['silent']);
  made.clock.advance(SILENCE_MS - RECONNECT_MS);
  assert.deepEqual(made.fleet.workers, []);
});

test('one that was busy in a silent worker comes back with that worker\'s next session', async () => {
  const made = bench();
  const { fleet, listener } = made;
  const lost = join(fleet);
  await started(made, lost, 'busy');
  lost.end('silent');
  const session = join(fleet);
  assert.deepEqual(await fleet.held(session, undefined, [heldEnvironment('e', F, GIVEN)]), ['e']);
  assert.deepEqual(listener.offered, [], 'it was never given up: the controller need not be asked');
  assert.deepEqual([lost.environments, session.environments], [0, 1]);
  void fleet.next(session, 'e', 1, DONE);
  assert.deepEqual(listener.polls.at(-1), DONE);
  assert.deepEqual(departures(made), []);
});

test('one that came busy from an earlier owner is left its lease as well', async () => {
  const made = bench();
  const session = join(made.fleet);
  await made.fleet.held(session, undefined, [heldEnvironment('busy', F, GIVEN), heldEnvironment('idle', F)]);
  session.end('silent');
  assert.deepEqual(departures(made), [['idle', 'workerLost']]);
});

test('a worker that opens another session goes on with what it runs', async () => {
  const made = bench();
  const first = join(made.fleet);
  await started(made, first, 'busy');
  const session = join(made.fleet);
  assert.equal(first.ended, 'reopened');
  assert.deepEqual(await made.fleet.held(session, undefined, [heldEnvironment('e', F, GIVEN)]), ['e']);
  assert.deepEqual(departures(made), []);
});

test('a worker that comes back as another process has lost everything, also what it had when it was silent', async () => {
  const made = bench();
  await started(made, join(made.fleet), 'busy');
  const other = join(made.fleet, 'w', ROOM, 'w-2');
  assert.deepEqual(departures(made), [['e', 'workerLost']]);
  made.fleet.start('later', F);
  const polled = made.fleet.next(other, 'later', 0, initialized('later'));
  made.listener.answer('later', GIVEN);
  await polled;
  other.end('silent');
  assert.deepEqual(departures(made), [['e', 'workerLost']]);
  join(made.fleet, 'w', ROOM, 'w-3');
  assert.deepEqual(departures(made), [['e', 'workerLost'], ['later', 'workerLost']]);
});

test('one whose lease is over is given up when its worker is not there', async () => {
  const made = bench();
  const session = join(made.fleet);
  await started(made, session, 'busy');
  session.end('silent');
  made.fleet.stop('e');
  await turn();
  assert.deepEqual(departures(made), [['e', 'workerLost']]);
});

// The end

test('a fleet that closes stops everything, waits for it, and tells its workers to leave', async () => {
  const made = bench();
  const { fleet } = made;
  const session = join(fleet);
  await started(made, session, 'idle');
  const [opened] = await told(session);
  assert.equal(opened?.do, 'open');
  const closing = fleet.close();
  assert.deepEqual(await told(session, 1), [{ do: 'close', environmentId: 'e' }]);
  const leaving = told(session, 2);
  fleet.departed(session, { environmentId: 'e', cause: { kind: 'stopped' } });
  assert.deepEqual(await leaving, [{ do: 'leave' }]);
  await closing;
  assert.equal(session.ended, 'left');
  assert.deepEqual(departures(made), [['e', 'stopped']]);
  assert.equal(fleet.close(), fleet.close(), 'idempotent');
});

test('it does not wait for a worker that takes no notice', async () => {
  const made = bench();
  await started(made, join(made.fleet), 'busy');
  const closing = made.fleet.close();
  made.clock.advance(60_000);
  await closing;
  assert.deepEqual(departures(made), [['e', 'workerLost']]);
});

test('after its close a start is a departure, and what workers hold is not taken', async () => {
  const made = bench();
  const session = join(made.fleet);
  const closing = made.fleet.close();
  made.fleet.start('late', F);
  assert.deepEqual(await made.fleet.held(session, undefined, [heldEnvironment('e', F)]), []);
  await closing;
  assert.equal(made.fleet.closed, true);
  assert.deepEqual(made.listener.departures, [{ environmentId: 'late', cause: { kind: 'cannotStart', message: 'The worker pool is closed.' } }]);
});
