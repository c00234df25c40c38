/** Functions that are container images: a pod is made with the image, for one revision of one function, and ends with its environment. */
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { imageFamily } from '../../../platform/worker-pool/kubernetes/image-pod.ts';
import type { PodOrder } from '../../../platform/worker-pool/kubernetes/pod-cluster.ts';
import { SPEECHLESS_MS } from '../../../platform/worker-pool/kubernetes/supply.ts';
import { specOf } from '../../support/fleet-listener.ts';
import { ADDRESS, bench, closeAll, join, opened, pass, printed, settle, told, type Bench } from './pools.ts';

afterEach(closeAll);

const IMAGE = specOf('f', { image: { uri: 'registry.example/f:1' } });
const RUNNING = { running: true, logStream: 'the-stream', drained: false, exit: undefined };

/** The function is wanted, and its pod was asked for. */
async function ordered(made: Bench): Promise<PodOrder> {
  made.pool.start('e1', IMAGE);
  await settle();
  const [order] = made.cluster.created;
  assert.ok(order !== undefined);
  return order;
}

function causes({ listener }: Bench): readonly unknown[] {
  return listener.departures.map(({ cause }) => cause);
}

test('a pod is made with the image, whatever waits for other functions', async () => {
  const made = await bench({ environmentsPerPod: 3 });
  made.cluster.show('warm', { state: 'warm', address: ADDRESS });
  await join(made, 'warm');
  const order = await ordered(made);
  assert.equal(order.family, imageFamily(IMAGE));
  assert.deepEqual(order.function?.image, { uri: 'registry.example/f:1' });
  assert.match(order.function?.logStream ?? '', /^\d{4}\/\d\d\/\d\d\/\[\$LATEST\][0-9a-f]{32}$/);
  assert.equal(order.size.memoryMiB, 128, 'of one environment');
  made.pool.start('e2', IMAGE);
  await settle();
  assert.equal(made.cluster.created.length, 2, 'each environment has a pod to itself');
});

test('another revision of the function needs other pods', () => {
  assert.notEqual(imageFamily(IMAGE), imageFamily({ ...IMAGE, id: `${IMAGE.id}-changed` }));
  assert.match(imageFamily(IMAGE), /^image-[0-9a-f]{12}$/);
});

test('what its container prints is in the log of its function from the start, and its pod goes with its environment, soon', async () => {
  const made = await bench();
  const { name } = await ordered(made);
  const lines = Promise.withResolvers<undefined>();
  made.cluster.logs.set(name, (async function* () {
    yield Buffer.from('2026-01-01T00:00:00.100000000Z loading\n2026-01-01T00:00:00.2');
    await lines.promise;
    yield Buffer.from('00000000Z ready\n');
  })());
  made.cluster.show(name, { address: ADDRESS, container: RUNNING });
  const session = await join(made, name);
  await settle();
  assert.deepEqual(printed, ['the-stream loading']);
  lines.resolve(undefined);
  await settle();
  assert.deepEqual(printed, ['the-stream loading', 'the-stream ready']);
  made.pool.fleet.holds(session, 1);
  made.pool.fleet.departed(session, { environmentId: 'e1', cause: { kind: 'failed' } });
  made.pool.fleet.holds(session, 0);
  await settle();
  assert.deepEqual([made.cluster.removed, made.cluster.graces], [[name], [1]]);
});

test('a log that breaks off is asked for again from where it was, and nothing is written twice', async () => {
  const made = await bench();
  const { name } = await ordered(made);
  made.cluster.show(name, { address: ADDRESS, container: RUNNING });
  const session = await join(made, name);
  await settle();
  assert.equal(made.cluster.followed.length, 1);
  const again = (): AsyncIterable<Uint8Array> => (async function* () {
    await Promise.resolve();
    yield Buffer.from('2026-01-01T00:00:00.100000000Z one\n2026-01-01T00:00:00.200000000Z two\n');
  })();
  made.cluster.logs.set(name, again());
  await pass(made, 1_000, session);
  made.cluster.logs.set(name, again());
  await pass(made, 1_000, session);
  assert.deepEqual(printed, ['the-stream one', 'the-stream two']);
  assert.equal(made.cluster.followed.at(-1), `${name} 2026-01-01T00:00:00.200000000Z`);
});

test('a container that runs and says nothing is given up, and its pod goes', async () => {
  const made = await bench();
  const { name } = await ordered(made);
  made.cluster.show(name, { address: ADDRESS, container: { ...RUNNING, running: false } });
  await pass(made, SPEECHLESS_MS);
  assert.deepEqual(causes(made), [], 'its image may be large');
  made.cluster.show(name, { container: RUNNING });
  await pass(made, SPEECHLESS_MS);
  await settle();
  assert.deepEqual(causes(made), [{ kind: 'cannotStart', message: `The container in the pod ${name} runs and has asked for no event for 30 s: its entry point has to be a runtime, or a Lambda runtime interface client.` }]);
  await settle();
  assert.deepEqual(made.cluster.removed, [name]);
});

test('an image that cannot be had is the error of whoever waits for it', async () => {
  const made = await bench();
  const { name } = await ordered(made);
  const message = `The pod ${name} cannot start (ImagePullBackOff): no such image.`;
  made.cluster.show(name, { container: { ...RUNNING, running: false }, trouble: { message, lasting: true } });
  await settle();
  assert.deepEqual(causes(made), [{ kind: 'cannotStart', message }]);
});

test('a container that ends is told to its worker, which answers for what ran in it', async () => {
  const made = await bench();
  const { name } = await ordered(made);
  made.cluster.show(name, { address: ADDRESS, container: RUNNING });
  const session = await join(made, name);
  const exit = { code: 137, outOfMemory: true, message: `The pod ${name} ran out of memory and was killed.` };
  made.cluster.show(name, { container: { ...RUNNING, running: false, exit } });
  made.cluster.show(name, { container: { ...RUNNING, running: false, exit } });
  await settle();
  const ends = (await told(session)).filter((one) => one.do === 'runtimeEnded');
  assert.deepEqual(ends.map((one) => one.exit), [exit], 'once');
  assert.deepEqual([causes(made), made.cluster.removed], [[], []]);
  made.pool.start('e2', IMAGE);
  await settle();
  assert.equal(made.cluster.created.length, 2, 'nothing else is put there');
  made.pool.fleet.departed(session, { environmentId: 'e1', cause: { kind: 'failed' } });
  await settle();
  assert.deepEqual(made.cluster.removed, [name]);
});

test('a pod whose environment has ended is not given another one in the moment before it goes', async () => {
  const made = await bench();
  const { name } = await ordered(made);
  made.cluster.show(name, { address: ADDRESS, container: RUNNING });
  const session = await join(made, name);
  made.pool.fleet.departed(session, { environmentId: 'e1', cause: { kind: 'failed' } });
  made.pool.start('e2', IMAGE);
  await settle();
  assert.deepEqual(await opened(session), ['e1']);
  assert.equal(made.cluster.created.length, 2);
});

test('a container that ends before it has said anything is the error of whoever waits for it', async () => {
  const made = await bench();
  const { name } = await ordered(made);
  const message = `The function's container in the pod ${name} ended with status 127 (StartError): no such file.`;
  made.cluster.show(name, { address: ADDRESS, container: { ...RUNNING, running: false, exit: { code: 127, outOfMemory: false, message } } });
  await settle();
  assert.deepEqual(causes(made), [{ kind: 'cannotStart', message }]);
  await settle();
  assert.deepEqual(made.cluster.removed, [name]);
});

test('a pod that others have told to end ends when its worker has finished, though the function hears no signal', async () => {
  const made = await bench();
  const { name } = await ordered(made);
  made.cluster.show(name, { address: ADDRESS, container: RUNNING });
  await join(made, name);
  made.cluster.show(name, { leaving: true });
  await settle();
  assert.deepEqual(made.cluster.removed, []);
  made.cluster.show(name, { container: { ...RUNNING, drained: true }, death: 'The worker ended with status 0.' });
  await settle();
  assert.deepEqual([made.cluster.removed, made.cluster.graces], [[name], [1]]);
});
