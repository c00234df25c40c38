/** What a function's owner says of its asynchronous invocations, as the AWS SDK for JavaScript sees it and as it comes out. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  CreateAliasCommand,
  DeleteAliasCommand,
  DeleteFunctionEventInvokeConfigCommand,
  GetFunctionEventInvokeConfigCommand,
  InvokeAsyncCommand,
  InvokeCommand,
  ListFunctionEventInvokeConfigsCommand,
  PublishVersionCommand,
  PutFunctionEventInvokeConfigCommand,
  UpdateFunctionEventInvokeConfigCommand,
  type PutFunctionEventInvokeConfigCommandInput,
} from '@aws-sdk/client-lambda';
import { deploy } from '../support/functions.ts';
import { Observer, REPORTING_FUNCTION } from '../support/observer.ts';
import { isError } from '../support/sdk-errors.ts';
import { startSluice, type TestSluice } from '../support/sluice.ts';

const ARN = 'arn:aws:lambda:us-east-1:000000000000:function';
const FILES = { 'index.js': REPORTING_FUNCTION };
type Settings = Omit<PutFunctionEventInvokeConfigCommandInput, 'FunctionName'>;

describe('event invoke configs through the AWS SDK for JavaScript', () => {
  let sluice: TestSluice;
  let observer: Observer;
  before(async () => {
    observer = await Observer.start();
    sluice = await startSluice({ SLUICE_ASYNC_RETRY_BASE_MS: '5' });
  });
  after(async () => {
    await observer.close();
    await sluice.stop();
  });

  const put = (name: string, settings: Settings) => sluice.lambda.send(new PutFunctionEventInvokeConfigCommand({ FunctionName: name, ...settings }));
  const get = (name: string, qualifier?: string) => sluice.lambda.send(new GetFunctionEventInvokeConfigCommand({ FunctionName: name, Qualifier: qualifier }));
  const none = (name: string, qualifier = '$LATEST') => isError('ResourceNotFoundException', 404, `The function ${ARN}:${name}:${qualifier} doesn't have an EventInvokeConfig`);
  const noFunction = isError('ResourceNotFoundException', 404, "The function doesn't exist.");
  const fails = (name: string, mark: string, qualifier?: string) => sluice.lambda.send(new InvokeCommand({ FunctionName: name, Qualifier: qualifier, InvocationType: 'Event', Payload: JSON.stringify({ mark, fail: true }) }));

  test('a config is put, read, changed member by member, put anew and deleted', async () => {
    await deploy(sluice.lambda, { name: 'configured', files: FILES });
    await assert.rejects(get('configured'), none('configured'));
    const before = Date.now();
    const { LastModified, $metadata, ...made } = await put('configured', { MaximumRetryAttempts: 1, MaximumEventAgeInSeconds: 60 });
    assert.deepEqual(made, { FunctionArn: `${ARN}:configured:$LATEST`, MaximumRetryAttempts: 1, MaximumEventAgeInSeconds: 60, DestinationConfig: { OnSuccess: {}, OnFailure: {} } });
    assert.equal($metadata.httpStatusCode, 200);
    assert.ok(LastModified !== undefined && Math.abs(LastModified.getTime() - before) < 60_000);
    const read = await get('configured', '$LATEST');
    assert.deepEqual([read.FunctionArn, read.MaximumRetryAttempts, read.LastModified], [made.FunctionArn, 1, LastModified]);
    const updated = await sluice.lambda.send(new UpdateFunctionEventInvokeConfigCommand({ FunctionName: 'configured', MaximumRetryAttempts: 0 }));
    assert.deepEqual([updated.MaximumRetryAttempts, updated.MaximumEventAgeInSeconds], [0, 60]);
    const anew = await put('configured', { MaximumEventAgeInSeconds: 21_600 });
    assert.deepEqual([anew.MaximumRetryAttempts, anew.MaximumEventAgeInSeconds], [undefined, 21_600]);
    const deleted = await sluice.lambda.send(new DeleteFunctionEventInvokeConfigCommand({ FunctionName: 'configured' }));
    assert.equal(deleted.$metadata.httpStatusCode, 204);
    await assert.rejects(get('configured'), none('configured'));
  });

  test('each qualifier has its own; they are listed by pages, and go with what they are of', async () => {
    await deploy(sluice.lambda, { name: 'listed', files: FILES });
    await sluice.lambda.send(new PublishVersionCommand({ FunctionName: 'listed' }));
    await sluice.lambda.send(new CreateAliasCommand({ FunctionName: 'listed', Name: 'live', FunctionVersion: '1' }));
    const list = async (marker?: string) => {
      const { FunctionEventInvokeConfigs = [], NextMarker } = await sluice.lambda.send(new ListFunctionEventInvokeConfigsCommand({ FunctionName: 'listed', MaxItems: 2, Marker: marker }));
      return { arns: FunctionEventInvokeConfigs.map(({ FunctionArn }) => FunctionArn), next: NextMarker };
    };
    assert.deepEqual(await list(), { arns: [], next: undefined });
    for (const qualifier of [undefined, '1', 'live']) await put('listed', { Qualifier: qualifier, MaximumRetryAttempts: 1 });
    const first = await list();
    assert.deepEqual(first.arns, [`${ARN}:listed:$LATEST`, `${ARN}:listed:1`]);
    assert.deepEqual(await list(first.next), { arns: [`${ARN}:listed:live`], next: undefined });
    await sluice.lambda.send(new DeleteAliasCommand({ FunctionName: 'listed', Name: 'live' }));
    await sluice.lambda.send(new CreateAliasCommand({ FunctionName: 'listed', Name: 'live', FunctionVersion: '1' }));
    await assert.rejects(get('listed', 'live'), none('listed', 'live'));
    assert.equal((await get('listed', '1')).MaximumRetryAttempts, 1);
  });

  test('an event that fails is tried again as often as its qualifier says', async () => {
    await deploy(sluice.lambda, { name: 'failing', files: FILES, variables: { OBSERVER: observer.url }, Publish: true });
    await sluice.lambda.send(new CreateAliasCommand({ FunctionName: 'failing', Name: 'once', FunctionVersion: '1' }));
    await put('failing', { Qualifier: 'once', MaximumRetryAttempts: 0 });
    await put('failing', { MaximumRetryAttempts: 1 });
    await fails('failing', 'never again', 'once');
    await fails('failing', 'once more');
    await observer.until(() => observer.count('once more') === 2);
    // Version 1 by its number has no config: two more, as Lambda has it where nothing is said, and later than any other would have been.
    await fails('failing', 'twice more', '1');
    await observer.until(() => observer.count('twice more') === 3);
    assert.deepEqual(['never again', 'once more', 'twice more'].map((mark) => observer.count(mark)), [1, 2, 3]);
  });

  test('InvokeAsync, the form before invocation types, takes an event under the same config', async () => {
    await deploy(sluice.lambda, { name: 'formerly', files: FILES, variables: { OBSERVER: observer.url } });
    await put('formerly', { MaximumRetryAttempts: 1 });
    const invokeAsync = (name: string, args: string) => sluice.lambda.send(new InvokeAsyncCommand({ FunctionName: name, InvokeArgs: Buffer.from(args) }));
    const { Status } = await invokeAsync('formerly', JSON.stringify({ mark: 'formerly', fail: true }));
    assert.equal(Status, 202);
    await observer.until(() => observer.count('formerly') === 2);
    await assert.rejects(invokeAsync('formerly', 'no JSON'), isError('InvalidRequestContentException', 400));
    await assert.rejects(invokeAsync('nowhere', '{}'), isError('ResourceNotFoundException', 404, /Function not found/));
  });

  test('what cannot be is refused in Lambda\'s words', async () => {
    await deploy(sluice.lambda, { name: 'refused', files: FILES });
    await assert.rejects(put('refused', {}), isError('InvalidParameterValueException', 400, 'You must specify at least one of error handling or destination setting.'));
    await assert.rejects(put('nowhere', { MaximumRetryAttempts: 1 }), noFunction);
    await assert.rejects(put('refused', { Qualifier: '7', MaximumRetryAttempts: 1 }), noFunction);
    await assert.rejects(sluice.lambda.send(new UpdateFunctionEventInvokeConfigCommand({ FunctionName: 'refused', MaximumRetryAttempts: 1 })), none('refused'));
    await assert.rejects(sluice.lambda.send(new DeleteFunctionEventInvokeConfigCommand({ FunctionName: 'refused' })), none('refused'));
    // A name that every object has a member of.
    await put('refused', { MaximumRetryAttempts: 1 });
    await assert.rejects(get('refused', 'constructor'), none('refused', 'constructor'));
    await assert.rejects(get('nowhere'), none('nowhere'));
    await assert.rejects(sluice.lambda.send(new ListFunctionEventInvokeConfigsCommand({ FunctionName: 'nowhere' })), noFunction);
    for (const settings of [{ MaximumRetryAttempts: 3 }, { MaximumEventAgeInSeconds: 59 }]) await assert.rejects(put('refused', settings), isError('ValidationException', 400));
    // Said, until there are destinations.
    await assert.rejects(put('refused', { DestinationConfig: { OnFailure: { Destination: 'arn:aws:sqs:us-east-1:000000000000:q' } } }), isError('InvalidParameterValueException', 400, /DestinationConfig\.OnFailure\.Destination/));
    assert.equal((await put('refused', { DestinationConfig: { OnSuccess: {} } })).MaximumRetryAttempts, undefined);
  });
});
