/** A pool whose pods others use as well, or have used before; what it lets in, how its pods grow, what it tells of itself, and its end. */
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { functionIdOf } from '../../../platform/model/execution-spec.ts';
import { WORKER_OVERHEAD_MIB } from '../../../platform/worker-pool/kubernetes/sizes.ts';
import { EMPTY_MS, START_MAX_MS, UNHEARD_MS } from '../../../platform/worker-pool/kubernetes/supply.ts';
import { heldEnvironment, specOf } from '../../support/fleet-listener.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import { ADDRESS, ASSIGNED_MS, SIZE, bench, closeAll, departures, join, left, opened, pass, servingPod, settle, start, told, warmPod, type Bench } from './pools.ts';

const F = specOf('f');
const G = specOf('g');
const LARGE = specOf('large', { memoryMiB: 1_024 });
const NO_ROOM = 'The worker has no room at present.';
const ADDRESS_PATIENCE_MS = 3_000;

afterEach(closeAll);

/** Another controller's pod, which serves its function. */
function others({ cluster, clock }: Bench, name: string, spec = G): void {
  cluster.show(name, { state: 'serving', functionId: functionIdOf(spec), address: ADDRESS, createdAtMs: clock.now() });
}

async function sendBack({ pool }: Bench, session: Awaited<ReturnType<typeof join>>, environmentId: string): Promise<void> {
  pool.fleet.departed(session, { environmentId, cause: { kind: 'noRoom', message: NO_ROOM } });
  await settle();
}

// Several controllers

test('a pod that another controller was quicker to take sends the environment back, and another warm one gets it', async () => {
  const made = await bench();
  const [p, q] = [await warmPod(made, 'p'), await warmPod(made, 'q')];
  await start(made, 1);
  const [taken, other] = (await opened(p)).length > 0 ? [p, q] : [q, p];
  await sendBack(made, taken, 'f0');
  assert.deepEqual(await opened(other), ['f0']);
  assert.deepEqual([departures(made), made.cluster.created], [[], []]);
});

test('a pod that another controller has taken is that one\'s, also when its environment was sent back', async () => {
  const made = await bench();
  const [p, q] = [await warmPod(made, 'p'), await warmPod(made, 'q')];
  await start(made, 1);
  await sendBack(made, (await opened(p)).length > 0 ? p : q, 'f0');
  assert.deepEqual(made.cluster.removed, []);
});

for (const memoryMiB of [128, 512]) {
  test(`where there is no other warm one (of ${memoryMiB} MiB) a pod is made, and the one that is taken is let alone`, async () => {
    const made = await bench();
    const session = await warmPod(made, 'p', memoryMiB);
    await start(made, 1);
    await sendBack(made, session, 'f0');
    assert.deepEqual([made.cluster.created.length, made.cluster.resized, made.cluster.removed], [1, [], []]);
    assert.deepEqual(await opened(await join(made, made.cluster.created[0]?.name ?? '')), ['f0']);
    made.pool.fleet.holds(session, 1);
    await pass(made, 2 * EMPTY_MS, session);
    assert.deepEqual(made.cluster.removed, []);
  });
}

test('a pod that two controllers have taken at once is labelled with the function that it serves', async () => {
  const one = await bench();
  const other = await bench({}, { cluster: one.cluster });
  const session = await warmPod(one, 'p');
  const [late] = [await join(other, 'p'), session];
  one.pool.start('g', G);
  other.pool.start('f', F);
  await settle();
  one.pool.fleet.holds(session, 1);
  await sendBack(other, late, 'f');
  await pass(one, 1_000, session);
  assert.equal(one.cluster.pod('p')?.functionId, functionIdOf(G));
  one.cluster.end('p');
});

test('a function\'s pod that another controller has taken is not taken for this one\'s', async () => {
  const made = await bench();
  const session = await warmPod(made, 'p');
  others(made, 'p');
  await start(made, 1);
  assert.deepEqual([await opened(session), made.cluster.created.length, made.cluster.assigned], [[], 1, []]);
});

test('another controller\'s pod goes when it has been empty for a while, not as soon as it is', async () => {
  const made = await bench();
  others(made, 'p');
  const session = await join(made, 'p');
  made.pool.fleet.holds(session, 1);
  await pass(made, UNHEARD_MS, session);
  made.pool.fleet.holds(session, 0);
  await settle();
  await pass(made, EMPTY_MS - 1, session);
  assert.deepEqual(made.cluster.removed, []);
  await pass(made, 1, session);
  assert.deepEqual(made.cluster.removed, ['p']);
});

test('one that its controller gives another environment in time stays', async () => {
  const made = await bench();
  others(made, 'p');
  const session = await join(made, 'p');
  for (const holds of [1, 0, 1, 0, 1]) {
    made.pool.fleet.holds(session, holds);
    await settle();
    await pass(made, EMPTY_MS - 1, session);
  }
  assert.deepEqual(made.cluster.removed, []);
});

test('a worker that comes back after it was not heard for long is asked what it holds before its pod goes', async () => {
  const made = await bench();
  others(made, 'p');
  made.pool.fleet.holds(await join(made, 'p'), 1);
  await pass(made, UNHEARD_MS / 2);
  assert.deepEqual(made.pool.fleet.workers, [], 'it has fallen silent');
  const session = await join(made, 'p');
  assert.deepEqual(made.cluster.removed, []);
  made.pool.fleet.holds(session, 1);
  await pass(made, 2 * EMPTY_MS, session);
  assert.deepEqual(made.cluster.removed, []);
});

// A controller that starts

test('a controller that starts takes over what pods hold, and removes those that are empty', async () => {
  const before = await bench();
  const serving = await servingPod(before, 'p', 'e');
  await pass(before, ASSIGNED_MS, serving);
  const clock = new VirtualClock(before.clock.now());
  const made = await bench({}, { cluster: before.cluster, clock });
  others(made, 'empty', F);
  assert.deepEqual(made.pool.count(), { warm: 0, spare: 0, serving: 2, troubled: 0 });
  const [session, empty] = [await join(made, 'p'), await join(made, 'empty')];
  assert.deepEqual(await made.pool.fleet.held(session, undefined, [heldEnvironment('e', F)]), ['e']);
  made.pool.fleet.holds(session, 1);
  await pass(made, EMPTY_MS - 1, session, empty);
  assert.deepEqual(made.cluster.removed, []);
  await pass(made, 1, session, empty);
  assert.deepEqual(made.cluster.removed, ['empty']);
  assert.deepEqual(made.listener.offered.map(({ environmentId }) => environmentId), ['e']);
  made.pool.stop('e');
  await left(made, session, 'e');
  await pass(made, EMPTY_MS, session);
  assert.deepEqual(made.cluster.removed, ['empty', 'p']);
});

test('it waits for pods that serve until they are heard, for so long', async () => {
  const made = await bench();
  others(made, 'p', F);
  await pass(made, UNHEARD_MS - 1);
  assert.deepEqual(made.cluster.removed, []);
  await pass(made, 1);
  assert.deepEqual(made.cluster.removed, ['p']);
});

test('it uses pods of its function that the one before has left', async () => {
  const made = await bench();
  others(made, 'p', F);
  await start(made, 1);
  assert.deepEqual(made.cluster.created, []);
  assert.deepEqual(await opened(await join(made, 'p')), ['f0']);
  assert.deepEqual(made.cluster.assigned, [], 'its label says so already');
});

test('it leaves warm pods alone, however old they are', async () => {
  const made = await bench();
  made.cluster.show('p', { state: 'warm', address: ADDRESS, createdAtMs: made.clock.now() - 10 * START_MAX_MS });
  await settle();
  assert.deepEqual(made.cluster.removed, []);
});

test('a pod whose label was never written is known by what it holds', async () => {
  const made = await bench();
  const session = await warmPod(made, 'p');
  made.pool.fleet.holds(session, 1);
  assert.deepEqual(await made.pool.fleet.held(session, undefined, [heldEnvironment('e', F)]), ['e']);
  assert.deepEqual(made.pool.count(), { warm: 0, spare: 0, serving: 1, troubled: 0 });
  made.pool.stop('e');
  await left(made, session, 'e');
  await pass(made, EMPTY_MS, session);
  assert.deepEqual(made.cluster.removed, ['p']);
});

// Who is let in

test('a worker is let in from the address of the pod whose name it goes by, and from no other', async () => {
  const made = await bench();
  made.cluster.show('p', { address: ADDRESS });
  made.cluster.show('q', { address: '10.0.0.8' });
  made.cluster.show('leaving', { address: ADDRESS, leaving: true });
  const { fleet } = made.pool;
  assert.deepEqual(await Promise.all([['p', ADDRESS], ['p', `::ffff:${ADDRESS}`], ['p', '10.0.0.8'], ['q', '10.0.0.8'], ['p', '']].map(([name = '', address = '']) => fleet.admits(name, address))), [true, true, false, true, false]);
  const unknown = Promise.all(['unknown', 'leaving'].map((name) => fleet.admits(name, ADDRESS)));
  made.clock.advance(ADDRESS_PATIENCE_MS);
  assert.deepEqual(await unknown, [false, false]);
});

test('a worker that is quicker than its cluster waits for the word of its pod', async () => {
  const made = await bench();
  const early = made.pool.fleet.admits('p', ADDRESS);
  made.cluster.show('p');
  await settle();
  made.cluster.show('p', { address: ADDRESS });
  assert.equal(await early, true);
  assert.equal(made.clock.pending, 1, 'and no longer: there is only the look at the pod');
});

test('one that waits when the pool closes is told no', async () => {
  const made = await bench();
  const early = made.pool.fleet.admits('p', ADDRESS);
  await made.pool.close();
  assert.equal(await early, false);
  assert.equal(made.clock.pending, 0);
});

// Growing

test('a warm pod that is too small grows, and is taken when it has', async () => {
  const made = await bench();
  const session = await warmPod(made, 'p');
  await start(made, 1, LARGE);
  assert.deepEqual(made.cluster.resized, [{ name: 'p', size: { memoryMiB: 1_024, tmpMiB: 512 } }]);
  made.cluster.show('p', { address: ADDRESS });
  await settle();
  assert.deepEqual([await opened(session), made.cluster.created], [[], []]);
  made.cluster.show('p', { size: { memoryMiB: 1_024, tmpMiB: 512 } });
  await settle();
  assert.deepEqual(await opened(session), ['large0']);
  await pass(made, ASSIGNED_MS, session);
  assert.deepEqual([made.cluster.resized.length, made.cluster.created, made.cluster.assigned], [1, [], ['p large']]);
});

test('its worker knows sooner than the cluster shows it, and is believed no more than was asked for', async () => {
  const made = await bench();
  const { fleet } = made.pool;
  const session = await warmPod(made, 'p');
  fleet.grown(session, 100_000);
  await start(made, 1, LARGE);
  const grow = (await told(session)).find((one) => one.do === 'grow');
  assert.equal(grow?.memoryLimitMiB, 1_024 + 512 + WORKER_OVERHEAD_MIB);
  fleet.grown(session, 1_024 + 512 + WORKER_OVERHEAD_MIB - 1);
  await settle();
  assert.deepEqual(await opened(session), [], 'what it said before it was asked, and less than was asked for, is nothing');
  fleet.grown(session, 1_024 + 512 + WORKER_OVERHEAD_MIB);
  await settle();
  assert.deepEqual(await opened(session), ['large0']);
  made.cluster.show('p', { address: ADDRESS });
  await settle();
  assert.deepEqual([made.cluster.resized.length, made.cluster.created], [1, []], 'what the cluster still shows is older');
});

test('where the API server refuses that, one is made', async () => {
  const made = await bench();
  made.cluster.refuses.resize = 'the server does not allow this method on the requested resource.';
  await warmPod(made, 'p');
  await start(made, 2, LARGE);
  assert.deepEqual([made.cluster.resized.length, made.cluster.created.length, departures(made)], [1, 2, []]);
});

test('where the node has no memory for it, one is made', async () => {
  const made = await bench();
  const session = await warmPod(made, 'p');
  await start(made, 1, LARGE);
  made.cluster.show('p', { resizeRefused: true });
  await settle();
  assert.deepEqual([made.cluster.resized.length, made.cluster.created.map(({ size }) => size.memoryMiB)], [1, [1_024]]);
  made.pool.start('small', F);
  await settle();
  assert.deepEqual(await opened(session), ['small'], 'what fits may still go there');
});

test('a function with a larger /tmp than a pod has gets one of its own', async () => {
  const made = await bench();
  await warmPod(made, 'p', 4_096);
  await start(made, 1, { ...F, configuration: { ...F.configuration, ephemeralStorageMiB: 2_048 } });
  assert.deepEqual(made.cluster.created.map(({ size }) => size), [{ memoryMiB: 128, tmpMiB: 2_048 }]);
});

test('a function of another family gets a pod of its own', async () => {
  const made = await bench();
  const session = await warmPod(made, 'p');
  await start(made, 1, { ...F, configuration: { ...F.configuration, runtime: 'python3.13' } });
  assert.deepEqual([await opened(session), made.cluster.created.map(({ family, size }) => ({ family, size }))], [[], [{ family: 'python', size: SIZE }]]);
});

// What the controller is told of the pool

test('there is room for what pods may be made for, without those that others\' functions have', async () => {
  const made = await bench({ maxPods: 4, environmentsPerPod: 2 });
  assert.deepEqual(made.pool.capacity, { maxEnvironments: 8, maxMemoryMiB: 8 * 10_240, largestMiB: 10_240 });
  for (const name of ['a', 'b']) others(made, name);
  await settle();
  assert.equal(made.pool.capacity.maxEnvironments, 4);
  await warmPod(made, 'p', 256);
  await start(made, 1);
  assert.equal(made.pool.capacity.maxEnvironments, 4, 'its own are part of its room');
  made.cluster.show('a', { leaving: true });
  await settle();
  made.cluster.end('a');
  made.cluster.end('b');
  await settle();
  for (const name of ['a', 'b', 'c', 'd', 'e']) others(made, name);
  await settle();
  assert.deepEqual(made.listener.capacities.map(({ maxEnvironments }) => maxEnvironments), [4, 6, 8, 2], 'each change once, and there is always room for one pod');
});

// The end

test('a pool that closes stops what it runs, and leaves no timer and no watch', async () => {
  const made = await bench();
  const session = await servingPod(made, 'p', 'e');
  await start(made, 1);
  const closing = made.pool.close();
  await settle();
  await left(made, session, 'e');
  await closing;
  assert.deepEqual([...departures(made)].sort(), ['e stopped', 'f0 stopped']);
  assert.deepEqual([made.clock.pending, made.cluster.watches, session.ended], [0, 0, 'left']);
  const removed = made.cluster.removed.length;
  made.pool.start('late', F);
  await settle();
  assert.deepEqual(departures(made).at(-1), 'late cannotStart: The worker pool is closed.');
  assert.equal(made.cluster.removed.length, removed);
});

test('nor does a label leave one that is still to be written', async () => {
  const made = await bench();
  made.cluster.refuses.assign = 'The API server answered 503.';
  const session = await warmPod(made, 'p');
  await start(made, 1);
  const closing = made.pool.close();
  await left(made, session, 'f0');
  await closing;
  const { pending } = made.clock;
  made.clock.advance(60_000);
  assert.equal(pending, 0);
});

test('what was handed over stays in its pod', async () => {
  const made = await bench();
  const session = await servingPod(made, 'p', 'e');
  made.pool.handOver('e');
  await made.pool.close();
  assert.deepEqual([departures(made), made.cluster.removed, session.ended], [[], [], 'left']);
});
