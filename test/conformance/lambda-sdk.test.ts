/** Functions as the AWS SDK for JavaScript sees them: create, read, list, update, delete, tag. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import {
  CreateFunctionCommand,
  DeleteFunctionCommand,
  GetFunctionCommand,
  GetFunctionConfigurationCommand,
  ListFunctionsCommand,
  ListTagsCommand,
  TagResourceCommand,
  UntagResourceCommand,
  UpdateFunctionCodeCommand,
  UpdateFunctionConfigurationCommand,
  paginateListFunctions,
} from '@aws-sdk/client-lambda';
import { ROLE, deploy, result, updated } from '../support/functions.ts';
import { zip } from '../support/packages.ts';
import { isError } from '../support/sdk-errors.ts';
import { startSluice, type TestSluice } from '../support/sluice.ts';

const ARN = 'arn:aws:lambda:us-east-1:000000000000:function';
const ECHO = { 'index.js': 'exports.handler = async (event) => event;' };
const STALE_REVISION =
  'The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id';
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('base64');

describe('functions through the AWS SDK for JavaScript', () => {
  let sluice: TestSluice;
  before(async () => {
    sluice = await startSluice();
  });
  after(() => sluice.stop());

  test('CreateFunction answers the whole configuration', async () => {
    const code = await zip(ECHO);
    const created = await sluice.lambda.send(
      new CreateFunctionCommand({
        FunctionName: 'whole',
        Runtime: 'nodejs22.x',
        Handler: 'index.handler',
        Role: ROLE,
        Description: 'says what it hears',
        Timeout: 7,
        MemorySize: 256,
        EphemeralStorage: { Size: 1024 },
        Environment: { Variables: { COLOUR: 'blue', EMPTY: '' } },
        Tags: { team: 'one' },
        Code: { ZipFile: code },
      }),
    );
    const { $metadata, LastModified, RevisionId, State, ...rest } = created;
    assert.equal($metadata.httpStatusCode, 201);
    assert.match($metadata.requestId ?? '', UUID);
    assert.match(LastModified ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000$/);
    assert.match(RevisionId ?? '', UUID);
    assert.ok(State === 'Pending' || State === 'Active', State);
    assert.equal(rest.FunctionName, 'whole');
    assert.equal(rest.FunctionArn, `${ARN}:whole`);
    assert.equal(rest.Runtime, 'nodejs22.x');
    assert.equal(rest.Role, ROLE);
    assert.equal(rest.Handler, 'index.handler');
    assert.equal(rest.CodeSize, code.length);
    assert.equal(rest.CodeSha256, sha256(code));
    assert.equal(rest.Description, 'says what it hears');
    assert.equal(rest.Timeout, 7);
    assert.equal(rest.MemorySize, 256);
    assert.equal(rest.Version, '$LATEST');
    assert.equal(rest.PackageType, 'Zip');
    assert.deepEqual(rest.EphemeralStorage, { Size: 1024 });
    assert.deepEqual(rest.Environment, { Variables: { COLOUR: 'blue', EMPTY: '' } });
    assert.deepEqual(rest.TracingConfig, { Mode: 'PassThrough' });
    assert.deepEqual(rest.Architectures, ['x86_64']);
    assert.equal(rest.LoggingConfig?.LogGroup, '/aws/lambda/whole');
  });

  test('what a request leaves out has its documented default', async () => {
    const configuration = await deploy(sluice.lambda, { name: 'defaults', files: ECHO });
    assert.equal(configuration.Timeout, 3);
    assert.equal(configuration.MemorySize, 128);
    assert.equal(configuration.Description, '');
    assert.deepEqual(configuration.EphemeralStorage, { Size: 512 });
    assert.equal(configuration.Environment, undefined);
  });

  test('a new function becomes Active, and its code downloads unchanged', async () => {
    const code = await zip(ECHO);
    await deploy(sluice.lambda, { name: 'active', files: ECHO, Tags: { colour: 'red' } });
    const { Configuration, Code, Tags } = await sluice.lambda.send(new GetFunctionCommand({ FunctionName: 'active' }));
    assert.equal(Configuration?.State, 'Active');
    assert.equal(Configuration.LastUpdateStatus, 'Successful');
    assert.equal(Code?.RepositoryType, 'S3');
    assert.deepEqual(Tags, { colour: 'red' });
    const download = await fetch(Code.Location ?? '');
    assert.equal(download.status, 200);
    const bytes = new Uint8Array(await download.arrayBuffer());
    assert.equal(bytes.length, Configuration.CodeSize);
    assert.equal(sha256(bytes), Configuration.CodeSha256);
    assert.equal(sha256(bytes), sha256(code));
  });

  test('a function is found by name, partial ARN and ARN, each with a qualifier or without', async () => {
    await deploy(sluice.lambda, { name: 'many-names', files: ECHO });
    const names = ['many-names', '000000000000:function:many-names', `${ARN}:many-names`];
    for (const name of [...names, ...names.map((plain) => `${plain}:$LATEST`)]) {
      const found = await sluice.lambda.send(new GetFunctionConfigurationCommand({ FunctionName: name }));
      assert.equal(found.FunctionName, 'many-names', name);
      assert.equal(found.FunctionArn, name.endsWith('$LATEST') ? `${ARN}:many-names:$LATEST` : `${ARN}:many-names`);
      assert.deepEqual(await result(sluice.lambda, name, { name }), { name });
    }
    await assert.rejects(sluice.lambda.send(new GetFunctionCommand({ FunctionName: 'many-names:$LATEST', Qualifier: '7' })), {
      name: 'InvalidParameterValueException',
      message: 'The derived qualifier from the function name does not match the specified qualifier.',
    });
  });

  test('a name that is taken is a conflict and changes nothing', async () => {
    const first = await deploy(sluice.lambda, { name: 'taken', files: ECHO });
    await assert.rejects(
      deploy(sluice.lambda, { name: 'taken', files: { 'index.js': 'exports.handler = async () => 2;' } }),
      isError('ResourceConflictException', 409, 'Function already exist: taken'),
    );
    const found = await sluice.lambda.send(new GetFunctionConfigurationCommand({ FunctionName: 'taken' }));
    assert.equal(found.CodeSha256, first.CodeSha256);
  });

  test('what does not exist is not found, in the words of the service', async () => {
    for (const ask of [
      () => sluice.lambda.send(new GetFunctionCommand({ FunctionName: 'nobody' })),
      () => sluice.lambda.send(new UpdateFunctionConfigurationCommand({ FunctionName: 'nobody', Timeout: 5 })),
      () => sluice.lambda.send(new DeleteFunctionCommand({ FunctionName: 'nobody' })),
    ]) {
      await assert.rejects(ask(), isError('ResourceNotFoundException', 404, `Function not found: ${ARN}:nobody`));
    }
    await assert.rejects(
      sluice.lambda.send(new GetFunctionConfigurationCommand({ FunctionName: 'nobody', Qualifier: '3' })),
      isError('ResourceNotFoundException', 404, `Function not found: ${ARN}:nobody:3`),
    );
  });

  test('ListFunctions pages through all of them, each once', async () => {
    const names = Array.from({ length: 7 }, (_, index) => `page-${index}`);
    for (const name of names) await deploy(sluice.lambda, { name, files: ECHO });
    const seen: string[] = [];
    let pages = 0;
    for await (const page of paginateListFunctions({ client: sluice.lambda, pageSize: 3 }, {})) {
      pages++;
      assert.ok((page.Functions ?? []).length <= 3);
      seen.push(...(page.Functions ?? []).map((listed) => listed.FunctionName ?? ''));
    }
    assert.ok(pages >= 3);
    assert.equal(new Set(seen).size, seen.length);
    assert.deepEqual(seen.filter((name) => name.startsWith('page-')).sort(), names);
    const all = await sluice.lambda.send(new ListFunctionsCommand({}));
    assert.equal(all.NextMarker, undefined);
    assert.equal(all.Functions?.length, seen.length);
  });

  test('UpdateFunctionCode takes effect, and a stale RevisionId is refused', async () => {
    const created = await deploy(sluice.lambda, { name: 'recoded', files: { 'index.js': 'exports.handler = async () => "old";' } });
    assert.equal(await result(sluice.lambda, 'recoded'), 'old');
    const code = await zip({ 'index.js': 'exports.handler = async () => "new";' });
    const dry = await sluice.lambda.send(new UpdateFunctionCodeCommand({ FunctionName: 'recoded', ZipFile: code, DryRun: true }));
    assert.equal(dry.CodeSha256, sha256(code));
    assert.equal(await result(sluice.lambda, 'recoded'), 'old');

    const before = await sluice.lambda.send(new GetFunctionConfigurationCommand({ FunctionName: 'recoded' }));
    assert.notEqual(before.RevisionId, undefined);
    const after = await sluice.lambda.send(new UpdateFunctionCodeCommand({ FunctionName: 'recoded', ZipFile: code, RevisionId: before.RevisionId }));
    assert.equal(after.CodeSha256, sha256(code));
    assert.notEqual(after.RevisionId, before.RevisionId);
    await updated(sluice.lambda, 'recoded');
    assert.equal(await result(sluice.lambda, 'recoded'), 'new');
    await assert.rejects(
      sluice.lambda.send(new UpdateFunctionCodeCommand({ FunctionName: 'recoded', ZipFile: code, RevisionId: created.RevisionId })),
      isError('PreconditionFailedException', 412, STALE_REVISION),
    );
  });

  test('UpdateFunctionConfiguration changes what it names and keeps the rest', async () => {
    await deploy(sluice.lambda, {
      name: 'reconfigured',
      files: { 'index.js': 'exports.handler = async () => process.env.WORD;', 'other.js': 'exports.run = async () => process.env.WORD + "!";' },
      variables: { WORD: 'one' },
      Timeout: 9,
    });
    assert.equal(await result(sluice.lambda, 'reconfigured'), 'one');
    await sluice.lambda.send(new UpdateFunctionConfigurationCommand({ FunctionName: 'reconfigured', Environment: { Variables: { WORD: 'two' } }, Handler: 'other.run' }));
    await updated(sluice.lambda, 'reconfigured');
    const found = await sluice.lambda.send(new GetFunctionConfigurationCommand({ FunctionName: 'reconfigured' }));
    assert.equal(found.Timeout, 9);
    assert.equal(found.Handler, 'other.run');
    assert.deepEqual(found.Environment?.Variables, { WORD: 'two' });
    assert.equal(await result(sluice.lambda, 'reconfigured'), 'two!');
    await assert.rejects(
      sluice.lambda.send(new UpdateFunctionConfigurationCommand({ FunctionName: 'reconfigured', Timeout: 4, RevisionId: '00000000-0000-4000-8000-000000000000' })),
      isError('PreconditionFailedException', 412, STALE_REVISION),
    );
  });

  test('VpcConfig is kept and shown, runs as before, and goes with empty lists', async () => {
    const VpcConfig = { SubnetIds: ['subnet-0a1b2c3d'], SecurityGroupIds: ['sg-0a1b2c3d', 'sg-4e5f6071'] };
    await deploy(sluice.lambda, { name: 'in-vpc', files: ECHO, VpcConfig });
    const shown = async (): Promise<unknown> => (await sluice.lambda.send(new GetFunctionConfigurationCommand({ FunctionName: 'in-vpc' }))).VpcConfig;
    assert.deepEqual(await shown(), { ...VpcConfig, VpcId: 'vpc-00000000000000001', Ipv6AllowedForDualStack: false });
    assert.deepEqual(await result(sluice.lambda, 'in-vpc', { n: 1 }), { n: 1 });
    await assert.rejects(
      sluice.lambda.send(new UpdateFunctionConfigurationCommand({ FunctionName: 'in-vpc', VpcConfig: { SubnetIds: VpcConfig.SubnetIds } })),
      isError('InvalidParameterValueException', 400, 'SubnetIds and SecurityIds must coexist or be both empty list.'),
    );
    await sluice.lambda.send(new UpdateFunctionConfigurationCommand({ FunctionName: 'in-vpc', VpcConfig: { SubnetIds: [], SecurityGroupIds: [] } }));
    await updated(sluice.lambda, 'in-vpc');
    assert.deepEqual(await shown(), { SubnetIds: [], SecurityGroupIds: [], VpcId: '', Ipv6AllowedForDualStack: false });
    assert.deepEqual(await result(sluice.lambda, 'in-vpc', { n: 2 }), { n: 2 });
  });

  test('DeleteFunction removes it; its name is free again', async () => {
    await deploy(sluice.lambda, { name: 'short-lived', files: { 'index.js': 'exports.handler = async () => 1;' } });
    assert.equal(await result(sluice.lambda, 'short-lived'), 1);
    const deleted = await sluice.lambda.send(new DeleteFunctionCommand({ FunctionName: 'short-lived' }));
    assert.ok(deleted.$metadata.httpStatusCode === 204 || deleted.$metadata.httpStatusCode === 200);
    await assert.rejects(result(sluice.lambda, 'short-lived'), isError('ResourceNotFoundException', 404, `Function not found: ${ARN}:short-lived`));
    await deploy(sluice.lambda, { name: 'short-lived', files: { 'index.js': 'exports.handler = async () => 2;' } });
    assert.equal(await result(sluice.lambda, 'short-lived'), 2);
    await assert.rejects(sluice.lambda.send(new DeleteFunctionCommand({ FunctionName: 'short-lived', Qualifier: '$LATEST' })), { name: 'InvalidParameterValueException' });
  });

  test('tags are set, listed and removed', async () => {
    const { FunctionArn } = await deploy(sluice.lambda, { name: 'tagged', files: ECHO, Tags: { a: '1' } });
    const listed = async (): Promise<unknown> => (await sluice.lambda.send(new ListTagsCommand({ Resource: FunctionArn }))).Tags;
    await sluice.lambda.send(new TagResourceCommand({ Resource: FunctionArn, Tags: { a: '2', 'b c': 'ü' } }));
    assert.deepEqual(await listed(), { a: '2', 'b c': 'ü' });
    await sluice.lambda.send(new UntagResourceCommand({ Resource: FunctionArn, TagKeys: ['a', 'none'] }));
    assert.deepEqual(await listed(), { 'b c': 'ü' });
    await assert.rejects(sluice.lambda.send(new ListTagsCommand({ Resource: `${ARN}:nobody` })), { name: 'ResourceNotFoundException' });
  });
});
