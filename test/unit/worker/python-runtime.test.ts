import assert from 'node:assert/strict';
import { before, suite, test } from 'node:test';
import { SETTINGS } from '../../../platform/configuration/settings.ts';
import { startHarness, type Harness } from './harness.ts';

const folder = 'python-handlers';
const runtime = 'python3.12';

interface ErrorBody {
  readonly errorType: string;
  readonly errorMessage: string;
  readonly stackTrace: string[];
}

suite('the Python runtime', { concurrency: 2 }, () => {
  let harness: Harness;
  const cleanups: (() => unknown)[] = [];
  before(async () => {
    // The virtual environment is made once on a machine, as for a user.
    harness = await startHarness({ after: (action) => void cleanups.push(action as () => unknown) }, { cacheDir: SETTINGS.cacheDir.parse(SETTINGS.cacheDir.defaultText) });
  });
  test.after(async () => {
    for (const cleanup of cleanups) await cleanup();
  });

  const invoke = async (handler: string, event: unknown, options: object = {}, configuration: object = {}): ReturnType<Harness['invoke']> => {
    const environment = await harness.open({ folder, runtime, handler, ...configuration });
    await environment.polled();
    return harness.invoke(environment, event, options);
  };

  test('keeps its state from event to event', async () => {
    const environment = await harness.open({ folder, runtime, handler: 'app.ok' });
    const first = await environment.polled();
    assert.ok(first.kind === 'initialized' && first.initDurationMs > 0);
    for (let count = 1; count <= 3; count++) {
      const reply = await harness.invoke(environment, { ü: 1 }, { id: `ok-${count}` });
      assert.deepEqual(JSON.parse(reply.body.toString()), { event: { ü: 1 }, count, requestId: `ok-${count}` });
      await environment.polled();
    }
  });

  test('an exception: Lambda’s error object, and its traceback in the log', async () => {
    const reply = await invoke('app.throws', {}, { id: 'throws', logTail: true });
    assert.equal(reply.kind, 'functionError');
    const body = JSON.parse(reply.body.toString()) as ErrorBody & { requestId: string };
    assert.equal(body.errorType, 'ValueError');
    assert.equal(body.errorMessage, 'boom');
    assert.equal(body.requestId, 'throws');
    assert.match(body.stackTrace.join(''), /app\.py/);
    assert.match(reply.logTail?.toString() ?? '', /\n\[ERROR\] ValueError: boom\nTraceback \(most recent call last\):\n/);
  });

  for (const { handler, errorType, errorMessage } of [
    { handler: 'nosuchfile.handler', errorType: 'Runtime.ImportModuleError', errorMessage: /^Unable to import module 'nosuchfile': No module named 'nosuchfile'$/ },
    { handler: 'app.nosuchname', errorType: 'Runtime.HandlerNotFound', errorMessage: /^Handler 'nosuchname' missing on module 'app'$/ },
    { handler: 'nodots', errorType: 'Runtime.MalformedHandlerName', errorMessage: /^Bad handler 'nodots'/ },
    { handler: 'syntax.handler', errorType: 'Runtime.UserCodeSyntaxError', errorMessage: /^Syntax error in module 'syntax'/ },
    { handler: 'missing.handler', errorType: 'Runtime.ImportModuleError', errorMessage: /no_such_module/ },
    { handler: 'broken.handler', errorType: 'RuntimeError', errorMessage: /^cannot initialise$/ },
  ]) {
    test(`init of ${handler}: ${errorType}`, async () => {
      const environment = await harness.open({ folder, runtime, handler });
      const body = await environment.initError();
      assert.equal(body.errorType, errorType);
      assert.match(body.errorMessage, errorMessage);
    });
  }

  test('the context object', async () => {
    const clientContext = Buffer.from(JSON.stringify({ custom: { a: 'b' } })).toString('base64');
    const reply = await invoke('app.context', {}, { clientContext });
    assert.deepEqual(JSON.parse(reply.body.toString()), {
      name: 'trial',
      version: '$LATEST',
      arn: 'arn:aws:lambda:us-east-1:000000000000:function:trial',
      memory: '256',
      group: '/aws/lambda/trial',
      remaining: true,
      client: { a: 'b' },
    });
  });

  test("the environment: the function's folder first, Lambda's variables, those that act at start", async () => {
    const reply = await invoke('app.environment', {}, {}, { environment: { OWN: 'välue', PYTHONHASHSEED: '7', TZ: 'Asia/Tokyo' } });
    const seen = JSON.parse(reply.body.toString()) as Record<string, string>;
    assert.equal(seen.OWN, 'välue');
    assert.equal(seen.PYTHONHASHSEED, '7');
    assert.equal(seen.cwd, seen.LAMBDA_TASK_ROOT);
    assert.equal(seen.path0, seen.LAMBDA_TASK_ROOT);
    assert.equal(seen.AWS_EXECUTION_ENV, 'AWS_Lambda_python3.12');
    assert.equal(seen.HOME, undefined);
  });

  test('print and logging keep their order, whole lines', async () => {
    const reply = await invoke('app.logs', {}, { id: 'logs', logTail: true });
    const lines = (reply.logTail?.toString() ?? '').split('\n').map((line) => line.replace(/\d{4}-\S+Z/, 'TIME'));
    assert.ok(lines.includes('to stderr'));
    assert.deepEqual(lines.filter((line) => line !== 'to stderr').slice(0, 5), ['START RequestId: logs Version: $LATEST', 'printed', '[INFO]\tTIME\tlogs\tlogged', '[ERROR]\tTIME\tlogs\ttwo', 'lines']);
  });

  test('time-out', async () => {
    const reply = await invoke('app.sleeps', { ms: 60_000 }, { id: 'sleeps', logTail: true }, { timeoutSec: 1 });
    assert.equal((JSON.parse(reply.body.toString()) as ErrorBody).errorType, 'Sandbox.Timedout');
    assert.ok(reply.logTail?.includes('going to sleep\n'));
  });

  test('exit of the process', async () => {
    for (const [handler, code] of [['app.exits', 5], ['app.sys_exits', 6]] as const) {
      const reply = await invoke(handler, { code }, { id: handler });
      assert.deepEqual(JSON.parse(reply.body.toString()), { errorType: 'Runtime.ExitError', errorMessage: `RequestId: ${handler} Error: Runtime exited with error: exit status ${code}` });
    }
  });

  test('out of memory', async () => {
    const reply = await invoke('app.hoards', { mib: 300, ms: 60_000 }, { logTail: true }, { memoryMiB: 128 });
    assert.match(reply.body.toString(), /signal: killed/);
    assert.match(reply.logTail?.toString() ?? '', /Error Type: Runtime\.OutOfMemory/);
  });

  test('a result that is no JSON, and one that is too large', async () => {
    const unserialisable = await invoke('app.not_json', {});
    assert.equal((JSON.parse(unserialisable.body.toString()) as ErrorBody).errorType, 'Runtime.MarshalError');
    const large = await invoke('app.big', { bytes: 7 * 1024 * 1024 });
    assert.equal((JSON.parse(large.body.toString()) as ErrorBody).errorType, 'Function.ResponseSizeTooLarge');
  });
});

test('a missing interpreter is named, with what to do about it', async (context) => {
  const harness = await startHarness(context, { python: '/no/such/python' });
  const environment = await harness.open({ folder, runtime, handler: 'app.ok' });
  const { cause } = await environment.departure;
  assert.equal(cause.kind, 'cannotStart');
  assert.match((cause as { message: string }).message, /\/no\/such\/python.*SLUICE_PYTHON/);
  assert.match((await harness.worker.runtimes())[1] ?? '', /SLUICE_PYTHON/);
});
