/** Invoke as the AWS SDK for JavaScript and the wire see it: types, headers, log tail, names, limits of concurrency, retries. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { DeleteFunctionCommand, InvokeCommand } from '@aws-sdk/client-lambda';
import { deploy, failure, invoke, result } from '../support/functions.ts';
import { Observer, REPORTING_FUNCTION } from '../support/observer.ts';
import { send } from '../support/raw-http.ts';
import { isError } from '../support/sdk-errors.ts';
import { startSluice, type TestSluice } from '../support/sluice.ts';

const ARN = 'arn:aws:lambda:us-east-1:000000000000:function';
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const ECHO = { 'index.js': 'exports.handler = async (event) => event;' };

describe('Invoke through the AWS SDK for JavaScript', () => {
  let sluice: TestSluice;
  let observer: Observer;
  before(async () => {
    observer = await Observer.start();
    sluice = await startSluice({ SLUICE_ASYNC_RETRY_BASE_MS: '5' });
    await deploy(sluice.lambda, { name: 'echo', files: ECHO });
    await deploy(sluice.lambda, { name: 'reporting', files: { 'index.js': REPORTING_FUNCTION }, variables: { OBSERVER: observer.url }, Timeout: 60 });
  });
  after(async () => {
    await observer.close();
    await sluice.stop();
  });

  test('RequestResponse answers what the handler returned', async () => {
    const { output, text } = await invoke(sluice.lambda, 'echo', { deep: [{ ü: '€ 😀' }, null, 1.5] });
    assert.equal(output.StatusCode, 200);
    assert.equal(output.ExecutedVersion, '$LATEST');
    assert.equal(output.FunctionError, undefined);
    assert.equal(output.LogResult, undefined);
    assert.match(output.$metadata.requestId ?? '', UUID);
    assert.deepEqual(JSON.parse(text), { deep: [{ ü: '€ 😀' }, null, 1.5] });
  });

  test('without a payload the event is an empty object', async () => {
    const { Payload } = await sluice.lambda.send(new InvokeCommand({ FunctionName: 'echo' }));
    assert.equal(Buffer.from(Payload ?? []).toString(), '{}');
  });

  test('the answer carries the documented headers', async () => {
    const answer = await send(sluice.url, { path: '/2015-03-31/functions/echo/invocations', body: '{"a":1}', headers: { 'x-amz-log-type': 'Tail' } });
    assert.equal(answer.status, 200);
    assert.equal(answer.text, '{"a":1}');
    assert.match(String(answer.headers['x-amzn-requestid']), UUID);
    assert.equal(answer.headers['x-amz-executed-version'], '$LATEST');
    assert.equal(answer.headers['content-type'], 'application/json');
    assert.equal(answer.headers['x-amz-function-error'], undefined);
    const requestId = String(answer.headers['x-amzn-requestid']);
    const tail = Buffer.from(String(answer.headers['x-amz-log-result']), 'base64').toString();
    assert.match(tail, new RegExp(`^START RequestId: ${requestId} Version: \\$LATEST\n`, 'm'));
    assert.match(tail, new RegExp(`^END RequestId: ${requestId}\n`, 'm'));
    assert.match(
      tail,
      new RegExp(`^REPORT RequestId: ${requestId}\tDuration: \\d+\\.\\d\\d ms\tBilled Duration: \\d+ ms\tMemory Size: 128 MB\tMax Memory Used: \\d+ MB\t`, 'm'),
    );
  });

  test('Event answers 202 with nothing, and the function runs once', async () => {
    const { output, text } = await invoke(sluice.lambda, 'reporting', { mark: 'event' }, { InvocationType: 'Event' });
    assert.equal(output.StatusCode, 202);
    assert.equal(text, '');
    assert.equal(output.ExecutedVersion, undefined);
    await observer.until(() => observer.count('event') === 1);
    const [sighting] = observer.sightings.filter(({ mark }) => mark === 'event');
    assert.equal(sighting?.requestId, output.$metadata.requestId);
  });

  test('DryRun answers 204 and runs nothing', async () => {
    const { output, text } = await invoke(sluice.lambda, 'reporting', { mark: 'dry' }, { InvocationType: 'DryRun' });
    assert.equal(output.StatusCode, 204);
    assert.equal(text, '');
    await invoke(sluice.lambda, 'reporting', { mark: 'after-dry' });
    assert.equal(observer.count('dry'), 0);
    assert.equal(observer.count('after-dry'), 1);
    await assert.rejects(invoke(sluice.lambda, 'nobody', {}, { InvocationType: 'DryRun' }), { name: 'ResourceNotFoundException' });
  });

  test('a failing Event runs exactly three times, under one request id', async () => {
    // The second and third event give a fourth attempt of the first all the time that it would need.
    for (const mark of ['fail-1', 'fail-2', 'fail-3']) {
      await invoke(sluice.lambda, 'reporting', { mark, fail: true }, { InvocationType: 'Event' });
      await observer.until(() => observer.count(mark) === 3);
    }
    const attempts = observer.sightings.filter(({ mark }) => mark === 'fail-1');
    assert.equal(attempts.length, 3);
    assert.equal(new Set(attempts.map(({ requestId }) => requestId)).size, 1);
    assert.equal(observer.count('fail-2'), 3);
  });

  test('a client context reaches the function', async () => {
    await deploy(sluice.lambda, { name: 'client-context', files: { 'index.js': 'exports.handler = async (event, context) => context.clientContext;' } });
    const clientContext = { custom: { who: 'me' }, env: { locale: 'de' } };
    const ClientContext = Buffer.from(JSON.stringify(clientContext)).toString('base64');
    assert.deepEqual(await result(sluice.lambda, 'client-context', {}, { ClientContext }), clientContext);
  });

  test('LogType=Tail brings the last 4 KiB of what the function printed', async () => {
    await deploy(sluice.lambda, {
      name: 'talkative',
      files: { 'index.js': 'exports.handler = async () => { for (let line = 0; line < 500; line++) console.log("line " + line + " of many"); };' },
    });
    const { tail, output } = await invoke(sluice.lambda, 'talkative', {}, { LogType: 'Tail' });
    assert.equal(output.FunctionError, undefined);
    assert.ok(Buffer.byteLength(tail) <= 4096, `${Buffer.byteLength(tail)} bytes`);
    assert.match(tail, /INFO\tline 499 of many\n/);
    assert.match(tail, /REPORT RequestId: /);
    assert.doesNotMatch(tail, /line 1 of many/);
  });

  test('unknown functions and qualifiers are not found', async () => {
    await assert.rejects(invoke(sluice.lambda, 'nobody'), isError('ResourceNotFoundException', 404, `Function not found: ${ARN}:nobody`));
    await assert.rejects(invoke(sluice.lambda, 'echo', {}, { Qualifier: '7' }), isError('ResourceNotFoundException', 404, `Function not found: ${ARN}:echo:7`));
    await assert.rejects(invoke(sluice.lambda, 'echo:prod'), isError('ResourceNotFoundException', 404, `Function not found: ${ARN}:echo:prod`));
    await assert.rejects(
      invoke(sluice.lambda, 'nobody', {}, { InvocationType: 'Event' }),
      isError('ResourceNotFoundException', 404, `Function not found: ${ARN}:nobody`),
    );
  });

  test('payloads of exactly the limit go through both ways', async () => {
    const padding = 6_291_456 - Buffer.byteLength('{"p":""}');
    const event = { p: 'x'.repeat(padding) };
    assert.equal((await result<{ p: string }>(sluice.lambda, 'echo', event)).p.length, padding);
  });

  test('a result over the limit is an error of the function', async () => {
    await deploy(sluice.lambda, { name: 'too-much', files: { 'index.js': 'exports.handler = async () => "x".repeat(6291600);' } });
    const { errorType, errorMessage } = await failure(sluice.lambda, 'too-much');
    assert.equal(errorType, 'Function.ResponseSizeTooLarge');
    assert.equal(errorMessage, 'Response payload size exceeded maximum allowed payload size (6291556 bytes).');
  });

  test('a deleted function answers those who still run, and accepts nobody', async () => {
    await deploy(sluice.lambda, { name: 'leaving', files: { 'index.js': REPORTING_FUNCTION }, variables: { OBSERVER: observer.url }, Timeout: 60 });
    observer.hold = true;
    const running = invoke(sluice.lambda, 'leaving', { mark: 'leaving' });
    await observer.until(() => observer.count('leaving') === 1);
    await sluice.lambda.send(new DeleteFunctionCommand({ FunctionName: 'leaving' }));
    await assert.rejects(invoke(sluice.lambda, 'leaving'), { name: 'ResourceNotFoundException' });
    observer.releaseAll();
    assert.equal((await running).output.StatusCode, 200);
  });
});

describe('limits of concurrency', () => {
  let sluice: TestSluice;
  let observer: Observer;
  before(async () => {
    observer = await Observer.start();
    sluice = await startSluice({ SLUICE_ACCOUNT_CONCURRENCY: '3' });
    await deploy(sluice.lambda, { name: 'held', files: { 'index.js': REPORTING_FUNCTION }, variables: { OBSERVER: observer.url }, Timeout: 120 });
  });
  after(async () => {
    await observer.close();
    await sluice.stop();
  });

  test('callers above the account limit get 429 with the Reason; Events wait; then all goes on', async () => {
    observer.hold = true;
    const held = ['a', 'b', 'c'].map((mark) => invoke(sluice.lambda, 'held', { mark }));
    await observer.until(() => observer.sightings.length === 3);
    await assert.rejects(invoke(sluice.lambda, 'held', { mark: 'd' }), (error: Error & { Reason?: string; retryAfterSeconds?: string }) => {
      isError('TooManyRequestsException', 429, 'Rate Exceeded.')(error);
      assert.equal(error.Reason, 'ConcurrentInvocationLimitExceeded');
      return true;
    });
    const event = await invoke(sluice.lambda, 'held', { mark: 'later' }, { InvocationType: 'Event' });
    assert.equal(event.output.StatusCode, 202);
    assert.equal(observer.sightings.length, 3);
    observer.releaseAll();
    assert.deepEqual((await Promise.all(held)).map(({ text }) => text), ['{"mark":"a"}', '{"mark":"b"}', '{"mark":"c"}']);
    await observer.until(() => observer.count('later') === 1);
    assert.equal(observer.count('d'), 0);
    assert.deepEqual(await result(sluice.lambda, 'held', { mark: 'again' }), { mark: 'again' });
  });
});
