/** A runtime in another container: it is there before its environment, and speaks to a port that it was told beforehand. */
import assert from 'node:assert/strict';
import { createServer, type AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { describe, test, type TestContext } from 'node:test';
import { systemClock, type Clock } from '../../../platform/clock.ts';
import type { VersionConfiguration } from '../../../platform/model/function.ts';
import { invocation, startHarness, type Harness, type OpenedEnvironment } from './harness.ts';

const IMAGE: Partial<VersionConfiguration> & { readonly folder: string } = { folder: 'node-handlers', image: { uri: 'registry.example/team/function:1' }, runtime: '', handler: '' };
const LOG_STREAM = '2026/01/01/[1]known';

/** Short times have passed at once: nobody here waits for a container to be ended. */
const HASTY: Clock = {
  now: () => systemClock.now(),
  at(atMs, action) {
    if (atMs - systemClock.now() > 2_000) return systemClock.at(atMs, action);
    const handle = setImmediate(action);
    return { cancel: () => clearImmediate(handle) };
  },
};

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

interface Beside {
  readonly harness: Harness;
  readonly api: string;
  readonly open: () => Promise<OpenedEnvironment>;
}

async function beside(t: TestContext): Promise<Beside> {
  const port = await freePort();
  const harness = await startHarness(t, { clock: HASTY, container: { runtimeApiPort: port, logStream: LOG_STREAM } });
  return { harness, api: `http://127.0.0.1:${port}/2018-06-01/runtime`, open: () => harness.open(IMAGE) };
}

describe('a runtime in another container', () => {
  test('asks for an event before there is an environment, and gets it when there is', async (t) => {
    const { harness, api, open } = await beside(t);
    const next = fetch(`${api}/invocation/next`);
    await harness.worker.ready;
    const environment = await open();
    const poll = await environment.polled();
    assert.equal(poll.kind, 'initialized');
    const replied = harness.invoke(environment, { name: 'container' });
    const event = await next;
    const id = event.headers.get('lambda-runtime-aws-request-id') ?? '';
    assert.deepEqual(await event.json(), { name: 'container' });
    assert.equal((await fetch(`${api}/invocation/${id}/response`, { method: 'POST', body: '"done"' })).status, 202);
    assert.equal((await replied).body.toString(), '"done"');
    const again = fetch(`${api}/invocation/next`).then(() => 'answered', () => 'cut off');
    assert.equal((await environment.polled()).kind, 'completed');
    const report = harness.lines.find(({ message }) => message.startsWith('REPORT'))?.message ?? '';
    assert.match(report, /Memory Size: 256 MB\t(?!Max Memory)/, 'what is used there is not seen here');
    environment.assign({ kind: 'stop' });
    await environment.departure;
    await harness.worker.stop();
    assert.equal(await again, 'cut off', 'when the worker ends, and no earlier');
  });

  test('streams its response to a caller that takes a stream', async (t) => {
    const { harness, api, open } = await beside(t);
    const next = fetch(`${api}/invocation/next`);
    await harness.worker.ready;
    const environment = await open();
    await environment.polled();
    const record = invocation({}, { responseStream: true });
    environment.assign({ kind: 'invoke', invocation: record, epoch: 1, deliveryId: 1 });
    await next;
    const posted = fetch(`${api}/invocation/${record.id}/response`, { method: 'POST', headers: { 'Lambda-Runtime-Function-Response-Mode': 'streaming' }, body: 'streamed' });
    const { body } = await harness.stream(record.id);
    assert.equal((await buffer(body)).toString(), 'streamed');
    assert.equal(body.outcome?.kind, 'success');
    assert.equal((await posted).status, 202);
  });

  test('that says why it cannot be initialised fails the invocation with that', async (t) => {
    const { harness, api, open } = await beside(t);
    const said = await fetch(`${api}/init/error`, { method: 'POST', headers: { 'Lambda-Runtime-Function-Error-Type': 'Runtime.ImportModuleError' }, body: JSON.stringify({ errorType: 'Runtime.ImportModuleError', errorMessage: 'no module named app' }) });
    assert.equal(said.status, 202);
    await harness.worker.ready;
    const environment = await open();
    assert.deepEqual(await environment.initError(), { errorType: 'Runtime.ImportModuleError', errorMessage: 'no module named app' });
  });

  test('serves one environment: a second one, and a function that is no image, are refused', async (t) => {
    const { harness, api, open } = await beside(t);
    void fetch(`${api}/invocation/next`).catch(() => undefined);
    await harness.worker.ready;
    await (await open()).polled();
    const second = await (await open()).departure;
    assert.deepEqual(second.cause, { kind: 'cannotStart', message: "The function's container has served an environment before." });
    const zip = await (await harness.open({ folder: 'node-handlers' })).departure;
    assert.equal(zip.cause.kind, 'cannotStart');
  });

  test('is needed for an image', async (t) => {
    const harness = await startHarness(t);
    const { cause } = await (await harness.open(IMAGE)).departure;
    assert.deepEqual(cause, { kind: 'cannotStart', message: 'This worker has no container of the image registry.example/team/function:1.' });
  });
});

for (const [what, exit, message, status] of [
  ['ends', { code: 3, outOfMemory: false }, 'Runtime exited with error: exit status 3', 'Runtime.ExitError'],
  ['is killed for its memory', { code: 137, outOfMemory: true }, 'Runtime exited with error: signal: killed', 'Runtime.OutOfMemory'],
] as const) {
  test(`a runtime in another container that ${what} while it runs an invocation fails that, in Lambda's words`, async (t) => {
    const { harness, api, open } = await beside(t);
    const next = fetch(`${api}/invocation/next`);
    await harness.worker.ready;
    const environment = await open();
    await environment.polled();
    const replied = harness.invoke(environment, {});
    await next;
    harness.worker.host.runtimeEnded?.(exit);
    const reply = await replied;
    assert.equal(reply.kind, 'functionError');
    const { errorType, errorMessage } = JSON.parse(reply.body.toString()) as { readonly errorType: string; readonly errorMessage: string };
    assert.equal(errorType, 'Runtime.ExitError');
    assert.match(errorMessage, new RegExp(`^RequestId: [0-9a-f-]+ Error: ${message}$`));
    assert.deepEqual((await environment.departure).cause, { kind: 'failed' });
    assert.match(harness.lines.find(({ message: line }) => line.startsWith('REPORT'))?.message ?? '', new RegExp(`Error Type: ${status}$`));
  });
}
