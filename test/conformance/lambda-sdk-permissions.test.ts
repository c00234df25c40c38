/** Resource-based policies as the AWS SDK for JavaScript sees them. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  AddPermissionCommand,
  CreateAliasCommand,
  DeleteAliasCommand,
  DeleteFunctionCommand,
  GetAliasCommand,
  GetFunctionConfigurationCommand,
  GetPolicyCommand,
  PublishVersionCommand,
  RemovePermissionCommand,
  UpdateFunctionConfigurationCommand,
  type AddPermissionCommandInput,
} from '@aws-sdk/client-lambda';
import { deploy, result } from '../support/functions.ts';
import { isError } from '../support/sdk-errors.ts';
import { startSluice, type TestSluice } from '../support/sluice.ts';

const ARN = 'arn:aws:lambda:us-east-1:000000000000:function';
/** Says how often its environment was called. */
const COUNTING = { 'index.js': 'let calls = 0; exports.handler = async () => ++calls;' };
const S3 = { StatementId: 's3', Action: 'lambda:InvokeFunction', Principal: 's3.amazonaws.com' } as const;

describe('resource-based policies through the AWS SDK for JavaScript', () => {
  let sluice: TestSluice;
  before(async () => {
    sluice = await startSluice();
  });
  after(() => sluice.stop());

  const add = async (name: string, change: Partial<AddPermissionCommandInput> = {}): Promise<unknown> => {
    const { Statement, $metadata } = await sluice.lambda.send(new AddPermissionCommand({ FunctionName: name, ...S3, ...change }));
    assert.equal($metadata.httpStatusCode, 201);
    return JSON.parse(Statement ?? '');
  };
  const policy = async (name: string, qualifier?: string): Promise<{ readonly document: unknown; readonly revision: string | undefined }> => {
    const { Policy, RevisionId } = await sluice.lambda.send(new GetPolicyCommand({ FunctionName: name, Qualifier: qualifier }));
    return { document: JSON.parse(Policy ?? ''), revision: RevisionId };
  };
  const configuration = (name: string, qualifier?: string) => sluice.lambda.send(new GetFunctionConfigurationCommand({ FunctionName: name, Qualifier: qualifier }));
  const missing = isError('ResourceNotFoundException', 404, 'The resource you requested does not exist.');

  test('a statement is what was asked for, and the policy has it until it is removed', async () => {
    await deploy(sluice.lambda, { name: 'granted', files: COUNTING });
    await assert.rejects(policy('granted'), missing);
    const s3 = { Sid: 's3', Effect: 'Allow', Principal: { Service: 's3.amazonaws.com' }, Action: 'lambda:InvokeFunction', Resource: `${ARN}:granted` };
    assert.deepEqual(await add('granted'), s3);
    const conditions = { SourceArn: 'arn:aws:s3:::bucket', SourceAccount: '111122223333', PrincipalOrgID: 'o-abcdef1234', EventSourceToken: 'token' };
    const full = {
      ...s3, Sid: 'full',
      Condition: { StringEquals: { 'AWS:SourceAccount': '111122223333', 'aws:PrincipalOrgID': 'o-abcdef1234', 'lambda:EventSourceToken': 'token' }, ArnLike: { 'AWS:SourceArn': 'arn:aws:s3:::bucket' } },
    };
    assert.deepEqual(await add('granted', { StatementId: 'full', ...conditions }), full);
    assert.deepEqual((await policy('granted')).document, { Version: '2012-10-17', Id: 'default', Statement: [s3, full] });
    await sluice.lambda.send(new RemovePermissionCommand({ FunctionName: 'granted', StatementId: 's3' }));
    assert.deepEqual((await policy('granted')).document, { Version: '2012-10-17', Id: 'default', Statement: [full] });
    await sluice.lambda.send(new RemovePermissionCommand({ FunctionName: 'granted', StatementId: 'full' }));
    await assert.rejects(policy('granted'), missing);
  });

  for (const [principal, shown] of [
    ['*', '*'],
    ['111122223333', { AWS: 'arn:aws:iam::111122223333:root' }],
    ['arn:aws:iam::111122223333:role/r', { AWS: 'arn:aws:iam::111122223333:role/r' }],
    ['events.amazonaws.com', { Service: 'events.amazonaws.com' }],
  ] as const) {
    test(`the principal ${principal} is shown as IAM has it`, async () => {
      const name = `principal-${principal.replaceAll(/[^a-z0-9]/gi, '')}`;
      await deploy(sluice.lambda, { name, files: COUNTING });
      assert.deepEqual((await add(name, { Principal: principal }) as { Principal: unknown }).Principal, shown);
    });
  }

  test('conditions of function URLs are for their own action', async () => {
    await deploy(sluice.lambda, { name: 'url', files: COUNTING });
    const url = await add('url', { StatementId: 'url', Action: 'lambda:InvokeFunctionUrl', Principal: '*', FunctionUrlAuthType: 'NONE' });
    assert.deepEqual((url as { Condition: unknown }).Condition, { StringEquals: { 'lambda:FunctionUrlAuthType': 'NONE' } });
    assert.deepEqual((await add('url', { StatementId: 'via', Principal: '*', InvokedViaFunctionUrl: true }) as { Condition: unknown }).Condition, { Bool: { 'lambda:InvokedViaFunctionUrl': 'true' } });
    await assert.rejects(add('url', { StatementId: 'wrong', FunctionUrlAuthType: 'NONE' }), isError('InvalidParameterValueException', 400, 'FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action'));
  });

  test('the function, a version and an alias have policies of their own, which go with them', async () => {
    await deploy(sluice.lambda, { name: 'apart', files: COUNTING });
    await sluice.lambda.send(new PublishVersionCommand({ FunctionName: 'apart' }));
    await sluice.lambda.send(new PublishVersionCommand({ FunctionName: 'apart' }));
    await sluice.lambda.send(new CreateAliasCommand({ FunctionName: 'apart', Name: 'live', FunctionVersion: '1' }));
    for (const qualifier of [undefined, '1', 'live']) {
      await assert.rejects(policy('apart', qualifier), missing);
      assert.equal((await add('apart', { Qualifier: qualifier }) as { Resource: string }).Resource, `${ARN}:apart${qualifier === undefined ? '' : `:${qualifier}`}`);
    }
    assert.deepEqual((await policy('apart:live')).document, (await policy('apart', 'live')).document);
    await sluice.lambda.send(new DeleteAliasCommand({ FunctionName: 'apart', Name: 'live' }));
    await assert.rejects(policy('apart', 'live'), isError('ResourceNotFoundException', 404, /Function not found: .*:apart:live/));
    await sluice.lambda.send(new CreateAliasCommand({ FunctionName: 'apart', Name: 'live', FunctionVersion: '1' }));
    await assert.rejects(policy('apart', 'live'), missing);
    await sluice.lambda.send(new DeleteFunctionCommand({ FunctionName: 'apart' }));
    await deploy(sluice.lambda, { name: 'apart', files: COUNTING });
    await assert.rejects(policy('apart'), missing);
  });

  test('a change of a policy changes the RevisionId that it belongs to, and keeps environments warm', async () => {
    await deploy(sluice.lambda, { name: 'revised', files: COUNTING, Publish: true });
    await sluice.lambda.send(new CreateAliasCommand({ FunctionName: 'revised', Name: 'live', FunctionVersion: '1' }));
    assert.equal(await result(sluice.lambda, 'revised'), 1);
    const before = (await configuration('revised')).RevisionId;
    await add('revised', { RevisionId: before });
    const after = (await configuration('revised')).RevisionId;
    assert.notEqual(after, before);
    assert.equal((await policy('revised')).revision, after);
    assert.equal(await result(sluice.lambda, 'revised'), 2, 'the same environment');
    const stale = isError('PreconditionFailedException', 412, /The Revision Id provided does not match the latest Revision Id\. Call the GetPolicy API/);
    await assert.rejects(add('revised', { StatementId: 'again', RevisionId: before }), stale);
    await assert.rejects(sluice.lambda.send(new RemovePermissionCommand({ FunctionName: 'revised', StatementId: 's3', RevisionId: before })), stale);
    await assert.rejects(sluice.lambda.send(new UpdateFunctionConfigurationCommand({ FunctionName: 'revised', Description: 'd', RevisionId: before })), isError('PreconditionFailedException', 412));
    await sluice.lambda.send(new UpdateFunctionConfigurationCommand({ FunctionName: 'revised', Description: 'd', RevisionId: after }));
    assert.notEqual((await configuration('revised')).RevisionId, after);

    const version = (await configuration('revised', '1')).RevisionId;
    await add('revised', { Qualifier: '1', RevisionId: version });
    assert.notEqual((await configuration('revised', '1')).RevisionId, version);
    const alias = (await sluice.lambda.send(new GetAliasCommand({ FunctionName: 'revised', Name: 'live' }))).RevisionId;
    await add('revised', { Qualifier: 'live', RevisionId: alias });
    const changed = (await sluice.lambda.send(new GetAliasCommand({ FunctionName: 'revised', Name: 'live' }))).RevisionId;
    assert.notEqual(changed, alias);
    assert.equal((await policy('revised', 'live')).revision, changed);
  });

  test('what cannot be is refused in Lambda\'s words', async () => {
    await deploy(sluice.lambda, { name: 'refused', files: COUNTING });
    const remove = (sid: string) => sluice.lambda.send(new RemovePermissionCommand({ FunctionName: 'refused', StatementId: sid }));
    await assert.rejects(remove('s3'), isError('ResourceNotFoundException', 404, 'No policy is associated with the given resource.'));
    await add('refused');
    await assert.rejects(add('refused'), isError('ResourceConflictException', 409, 'The statement id (s3) provided already exists. Please provide a new statement id, or remove the existing statement.'));
    await assert.rejects(remove('other'), isError('ResourceNotFoundException', 404, 'Statement other is not found in resource policy.'));
    await assert.rejects(add('refused', { StatementId: 'p', Principal: 'no.Principal' }), isError('InvalidParameterValueException', 400, 'The provided principal was invalid. Please check the principal and try again.'));
    await assert.rejects(add('refused', { StatementId: 'q', Qualifier: '$LATEST' }), isError('InvalidParameterValueException', 400, 'We currently do not support adding policies for $LATEST.'));
    await assert.rejects(add('refused', { StatementId: 'q', Qualifier: '7' }), isError('ResourceNotFoundException', 404, /Function not found: .*:refused:7/));
    await assert.rejects(add('nowhere'), isError('ResourceNotFoundException', 404, /Function not found: .*:nowhere/));
    await assert.rejects(add('refused', { StatementId: 'not a sid' }), isError('ValidationException', 400, /statementId/));
  });

  test('a policy is no longer than Lambda has it', async () => {
    await deploy(sluice.lambda, { name: 'long', files: COUNTING });
    const grow = async (): Promise<void> => {
      for (let i = 0; i < 200; i++) await add('long', { StatementId: `statement-${'x'.repeat(80)}-${i}` });
    };
    await assert.rejects(grow(), isError('PolicyLengthExceededException', 400, /The final policy size \(\d+\) is bigger than the limit \(20480\)\./));
    assert.ok(JSON.stringify((await policy('long')).document).length <= 20_480);
  });
});
