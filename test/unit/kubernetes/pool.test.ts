import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { SPARE_MS, TROUBLED_SPARE_MS, UNSCHEDULABLE_PATIENCE_MS } from '../../../platform/worker-pool/kubernetes/supply.ts';
import { specOf } from '../../support/fleet-listener.ts';
import { ADDRESS, ASSIGNED_MS, SIZE, bench, closeAll, departures, join, left, opened, pass, servingPod, settle, start, told, warmPod } from './pools.ts';

const F = specOf('f');
const G = specOf('g');

afterEach(closeAll);

// What there is when something is wanted

test('warm pods are asked for at the start, with the smallest /tmp', async () => {
  const warmPods = new Map([['nodejs', 2], ['python', 1]]);
  const { cluster } = await bench({ warmPods, warmPodMemoryMiB: 256 });
  assert.deepEqual(cluster.warm, [{ counts: warmPods, size: { memoryMiB: 256, tmpMiB: 512 } }]);
});

test('a warm pod that has joined is taken, and labelled with its function once', async () => {
  const made = await bench();
  const session = await warmPod(made, 'p');
  await start(made, 1);
  assert.deepEqual((await told(session)).map(({ do: what }) => what), ['open']);
  assert.deepEqual(made.cluster.assigned, [], 'the pod that takes its place is not to start beside it');
  await pass(made, ASSIGNED_MS, session);
  assert.deepEqual(made.cluster.assigned, ['p f']);
  made.pool.fleet.holds(session, 1);
  made.pool.stop('f0');
  await left(made, session, 'f0', 1);
  made.pool.start('again', F);
  await settle();
  assert.deepEqual(await opened(session), ['f0', 'again']);
  assert.deepEqual([made.cluster.assigned, made.cluster.created], [['p f'], []]);
  assert.deepEqual(made.pool.count(), { warm: 0, spare: 0, serving: 1, troubled: 0 });
});

test('a pod serves one function for as long as it lives', async () => {
  const made = await bench({ environmentsPerPod: 4 });
  const session = await servingPod(made, 'p', 'e', specOf('f', { memoryMiB: 512 }));
  made.pool.start('other', G);
  made.pool.start('again', F);
  await settle();
  assert.deepEqual(await opened(session), ['e']);
  assert.deepEqual(made.cluster.created.length, 2, 'its memory is taken, and another function\'s is not its');
});

test('a pod is shared by as many environments of its function as it is to hold', async () => {
  const made = await bench({ environmentsPerPod: 3 });
  await start(made, 4);
  const [first, second] = made.cluster.created;
  assert.deepEqual([first?.size.memoryMiB, made.cluster.created.length], [3 * 128, 2]);
  const session = await join(made, first?.name ?? '');
  assert.deepEqual(await opened(session), ['f0', 'f1', 'f2']);
  assert.deepEqual(await opened(await join(made, second?.name ?? '')), ['f3']);
  assert.deepEqual(made.cluster.created.length, 2);
});

test('where no pod waits one is made, and has what it was made for when it joins', async () => {
  const made = await bench();
  await start(made, 1);
  const [order] = made.cluster.created;
  assert.deepEqual(made.cluster.created, [{ name: order?.name, family: 'nodejs', size: SIZE }]);
  assert.match(order?.name ?? '', /^c0-nodejs-[0-9a-f]{10}$/);
  const name = order?.name ?? '';
  made.cluster.show(name);
  made.cluster.show(name, { address: ADDRESS });
  await settle();
  assert.deepEqual([made.pool.count().spare, departures(made)], [1, []]);
  assert.deepEqual(await opened(await join(made, name)), ['f0']);
  assert.deepEqual(made.cluster.assigned, [`${name} f`]);
  assert.deepEqual(made.pool.tally, { created: 1, refused: 0, assigned: 1, resized: 0, removed: 0, lost: 0 });
});

test('a burst has as many pods made as do not come already, and no more whatever happens meanwhile', async () => {
  const made = await bench();
  for (const name of ['p', 'q', 'r']) made.cluster.show(name, { state: 'warm', createdAtMs: made.clock.now() });
  await start(made, 30);
  assert.equal(made.cluster.created.length, 27);
  for (const { name } of made.cluster.created) made.cluster.show(name, { createdAtMs: made.clock.now() });
  await pass(made, 5_000);
  for (const name of ['p', ...made.cluster.created.slice(0, 10).map((order) => order.name)]) await join(made, name);
  assert.deepEqual([made.cluster.created.length, made.pool.fleet.waitingForRoom], [27, 19]);
});

test('few requests for pods are under way at once; the others follow', async () => {
  const made = await bench();
  const answer = Promise.withResolvers<void>();
  made.cluster.creating = answer.promise;
  await start(made, 40);
  assert.equal(made.cluster.created.length, 32);
  answer.resolve();
  await settle();
  assert.equal(made.cluster.created.length, 40);
});

test('there are never more pods than there may be; what waits has the next', async () => {
  const made = await bench({ maxPods: 2 });
  await start(made, 3);
  assert.equal(made.cluster.created.length, 2);
  const sessions = await Promise.all(made.cluster.created.map(({ name }) => join(made, name)));
  made.pool.stop('f0');
  const [first] = sessions;
  assert.ok(first !== undefined);
  await left(made, first, 'f0');
  assert.deepEqual(await opened(first), ['f0', 'f2'], 'its own function\'s pod is free again');
  assert.equal(made.cluster.created.length, 2);
});

test('nothing is made for what does not wait any more, and what was made goes', async () => {
  const made = await bench();
  await start(made, 1);
  const name = made.cluster.created[0]?.name ?? '';
  made.pool.stop('f0');
  await settle();
  assert.deepEqual(departures(made), ['f0 stopped']);
  made.cluster.show(name, { address: ADDRESS });
  const session = await join(made, name);
  await pass(made, SPARE_MS - 1, session);
  assert.deepEqual(made.cluster.removed, []);
  await pass(made, 1, session);
  assert.deepEqual(made.cluster.removed, [name]);
  made.cluster.end(name);
  assert.deepEqual(made.pool.count(), { warm: 0, spare: 0, serving: 0, troubled: 0 });
});

test('what the one who waits no more has had made is for the next', async () => {
  const made = await bench();
  await start(made, 1);
  made.pool.stop('f0');
  made.pool.start('g0', G);
  await settle();
  assert.equal(made.cluster.created.length, 1);
  assert.deepEqual(await opened(await join(made, made.cluster.created[0]?.name ?? '')), ['g0']);
});

// What goes wrong

test('a pod that the API server refuses is told to the one that it was for, in its words', async () => {
  const made = await bench();
  made.cluster.refuses.create = 'pods "x" is forbidden: exceeded quota: workers.';
  await start(made, 1);
  assert.deepEqual(departures(made), ['f0 cannotStart: Kubernetes takes no further worker pod: pods "x" is forbidden: exceeded quota: workers.']);
  assert.deepEqual([made.pool.tally.created, made.pool.tally.refused, made.cluster.created.length], [0, 1, 1]);
  delete made.cluster.refuses.create;
  made.pool.start('again', F);
  await settle();
  assert.equal(made.pool.tally.created, 1);
});

test('a pod that cannot start is told at once', async () => {
  const made = await bench();
  await start(made, 1);
  made.cluster.show(made.cluster.created[0]?.name ?? '', { trouble: { message: 'No such image.', lasting: true } });
  await settle();
  assert.deepEqual(departures(made), ['f0 cannotStart: No such image.']);
  assert.equal(made.pool.count().troubled, 1);
});

test('a pod that finds no node is told after a while, and waits on', async () => {
  const made = await bench();
  await start(made, 1);
  const name = made.cluster.created[0]?.name ?? '';
  const trouble = { message: 'No node takes it.', lasting: false };
  made.cluster.show(name, { trouble, createdAtMs: made.clock.now() });
  await pass(made, UNSCHEDULABLE_PATIENCE_MS / 2);
  made.cluster.show(name, { trouble: { ...trouble, message: 'No node takes it yet.' } });
  await pass(made, UNSCHEDULABLE_PATIENCE_MS / 2 - 1);
  assert.deepEqual(departures(made), []);
  await pass(made, 1);
  assert.deepEqual(departures(made), ['f0 cannotStart: No node takes it yet.']);
  assert.deepEqual(made.cluster.removed, []);
});

test('it goes when nobody needs it', async () => {
  const made = await bench();
  await start(made, 1);
  const name = made.cluster.created[0]?.name ?? '';
  made.cluster.show(name, { trouble: { message: 'No node takes it.', lasting: false }, createdAtMs: made.clock.now() });
  await pass(made, TROUBLED_SPARE_MS);
  assert.deepEqual(made.cluster.removed, [name]);
});

test('one that finds a node in time is told to nobody', async () => {
  const made = await bench();
  await start(made, 1);
  const name = made.cluster.created[0]?.name ?? '';
  made.cluster.show(name, { trouble: { message: 'No node takes it.', lasting: false } });
  await pass(made, UNSCHEDULABLE_PATIENCE_MS - 1);
  made.cluster.show(name, { trouble: undefined, address: ADDRESS });
  await pass(made, 2 * UNSCHEDULABLE_PATIENCE_MS);
  assert.deepEqual(departures(made), []);
});

test('a pod that dies before its worker says anything is told to the one that it was for, and removed', async () => {
  const made = await bench();
  await start(made, 1);
  const name = made.cluster.created[0]?.name ?? '';
  made.cluster.show(name, { death: 'Its worker ended.' });
  await settle();
  assert.deepEqual(departures(made), ['f0 cannotStart: Its worker ended.']);
  assert.deepEqual(made.cluster.removed, [name]);
});

test('a pod that somebody deletes before it has joined is made again', async () => {
  const made = await bench();
  await start(made, 1);
  made.cluster.end(made.cluster.created[0]?.name ?? '');
  await settle();
  assert.deepEqual([made.cluster.created.length, departures(made)], [2, []]);
});

test('a warm pod that Kubernetes has started again is as good as new', async () => {
  const made = await bench();
  made.cluster.show('p', { state: 'warm', death: 'Its worker ended.', createdAtMs: made.clock.now() });
  await settle();
  assert.deepEqual(made.cluster.removed, []);
  const session = await join(made, 'p');
  await start(made, 1);
  assert.deepEqual(await opened(session), ['f0']);
});

test('its twin that has been evicted is removed', async () => {
  const made = await bench();
  made.cluster.show('p', { state: 'warm', death: 'It was evicted.', ended: true });
  await settle();
  assert.deepEqual(made.cluster.removed, ['p']);
});

test('a pod that runs out of memory loses what it ran, with a word of how; it is removed and never used again', async () => {
  const made = await bench();
  const session = await servingPod(made, 'p', 'e');
  made.cluster.show('p', { death: 'The pod p ran out of memory and was killed.' });
  await settle();
  assert.deepEqual(departures(made), ['e workerLost: The pod p ran out of memory and was killed.']);
  assert.deepEqual([made.cluster.removed, session.live, made.pool.tally.lost], [['p'], false, 1]);
  const reborn = await join(made, 'p', 'p-2');
  await start(made, 1);
  assert.deepEqual([await opened(reborn), made.cluster.created.length], [[], 1]);
});

test('a pod that was deleted loses what it ran', async () => {
  const made = await bench();
  await servingPod(made, 'p', 'e');
  made.cluster.end('p');
  await settle();
  assert.deepEqual(departures(made), ['e workerLost: The pod p was deleted.']);
  assert.deepEqual(made.pool.fleet.workers, []);
});

test('a pod that leaves is given nothing more, and keeps what it runs', async () => {
  const made = await bench({ environmentsPerPod: 2 });
  const session = await warmPod(made, 'p', 256);
  await start(made, 1);
  made.cluster.show('p', { leaving: true });
  made.pool.start('late', F);
  await settle();
  assert.deepEqual([await opened(session), departures(made), made.cluster.created.length], [['f0'], [], 1]);
});

test('a runtime that no worker runs is told, and no pod is made for it', async () => {
  const made = await bench();
  made.pool.start('e', { ...F, configuration: { ...F.configuration, runtime: 'cobol85' } });
  await settle();
  assert.deepEqual(departures(made), ['e cannotStart: The runtime cobol85 is not one that workers run.']);
  assert.deepEqual(made.cluster.created, []);
});

test('a label that could not be written is written again', async () => {
  const made = await bench();
  made.cluster.refuses.assign = 'The API server answered 503.';
  const session = await warmPod(made, 'p');
  await start(made, 1);
  assert.deepEqual(await opened(session), ['f0'], 'nothing waits for it');
  await pass(made, ASSIGNED_MS, session);
  await pass(made, 1_000, session);
  assert.deepEqual(made.cluster.assigned, ['p f', 'p f']);
  delete made.cluster.refuses.assign;
  await pass(made, 60_000, session);
  assert.deepEqual(made.cluster.assigned, ['p f', 'p f', 'p f']);
});

test('one that nobody lets write asks less and less often', async () => {
  const made = await bench();
  made.cluster.refuses.assign = 'pods is forbidden.';
  const session = await warmPod(made, 'p');
  await start(made, 1);
  await pass(made, 60_000, session);
  // At once, and after 1, 3, 7, 15 and 31 seconds.
  assert.equal(made.cluster.assigned.length, 6);
  await pass(made, 60_000, session);
  assert.equal(made.cluster.assigned.length, 8);
});

// The end of what a pod served

test('a pod goes when its worker holds nothing any more, and not before', async () => {
  const made = await bench();
  const session = await servingPod(made, 'p', 'e');
  made.pool.stop('e');
  await settle();
  assert.deepEqual((await told(session)).map(({ do: what }) => what), ['open', 'close']);
  assert.deepEqual(made.cluster.removed, []);
  await left(made, session, 'e', 1);
  await pass(made, 60_000, session);
  assert.deepEqual(made.cluster.removed, []);
  made.pool.fleet.holds(session, 0);
  await settle();
  assert.deepEqual([made.cluster.removed, made.pool.tally.removed], [['p'], 1]);
});

test('one whose removal is refused is asked again', async () => {
  const made = await bench();
  const session = await servingPod(made, 'p', 'e');
  made.cluster.refuses.remove = 'The API server answered 503.';
  made.pool.stop('e');
  await left(made, session, 'e');
  assert.deepEqual(made.cluster.removed, ['p']);
  delete made.cluster.refuses.remove;
  made.cluster.show('other', { state: 'warm', createdAtMs: made.clock.now() });
  await settle();
  assert.deepEqual(made.cluster.removed, ['p', 'p']);
});

test('a pod whose environment went to another one of its function stays', async () => {
  const made = await bench();
  const session = await servingPod(made, 'p', 'e');
  made.pool.start('next', F);
  made.pool.stop('e');
  await left(made, session, 'e', 1);
  made.pool.fleet.holds(session, 0);
  await settle();
  assert.deepEqual(await opened(session), ['e', 'next']);
  assert.deepEqual(made.cluster.removed, []);
});
