/** Versions and aliases as the AWS SDK for JavaScript sees them. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  CreateAliasCommand,
  DeleteAliasCommand,
  DeleteFunctionCommand,
  GetAliasCommand,
  GetFunctionCommand,
  GetFunctionConfigurationCommand,
  ListAliasesCommand,
  ListFunctionsCommand,
  PublishVersionCommand,
  UpdateAliasCommand,
  UpdateFunctionCodeCommand,
  UpdateFunctionConfigurationCommand,
  paginateListVersionsByFunction,
} from '@aws-sdk/client-lambda';
import { deploy, invoke, result, updated } from '../support/functions.ts';
import { zip } from '../support/packages.ts';
import { isError } from '../support/sdk-errors.ts';
import { startSluice, type TestSluice } from '../support/sluice.ts';

const ARN = 'arn:aws:lambda:us-east-1:000000000000:function';

/** Says a word, and which version it is. */
const saying = (word: string): Record<string, string> => ({
  'index.js': `exports.handler = async (event, context) => ({ word: '${word}', version: context.functionVersion, arn: context.invokedFunctionArn });`,
});

describe('versions and aliases through the AWS SDK for JavaScript', () => {
  let sluice: TestSluice;
  before(async () => {
    sluice = await startSluice();
  });
  after(() => sluice.stop());

  const recode = async (name: string, word: string): Promise<void> => {
    await sluice.lambda.send(new UpdateFunctionCodeCommand({ FunctionName: name, ZipFile: await zip(saying(word)) }));
    await updated(sluice.lambda, name);
  };

  /** A function with the versions 1 and 2, which say `one` and `two`. */
  const twoVersions = async (name: string): Promise<void> => {
    await deploy(sluice.lambda, { name, files: saying('one'), Publish: true });
    await recode(name, 'two');
    await sluice.lambda.send(new PublishVersionCommand({ FunctionName: name }));
  };

  test('a published version keeps its code; publishing without a change makes none', async () => {
    await deploy(sluice.lambda, { name: 'published', files: saying('one') });
    const first = await sluice.lambda.send(new PublishVersionCommand({ FunctionName: 'published', Description: 'the first' }));
    assert.equal(first.$metadata.httpStatusCode, 201);
    assert.equal(first.Version, '1');
    assert.equal(first.FunctionArn, `${ARN}:published:1`);
    assert.equal(first.Description, 'the first');
    const again = await sluice.lambda.send(new PublishVersionCommand({ FunctionName: 'published' }));
    assert.equal(again.Version, '1');

    await recode('published', 'two');
    await assert.rejects(
      sluice.lambda.send(new PublishVersionCommand({ FunctionName: 'published', CodeSha256: first.CodeSha256 })),
      isError('InvalidParameterValueException', 400, /CodeSHA256/i),
    );
    const second = await sluice.lambda.send(new PublishVersionCommand({ FunctionName: 'published' }));
    assert.equal(second.Version, '2');
    assert.deepEqual(await result(sluice.lambda, 'published', {}, { Qualifier: '1' }), { word: 'one', version: '1', arn: `${ARN}:published:1` });
    assert.deepEqual(await result(sluice.lambda, 'published:2'), { word: 'two', version: '2', arn: `${ARN}:published:2` });
    assert.deepEqual(await result(sluice.lambda, 'published'), { word: 'two', version: '$LATEST', arn: `${ARN}:published` });
  });

  test('a change of configuration is a change; a version keeps its variables', async () => {
    const files = { 'index.js': 'exports.handler = async () => process.env.WORD;' };
    await deploy(sluice.lambda, { name: 'configured', files, variables: { WORD: 'first' }, Publish: true });
    await sluice.lambda.send(new UpdateFunctionConfigurationCommand({ FunctionName: 'configured', Environment: { Variables: { WORD: 'second' } } }));
    await updated(sluice.lambda, 'configured');
    assert.equal((await sluice.lambda.send(new PublishVersionCommand({ FunctionName: 'configured' }))).Version, '2');
    assert.equal(await result(sluice.lambda, 'configured', {}, { Qualifier: '1' }), 'first');
    assert.equal(await result(sluice.lambda, 'configured', {}, { Qualifier: '2' }), 'second');
  });

  test('Create and UpdateFunctionCode publish at once when asked', async () => {
    const created = await deploy(sluice.lambda, { name: 'at-once', files: saying('one'), Publish: true });
    assert.equal(created.Version, '1');
    const recoded = await sluice.lambda.send(new UpdateFunctionCodeCommand({ FunctionName: 'at-once', ZipFile: await zip(saying('two')), Publish: true }));
    assert.equal(recoded.Version, '2');
  });

  test('ListVersionsByFunction pages from $LATEST through all versions', async () => {
    await deploy(sluice.lambda, { name: 'versioned', files: saying('0'), Publish: true });
    for (let version = 2; version <= 5; version++) {
      await recode('versioned', String(version));
      await sluice.lambda.send(new PublishVersionCommand({ FunctionName: 'versioned' }));
    }
    const versions: string[] = [];
    for await (const page of paginateListVersionsByFunction({ client: sluice.lambda, pageSize: 2 }, { FunctionName: 'versioned' })) {
      assert.ok((page.Versions ?? []).length <= 2);
      versions.push(...(page.Versions ?? []).map(({ Version }) => Version ?? ''));
    }
    assert.deepEqual(versions, ['$LATEST', '1', '2', '3', '4', '5']);

    const all = await sluice.lambda.send(new ListFunctionsCommand({ FunctionVersion: 'ALL' }));
    assert.deepEqual(
      (all.Functions ?? []).filter(({ FunctionName }) => FunctionName === 'versioned').map(({ Version }) => Version).sort(),
      ['$LATEST', '1', '2', '3', '4', '5'],
    );
  });

  test('a deleted version is gone, its number is not used again', async () => {
    await twoVersions('numbered');
    await sluice.lambda.send(new DeleteFunctionCommand({ FunctionName: 'numbered', Qualifier: '2' }));
    await assert.rejects(
      sluice.lambda.send(new GetFunctionCommand({ FunctionName: 'numbered', Qualifier: '2' })),
      isError('ResourceNotFoundException', 404, `Function not found: ${ARN}:numbered:2`),
    );
    await recode('numbered', 'three');
    assert.equal((await sluice.lambda.send(new PublishVersionCommand({ FunctionName: 'numbered' }))).Version, '3');
  });

  test('an alias is created, read, listed, moved and deleted', async () => {
    await twoVersions('aliased');
    const created = await sluice.lambda.send(new CreateAliasCommand({ FunctionName: 'aliased', Name: 'live', FunctionVersion: '1', Description: 'what users see' }));
    assert.equal(created.$metadata.httpStatusCode, 201);
    assert.equal(created.AliasArn, `${ARN}:aliased:live`);
    assert.deepEqual(await result(sluice.lambda, 'aliased', {}, { Qualifier: 'live' }), { word: 'one', version: '1', arn: `${ARN}:aliased:live` });
    assert.equal((await sluice.lambda.send(new GetFunctionConfigurationCommand({ FunctionName: 'aliased', Qualifier: 'live' }))).Version, '1');

    await assert.rejects(
      sluice.lambda.send(new CreateAliasCommand({ FunctionName: 'aliased', Name: 'live', FunctionVersion: '2' })),
      isError('ResourceConflictException', 409, `Alias already exists: ${ARN}:aliased:live`),
    );
    const moved = await sluice.lambda.send(new UpdateAliasCommand({ FunctionName: 'aliased', Name: 'live', FunctionVersion: '2', RevisionId: created.RevisionId }));
    assert.equal(moved.Description, 'what users see');
    assert.notEqual(moved.RevisionId, created.RevisionId);
    assert.equal((await result<{ word: string }>(sluice.lambda, 'aliased:live')).word, 'two');
    await assert.rejects(
      sluice.lambda.send(new UpdateAliasCommand({ FunctionName: 'aliased', Name: 'live', FunctionVersion: '1', RevisionId: created.RevisionId })),
      isError('PreconditionFailedException', 412),
    );

    await sluice.lambda.send(new CreateAliasCommand({ FunctionName: 'aliased', Name: 'beta', FunctionVersion: '$LATEST' }));
    const { Aliases } = await sluice.lambda.send(new ListAliasesCommand({ FunctionName: 'aliased' }));
    assert.deepEqual(Aliases?.map(({ Name }) => Name).sort(), ['beta', 'live']);
    const ofTwo = await sluice.lambda.send(new ListAliasesCommand({ FunctionName: 'aliased', FunctionVersion: '2' }));
    assert.deepEqual(ofTwo.Aliases?.map(({ Name }) => Name), ['live']);

    await assert.rejects(sluice.lambda.send(new DeleteFunctionCommand({ FunctionName: 'aliased', Qualifier: '2' })), isError('ResourceConflictException', 409));
    await sluice.lambda.send(new DeleteAliasCommand({ FunctionName: 'aliased', Name: 'live' }));
    await sluice.lambda.send(new DeleteAliasCommand({ FunctionName: 'aliased', Name: 'live' }));
    await assert.rejects(
      sluice.lambda.send(new GetAliasCommand({ FunctionName: 'aliased', Name: 'live' })),
      isError('ResourceNotFoundException', 404, `Cannot find alias arn: ${ARN}:aliased:live`),
    );
    await assert.rejects(
      result(sluice.lambda, 'aliased', {}, { Qualifier: 'live' }),
      isError('ResourceNotFoundException', 404, `Function not found: ${ARN}:aliased:live`),
    );
  });

  test('an alias to a version that does not exist is refused', async () => {
    await deploy(sluice.lambda, { name: 'unversioned', files: saying('one') });
    await assert.rejects(
      sluice.lambda.send(new CreateAliasCommand({ FunctionName: 'unversioned', Name: 'live', FunctionVersion: '9' })),
      isError('ResourceNotFoundException', 404, `Function not found: ${ARN}:unversioned:9`),
    );
  });

  test('a weighted alias splits invocations by its weight', async () => {
    await twoVersions('weighted');
    await sluice.lambda.send(
      new CreateAliasCommand({ FunctionName: 'weighted', Name: 'canary', FunctionVersion: '1', RoutingConfig: { AdditionalVersionWeights: { 2: 0.25 } } }),
    );
    const counts: Record<string, number> = { 1: 0, 2: 0 };
    const invocations = 600;
    for (let begun = 0; begun < invocations; begun += 10) {
      for (const { output, text } of await Promise.all(Array.from({ length: 10 }, () => invoke(sluice.lambda, 'weighted:canary')))) {
        const { version, arn } = JSON.parse(text) as { version: string; arn: string };
        assert.equal(output.ExecutedVersion, version);
        assert.equal(arn, `${ARN}:weighted:canary`);
        counts[version] = (counts[version] ?? 0) + 1;
      }
    }
    // 150 are expected, with a standard deviation of sqrt(600 · 0.25 · 0.75) = 10.6; the bounds are eight deviations away, which
    // happens once in 10^15 runs.
    assert.ok((counts['2'] ?? 0) > 150 - 85 && (counts['2'] ?? 0) < 150 + 85, JSON.stringify(counts));

    await sluice.lambda.send(new UpdateAliasCommand({ FunctionName: 'weighted', Name: 'canary', RoutingConfig: { AdditionalVersionWeights: {} } }));
    for (let index = 0; index < 40; index++) assert.equal((await invoke(sluice.lambda, 'weighted:canary')).output.ExecutedVersion, '1');
  });

  test('weights out of bounds, of $LATEST or of two versions are refused', async () => {
    await twoVersions('ill-weighted');
    const weights = (AdditionalVersionWeights: Record<string, number>) =>
      sluice.lambda.send(new CreateAliasCommand({ FunctionName: 'ill-weighted', Name: 'x', FunctionVersion: '1', RoutingConfig: { AdditionalVersionWeights } }));
    await assert.rejects(weights({ 2: 1.5 }), { name: /^(InvalidParameterValueException|ValidationException)$/ });
    await assert.rejects(weights({ $LATEST: 0.5 }), { name: /^(InvalidParameterValueException|ValidationException)$/ });
    await assert.rejects(weights({ 1: 0.1, 2: 0.1 }), { name: /^(InvalidParameterValueException|ValidationException)$/ });
    await assert.rejects(weights({ 7: 0.1 }), { name: /^(ResourceNotFoundException|InvalidParameterValueException)$/ });
    const { Aliases } = await sluice.lambda.send(new ListAliasesCommand({ FunctionName: 'ill-weighted' }));
    assert.deepEqual(Aliases, []);
  });
});
