import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { partitionOf } from '../../../platform/invocation-log/invocation-log.ts';
import { executionSpec, functionKey, type ExecutionSpec } from '../../../platform/model/execution-spec.ts';
import type { InvocationRecord } from '../../../platform/model/invocation.ts';
import type { Assignment, HeldEnvironment } from '../../../platform/protocol/controller-link.ts';
import { CLAIM_PATIENCE_MS } from '../../../platform/worker-pool/worker-pool.ts';
import { heldEnvironment, invoke as assignmentOf } from '../../support/fleet-listener.ts';
import { ACCOUNT, bench, functionRecord, type Bench } from './fakes.ts';

const benches: Bench[] = [];

/** After each test: nothing is unaccounted for, and a stopped controller leaves no timer behind. */
afterEach(async () => {
  for (const { controller, clock } of benches.splice(0)) {
    assert.equal(controller.snapshot().drift, 0);
    const stopping = controller.stop();
    clock.advance(60_000);
    await stopping;
    assert.equal(clock.pending, 0, 'timers are left');
    assert.equal(controller.snapshot().drift, 0);
  }
});

/** A controller that owns function `f`; what comes has stood in the log before unless the test says otherwise. */
async function owner(options: Parameters<typeof bench>[0] = { atStop: 'handOver' }): Promise<Bench> {
  const made = await bench(options);
  benches.push(made);
  made.catalogue.set(functionRecord('f'));
  await made.next('expected');
  made.log.inherited = true;
  return made;
}

/** Resolves when everything that waits for no one has happened. */
function settled(): Promise<void> {
  return setImmediate();
}

function specOf(name: string, revision = 'r1'): ExecutionSpec {
  const record = functionRecord(name, { revision });
  return executionSpec(record, record.latest, 'us-east-1');
}

/** What an earlier owner gave the environment, under its epoch. */
function given(id: string, change: Partial<InvocationRecord> = {}): Extract<Assignment, { kind: 'invoke' }> {
  return assignmentOf(id, { account: ACCOUNT, functionName: 'f', functionUid: 'uid-of-f', kind: 'sync', expiresAtMs: 1_900_000_000_000, epoch: 6, deliveryId: 40, ...change });
}

/** Environment `e` of an earlier owner, idle or with what it runs. */
function held(running?: ReturnType<typeof given>): HeldEnvironment {
  return heldEnvironment('e', specOf('f'), running);
}

/** The assignment with which a poll is answered, if it is by now. */
async function answered(poll: Promise<Assignment>): Promise<Assignment | undefined> {
  return Promise.race([poll, settled().then(() => undefined)]);
}

// Taking over

test('what is assigned is claimed under its epoch, and nothing is delivered before all have answered or patience is over', async () => {
  const { pool, log, clock } = await owner();
  assert.deepEqual(pool.claims, [{ partitions: [0], epoch: 7 }]);
  pool.answered = new Promise(() => undefined);
  let ready = false;
  const assigned = log.consumer?.assigned({ partitions: [0], epoch: 8 }).finally(() => (ready = true));
  assert.deepEqual(pool.claims[1], { partitions: [0], epoch: 8 });
  clock.advance(CLAIM_PATIENCE_MS - 1);
  await settled();
  assert.equal(ready, false);
  clock.advance(1);
  await assigned;
  // Its twin: with the answers it is there at once.
  pool.answered = Promise.resolve();
  await log.consumer?.assigned({ partitions: [0], epoch: 9 });
});

for (const kind of ['sync', 'async'] as const) {
  test(`a delivery (${kind}) of what an adopted environment runs is not given out again, and its end settles it`, async () => {
    const { controller, pool, log, invoke, completed } = await owner();
    const running = given('a', { kind });
    assert.equal(await pool.link.adopted(held(running)), true);
    assert.equal(controller.snapshot().undelivered, 1);
    invoke('a', { kind });
    await settled();
    assert.equal(controller.snapshot().undelivered, 0);
    assert.deepEqual([pool.started, log.settled], [[], []]);
    void completed('e', running);
    assert.deepEqual(log.settled, ['a']);
    assert.equal(controller.snapshot().environments.idle, 1);
  });

  test(`its twin (${kind}): where no environment runs it, it is`, async () => {
    const { pool, invoke } = await owner();
    invoke('a', { kind });
    await settled();
    assert.equal(pool.started.length, 1);
  });
}

test('a new owner scales by what the environments that it adopts have measured', async () => {
  const { pool, invoke } = await owner();
  await pool.link.adopted({ ...held(), measured: { startMs: 2_000, durationMs: 20 } });
  for (let i = 0; i < 3; i++) invoke(`i${i}`);
  await settled();
  assert.equal(pool.started.length, 0, 'short invocations are done sooner than a start');
});

test('its twin: where nothing has been measured, all that waits gets an environment', async () => {
  const { pool, invoke } = await owner();
  await pool.link.adopted(held());
  for (let i = 0; i < 3; i++) invoke(`i${i}`);
  await settled();
  assert.equal(pool.started.length, 2);
});

test('what a worker says it has measured teaches nothing where it is no length of time', async () => {
  const { pool, invoke } = await owner();
  await pool.link.adopted({ ...held(), measured: { startMs: -1, durationMs: 'soon' as unknown as number } });
  for (let i = 0; i < 3; i++) invoke(`i${i}`);
  await settled();
  assert.equal(pool.started.length, 2, 'as where nothing has been measured');
});

test('what has ended before it is delivered is settled when it comes', async () => {
  const { controller, pool, log, invoke, completed } = await owner();
  const running = given('a');
  await pool.link.adopted(held(running));
  void completed('e', running);
  assert.deepEqual(log.settled, []);
  assert.equal(controller.snapshot().invocations.sync.concluded, 1);
  invoke('a');
  await settled();
  assert.deepEqual([log.settled, pool.started], [['a'], []]);
});

test('what has failed before it is delivered is tried again when it comes', async () => {
  const { clock, pool, log, invoke, completed } = await owner();
  const running = given('a', { kind: 'async' });
  await pool.link.adopted(held(running));
  void completed('e', running, 'functionError');
  invoke('a', { kind: 'async', expiresAtMs: clock.now() + 3_600_000 });
  await settled();
  assert.deepEqual(log.postponed.map(({ id, attempt }) => [id, attempt]), [['a', 2]]);
  assert.deepEqual(pool.started, []);
});

test('what waits here already and turns out to run is taken out of the queue', async () => {
  const { controller, pool, log, invoke, initialized, completed } = await owner();
  invoke('a');
  await settled();
  const [started = ''] = pool.started;
  const running = given('a');
  await pool.link.adopted(held(running));
  assert.equal(await answered(initialized(started)), undefined, 'it is not given to the one that was started for it');
  void completed('e', running);
  assert.deepEqual(log.settled, ['a']);
  assert.equal(controller.snapshot().invocations.sync.succeeded, 1);
});

test('an environment that runs what was given to another one meanwhile is stopped: that run counts', async () => {
  const { pool, log, invoke, initialized, completed } = await owner();
  invoke('a');
  await settled();
  const [started = ''] = pool.started;
  const assignment = await initialized(started);
  await pool.link.adopted(held(given('a')));
  assert.deepEqual(pool.stopped, ['e']);
  void completed(started, assignment);
  assert.deepEqual(log.settled, ['a']);
});

test('an idle environment is used as soon as it polls', async () => {
  const { pool, invoke, initialized } = await owner();
  await pool.link.adopted(held());
  const polled = initialized('e');
  invoke('a');
  const assignment = await polled;
  assert.equal(assignment.kind === 'invoke' && assignment.invocation.id, 'a');
  assert.deepEqual(pool.started, []);
});

test('the end of something that nobody here knows of frees the environment, and counts for nothing', async () => {
  const { controller, pool, log, invoke, completed } = await owner();
  await pool.link.adopted(held());
  const polled = completed('e', given('unknown'));
  assert.equal(controller.snapshot().environments.idle, 1);
  assert.equal(controller.snapshot().tally.staleReports, 1);
  invoke('a');
  const assignment = await polled;
  assert.equal(assignment.kind === 'invoke' && assignment.invocation.id, 'a');
  assert.deepEqual([log.settled, pool.started], [[], []]);
});

test('the lease of what runs goes on from where it was', async () => {
  const { controller, clock, pool, invoke } = await owner();
  const running = given('a');
  await pool.link.adopted({ ...held(running), running: { head: { ...running.invocation, payloadBytes: 2 }, epoch: 6, deliveryId: 40, ranMs: 2_000 } });
  invoke('a');
  await settled();
  clock.advance(10_999);
  assert.equal(controller.snapshot().tally.leasesEnded, 0);
  clock.advance(1);
  assert.equal(controller.snapshot().tally.leasesEnded, 1, '3 s and a margin of 10 s, of which 2 s were over');
  assert.deepEqual(pool.stopped, ['e']);
});

test('one that is lost with what it runs leaves it to its delivery', async () => {
  const { pool, invoke } = await owner();
  await pool.link.adopted(held(given('a', { kind: 'async' })));
  pool.gone('e', { kind: 'workerLost' });
  invoke('a', { kind: 'async' });
  await settled();
  assert.equal(pool.started.length, 1);
});

test('one of an old revision is stopped', async () => {
  const { pool, catalogue, next } = await owner();
  const expected = next('expected');
  catalogue.set(functionRecord('f', { revision: 'r2' }));
  await expected;
  assert.equal(await pool.link.adopted(held()), true);
  assert.deepEqual(pool.stopped, ['e']);
});

test('one of a function that is another owner\'s, or nobody\'s any more, is not taken', async () => {
  const { pool, catalogue, log, controller } = await owner();
  assert.equal(await pool.link.adopted(heldEnvironment('x', specOf('deleted'))), false);
  catalogue.set(functionRecord('g'));
  log.consumer?.revoked([0]);
  assert.equal(await pool.link.adopted(held(given('a'))), false);
  assert.deepEqual([controller.snapshot().environments.all, controller.snapshot().held], [0, 0]);
});

test('one whose function becomes another owner\'s while it is looked up is not taken', async () => {
  const { pool, catalogue, log, controller } = await owner();
  catalogue.set(functionRecord('g'));
  const adopting = pool.link.adopted(heldEnvironment('x', specOf('g')));
  log.consumer?.revoked([0]);
  assert.equal(await adopting, false);
  assert.equal(controller.snapshot().environments.all, 0);
});

test('one whose function cannot be looked up is taken as it is', async () => {
  const { pool, catalogue, controller } = await owner();
  catalogue.broken = new Error('away');
  assert.equal(await pool.link.adopted(heldEnvironment('x', specOf('g'))), true);
  assert.equal(controller.snapshot().environments.all, 1);
});

test('of a sync invocation that stood in the log before, it is asked whether its caller waits still', async () => {
  const { pool, log, replies, invoke } = await owner();
  replies.set('answered', { kind: 'success', body: Buffer.from('1') });
  invoke('answered');
  await settled();
  assert.deepEqual([log.settled, pool.started], [['answered'], []]);
  // Its twins: one that waits, and one that is new, of which nobody is asked.
  invoke('waits');
  await settled();
  assert.equal(pool.started.length, 1);
  log.inherited = false;
  replies.set('new', { kind: 'success', body: Buffer.from('1') });
  invoke('new');
  await settled();
  assert.deepEqual([log.settled, pool.started.length], [['answered'], 2]);
});

test('an event that stood in the log before is run without asking anybody', async () => {
  const { pool, replies, invoke } = await owner();
  replies.set('event', { kind: 'success', body: Buffer.from('1') });
  invoke('event', { kind: 'async' });
  await settled();
  assert.equal(pool.started.length, 1);
});

// Letting go

/** A controller with one environment that runs `running`, one that is idle, and a call that waits. */
async function inUse(): Promise<Bench & { readonly busy: string; readonly idle: string; readonly running: Assignment; readonly polls: Promise<Assignment> }> {
  const made = await owner();
  made.invoke('running');
  await settled();
  const [busy = ''] = made.pool.started;
  const running = await made.initialized(busy);
  await made.pool.link.adopted(held());
  const polls = made.initialized('e');
  return { ...made, busy, idle: 'e', running, polls };
}

test('what is revoked is let go as it is: environments are handed over, deliveries released, callers told nothing', async () => {
  const { controller, pool, log, replies, invoke, completed, busy, running, polls } = await inUse();
  invoke('another');
  invoke('waiting');
  await settled();
  log.consumer?.revoked([0]);
  assert.deepEqual([...pool.handedOver].sort(), [...pool.started, 'e'].sort());
  assert.deepEqual([pool.stopped, log.settled, log.postponed, replies.size], [[], [], [], 0]);
  const { held: all, environments, invocations } = controller.snapshot();
  assert.deepEqual([all, environments.all, invocations.sync.released], [0, 0, 3]);
  // What its former environments say is not for this one any more.
  void completed(busy, running);
  assert.deepEqual(log.settled, []);
  assert.equal((await answered(polls))?.kind, 'invoke', 'as `another` was given out before');
});

test('an invocation whose payload is on its way when its function is revoked goes nowhere', async () => {
  const { log, invoke, polls } = await inUse();
  log.inherited = false;
  invoke('late');
  log.consumer?.revoked([0]);
  assert.equal(await answered(polls), undefined);
});

test('a delivery under an ownership that is over is not looked at', async () => {
  const { pool, log, invoke, controller } = await owner();
  log.consumer?.revoked([0]);
  invoke('a');
  await settled();
  await log.consumer?.assigned({ partitions: [0], epoch: 8 });
  invoke('b');
  await settled();
  assert.deepEqual([pool.started, log.settled, controller.snapshot().held], [[], [], 0]);
  log.epoch = 8;
  invoke('c');
  await settled();
  assert.equal(pool.started.length, 1, 'its twin, under the present one');
});

test('one that is being looked up when its function is revoked is left to the next owner', async () => {
  const { log, invoke, controller, replies } = await owner();
  invoke('a');
  log.consumer?.revoked([0]);
  await settled();
  assert.deepEqual([log.settled, controller.snapshot().held, replies.size], [[], 0, 0]);
});

test('functions of other partitions are not touched', async () => {
  const { pool, log, catalogue, invoke, controller, next } = await owner({ atStop: 'handOver', accountConcurrency: 1_000 });
  const expected = next('expected');
  catalogue.set(functionRecord('g'));
  await expected;
  Object.assign(log, { partitions: 64 });
  const [f, g] = ['f', 'g'].map((name) => partitionOf(functionKey(ACCOUNT, name), 64)) as [number, number];
  assert.notEqual(f, g);
  await log.consumer?.assigned({ partitions: [f, g], epoch: 7 });
  for (const name of ['f', 'g']) invoke(name, { functionName: name });
  await settled();
  const ofF = pool.started.find((id) => pool.specs.get(id)?.functionName === 'f');
  log.consumer?.revoked([f]);
  assert.deepEqual(pool.handedOver, [ofF]);
  assert.equal(controller.snapshot().held, 1);
});

test('owners share the account\'s concurrency by the partitions that they have', async () => {
  const { log } = await owner({ atStop: 'handOver', accountConcurrency: 100 });
  const key = functionKey(ACCOUNT, 'f');
  assert.equal(log.consumer?.inFlightWanted(key), 100);
  Object.assign(log, { partitions: 4 });
  await log.consumer.assigned({ partitions: [1, 2], epoch: 8 });
  assert.equal(log.consumer.inFlightWanted(key), 75);
  log.consumer.revoked([1, 2]);
  assert.equal(log.consumer.inFlightWanted(key), 25);
  log.consumer.revoked([0]);
  assert.equal(log.consumer.inFlightWanted(key), 1, 'never nothing');
});

test('what a function has in use is taken from what it may have in flight by others, and its own reservation holds', async () => {
  const { log, catalogue, next, invoke } = await owner({ atStop: 'handOver', accountConcurrency: 10 });
  const expected = next('expected');
  catalogue.set(functionRecord('g', { reservedConcurrency: 4 }));
  await expected;
  invoke('f1');
  invoke('g1', { functionName: 'g' });
  await settled();
  assert.equal(log.consumer?.inFlightWanted(functionKey(ACCOUNT, 'g')), 4);
  assert.equal(log.consumer.inFlightWanted(functionKey(ACCOUNT, 'f')), 6);
  assert.equal(log.consumer.inFlightWanted(functionKey(ACCOUNT, 'h')), 5);
});

test('a controller that stops hands everything over, and waits for nobody', async () => {
  const { controller, pool, log, replies, invoke, busy } = await inUse();
  invoke('event', { kind: 'async' });
  await settled();
  await controller.stop();
  assert.deepEqual([...pool.handedOver].sort(), [...new Set([...pool.started, 'e'])].sort());
  assert.ok(pool.handedOver.includes(busy));
  assert.deepEqual([log.settled, log.postponed, replies.size, pool.stopped], [[], [], 0, []]);
  assert.equal(log.stopped, true);
  assert.deepEqual([...controller.owned()], []);
  assert.equal(controller.stop(), controller.stop(), 'idempotent');
});

test('its twin that drains waits for what runs', async () => {
  const made = await owner({ atStop: 'drain' });
  made.invoke('a');
  await settled();
  const [environment = ''] = made.pool.started;
  const assignment = await made.initialized(environment);
  let stopped = false;
  const stopping = made.controller.stop().finally(() => (stopped = true));
  await settled();
  assert.equal(stopped, false);
  void made.completed(environment, assignment);
  await stopping;
  assert.deepEqual([made.log.settled, made.pool.handedOver], [['a'], []]);
});

test('a worker that would like an environment to stop gets its wish where there is nothing to do', async () => {
  const { pool, busy, polls } = await inUse();
  pool.link.retire(busy);
  pool.link.retire('unknown');
  assert.deepEqual(pool.stopped, []);
  pool.link.retire('e');
  assert.deepEqual(await polls, { kind: 'stop' });
  assert.deepEqual(pool.stopped, ['e']);
});

test('a pool that shrinks stops what is idle; one that grows is used', async () => {
  const { pool, invoke } = await inUse();
  pool.link.capacityChanged({ maxEnvironments: 1, maxMemoryMiB: 128, largestMiB: 128 });
  assert.deepEqual(pool.stopped, ['e']);
  pool.gone('e', { kind: 'stopped' });
  invoke('b');
  await settled();
  assert.equal(pool.started.length, 1);
  pool.link.capacityChanged({ maxEnvironments: 2, maxMemoryMiB: 256, largestMiB: 128 });
  assert.equal(pool.started.length, 2);
});
