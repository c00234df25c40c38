import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { setImmediate as turn } from 'node:timers/promises';
import { before, suite, test } from 'node:test';
import { VirtualClock } from '../../support/virtual-clock.ts';
import { startHarness, type Harness, type OpenedEnvironment } from './harness.ts';

const folder = 'node-handlers';

interface ErrorBody {
  readonly errorType: string;
  readonly errorMessage: string;
}

/** Resolves when a process has ended; its parent may be anyone. */
async function ended(pid: number): Promise<void> {
  for (;;) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    await turn();
  }
}

suite('environments that fail', { concurrency: 3 }, () => {
  let harness: Harness;
  const cleanups: (() => unknown)[] = [];
  before(async () => {
    harness = await startHarness({ after: (action) => void cleanups.push(action as () => unknown) });
  });
  test.after(async () => {
    for (const cleanup of cleanups) await cleanup();
  });

  const logOf = (environment: { readonly requestId: string }): string[] => {
    const messages = harness.lines.map(({ message }) => message);
    return messages.filter((message) => message.includes(environment.requestId));
  };
  const ready = async (handler: string, configuration: Parameters<Harness['open']>[0] | object = {}): Promise<OpenedEnvironment> => {
    const environment = await harness.open({ folder, handler, ...configuration });
    await environment.polled();
    return environment;
  };
  const only = async (environment: OpenedEnvironment): Promise<OpenedEnvironment['departures'][number]> => {
    const departure = await environment.departure;
    await turn();
    assert.equal(environment.departures.length, 1);
    return departure;
  };

  test('a time-out: the environment goes, the caller and the log are told in Lambda’s words', async () => {
    const environment = await ready('index.sleeps', { timeoutSec: 1 });
    const requestId = 'times-out';
    const reply = await harness.invoke(environment, { ms: 60_000 }, { id: requestId, logTail: true });
    assert.equal(reply.kind, 'functionError');
    assert.deepEqual(JSON.parse(reply.body.toString()), { errorType: 'Sandbox.Timedout', errorMessage: 'RequestId: times-out Error: Task timed out after 1.00 seconds' });
    const tail = reply.logTail?.toString() ?? '';
    assert.match(tail, /going to sleep\n\d{4}-\S+Z times-out Task timed out after 1\.00 seconds\nEND RequestId: times-out\nREPORT RequestId: times-out\t.*\tStatus: timeout\n$/);
    const departure = await only(environment);
    assert.deepEqual(departure.cause, { kind: 'failed' });
    assert.equal(departure.completion?.outcome, 'functionError');
    assert.equal(departure.completion.invocationId, requestId);
    assert.equal(departure.completion.epoch, 1);
    assert.deepEqual(departure.completion.errorBody, reply.body);
  });

  for (const { handler, event, words } of [
    { handler: 'index.exits', event: { code: 7 }, words: 'Runtime exited with error: exit status 7' },
    { handler: 'index.exits', event: { code: 0 }, words: 'Runtime exited without providing a reason' },
    { handler: 'index.kills', event: {}, words: 'Runtime exited with error: signal: killed' },
  ]) {
    test(`${handler} ${JSON.stringify(event)}: ${words}`, async () => {
      const environment = await ready(handler);
      const requestId = `${handler}-${JSON.stringify(event)}`;
      const reply = await harness.invoke(environment, event, { id: requestId, logTail: true });
      assert.deepEqual(JSON.parse(reply.body.toString()), { errorType: 'Runtime.ExitError', errorMessage: `RequestId: ${requestId} Error: ${words}` });
      assert.ok(reply.logTail?.includes(`RequestId: ${requestId} Error: ${words}\nRuntime.ExitError\nEND RequestId`));
      assert.match(reply.logTail?.toString() ?? '', /\tStatus: error\tError Type: Runtime\.ExitError\n$/);
      assert.deepEqual((await only(environment)).cause, { kind: 'failed' });
    });
  }

  test('more memory than the function has: killed, and the report says why', async () => {
    const environment = await ready('index.hoards', { memoryMiB: 128 });
    const reply = await harness.invoke(environment, { mib: 200, ms: 60_000 }, { id: 'hoards', logTail: true });
    assert.deepEqual(JSON.parse(reply.body.toString()), { errorType: 'Runtime.ExitError', errorMessage: 'RequestId: hoards Error: Runtime exited with error: signal: killed' });
    assert.match(reply.logTail?.toString() ?? '', /\tMemory Size: 128 MB\tMax Memory Used: 128 MB\t.*Status: error\tError Type: Runtime\.OutOfMemory\n$/);
    assert.deepEqual((await only(environment)).cause, { kind: 'failed' });
  });

  test('as much memory as the function has is no failure', async () => {
    const environment = await ready('index.hoards', { memoryMiB: 512 });
    const reply = await harness.invoke(environment, { mib: 200, ms: 120 }, { logTail: true });
    assert.equal(reply.kind, 'success');
    const used = Number(/Max Memory Used: (\d+) MB/.exec(reply.logTail?.toString() ?? '')?.[1]);
    assert.ok(used > 200 && used < 512, `${used} MB`);
  });

  test('a response of 6 MiB is delivered, a larger one is an error, and the environment lives on', async () => {
    const environment = await ready('index.big');
    const fits = await harness.invoke(environment, { bytes: 6 * 1024 * 1024 - 2 });
    assert.equal(fits.kind, 'success');
    assert.equal(fits.body.length, 6 * 1024 * 1024);
    await environment.polled();
    const large = await harness.invoke(environment, { bytes: 9 * 1024 * 1024 });
    assert.equal(large.kind, 'functionError');
    assert.deepEqual(JSON.parse(large.body.toString()), { errorType: 'Function.ResponseSizeTooLarge', errorMessage: 'Response payload size exceeded maximum allowed payload size (6291556 bytes).' });
    const poll = await environment.polled();
    assert.equal(poll.kind === 'completed' && poll.completion.outcome, 'functionError');
    assert.equal((await harness.invoke(environment, { bytes: 1 })).kind, 'success');
  });

  test('a function that fails in its own words is asked again', async () => {
    const environment = await ready('index.throws');
    for (let i = 0; i < 3; i++) {
      const reply = await harness.invoke(environment, {});
      assert.equal((JSON.parse(reply.body.toString()) as ErrorBody).errorMessage, 'boom');
      assert.equal(reply.kind === 'functionError' && reply.functionError, 'Unhandled');
      const poll = await environment.polled();
      assert.equal(poll.kind === 'completed' && poll.completion.errorBody?.toString(), reply.body.toString());
    }
  });

  test('a process that ends during init: the invocation that waited has the error, with its own id and log', async () => {
    const environment = await harness.open({ folder, handler: 'exits-in-init.handler' });
    assert.deepEqual(await environment.initError(), { errorType: 'Runtime.ExitError', errorMessage: 'Error: Runtime exited with error: exit status 3' });
    const reply = await harness.invoke(environment, {}, { id: 'exits', logTail: true });
    const message = 'RequestId: exits Error: Runtime exited with error: exit status 3';
    assert.equal(reply.kind === 'functionError' && reply.functionError, 'Unhandled');
    assert.deepEqual(JSON.parse(reply.body.toString()), { errorType: 'Runtime.ExitError', errorMessage: message });
    const lines = (reply.logTail?.toString() ?? '').replace(/\d+\.\d\d ms/g, 'N ms').replace(/Billed Duration: \d+/, 'Billed Duration: N').replace(/Used: \d+/, 'Used: N').split('\n');
    assert.match(lines[0] ?? '', /^INIT_START Runtime Version: nodejs22\.x on /);
    assert.deepEqual(lines.slice(1), [
      'INIT_REPORT Init Duration: N ms\tPhase: init\tStatus: error\tError Type: Runtime.ExitError',
      'START RequestId: exits Version: $LATEST',
      message,
      'Runtime.ExitError',
      'END RequestId: exits',
      'REPORT RequestId: exits\tDuration: N ms\tBilled Duration: N ms\tMemory Size: 256 MB\tMax Memory Used: N MB\tStatus: error\tError Type: Runtime.ExitError',
      '',
    ]);
    const { cause, completion } = await only(environment);
    assert.deepEqual(cause, { kind: 'failed' });
    assert.deepEqual([completion?.invocationId, completion?.outcome, completion?.errorBody], ['exits', 'functionError', reply.body]);
  });

  test('an init that failed where nobody waits: told to stop, it goes, and the log has no invocation', async () => {
    const environment = await harness.open({ folder, handler: 'exits-in-init.handler' });
    await environment.polled();
    environment.assign({ kind: 'stop' });
    assert.deepEqual(await only(environment), { environmentId: environment.id, cause: { kind: 'stopped' } });
  });

  test('an init that failed and is stopped before it is told anything', async () => {
    const environment = await harness.open({ folder, handler: 'exits-in-init.handler' });
    await environment.polled();
    harness.worker.host.close(environment.id);
    assert.deepEqual((await only(environment)).cause, { kind: 'stopped' });
  });

  test('stopping kills the process with its children, also those in sessions of their own', async () => {
    const environment = await ready('index.children');
    const assigned = harness.invoke(environment, {}, { id: 'has-children' });
    assigned.catch(() => undefined);
    let line: string | undefined;
    while (line === undefined) {
      await turn();
      line = logOf({ requestId: 'has-children' }).find((message) => message.includes('\tchildren '));
    }
    const [detached = '', own = ''] = (/children (\d+) (\d+)/.exec(line) ?? []).slice(1);
    harness.worker.host.close(environment.id);
    const departure = await only(environment);
    assert.deepEqual(departure.cause, { kind: 'stopped' });
    assert.equal(departure.completion, undefined, 'it did not end by its own doing, and may be run again');
    assert.deepEqual(logOf({ requestId: 'has-children' }).slice(-2).map((message) => message.replace(/\t.*(?=\tStatus)/, '')), ['END RequestId: has-children', 'REPORT RequestId: has-children\tStatus: error\tError Type: Sandbox.Failure']);
    await Promise.all([ended(Number(detached)), ended(Number(own))]);
  });

  test('stopping an environment that is still starting', async () => {
    const environment = await harness.open({ folder });
    harness.worker.host.close(environment.id);
    harness.worker.host.close(environment.id);
    assert.deepEqual((await only(environment)).cause, { kind: 'stopped' });
  });

  test('stopping an idle environment', async () => {
    const environment = await ready('index.ok');
    environment.assign({ kind: 'stop' });
    assert.deepEqual((await only(environment)).cause, { kind: 'stopped' });
  });

  test('an unknown runtime cannot start, and the message says which there are', async () => {
    const environment = await harness.open({ folder, runtime: 'ruby3.3' });
    const { cause } = await only(environment);
    assert.equal(cause.kind, 'cannotStart');
    assert.match((cause as { message: string }).message, /ruby3\.3.*nodejs22\.x.*python3\.12/);
  });

  test('code that is not in the store cannot start', async () => {
    const environment = await harness.open({ folder, code: { sha256: Buffer.alloc(32).toString('base64'), sizeBytes: 1, objectKey: 'no-such-fixture' } });
    assert.equal((await only(environment)).cause.kind, 'cannotStart');
  });

  test('asynchronous invocations run without a reply', async () => {
    const environment = await ready('index.ok');
    const answered = harness.invoke(environment, {}, { id: 'async', kind: 'async' });
    const poll = await environment.polled();
    assert.equal(poll.kind === 'completed' && poll.completion.outcome, 'success');
    assert.equal(await Promise.race([answered, turn('nothing')]), 'nothing');
  });
});

test('each environment has temporary files of its own', async (context) => {
  const harness = await startHarness(context);
  for (let i = 0; i < 2; i++) {
    const environment = await harness.open({ folder, handler: 'index.temporary' });
    await environment.polled();
    assert.deepEqual(JSON.parse((await harness.invoke(environment, {})).body.toString()), { before: false });
  }
});

test('a stopped worker has no environment, no process, and refuses new ones', async (context) => {
  const harness = await startHarness(context, { prestartedPerRuntime: 2 });
  const environments = await Promise.all([1, 2, 3].map(() => harness.open({ folder })));
  await environments[0]?.polled();
  await harness.worker.stop();
  for (const environment of environments) assert.deepEqual((await environment.departure).cause, { kind: 'stopped' });
  const late = await harness.open({ folder });
  assert.equal((await late.departure).cause.kind, 'cannotStart');
  const running = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name));
  const ours = await Promise.all(running.map(async (pid) => ((await import('node:fs/promises')).readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ''))));
  const childrenOfOurs = ours.filter((stat) => stat.includes(` ${process.pid} `) && stat.slice(stat.lastIndexOf(')')).split(' ')[2] === String(process.pid) && !stat.includes(') Z '));
  assert.deepEqual(childrenOfOurs, []);
});

test('an init that does not end: reported after 10 s, and over when the invocation’s own time has passed as well', async (context) => {
  const clock = new VirtualClock();
  const harness = await startHarness(context, { clock });
  const environment = await harness.open({ folder, handler: 'slow-init.handler', timeoutSec: 5 });
  const printed = async (text: string): Promise<void> => {
    while (!harness.lines.some(({ message }) => message.startsWith(text))) await turn();
  };
  await printed('INIT_START Runtime Version: nodejs22.x on Node v');
  clock.advance(10_000);
  await printed('INIT_REPORT Init Duration: 10000.00 ms\tPhase: init\tStatus: timeout');
  clock.advance(4_749);
  await turn();
  assert.ok(!harness.lines.some(({ message }) => message.includes('Phase: invoke')));
  clock.advance(1);
  assert.equal((await environment.polled()).kind, 'initFailed');
  assert.equal(harness.lines.at(-1)?.message, 'INIT_REPORT Init Duration: 5000.00 ms\tPhase: invoke\tStatus: timeout');
  const reply = await harness.invoke(environment, {}, { id: 'waited', logTail: true });
  assert.deepEqual(JSON.parse(reply.body.toString()), { errorType: 'Sandbox.Timedout', errorMessage: 'RequestId: waited Error: Task timed out after 5.00 seconds' });
  assert.match(reply.logTail?.toString() ?? '', /START RequestId: waited Version: \$LATEST\n\S+Z waited Task timed out after 5\.00 seconds\nEND RequestId: waited\nREPORT RequestId: waited\tDuration: 500\d\.\d\d ms\t.*\tStatus: timeout\n$/);
  assert.deepEqual((await environment.departure).cause, { kind: 'failed' });
});

test('a runtime that answers but never asks for the next event is ended by the function’s timeout, and its answer counts', async (context) => {
  const clock = new VirtualClock();
  const harness = await startHarness(context, { clock });
  const environment = await harness.open({ folder, handler: 'index.stalls', timeoutSec: 5 });
  await environment.polled();
  const reply = await harness.invoke(environment, {});
  assert.equal(reply.body.toString(), '"answered"');
  clock.advance(5_000);
  const departure = await environment.departure;
  assert.deepEqual(departure.cause, { kind: 'failed' });
  assert.equal(departure.completion?.outcome, 'success');
});
