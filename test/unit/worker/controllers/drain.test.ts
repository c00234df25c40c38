import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import type { Completion } from '../../../../platform/protocol/controller-link.ts';
import { completionOf, invoke, specOf } from '../../../support/fleet-listener.ts';
import { fakeController, fakeWorker, joined, type FakeController, type FakeWorker } from '../../../support/fleet-world.ts';

const F = specOf('f');
const GIVEN = invoke('a');
const PATIENCE_MS = 25_000;

/** A controller that does what one does: what has nothing to do may stop when its worker asks for it. */
async function world(t: TestContext): Promise<FakeWorker & { readonly controller: FakeController }> {
  const controller = await fakeController(t);
  const { fleet, listener } = controller;
  listener.retires = (environmentId) => {
    if (!listener.waits(environmentId)) return;
    listener.answer(environmentId, { kind: 'stop' });
    fleet.stop(environmentId);
  };
  const worker = fakeWorker(t);
  worker.controllers.known(new Set([controller.url]));
  await joined(controller);
  return { ...worker, controller };
}

/** An environment that runs GIVEN until the test ends it. */
async function busy({ controller: { fleet, listener }, host }: Awaited<ReturnType<typeof world>>, environmentId: string): Promise<() => void> {
  const { promise, resolve } = Promise.withResolvers<Partial<Completion>>();
  host.run = () => promise;
  fleet.start(environmentId, F);
  await listener.waiting(environmentId);
  listener.answer(environmentId, GIVEN);
  await host.until(() => host.given.length > 0);
  return () => resolve({});
}

test('a worker that drains stops what is idle, lets end what runs, and what is starting does not begin', async (t) => {
  const made = await world(t);
  const { controllers, host, controller: { fleet, listener } } = made;
  const end = await busy(made, 'busy');
  fleet.start('idle', F);
  await listener.waiting('idle');
  const ready = Promise.withResolvers<undefined>();
  host.init = () => ready.promise.then(() => undefined);
  fleet.start('starting', F);
  await host.until(() => host.opened.includes('starting'));

  let drained = false;
  const draining = controllers.drain(PATIENCE_MS).finally(() => (drained = true));
  await listener.until(() => listener.departures.length === 1);
  assert.deepEqual(host.closed, ['idle']);
  ready.resolve(undefined);
  await listener.until(() => listener.departures.length === 2);
  assert.deepEqual(host.closed, ['idle', 'starting']);
  await turn();
  assert.equal(drained, false, 'something runs still');
  end();
  await draining;
  assert.equal(controllers.environments, 0);
  assert.deepEqual(listener.departures, [
    { environmentId: 'idle', cause: { kind: 'stopped' } },
    { environmentId: 'starting', cause: { kind: 'stopped' } },
    { environmentId: 'busy', cause: { kind: 'stopped' }, completion: completionOf(GIVEN) },
  ], 'what ran is reported by the departure');
  assert.deepEqual(host.given.length, 1);
});

test('it takes nothing new: it has no room any more, and what was on its way is sent back', async (t) => {
  const made = await world(t);
  const { controllers, host, controller: { fleet, listener } } = made;
  const end = await busy(made, 'busy');
  const draining = controllers.drain(PATIENCE_MS);
  fleet.workers[0]?.instruct({ do: 'open', environmentId: 'unknown', spec: F });
  fleet.start('late', F);
  await listener.until(() => fleet.capacity.maxEnvironments === 0 && fleet.waitingForRoom > 0);
  assert.deepEqual(listener.departures, [], 'it waits for another worker');
  assert.deepEqual(host.opened, ['busy']);
  end();
  await draining;
});

test('what is given out while the worker begins to drain is run and reported', async (t) => {
  const made = await world(t);
  const { controllers, host, controller: { fleet, listener } } = made;
  fleet.start('e', F);
  await listener.waiting('e');
  // The controller's answer crosses the worker's wish.
  listener.retires = () => listener.answer('e', GIVEN);
  await controllers.drain(PATIENCE_MS);
  assert.deepEqual(host.given.map(({ invocation }) => invocation.id), ['a']);
  assert.deepEqual(listener.departures, [{ environmentId: 'e', cause: { kind: 'stopped' }, completion: completionOf(GIVEN) }]);
});

test('it waits no longer than its patience', async (t) => {
  const made = await world(t);
  await busy(made, 'busy');
  let drained = false;
  const draining = made.controllers.drain(PATIENCE_MS).finally(() => (drained = true));
  made.clock.advance(PATIENCE_MS - 1);
  await turn();
  assert.equal(drained, false);
  made.clock.advance(1);
  await draining;
  assert.equal(made.controllers.environments, 1);
});

test('a worker that has nothing is drained at once', async (t) => {
  await fakeWorker(t).controllers.drain(PATIENCE_MS);
});

test('without a controller what is idle stops as well', async (t) => {
  const made = await world(t);
  const { controllers, host, controller: { fleet, listener } } = made;
  await fleet.claim({ partitions: [0], epoch: 1 });
  fleet.start('e', F);
  await listener.waiting('e');
  listener.adopts = () => false;
  fleet.handOver('e');
  await listener.until(() => listener.offered.length > 0);
  await controllers.drain(PATIENCE_MS);
  assert.deepEqual(host.closed, ['e']);
  assert.deepEqual(listener.departures, []);
});
