import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { Assignment } from '../../../platform/protocol/controller-link.ts';
import { CLAIM_PATIENCE_MS } from '../../../platform/worker-pool/worker-pool.ts';
import { bench, functionRecord, type Bench } from './fakes.ts';

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

async function withFunction(options: Parameters<typeof bench>[0] = {}, change: Parameters<typeof functionRecord>[1] = {}): Promise<Bench> {
  const made = await bench(options);
  benches.push(made);
  made.catalogue.set(functionRecord('f', change));
  await made.next('expected');
  return made;
}

/** A bench with one environment that waits for its first invocation after having run `first`. */
async function warm(options: Parameters<typeof bench>[0] = {}): Promise<Bench & { readonly environment: string; readonly upcoming: Promise<Assignment> }> {
  const made = await withFunction(options);
  made.invoke('first');
  const [environment = ''] = made.pool.started;
  const upcoming = made.completed(environment, await made.initialized(environment));
  return { ...made, environment, upcoming };
}

/** Resolves when everything that waits for no one has happened. */
function settled(): Promise<void> {
  return setImmediate();
}

function invoked(assignment: Assignment): string {
  assert.equal(assignment.kind, 'invoke');
  return assignment.kind === 'invoke' ? assignment.invocation.id : '';
}

test('a sync invocation starts an environment, is given to it whole, and is settled by its completion without a word to the caller', async () => {
  const { controller, log, pool, replies, invoke, initialized, completed } = await withFunction();
  invoke('a');
  assert.equal(pool.started.length, 1);
  const [environment = ''] = pool.started;
  assert.equal(pool.specs.get(environment)?.id, '000000000000/f/uid-of-f/$LATEST/r1');
  const assignment = await initialized(environment);
  assert.equal(assignment.kind === 'invoke' && assignment.invocation.payload.toString(), '{}');
  void completed(environment, assignment);
  assert.deepEqual(log.settled, ['a']);
  assert.equal(replies.size, 0);
  assert.equal(controller.snapshot().invocations.sync.succeeded, 1);
});

test('a warm environment gets the next invocation, and no other is started', async () => {
  const { invoke, pool, upcoming } = await warm();
  invoke('b');
  assert.equal(invoked(await upcoming), 'b');
  assert.equal(pool.started.length, 1);
});

test('an environment that has answered is waited for', async () => {
  const { controller, invoke, pool, environment, upcoming, completed } = await warm();
  invoke('b');
  const running = await upcoming;
  controller.link.responded(environment);
  invoke('c');
  assert.equal(pool.started.length, 1);
  assert.equal(invoked(await completed(environment, running)), 'c');
});

test('over the account limit a sync caller is throttled and an async invocation is put back, which is no attempt (invariant 5)', async () => {
  const { clock, log, replies, invoke } = await withFunction({ accountConcurrency: 1 });
  invoke('a');
  invoke('b');
  invoke('c', { kind: 'async' });
  assert.deepEqual(replies.get('b'), { kind: 'rejected', rejection: { code: 'throttled', reason: 'ConcurrentInvocationLimitExceeded' } });
  assert.deepEqual(log.settled, ['b']);
  assert.deepEqual(log.postponed, [{ id: 'c', attempt: 1, throttles: 1, notBeforeMs: clock.now() + 1_000 }]);
});

test('reserved concurrency bounds a function and is kept from others (invariant 5)', async () => {
  const { catalogue, replies, invoke, next } = await withFunction({ accountConcurrency: 3 }, { reservedConcurrency: 2 });
  catalogue.set(functionRecord('g'));
  await next('expected');
  invoke('g1', { functionName: 'g' });
  await settled();
  for (const id of ['g2', 'f1', 'f2', 'f3']) invoke(id, { functionName: id.slice(0, 1) });
  assert.deepEqual([...replies.entries()], [
    ['g2', { kind: 'rejected', rejection: { code: 'throttled', reason: 'ConcurrentInvocationLimitExceeded' } }],
    ['f3', { kind: 'rejected', rejection: { code: 'throttled', reason: 'ReservedFunctionConcurrentInvocationLimitExceeded' } }],
  ]);
});

test('an invocation of a function that does not exist any more is over', async () => {
  const { controller, log, replies, invoke, next } = await withFunction();
  const answered = next('replied');
  invoke('old', { functionUid: 'an earlier incarnation' });
  invoke('event', { kind: 'async', functionName: 'unknown' });
  await answered;
  await (log.settled.includes('event') ? undefined : next('settled'));
  assert.deepEqual(replies.get('old'), { kind: 'rejected', rejection: { code: 'functionGone' } });
  assert.equal(controller.snapshot().invocations.async.deadLettered, 1);
});

test('while the registry cannot be asked, nothing is called gone', async () => {
  const { catalogue, log, replies, invoke, next } = await withFunction();
  catalogue.broken = new Error('away');
  const postponed = next('postponed');
  const answered = next('replied');
  invoke('event', { kind: 'async', functionName: 'g' });
  invoke('call', { functionName: 'g' });
  await Promise.all([postponed, answered]);
  assert.deepEqual(log.postponed.map(({ id, attempt }) => [id, attempt]), [['event', 1]]);
  const reply = replies.get('call');
  assert.equal(reply?.kind === 'rejected' && reply.rejection.code, 'cannotStart');
});

const INIT_ERROR = Buffer.from('{"errorType":"Runtime.ExitError"}');

test('an environment whose init failed is given the one invocation that it was for, answers it and departs', async () => {
  const { controller, clock, log, pool, replies, invoke, initFailed } = await withFunction();
  invoke('call');
  invoke('event', { kind: 'async', expiresAtMs: clock.now() + 3_600_000 });
  assert.equal(pool.started.length, 2);
  for (const [index, id] of ['call', 'event'].entries()) {
    const environment = pool.started[index] ?? '';
    const assignment = await initFailed(environment, INIT_ERROR);
    assert.equal(invoked(assignment), id);
    assert.ok(assignment.kind === 'invoke');
    pool.gone(environment, { kind: 'failed' }, { invocationId: id, epoch: assignment.epoch, deliveryId: assignment.deliveryId, outcome: 'functionError', durationMs: 1, errorBody: INIT_ERROR });
  }
  assert.equal(replies.size, 0, 'the worker has answered');
  assert.deepEqual(log.settled, ['call']);
  assert.deepEqual(log.postponed, [{ id: 'event', attempt: 2, throttles: 0, notBeforeMs: clock.now() + 60_000 }]);
  assert.equal(controller.snapshot().tally.startsFailed, 2);
  assert.equal(pool.started.length, 2);
});

test('an environment whose init failed stops where nobody waits', async () => {
  const { clock, pool, invoke, initFailed } = await withFunction();
  invoke('impatient', { expiresAtMs: clock.now() + 10 });
  clock.advance(10);
  const [environment = ''] = pool.started;
  assert.deepEqual(await initFailed(environment, INIT_ERROR), { kind: 'stop' });
  assert.deepEqual(pool.stopped, [environment]);
});

test('in a crash loop those whom no environment answers have the error from the controller', async () => {
  const { controller, log, pool, replies, invoke, initFailed } = await withFunction();
  for (const id of ['a', 'b', 'c', 'd', 'e']) invoke(id);
  const [first = '', second = '', third = ''] = pool.started;
  assert.equal(invoked(await initFailed(first, INIT_ERROR)), 'a');
  pool.gone(first, { kind: 'workerLost' });
  const later = pool.started[3] ?? '';
  invoke('f');
  assert.equal(invoked(await initFailed(second, INIT_ERROR)), 'b');
  assert.equal(invoked(await initFailed(later, INIT_ERROR)), 'c');
  assert.deepEqual([...replies.entries()].slice(1), ['d', 'e'].map((id) => [id, { kind: 'functionError', functionError: 'Unhandled', body: INIT_ERROR }]));
  assert.deepEqual(log.settled, ['a', 'd', 'e']);
  assert.equal(invoked(await initFailed(third, INIT_ERROR)), 'f');
  assert.equal(controller.snapshot().invocations.sync.running, 3);
});

test('an environment whose init failed is never used again, also where its invocation could not be handed over', async () => {
  const { controller, log, pool, replies, invoke, next, initFailed } = await withFunction();
  invoke('call');
  const [environment = ''] = pool.started;
  log.unavailable = true;
  assert.deepEqual(await initFailed(environment, INIT_ERROR), { kind: 'stop' });
  const reply = replies.get('call') ?? (await next('replied').then((id) => replies.get(id)));
  assert.ok(reply?.kind === 'rejected' && reply.rejection.code === 'cannotStart');
  assert.equal(controller.snapshot().environments.leaving, 1);
  log.unavailable = false;
  invoke('again');
  assert.equal(pool.started.length, 2);
});

test('a start of which nothing is heard is answered at the end of the time for init and the function (invariant 4)', async () => {
  const { clock, pool, log, replies, invoke } = await withFunction();
  invoke('call');
  invoke('event', { kind: 'async', expiresAtMs: clock.now() + 3_600_000 });
  clock.advance(12_999);
  assert.deepEqual([replies.size, log.postponed.length, pool.stopped.length], [0, 0, 0]);
  clock.advance(1);
  assert.deepEqual(replies.get('call'), { kind: 'rejected', rejection: { code: 'cannotStart', message: 'The environment was not ready in time.' } });
  assert.deepEqual(log.postponed.map(({ id, attempt, throttles }) => [id, attempt, throttles]), [['event', 1, 1]]);
  assert.deepEqual(pool.stopped, pool.started);
});

test('an async invocation is retried after one base delay and after two, and is then given up', async () => {
  const { controller, clock, log, invoke, environment, upcoming, completed } = await warm();
  const forever = { kind: 'async', expiresAtMs: clock.now() + 21_600_000 } as const;
  invoke('event', forever);
  let polled = completed(environment, await upcoming, 'functionError');
  for (const attempt of [2, 3]) {
    assert.deepEqual(log.postponed.pop(), { id: 'event', attempt, throttles: 0, notBeforeMs: clock.now() + 60_000 * (attempt - 1) });
    invoke('event', { ...forever, attempt });
    polled = completed(environment, await polled, 'functionError');
  }
  assert.deepEqual(log.postponed, []);
  assert.deepEqual(log.settled, ['first', 'event']);
  assert.deepEqual(controller.snapshot().invocations.async, { accepted: 1, waiting: 0, running: 0, retrying: 0, succeeded: 0, failed: 0, rejected: 0, deadLettered: 1, expired: 0, released: 0, concluded: 0 });
});

test('a worker that is lost fails its caller at once and sends an event back to wait', async () => {
  for (const kind of ['sync', 'async'] as const) {
    const { log, pool, replies, invoke, environment, upcoming } = await warm();
    invoke('b', { kind });
    await upcoming;
    pool.gone(environment, { kind: 'workerLost' });
    if (kind === 'sync') assert.deepEqual(replies.get('b'), { kind: 'rejected', rejection: { code: 'workerLost' } });
    else assert.deepEqual(log.postponed.map(({ id, attempt, throttles }) => [id, attempt, throttles]), [['b', 1, 1]]);
  }
});

test('a departure that tells how the invocation ended ends it', async () => {
  const { controller, pool, log, replies, invoke, environment, upcoming } = await warm();
  invoke('b');
  const assignment = await upcoming;
  assert.ok(assignment.kind === 'invoke');
  pool.gone(environment, { kind: 'failed' }, { invocationId: 'b', epoch: assignment.epoch, deliveryId: assignment.deliveryId, outcome: 'functionError', durationMs: 3_000 });
  assert.deepEqual(log.settled, ['first', 'b']);
  assert.equal(replies.size, 0);
  assert.equal(controller.snapshot().invocations.sync.failed, 1);
});

test('a completion under an earlier epoch changes nothing (invariant 2)', async () => {
  const { controller, log, invoke, environment, upcoming, completed } = await warm();
  invoke('b');
  const assignment = await upcoming;
  assert.ok(assignment.kind === 'invoke');
  void completed(environment, { ...assignment, epoch: assignment.epoch - 1 });
  assert.deepEqual(log.settled, ['first']);
  assert.equal(controller.snapshot().invocations.sync.running, 1);
  assert.equal(controller.snapshot().tally.staleReports, 1);
});

test('an environment that says nothing any more loses its lease, and its caller has an answer (invariant 4)', async () => {
  const { clock, pool, replies, invoke, environment, upcoming } = await warm();
  invoke('b');
  await upcoming;
  clock.advance(12_999);
  assert.equal(replies.size, 0);
  clock.advance(1);
  assert.deepEqual(replies.get('b'), { kind: 'rejected', rejection: { code: 'workerLost' } });
  assert.deepEqual(pool.stopped, [environment]);
});

test('after an update an idle environment goes at once, a busy one when it is done', async () => {
  const { catalogue, pool, invoke, next, environment, upcoming, completed, initialized } = await warm();
  invoke('b');
  const running = await upcoming;
  invoke('c');
  const other = pool.started[1] ?? (await next('started'));
  void completed(other, await initialized(other));
  const stopped = next('stopped');
  catalogue.set(functionRecord('f', { revision: 'r2' }));
  assert.equal(await stopped, other);
  assert.deepEqual(await completed(environment, running), { kind: 'stop' });
  assert.deepEqual(pool.stopped, [other, environment]);
  invoke('d');
  assert.match(pool.specs.get(pool.started.at(-1) ?? '')?.id ?? '', /r2$/);
});

test('when a function is deleted, those who wait for it are told and its environments go', async () => {
  const { catalogue, log, pool, replies, invoke, next } = await withFunction();
  invoke('call');
  invoke('event', { kind: 'async' });
  const answered = next('replied');
  catalogue.remove('f');
  await answered;
  assert.deepEqual(replies.get('call'), { kind: 'rejected', rejection: { code: 'functionGone' } });
  assert.deepEqual(log.settled, ['call', 'event']);
  assert.deepEqual(pool.stopped, pool.started);
});

test('a caller who has waited to the end of his patience is told so', async () => {
  const { clock, replies, invoke } = await withFunction();
  invoke('a', { expiresAtMs: clock.now() + 500 });
  clock.advance(499);
  assert.equal(replies.size, 0);
  clock.advance(1);
  assert.deepEqual(replies.get('a'), { kind: 'rejected', rejection: { code: 'expired' } });
});

test('an idle environment is stopped after its keep-alive', async () => {
  const { clock, pool, environment } = await warm();
  clock.advance(59_999);
  assert.deepEqual(pool.stopped, []);
  clock.advance(1);
  assert.deepEqual(pool.stopped, [environment]);
});

test('when the pool is full, the least recently used idle environment of another function makes room', async () => {
  const { catalogue, pool, invoke, next, environment } = await warm();
  for (const name of ['g', 'h', 'i']) {
    catalogue.set(functionRecord(name));
    await next('expected');
    invoke(name, { functionName: name });
  }
  assert.equal(pool.started.length, 3);
  assert.deepEqual(pool.stopped, [environment]);
  pool.gone(environment, { kind: 'stopped' });
  assert.equal(pool.started.length, 4);
});

test('a function that can never fit is answered with the remedy', async () => {
  const { replies, invoke } = await withFunction({}, { memoryMiB: 2_048 });
  invoke('a');
  const reply = replies.get('a');
  assert.ok(reply?.kind === 'rejected' && reply.rejection.code === 'cannotStart');
  assert.match(reply.rejection.message, /2048 MB .* 1024 MB.*SLUICE_MAX_ENVIRONMENT_MEMORY_MIB/);
});

test('a payload that the log cannot hand over sends the invocation back and leaves the environment free', async () => {
  const { controller, log, invoke, next, upcoming } = await warm();
  log.unavailable = true;
  const refused = next('replied');
  invoke('call');
  await refused;
  assert.equal(controller.snapshot().environments.idle, 1);
  log.unavailable = false;
  invoke('again');
  assert.equal(invoked(await upcoming), 'again');
});

test('a postponement that the log does not take is repeated until it does', async () => {
  const { clock, log, invoke, next } = await withFunction({ accountConcurrency: 1 });
  invoke('a');
  log.unavailable = true;
  invoke('event', { kind: 'async' });
  await settled();
  log.unavailable = false;
  const postponed = next('postponed');
  clock.advance(1_000);
  assert.equal(await postponed, 'event');
});

test('a poll of an environment that is not known is told to stop', async () => {
  const { initialized } = await withFunction();
  assert.deepEqual(await initialized('stranger'), { kind: 'stop' });
});

test('stop: callers who wait are told, what runs may finish, events stay in the log', async () => {
  const { controller, log, pool, replies, invoke, environment, upcoming, completed } = await warm();
  invoke('running');
  const running = await upcoming;
  invoke('call');
  invoke('event', { kind: 'async' });
  const stopping = controller.stop();
  assert.deepEqual(replies.get('call'), { kind: 'rejected', rejection: { code: 'shuttingDown' } });
  invoke('late');
  assert.deepEqual(replies.get('late'), { kind: 'rejected', rejection: { code: 'shuttingDown' } });
  assert.equal(log.stopped, false);
  assert.deepEqual(await completed(environment, running), { kind: 'stop' });
  await stopping;
  assert.deepEqual(log.settled, ['first', 'call', 'late', 'running']);
  assert.deepEqual(log.postponed, []);
  assert.ok(log.stopped && pool.stopped.includes(environment));
});

test('stop: what still runs at the end of patience is lost, and said to be', async () => {
  const { controller, clock, replies, invoke, upcoming } = await warm();
  invoke('b');
  await upcoming;
  const stopping = controller.stop();
  clock.advance(10_000);
  await stopping;
  assert.deepEqual(replies.get('b'), { kind: 'rejected', rejection: { code: 'workerLost' } });
});

test('what an earlier owner may have given out waits until all workers have said what they run; what is new does not', async () => {
  const { log, pool, invoke, clock, next, controller, catalogue } = await withFunction();
  const expected = next('expected');
  catalogue.set(functionRecord('g'));
  await expected;
  const { promise: answered, resolve } = Promise.withResolvers<void>();
  pool.answered = answered;
  log.consumer?.revoked([0]);
  log.epoch++;
  const assigned = log.consumer?.assigned({ partitions: [0], epoch: log.epoch });
  clock.advance(CLAIM_PATIENCE_MS);
  await assigned;
  log.inherited = true;
  invoke('old', { kind: 'async', functionName: 'f' });
  log.inherited = false;
  const started = next('started');
  invoke('new', { kind: 'async', functionName: 'g' });
  assert.equal(pool.specs.get(await started)?.functionName, 'g');
  assert.equal(pool.started.length, 1);
  const startedToo = next('started');
  resolve();
  assert.equal(pool.specs.get(await startedToo)?.functionName, 'f');
  assert.equal(controller.snapshot().drift, 0);
});
