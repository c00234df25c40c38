import assert from 'node:assert/strict';
import { buffer } from 'node:stream/consumers';
import { before, suite, test } from 'node:test';
import type { EnvironmentPoll } from '../../../platform/protocol/controller-link.ts';
import { HANDLER_CASES, INIT_CASES } from './node-handlers.ts';
import { invocation, startHarness, type Harness } from './harness.ts';

const folder = 'node-handlers';

suite('the Node.js runtime', { concurrency: 2 }, () => {
  let harness: Harness;
  const cleanups: (() => unknown)[] = [];
  before(async () => {
    harness = await startHarness({ after: (action) => void cleanups.push(action as () => unknown) });
  });
  // `after` of a suite runs when all of its tests have.
  test.after(async () => {
    for (const cleanup of cleanups) await cleanup();
  });

  const completion = (poll: EnvironmentPoll): string => (poll.kind === 'completed' ? poll.completion.outcome : poll.kind);

  for (const { handler, event, result, error } of HANDLER_CASES) {
    test(`${handler} of ${JSON.stringify(event)}`, async () => {
      const environment = await harness.open({ folder, handler, runtime: 'nodejs20.x' });
      await environment.polled();
      const reply = await harness.invoke(environment, event === undefined ? {} : event);
      if (error === undefined) {
        assert.equal(reply.kind, 'success', reply.body.toString());
        assert.deepEqual(JSON.parse(reply.body.toString()), result);
        assert.equal(completion(await environment.polled()), 'success');
      } else {
        assert.equal(reply.kind, 'functionError', reply.body.toString());
        const body = JSON.parse(reply.body.toString()) as { errorType: string; errorMessage: string; trace: string[] };
        assert.equal(body.errorType, error.errorType);
        assert.equal(body.errorMessage, error.errorMessage);
        assert.ok(Array.isArray(body.trace));
      }
      environment.assign({ kind: 'stop' });
      harness.worker.host.close(environment.id);
      await environment.departure;
    });
  }

  for (const { handler, errorType, errorMessage } of INIT_CASES) {
    test(`init of ${handler}: ${errorType}`, async () => {
      const environment = await harness.open({ folder, handler, runtime: 'nodejs20.x' });
      const body = await environment.initError();
      assert.equal(body.errorType, errorType);
      assert.match(body.errorMessage, errorMessage);
    });
  }

  test('nodejs24.x refuses handlers that take a callback, as Lambda does', async () => {
    const environment = await harness.open({ folder, handler: 'index.callback', runtime: 'nodejs24.x' });
    assert.equal((await environment.initError()).errorType, 'Runtime.CallbackHandlerDeprecated');
  });

  test('the context object', async () => {
    const environment = await harness.open({ folder, handler: 'index.context' });
    await environment.polled();
    const clientContext = Buffer.from('{\n "custom": { "ünï": "✓" }\n}').toString('base64');
    const reply = await harness.invoke(environment, {}, { id: 'the-request-id', clientContext });
    const { logStreamName, ...context } = JSON.parse(reply.body.toString()) as Record<string, unknown>;
    assert.match(String(logStreamName), /^\d{4}\/\d\d\/\d\d\/\[\$LATEST\][0-9a-f]{32}$/);
    assert.deepEqual(context, {
      functionVersion: '$LATEST',
      functionName: 'trial',
      memoryLimitInMB: '256',
      logGroupName: '/aws/lambda/trial',
      clientContext: { custom: { ünï: '✓' } },
      invokedFunctionArn: 'arn:aws:lambda:us-east-1:000000000000:function:trial',
      awsRequestId: 'the-request-id',
      callbackWaitsForEmptyEventLoop: true,
      remaining: true,
      functions: ['done', 'fail', 'getRemainingTimeInMillis', 'succeed'],
    });
  });

  test("the environment holds Lambda's variables and the function's, and nothing of the platform's", async () => {
    const environment = await harness.open({ folder, handler: 'index.environment', environment: { OWN: 'välue', AWS_REGION_OF_MINE: 'x' } });
    await environment.polled();
    const reply = await harness.invoke(environment, {});
    const seen = JSON.parse(reply.body.toString()) as Record<string, string>;
    assert.deepEqual(
      Object.keys(seen).sort(),
      'AWS_ACCESS_KEY_ID AWS_DEFAULT_REGION AWS_ENDPOINT_URL AWS_EXECUTION_ENV AWS_LAMBDA_FUNCTION_MEMORY_SIZE AWS_LAMBDA_FUNCTION_NAME AWS_LAMBDA_FUNCTION_VERSION AWS_LAMBDA_INITIALIZATION_TYPE AWS_LAMBDA_LOG_GROUP_NAME AWS_LAMBDA_LOG_STREAM_NAME AWS_LAMBDA_RUNTIME_API AWS_REGION AWS_REGION_OF_MINE AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN LAMBDA_RUNTIME_DIR LAMBDA_TASK_ROOT LANG LD_LIBRARY_PATH OWN PATH TZ _HANDLER _X_AMZN_TRACE_ID cwd tmp'
        .split(' ')
        .concat(seen.TMPDIR === undefined ? [] : ['TMPDIR'])
        .sort(),
    );
    assert.equal(seen.OWN, 'välue');
    assert.equal(seen.cwd, seen.LAMBDA_TASK_ROOT);
    assert.equal(seen._X_AMZN_TRACE_ID, 'Root=1-5759e988-bd862e3fe1be46a994272793');
    assert.equal(seen.AWS_EXECUTION_ENV, 'AWS_Lambda_nodejs22.x');
    assert.equal(seen.AWS_ENDPOINT_URL, 'http://127.0.0.1:9400');
  });

  test('variables that act at process start act', async () => {
    const environment = await harness.open({ folder, handler: 'index.environment', environment: { NODE_OPTIONS: '--stack-trace-limit=3 --title=mine', TZ: 'Asia/Tokyo' } });
    await environment.polled();
    const seen = JSON.parse((await harness.invoke(environment, {})).body.toString()) as Record<string, string>;
    assert.equal(seen.TZ, 'Asia/Tokyo');
    assert.equal(seen.NODE_OPTIONS, '--stack-trace-limit=3 --title=mine');
  });

  test('the log tail holds all that was printed before the response, in Lambda’s format', async () => {
    const environment = await harness.open({ folder, handler: 'index.logs' });
    await environment.polled();
    const { logTail = Buffer.alloc(0) } = await harness.invoke(environment, {}, { id: 'request', logTail: true });
    const text = logTail.toString().replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, 'TIME').replace(/\n +at .*(?=\n)/g, '').replace(/\d+\.\d\d ms/g, 'N ms').replace(/Billed Duration: \d+/, 'Billed Duration: N').replace(/Used: \d+/, 'Used: N');
    // Standard error is a pipe of its own: its place among the others is open.
    const lines = text.split('\n').filter((line) => line !== 'raw error');
    assert.ok(text.includes('\nraw error\n'));
    assert.deepEqual(lines, [
      'START RequestId: request Version: $LATEST',
      'TIME\trequest\tINFO\tplain',
      'TIME\trequest\tINFO\tinfo 7',
      'TIME\trequest\tWARN\ttwo',
      'lines',
      'TIME\trequest\tERROR\tError: logged',
      'TIME\trequest\tDEBUG\t{ a: 1 }',
      'TIME\trequest\tTRACE\ttrace',
      'raw line',
      'END RequestId: request',
      'REPORT RequestId: request\tDuration: N ms\tBilled Duration: N ms\tMemory Size: 256 MB\tMax Memory Used: N MB\tInit Duration: N ms\t',
      '',
    ]);
  });

  test('a record of several lines is one event', async () => {
    const environment = await harness.open({ folder, handler: 'index.logs' });
    await environment.polled();
    await harness.invoke(environment, {}, { logTail: true });
    assert.ok(harness.lines.some(({ message }) => message.endsWith('\tWARN\ttwo\nlines')));
  });

  test('the log of an invocation is complete however much it printed, and stays its own', async () => {
    const environment = await harness.open({ folder, handler: 'index.manyLines' });
    await environment.polled();
    for (const lines of [20_000, 3, 5_000]) {
      const id = `many-${lines}`;
      const reply = await harness.invoke(environment, { lines }, { id, logTail: true });
      assert.equal(reply.kind, 'success');
      assert.ok((reply.logTail?.length ?? 0) <= 4096);
      const own = harness.lines.map(({ message }) => message);
      const from = own.indexOf(`START RequestId: ${id} Version: $LATEST`);
      const to = own.indexOf(`END RequestId: ${id}`);
      assert.equal(own.slice(from, to).filter((message) => message.includes(`\t${id}\tINFO\tline `)).length, lines);
      await environment.polled();
    }
  });

  test('a response is streamed to a caller that takes a stream', async () => {
    const ask = async (handler: string): Promise<readonly unknown[]> => {
      const environment = await harness.open({ folder, handler });
      await environment.polled();
      const record = invocation({}, { responseStream: true });
      environment.assign({ kind: 'invoke', invocation: record, epoch: 1, deliveryId: 1 });
      const { contentType, body } = await harness.stream(record.id);
      const text = (await buffer(body)).toString();
      const polled = await environment.polled();
      const { outcome } = body;
      return [contentType, text, outcome?.kind === 'functionError' ? outcome.errorType : outcome?.kind, polled.kind === 'completed' ? polled.completion.outcome : undefined];
    };
    assert.deepEqual(await ask('index.streams'), ['application/vnd.awslambda.http-integration-response', `{"statusCode":201,"headers":{"x-a":"b"}}${'\0'.repeat(8)}first {"object":true}`, 'success', 'success']);
    assert.deepEqual(await ask('index.streamsPlain'), ['text/plain', 'plain stream', 'success', 'success']);
    assert.deepEqual(await ask('index.streamsThrow'), ['application/octet-stream', 'begun', 'Error', 'functionError']);
  });

  test('streamed responses are collected, with the prelude of an HTTP response', async () => {
    const ask = async (handler: string): Promise<{ kind: string; contentType?: string; body: string }> => {
      const environment = await harness.open({ folder, handler });
      await environment.polled();
      const reply = await harness.invoke(environment, {});
      await environment.polled();
      return { kind: reply.kind, ...('contentType' in reply && reply.contentType !== undefined ? { contentType: reply.contentType } : {}), body: reply.body.toString() };
    };
    assert.deepEqual(await ask('index.streams'), { kind: 'success', contentType: 'application/vnd.awslambda.http-integration-response', body: `{"statusCode":201,"headers":{"x-a":"b"}}${'\0'.repeat(8)}first {"object":true}` });
    assert.deepEqual(await ask('index.streamsPlain'), { kind: 'success', contentType: 'text/plain', body: 'plain stream' });
    for (const [handler, message] of [['index.streamsThrow', 'midway'], ['index.streamsThrowAtOnce', 'before anything']] as const) {
      const failed = await ask(handler);
      assert.equal(failed.kind, 'functionError');
      assert.equal((JSON.parse(failed.body) as { errorMessage: string }).errorMessage, message);
    }
  });
});
