import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import type { Completion } from '../../../../platform/protocol/controller-link.ts';
import { completionOf, invoke, specOf } from '../../../support/fleet-listener.ts';
import { fakeController, fakeWorker, joined, polled, type FakeController, type FakeControllerOptions, type FakeWorker } from '../../../support/fleet-world.ts';

const F = specOf('f');
const A = invoke('a', { epoch: 1, deliveryId: 5 });
const ALL = { partitions: [0] } as const;
/** Longer than a worker takes its controller for alive that it cannot reach. */
const DEAD_MS = 60_000;

/** A worker with environment `e` of the controller, which owns every function under epoch 1. */
async function owned(t: TestContext, options?: FakeControllerOptions): Promise<FakeWorker & { readonly a: FakeController }> {
  const a = await fakeController(t, options);
  const worker = fakeWorker(t);
  worker.controllers.known(new Set([a.url]));
  await joined(a);
  await a.fleet.claim({ ...ALL, epoch: 1 });
  a.fleet.start('e', F);
  await a.listener.waiting('e');
  return { ...worker, a };
}

/** Gives `e` an invocation that runs until the test ends it. */
async function running({ a, host }: Awaited<ReturnType<typeof owned>>): Promise<(change?: Partial<Completion>) => void> {
  const { promise, resolve } = Promise.withResolvers<Partial<Completion>>();
  host.run = () => promise;
  a.listener.answer('e', A);
  await host.until(() => host.given.length === 1);
  return (change = {}) => resolve(change);
}

/** Another controller that the worker has a session with. */
async function another(t: TestContext, { controllers }: FakeWorker, also: readonly string[] = []): Promise<FakeController> {
  const b = await fakeController(t);
  controllers.known(new Set([...also, b.url]));
  await joined(b);
  return b;
}

/** Kills a controller, and lets time pass for the worker until it takes it for dead. */
async function dies(t: TestContext, controller: FakeController, { controllers }: FakeWorker, others: readonly string[] = []): Promise<void> {
  const now = performance.now.bind(performance);
  const aheadMs = { by: 0 };
  t.mock.method(performance, 'now', () => now() + aheadMs.by);
  await controller.die();
  aheadMs.by = DEAD_MS;
  await polled(() => controllers.open === others.length);
  controllers.known(new Set(others));
}

const completions = ({ listener }: FakeController): readonly Completion[] => listener.polls.flatMap((poll) => (poll.kind === 'completed' ? [poll.completion] : []));

test('a claim under a later epoch moves a running environment, and its end is the new owner\'s to know, once', async (t) => {
  const world = await owned(t);
  const { a, host } = world;
  a.fleet.start('other', F);
  await a.listener.waiting('other');
  const end = await running(world);
  const b = await another(t, world, [a.url]);
  await b.fleet.claim({ ...ALL, epoch: 2 });
  // They move together.
  await b.listener.waiting('other');
  const [offered] = b.listener.offered;
  assert.deepEqual([offered?.environmentId, offered?.spec.id, offered?.running?.head.id, offered?.running?.epoch, offered?.running?.deliveryId], ['e', F.id, 'a', 1, 5]);
  end();
  await b.listener.waiting('e');
  assert.deepEqual(completions(b), [completionOf(A)], 'as it was given: under the epoch of that time');
  assert.deepEqual(completions(a), []);
  assert.deepEqual([host.given.length, host.closed], [1, []]);
  b.listener.answer('e', invoke('next', { epoch: 2 }));
  await b.listener.until(() => completions(b).length === 2);
  assert.deepEqual(host.given.map(({ invocation }) => invocation.id), ['a', 'next']);
});

test('an idle environment that is claimed polls at its new owner; an answer of the earlier one is nobody\'s (invariant 2)', async (t) => {
  const world = await owned(t);
  const { a, host } = world;
  const b = await another(t, world, [a.url]);
  await b.fleet.claim({ ...ALL, epoch: 2 });
  await b.listener.waiting('e');
  const [offered] = b.listener.offered;
  assert.equal(offered?.running, undefined);
  assert.ok(offered?.measured !== undefined && offered.measured.startMs >= 0, 'what its start took goes with it');
  assert.equal(offered.measured.durationMs, undefined, 'it has run nothing');
  a.listener.answer('e', invoke('late'));
  b.listener.answer('e', invoke('b', { epoch: 2 }));
  await b.listener.until(() => completions(b).length === 1);
  assert.deepEqual(host.given.map(({ invocation }) => invocation.id), ['b']);
});

test('what ends while it is undecided whose it is is not taken in: the new owner hears of it, and the former one never', async (t) => {
  const world = await owned(t);
  const { a } = world;
  const decided = Promise.withResolvers<void>();
  let asked = 0;
  a.listener.undecided = () => {
    asked++;
    return decided.promise;
  };
  const end = await running(world);
  const b = await another(t, world, [a.url]);
  end();
  await polled(() => asked === 1);
  a.fleet.handOver('e');
  await b.fleet.claim({ ...ALL, epoch: 2 });
  decided.resolve();
  await b.listener.waiting('e');
  assert.deepEqual([completions(a), completions(b)], [[], [completionOf(A)]]);
});

test('where it stays what it was, it is taken in once that is decided', async (t) => {
  const world = await owned(t);
  const { a } = world;
  const decided = Promise.withResolvers<void>();
  let asked = 0;
  a.listener.undecided = () => (asked++ === 0 ? decided.promise : undefined);
  const end = await running(world);
  end();
  await polled(() => asked === 1);
  assert.deepEqual(completions(a), []);
  decided.resolve();
  await a.listener.waiting('e');
  assert.deepEqual(completions(a), [completionOf(A)]);
});

test('a controller that another one tells of is met', async (t) => {
  const { a, controllers } = await owned(t);
  const b = await fakeController(t);
  a.fleet.meet(b.url);
  await polled(() => controllers.open === 2);
});

test('its twin: without a claim the answer counts', async (t) => {
  const world = await owned(t);
  await another(t, world, [world.a.url]);
  world.a.listener.answer('e', invoke('late'));
  await world.a.listener.until(() => completions(world.a).length === 1);
  assert.deepEqual(world.host.given.map(({ invocation }) => invocation.id), ['late']);
});

test('an answer that is under way at the time of the claim is nobody\'s either', async (t) => {
  const world = await owned(t);
  const { a, host } = world;
  a.fleet.start('other', F);
  await a.listener.waiting('other');
  const b = await another(t, world, [a.url]);
  const verdict = Promise.withResolvers<boolean>();
  b.listener.adopts = () => verdict.promise;
  const claiming = b.fleet.claim({ ...ALL, epoch: 2 });
  await b.listener.until(() => b.listener.offered.length === 2);
  // The earlier owner does not know yet, and gives it an invocation; the new one has been told of none.
  const { promise, resolve } = Promise.withResolvers<Partial<Completion>>();
  host.run = () => promise;
  a.listener.answer('e', A);
  await host.until(() => host.given.length === 1);
  verdict.resolve(true);
  await claiming;
  await b.listener.waiting('other');
  resolve({});
  await b.listener.waiting('e');
  assert.deepEqual(completions(b), [completionOf(A)], 'which it hears of by its end, and refuses by its epoch');
  assert.deepEqual(completions(a), []);
});

test('what ends while the new owner makes up its mind is told to it as well: the earlier one may have lost its function already', async (t) => {
  const world = await owned(t);
  const { a, host } = world;
  const end = await running(world);
  const b = await another(t, world, [a.url]);
  const verdict = Promise.withResolvers<boolean>();
  b.listener.adopts = () => verdict.promise;
  const claiming = b.fleet.claim({ ...ALL, epoch: 2 });
  await b.listener.until(() => b.listener.offered.length === 1);
  end();
  await a.listener.until(() => completions(a).length === 1);
  // A way there and back later the worker knows that it was taken in.
  a.fleet.start('there-and-back', F);
  await a.listener.waiting('there-and-back');
  verdict.resolve(true);
  await claiming;
  await b.listener.waiting('e');
  assert.deepEqual(completions(b), [completionOf(A)], 'it was told that this runs');
  assert.equal(host.given.length, 1);
});

test('what ends after it was handed over is told to the next owner, not taken for told', async (t) => {
  const world = await owned(t);
  const { a } = world;
  const end = await running(world);
  a.listener.adopts = () => false;
  a.fleet.handOver('e');
  end();
  const b = await another(t, world, [a.url]);
  await b.fleet.claim({ ...ALL, epoch: 2 });
  await b.listener.waiting('e');
  assert.equal(b.listener.offered[0]?.running?.head.id, 'a');
  assert.deepEqual([completions(a), completions(b)], [[], [completionOf(A)]]);
});

test('a claim under an earlier epoch, or the same, moves nothing', async (t) => {
  const world = await owned(t);
  const { a, host } = world;
  const b = await another(t, world, [a.url]);
  await b.fleet.claim({ ...ALL, epoch: 0 });
  await b.fleet.claim({ ...ALL, epoch: 1 });
  assert.deepEqual(b.listener.offered, []);
  a.listener.answer('e', A);
  await a.listener.until(() => completions(a).length === 1);
  assert.equal(host.given.length, 1);
});

test('what the new owner does not take stays where it is', async (t) => {
  const world = await owned(t);
  const { a } = world;
  const b = await another(t, world, [a.url]);
  b.listener.adopts = () => false;
  await b.fleet.claim({ ...ALL, epoch: 2 });
  assert.equal(b.listener.offered.length, 1);
  a.listener.answer('e', A);
  await a.listener.until(() => completions(a).length === 1);
});

test('what is handed over waits for whoever claims it', async (t) => {
  const world = await owned(t);
  const { a, host, controllers } = world;
  a.listener.adopts = () => false;
  a.fleet.handOver('e');
  const b = await another(t, world, [a.url]);
  await b.fleet.claim({ ...ALL, epoch: 2 });
  await b.listener.waiting('e');
  assert.deepEqual([host.closed, a.listener.departures, controllers.environments], [[], [], 1]);
});

test('what is handed over after it was claimed goes to the latest of those who have claimed it', async (t) => {
  const world = await owned(t);
  const { a, controllers } = world;
  const b = await another(t, world, [a.url]);
  const taken = { b: false };
  b.listener.adopts = () => taken.b;
  await b.fleet.claim({ ...ALL, epoch: 2 });
  assert.equal(b.listener.offered.length, 1);
  taken.b = true;
  a.listener.adopts = () => false;
  a.fleet.handOver('e');
  await b.listener.waiting('e');
  assert.deepEqual(a.listener.offered, [], 'not offered to the one that it came from');
  assert.equal(controllers.environments, 1);
});

test('what a controller dies with goes to another one that owns its function by then', async (t) => {
  const world = await owned(t);
  const { a } = world;
  const b = await another(t, world, [a.url]);
  // An owner of yesterday, which does not know it yet.
  b.listener.adopts = ({ environmentId }) => environmentId === 'late';
  await b.fleet.claim({ ...ALL, epoch: 2 });
  a.fleet.start('late', F);
  await a.listener.waiting('late');
  await dies(t, a, world, [b.url]);
  await b.listener.waiting('late');
});

test('while its controller is dead a function runs on, and what it finishes is told to the next one', async (t) => {
  const world = await owned(t);
  const { a, host, controllers } = world;
  a.fleet.start('idle', F);
  await a.listener.waiting('idle');
  const end = await running(world);
  await dies(t, a, world);
  assert.deepEqual([controllers.environments, host.closed], [2, []]);
  end({ durationMs: 77 });
  await turn();
  const b = await another(t, world);
  await b.fleet.claim({ ...ALL, epoch: 2 });
  await Promise.all(['e', 'idle'].map((id) => b.listener.waiting(id)));
  assert.deepEqual(b.listener.offered.map(({ environmentId, running: had }) => [environmentId, had?.head.id]).sort(), [['e', 'a'], ['idle', undefined]]);
  assert.deepEqual(b.listener.polls.map((poll) => [poll.environmentId, poll.kind]).sort(), [['e', 'completed'], ['idle', 'initialized']]);
  assert.deepEqual(completions(b), [completionOf(A, { durationMs: 77 })]);
});

for (const [how, depart] of [
  ['with its process', (world: FakeWorker) => world.host.depart('e', completionOf(A, { outcome: 'functionError' }))],
  ['before its process', (world: FakeWorker) => world.host.depart('e')],
] as const) {
  test(`an invocation that ends ${how} while there is no controller is told to the next one by the departure`, async (t) => {
    const world = await owned(t);
    const end = await running(world);
    await dies(t, world.a, world);
    if (how === 'before its process') {
      end();
      await turn();
    }
    depart(world);
    const b = await another(t, world);
    await b.fleet.claim({ ...ALL, epoch: 2 });
    await b.listener.until(() => b.listener.departures.length > 0);
    assert.equal(b.listener.offered[0]?.running?.head.id, 'a');
    assert.deepEqual(b.listener.departures.map(({ environmentId, completion }) => [environmentId, completion?.invocationId, completion?.outcome]), [
      ['e', 'a', how === 'with its process' ? 'functionError' : 'success'],
    ]);
    await polled(() => world.controllers.environments === 0);
  });
}

test('what ended without anything to tell while there is no controller is forgotten', async (t) => {
  const world = await owned(t);
  await dies(t, world.a, world);
  world.host.depart('e');
  assert.equal(world.controllers.environments, 0);
});

test('an environment that nobody claims stops after a minute, if it has nothing to do', async (t) => {
  const world = await owned(t);
  const { a, host, controllers, clock } = world;
  a.fleet.start('idle', F);
  await a.listener.waiting('idle');
  const end = await running(world);
  await dies(t, a, world);
  clock.advance(59_000);
  await turn();
  assert.deepEqual(host.closed, []);
  clock.advance(10_000);
  await host.until(() => host.closed.length > 0);
  assert.deepEqual([host.closed, controllers.environments], [['idle'], 1], 'what runs is left to run');
  end();
  await turn();
  clock.advance(10_000);
  await host.until(() => host.closed.length > 1);
  assert.equal(controllers.environments, 0);
});

test('what an environment has left to tell is kept for a minute, and not for ever', async (t) => {
  const world = await owned(t);
  await running(world);
  await dies(t, world.a, world);
  world.host.depart('e', completionOf(A));
  world.clock.advance(59_000);
  assert.equal(world.controllers.environments, 1);
  world.clock.advance(10_000);
  assert.equal(world.controllers.environments, 0);
});
