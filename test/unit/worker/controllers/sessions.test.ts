import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import { joinToken } from '../../../../platform/protocol/wire/tokens.ts';
import { completionOf, inGroups, invoke, specOf } from '../../../support/fleet-listener.ts';
import { cuttingProxy, type Direction } from '../../../support/fleet-proxy.ts';
import { fakeController, fakeWorker, joined, polled, ROOM, SECRET, type FakeController, type FakeWorker } from '../../../support/fleet-world.ts';
import { seededRandom } from '../../../support/seeded-random.ts';

const F = specOf('f');

async function pair(t: TestContext, room = ROOM): Promise<FakeController & FakeWorker> {
  const controller = await fakeController(t);
  const worker = fakeWorker(t, { room });
  worker.controllers.known(new Set([controller.url]));
  await joined(controller);
  return { ...controller, ...worker };
}

test('an environment is opened, polls, runs what it is given, says so, and departs', async (t) => {
  const { fleet, listener, host, controllers } = await pair(t);
  fleet.start('e', F);
  await listener.waiting('e');
  assert.deepEqual(host.opened, ['e']);
  const payload = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
  const given = invoke('a', { payload, clientContext: 'é', epoch: 3, deliveryId: 9 });
  listener.answer('e', given);
  await listener.waiting('e');
  assert.deepEqual(host.given, [given], 'byte for byte');
  assert.deepEqual(listener.polls.at(-1), { kind: 'completed', environmentId: 'e', completion: completionOf(given) });
  listener.answer('e', { kind: 'stop' });
  await listener.until(() => listener.departures.length > 0);
  assert.deepEqual(listener.departures, [{ environmentId: 'e', cause: { kind: 'stopped' } }]);
  await polled(() => controllers.environments === 0);
});

test('a controller\'s close ends an environment that runs something', async (t) => {
  const { fleet, listener, host } = await pair(t);
  host.run = () => new Promise(() => undefined);
  fleet.start('e', F);
  await listener.waiting('e');
  listener.answer('e', invoke('a'));
  await host.until(() => host.given.length === 1);
  fleet.stop('e');
  await listener.until(() => listener.departures.length > 0);
  assert.deepEqual([host.closed, listener.departures[0]?.completion], [['e'], undefined]);
});

test('a worker that is to grow says so when the kernel grants it, and not before', async (t) => {
  const { fleet, clock, memory, grown } = await pair(t);
  const [session] = fleet.workers;
  memory.limitMiB = 832;
  session?.instruct({ do: 'grow', memoryLimitMiB: 1_216 });
  await polled(() => memory.looks === 1);
  clock.advance(5);
  assert.deepEqual([memory.looks, grown], [2, []]);
  memory.limitMiB = 1_216;
  clock.advance(5);
  await polled(() => grown.length > 0);
  assert.equal(grown[0], 1_216);
  clock.advance(60_000);
  assert.equal(memory.looks, 3, 'and then it looks no more');
});

test('what is expected is told to the host', async (t) => {
  const { fleet, host } = await pair(t);
  fleet.expect(F);
  await host.until(() => host.expected.length > 0);
  assert.deepEqual(host.expected.map(({ id }) => id), [F.id]);
});

for (const [what, second, taken] of [
  ['another revision of its function', inGroups(F, 'sg-2', 'sg-1'), true],
  ['its function in no security group', F, false],
  ['its function in fewer security groups', inGroups(F, 'sg-1'), false],
  ['another function in the same ones', inGroups(specOf('g'), 'sg-1', 'sg-2'), false],
] as const) {
  test(`a dedicated worker ${taken ? 'takes' : 'sends back'} ${what}`, async (t) => {
    const controller = await fakeController(t);
    const { controllers, host } = fakeWorker(t, { dedicated: true });
    controllers.known(new Set([controller.url]));
    await joined(controller);
    const { fleet, listener } = controller;
    fleet.start('first', inGroups(F, 'sg-1', 'sg-2'));
    await listener.waiting('first');
    fleet.start('second', second);
    await (taken ? listener.waiting('second') : listener.until(() => fleet.waitingForRoom === 1));
    assert.deepEqual([host.opened, listener.departures], [taken ? ['first', 'second'] : ['first'], []]);
  });
}

test('an environment for which there is no room after all is sent back, and waits for room', async (t) => {
  const [a, b] = [await fakeController(t), await fakeController(t)];
  const { controllers, host } = fakeWorker(t, { room: { maxEnvironments: 1, maxMemoryMiB: 512 } });
  controllers.known(new Set([a.url, b.url]));
  await Promise.all([joined(a), joined(b)]);
  a.fleet.start('first', F);
  await a.listener.waiting('first');
  b.fleet.start('second', F);
  await b.listener.until(() => b.fleet.waitingForRoom === 1);
  assert.deepEqual([host.opened, b.listener.departures], [['first'], []]);
  a.fleet.stop('first');
  await b.listener.waiting('second');
  assert.deepEqual(host.opened, ['first', 'second']);
});

// Broken connections

const MIDDLES: readonly (readonly [string, Direction, RegExp, number])[] = [
  ['before a byte of a poll has come', 'request', /"kind":"completed"/, 0],
  ['in the middle of a poll', 'request', /"kind":"completed"/, 0.5],
  ['before the answer to a poll', 'answer', /"kind":"invoke"/, 0],
  ['in the middle of an answer', 'answer', /"kind":"invoke"/, 0.5],
  ['before the last byte of an answer', 'answer', /"kind":"invoke"/, 0.999],
  ['before an instruction', 'answer', /"do":"open"/, 0],
  ['in the middle of an instruction', 'answer', /"do":"open"/, 0.5],
  ['in the middle of a departure', 'request', /"departures":/, 0.5],
];
for (const [where, direction, pattern, share] of MIDDLES) {
  test(`a connection that breaks ${where} loses nothing and repeats nothing`, async (t) => {
    const { fleet, listener, port } = await fakeController(t);
    const proxy = await cuttingProxy(t, port);
    let pending = true;
    proxy.cut = (chunk, way) => {
      if (!pending || way !== direction || !pattern.test(chunk.toString('latin1'))) return undefined;
      pending = false;
      return Math.floor(chunk.length * share);
    };
    const { controllers, host } = fakeWorker(t);
    controllers.known(new Set([proxy.url]));
    await listener.until(() => fleet.workers.length > 0);
    fleet.start('e', F);
    for (const id of ['a', 'b']) {
      await listener.waiting('e');
      listener.answer('e', invoke(id));
    }
    await listener.waiting('e');
    listener.answer('e', { kind: 'stop' });
    await listener.until(() => listener.departures.length > 0);
    await polled(() => controllers.environments === 0);
    assert.equal(proxy.cuts, 1, 'the connection did break');
    assert.deepEqual(host.opened, ['e']);
    assert.deepEqual(host.given.map(({ invocation }) => invocation.id), ['a', 'b']);
    assert.deepEqual(listener.polls.map((poll) => (poll.kind === 'completed' ? poll.completion.invocationId : poll.kind)), ['initialized', 'a', 'b']);
    assert.deepEqual(listener.departures, [{ environmentId: 'e', cause: { kind: 'stopped' } }]);
    assert.equal(fleet.workers.length, 1, 'in one session');
  });
}

test('of a connection that breaks again and again, anywhere, nothing is lost or repeated', async (t) => {
  const { fleet, listener, port } = await fakeController(t);
  const proxy = await cuttingProxy(t, port);
  const random = seededRandom(20_260_731);
  const { controllers, host } = fakeWorker(t);
  controllers.known(new Set([proxy.url]));
  await polled(() => controllers.open === 1);
  proxy.cut = (chunk) => (random() < 0.1 ? Math.floor(random() * chunk.length) : undefined);
  const environments = ['p', 'q', 'r', 's'];
  for (const id of environments) fleet.start(id, F);
  await Promise.all(
    environments.map(async (environment) => {
      for (let i = 0; i < 12; i++) {
        await listener.waiting(environment);
        listener.answer(environment, invoke(`${environment}${i}`));
      }
      await listener.waiting(environment);
      listener.answer(environment, { kind: 'stop' });
    }),
  );
  await listener.until(() => listener.departures.length === environments.length);
  assert.ok(proxy.cuts >= 10, `${proxy.cuts} connections broke`);
  const expected = environments.flatMap((environment) => Array.from({ length: 12 }, (_, i) => `${environment}${i}`)).sort();
  assert.deepEqual(host.given.map(({ invocation }) => invocation.id).sort(), expected);
  assert.deepEqual(listener.polls.flatMap((poll) => (poll.kind === 'completed' ? [poll.completion.invocationId] : [])).sort(), expected);
  assert.deepEqual(listener.departures.map(({ environmentId }) => environmentId).sort(), environments);
});

test('departures that come while others are on their way all arrive', async (t) => {
  const gate = Promise.withResolvers<undefined>();
  const arrived = Promise.withResolvers<undefined>();
  const { fleet, listener, url } = await fakeController(t, {
    routes: (routes) =>
      routes.map((route) =>
        route.path.endsWith('/departures')
          ? {
              ...route,
              handle: async (...request) => {
                arrived.resolve(undefined);
                await gate.promise;
                await route.handle(...request);
              },
            }
          : route,
      ),
  });
  const { controllers, host } = fakeWorker(t);
  controllers.known(new Set([url]));
  const environments = ['a', 'b', 'c', 'd', 'e'];
  for (const id of environments) fleet.start(id, F);
  await listener.until(() => environments.every((id) => listener.waits(id)));
  host.depart('a');
  await arrived.promise;
  for (const id of ['b', 'c']) host.depart(id);
  await turn();
  for (const id of ['d', 'e']) host.depart(id);
  gate.resolve(undefined);
  await listener.until(() => listener.departures.length === environments.length);
  assert.deepEqual(listener.departures.map(({ environmentId }) => environmentId), environments);
});

// Sessions

test('a worker whose session the controller does not know any more opens another, and goes on', async (t) => {
  const { fleet, listener, host } = await pair(t);
  const release = Promise.withResolvers<Record<string, never>>();
  host.run = () => release.promise;
  fleet.start('e', F);
  await listener.waiting('e');
  listener.answer('e', invoke('a'));
  await host.until(() => host.given.length === 1);
  fleet.workers[0]?.end('silent');
  await polled(() => fleet.workers[0]?.environments === 1);
  release.resolve({});
  await listener.waiting('e');
  assert.deepEqual(listener.polls.map(({ kind }) => kind), ['initialized', 'completed']);
  assert.deepEqual([host.opened, host.closed, listener.departures], [['e'], [], []]);
});

test('a token that has ended, or is another worker\'s, opens nothing', async (t) => {
  const { fleet, listener, clock, url } = await fakeController(t);
  const refused: number[] = [];
  const attempts = await fakeController(t, { routes: (routes) => routes.map((route) => (route.path === '/v1/sessions' ? { ...route, handle: async (...request) => { await route.handle(...request); refused.push(request[1].statusCode); attempts.listener.retire('tried'); } } : route)) });
  const tokens = [
    joinToken(SECRET, { worker: 'w', expiresAtMs: clock.now() - 1_000 }),
    joinToken(SECRET, { worker: 'other', expiresAtMs: clock.now() + 60_000 }),
    joinToken(`${SECRET}!`, { worker: 'w', expiresAtMs: clock.now() + 60_000 }),
  ];
  for (const [index, token] of tokens.entries()) {
    fakeWorker(t, { token }).controllers.known(new Set([attempts.url]));
    await attempts.listener.until(() => refused.length > index);
  }
  assert.deepEqual(new Set(refused), new Set([401, 400]));
  assert.deepEqual(attempts.fleet.workers, []);
  // Its twin, with a good one.
  fakeWorker(t).controllers.known(new Set([url]));
  await listener.until(() => fleet.workers.length === 1);
});

test('a worker divides its room among its controllers, and gives it back to those that stay', async (t) => {
  const [a, b, c] = [await fakeController(t), await fakeController(t), await fakeController(t)];
  const { controllers } = fakeWorker(t, { room: { maxEnvironments: 9, maxMemoryMiB: 3_000 } });
  const roomAt = (controller: FakeController, maxEnvironments: number, maxMemoryMiB: number): Promise<void> =>
    controller.listener.until(() => controller.fleet.capacity.maxEnvironments === maxEnvironments && controller.fleet.capacity.maxMemoryMiB === maxMemoryMiB);
  controllers.known(new Set([a.url]));
  await roomAt(a, 9, 3_000);
  controllers.known(new Set([a.url, b.url, c.url]));
  await Promise.all([a, b, c].map((controller) => roomAt(controller, 3, 1_000)));
  assert.equal(controllers.open, 3);
  await c.fleet.close();
  await Promise.all([a, b].map((controller) => roomAt(controller, 4, 1_500)));
});

test('a controller that stops is left, and no other session is opened with it', async (t) => {
  let opens = 0;
  const controller = await fakeController(t, { routes: (routes) => routes.map((route) => (route.path === '/v1/sessions' ? { ...route, handle: async (...request) => { await route.handle(...request); opens++; controller.listener.retire('opened'); } } : route)) });
  const { controllers } = fakeWorker(t);
  controllers.known(new Set([controller.url]));
  await controller.listener.until(() => opens === 1);
  await controller.fleet.close();
  await controller.listener.until(() => opens === 2);
  assert.deepEqual(controller.fleet.workers, []);
  assert.equal(controllers.open, 0);
  // It is announced no more: the worker stops asking.
  controllers.known(new Set());
});

test('a worker that leaves says so, once everything is told', async (t) => {
  const { fleet, listener, controllers, host } = await pair(t);
  fleet.start('e', F);
  await listener.waiting('e');
  host.depart('e');
  await controllers.stop();
  assert.deepEqual(listener.departures, [{ environmentId: 'e', cause: { kind: 'stopped' } }]);
  assert.deepEqual(fleet.workers, []);
  assert.equal(controllers.open, 0);
});
