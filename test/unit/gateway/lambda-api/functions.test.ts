/** Functions, versions, aliases, tags and concurrency through the REST API. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { CODE_BUCKET, type FunctionRecord } from '../../../../platform/model/function.ts';
import { zip } from '../../../support/packages.ts';
import { ACCOUNT, ACCOUNT_CONCURRENCY, ARN, errorOf, messageOf, openApi, ROLE, type Answer, type ApiUnderTest } from './api-under-test.ts';

const F = '/2015-03-31/functions';
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

let t: ApiUnderTest;
beforeEach(async () => {
  t = await openApi();
});
afterEach(() => t.close());

const record = async (name: string): Promise<FunctionRecord> => {
  const found = await t.catalogue.get(ACCOUNT, name);
  assert.ok(found, name);
  return found;
};
const packageBase64 = async (word: string): Promise<string> => (await zip({ 'index.js': `exports.handler = async () => '${word}';` })).toString('base64');

describe('CreateFunction', () => {
  test('answers the whole configuration, pending, and the next read shows it active', async () => {
    const created = await t.create('whole', { Tags: { team: 'a' }, Environment: { Variables: { AA: 'b' } } });
    assert.equal(created.status, 201);
    const { RevisionId, CodeSha256, CodeSize, RuntimeVersionConfig, ...rest } = created.body;
    assert.match(String(RevisionId), UUID);
    assert.ok(Number(CodeSize) > 0);
    assert.match(JSON.stringify(RuntimeVersionConfig), /"RuntimeVersionArn":"arn:aws:lambda:us-east-1::runtime:[0-9a-f]{64}"/);
    assert.deepEqual(rest, {
      FunctionName: 'whole',
      FunctionArn: `${ARN}:whole`,
      Runtime: 'nodejs22.x',
      Role: ROLE,
      Handler: 'index.handler',
      Description: '',
      Timeout: 3,
      MemorySize: 128,
      LastModified: '2024-01-31T12:34:57.789+0000',
      Version: '$LATEST',
      Environment: { Variables: { AA: 'b' } },
      TracingConfig: { Mode: 'PassThrough' },
      State: 'Pending',
      StateReason: 'The function is being created.',
      StateReasonCode: 'Creating',
      PackageType: 'Zip',
      Architectures: ['x86_64'],
      EphemeralStorage: { Size: 512 },
      SnapStart: { ApplyOn: 'None', OptimizationStatus: 'Off' },
      LoggingConfig: { LogFormat: 'Text', LogGroup: '/aws/lambda/whole' },
    });
    const read = await t.call('GET', `${F}/whole`);
    const configuration = read.body['Configuration'] as Record<string, unknown>;
    assert.deepEqual([configuration['State'], configuration['LastUpdateStatus'], configuration['StateReason']], ['Active', 'Successful', undefined]);
    assert.notEqual(configuration['RevisionId'], RevisionId);
    assert.equal(configuration['CodeSha256'], CodeSha256);
    assert.deepEqual(read.body['Tags'], { team: 'a' });
    assert.match(JSON.stringify(read.body['Code']), /^\{"RepositoryType":"S3","Location":"http:\/\/127\.0\.0\.1:9400\//);
  });

  test('stores the package under its hash', async () => {
    const bytes = await zip({ 'index.js': 'exports.handler = 1' });
    const created = await t.create('stored', { Code: { ZipFile: bytes.toString('base64') } });
    const hash = createHash('sha256').update(bytes);
    const { body } = await t.store.get({ bucket: CODE_BUCKET, key: `${hash.copy().digest('hex')}.zip` });
    assert.equal(await text(body.setEncoding('latin1')), bytes.toString('latin1'));
    assert.equal(created.body['CodeSha256'], hash.digest('base64'));
  });

  test('takes the package from a bucket; says in the service\'s words what is not there', async () => {
    await t.store.createBucket('packages');
    await t.store.put({ bucket: 'packages', key: 'a/b.zip' }, await zip({ 'index.js': 'x' }));
    assert.equal((await t.create('s3', { Code: { S3Bucket: 'packages', S3Key: 'a/b.zip' } })).status, 201);
    const prefix = 'Error occurred while GetObject. S3 Error Code: ';
    assert.equal(messageOf(await t.create('s4', { Code: { S3Bucket: 'packages', S3Key: 'no' } })), `${prefix}NoSuchKey. S3 Error Message: The specified key does not exist.`);
    for (const S3Bucket of ['missing-bucket', CODE_BUCKET]) {
      assert.equal(messageOf(await t.create('s4', { Code: { S3Bucket, S3Key: 'no' } })), `${prefix}NoSuchBucket. S3 Error Message: The specified bucket does not exist`);
    }
    assert.match(messageOf(await t.create('s4', { Code: { S3Bucket: 'packages', S3Key: 'a/b.zip', S3ObjectVersion: '1' } })), /S3ObjectVersion/);
  });

  test('a second function of one name is a conflict and changes nothing', async () => {
    await t.create('twice');
    await t.api.idle();
    const before = await record('twice');
    assert.equal(errorOf(await t.create('twice', { Description: 'other' })), '409 ResourceConflictException: Function already exist: twice');
    assert.deepEqual(await record('twice'), before);
  });

  test('with Publish makes version 1, which keeps what it was', async () => {
    const created = await t.create('published', { Publish: true });
    assert.deepEqual([created.body['Version'], created.body['State'], created.body['FunctionArn']], ['1', 'Pending', `${ARN}:published`]);
    const first = await t.call('GET', `${F}/published/configuration?Qualifier=1`);
    assert.deepEqual([first.body['Version'], first.body['State'], first.body['FunctionArn']], ['1', 'Active', `${ARN}:published:1`]);
    assert.equal((await t.call('POST', `${F}/published/versions`, {})).body['Version'], '1');
  });

  test('takes a name in every form and refuses those that are not here', async () => {
    assert.equal((await t.create(`${ARN}:by-arn`)).body['FunctionArn'], `${ARN}:by-arn`);
    assert.equal((await t.create(`${ACCOUNT}:function:partly`)).body['FunctionArn'], `${ARN}:partly`);
    assert.equal(errorOf(await t.create('arn:aws:lambda:eu-west-1:000000000000:function:x')), "404 ResourceNotFoundException: Functions from 'eu-west-1' are not reachable in this region ('us-east-1')");
    assert.match(errorOf(await t.create('arn:aws:lambda:us-east-1:999999999999:function:x')), /^403 AccessDeniedException: User: .* is not authorized to perform: lambda:CreateFunction on resource: /);
    assert.match(errorOf(await t.create('a'.repeat(65))), /^400 InvalidParameterValueException: 1 validation error detected: Value 'a{65}' at 'functionName' .* less than or equal to 64$/);
    assert.match(errorOf(await t.create('x:1')), /^400 InvalidParameterValueException: This operation is permitted on Lambda functions only\./);
  });

  for (const [what, change, message] of [
    ['no runtime', { Runtime: undefined }, /^Runtime and Handler are mandatory parameters/],
    ['an unknown runtime', { Runtime: 'cobol85' }, /^Value cobol85 at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: \[nodejs20\.x, .*python3\.14\] or be a valid ARN$/],
    ['a runtime that is not there yet', { Runtime: 'java21' }, /^The runtime java21 is not supported by Sluice yet\. Supported runtimes: nodejs20\.x, /],
    ['an image that is not named', { PackageType: 'Image', Runtime: undefined, Handler: undefined }, /provide ImageUri when creating a function with packageType Image/],
    ['too much memory', { MemorySize: 10_241 }, /^'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 10240$/],
    ['a reserved variable', { Environment: { Variables: { AWS_REGION: 'x', FINE: 'y' } } }, /Reserved keys used in this request: AWS_REGION$/],
    ['variables over 4 KiB', { Environment: { Variables: { BIG: 'x'.repeat(4_097) } } }, /exceeded the 4KB limit/],
    ['a NUL in a variable', { Environment: { Variables: { BAD: 'a\0b' } } }, /NUL/],
    ['layers', { Layers: ['arn:aws:lambda:us-east-1:000000000000:layer:x:1'] }, /^Not supported by Sluice yet: Layers\./],
    ['a dead letter queue', { DeadLetterConfig: { TargetArn: 'arn:aws:sqs:us-east-1:000000000000:q' } }, /DeadLetterConfig/],
    ['SnapStart', { SnapStart: { ApplyOn: 'PublishedVersions' } }, /SnapStart/],
    ['JSON logs', { LoggingConfig: { LogFormat: 'JSON' } }, /LogFormat/],
    ['no code', { Code: {} }, /^Please provide a source for function code\.$/],
    ['two sources of code', { Code: { ZipFile: 'AAAA', S3Bucket: 'abc', S3Key: 'k' } }, /ZipFile/],
    ['51 tags', { Tags: Object.fromEntries(Array.from({ length: 51 }, (_, n) => [`k${n}`, ''])) }, /^Number of tags exceeds resource tag limit\.$/],
    ['a tag of AWS', { Tags: { 'aws:x': '' } }, /reserved/],
    ['a package that is none', { Code: { ZipFile: Buffer.from('none').toString('base64') } }, /^Could not unzip uploaded file\. Please check your file, then try to upload again\.$/],
  ] as const) {
    test(`refuses ${what} and leaves nothing`, async () => {
      const answer = await t.create('refused', change);
      assert.match(errorOf(answer), /^400 InvalidParameterValueException: /);
      assert.equal(answer.body['Type'], 'User');
      assert.match(messageOf(answer), message);
      assert.equal(await t.catalogue.get(ACCOUNT, 'refused'), undefined);
      assert.equal((await t.store.listBuckets()).length, 0);
    });
  }

  test('empty settings of what is not there yet are the default', async () => {
    const answer = await t.create('empty', {
      Layers: [], DeadLetterConfig: {}, FileSystemConfigs: [], KMSKeyArn: '', SnapStart: { ApplyOn: 'None' }, ImageConfig: {},
    });
    assert.equal(answer.status, 201);
  });

  test('refuses a package over 50 MiB by its size', async () => {
    const answer = await t.create('large', { Code: { ZipFile: Buffer.alloc(52_428_801).toString('base64') } });
    assert.equal(errorOf(answer), '413 RequestEntityTooLargeException: Zipped size must be smaller than 52428800 bytes');
  });
});

describe('reading', () => {
  test('names what is not found', async () => {
    await t.create('there');
    for (const [path, arn] of [['nobody', 'nobody'], ['there?Qualifier=9', 'there:9'], ['there?Qualifier=alias', 'there:alias'], ['nobody:$LATEST', 'nobody:$LATEST']]) {
      assert.equal(errorOf(await t.call('GET', `${F}/${path}`)), `404 ResourceNotFoundException: Function not found: ${ARN}:${arn}`);
    }
    assert.equal(errorOf(await t.call('GET', `${F}/there:1?Qualifier=2`)), '400 InvalidParameterValueException: The derived qualifier from the function name does not match the specified qualifier.');
    const encoded = await t.call('GET', `${F}/${encodeURIComponent(`${ARN}:there`)}/configuration`);
    assert.equal(encoded.body['FunctionName'], 'there');
  });

  test('ListFunctions pages by name', async () => {
    for (const name of ['c', 'a', 'b']) await t.create(name);
    const names: unknown[] = [];
    for (let marker: string | undefined = '', pages = 0; marker !== undefined; pages++) {
      assert.ok(pages < 4);
      const { body }: Answer = await t.call('GET', `${F}?MaxItems=1&Marker=${marker}`);
      const functions = body['Functions'] as Record<string, unknown>[];
      assert.ok(functions.length <= 1);
      for (const shown of functions) {
        names.push(shown['FunctionArn']);
        assert.equal(shown['State'], undefined);
      }
      marker = body['NextMarker'] as string | undefined;
    }
    assert.deepEqual(names, ['a', 'b', 'c'].map((name) => `${ARN}:${name}`));
  });

  test('FunctionVersion=ALL shows every version once, whatever the page size', async () => {
    for (const name of ['a', 'b']) {
      await t.create(name, { Publish: true });
      await t.call('PUT', `${F}/${name}/code`, { ZipFile: await packageBase64('2'), Publish: true });
    }
    await t.create('c');
    const expected = ['a:$LATEST', 'a:1', 'a:2', 'b:$LATEST', 'b:1', 'b:2', 'c:$LATEST'].map((name) => `${ARN}:${name}`);
    for (const size of [1, 2, 3, 6, 7, 50]) {
      const found: unknown[] = [];
      for (let marker: string | undefined = ''; marker !== undefined; ) {
        const { body }: Answer = await t.call('GET', `${F}?FunctionVersion=ALL&MaxItems=${size}&Marker=${marker}`);
        found.push(...(body['Functions'] as Record<string, unknown>[]).map((shown) => shown['FunctionArn']));
        marker = body['NextMarker'] as string | undefined;
      }
      assert.deepEqual(found, expected, `pages of ${size}`);
    }
  });

  test('a marker that no page has given is refused', async () => {
    for (const marker of ['%00%ff', 'abc', Buffer.from('["../x"]').toString('base64url'), Buffer.from('["a","b","c"]').toString('base64url')]) {
      assert.match(errorOf(await t.call('GET', `${F}?Marker=${marker}`)), /^400 InvalidParameterValueException: Invalid Marker/);
    }
  });

  test('GetAccountSettings adds up what is there', async () => {
    const sizes = [await t.create('a', { Publish: true }), await t.create('b')].map(({ body }) => Number(body['CodeSize']));
    await t.call('PUT', '/2017-10-31/functions/a/concurrency', { ReservedConcurrentExecutions: 50 });
    const { body } = await t.call('GET', '/2016-08-19/account-settings');
    assert.deepEqual(body['AccountUsage'], { FunctionCount: 2, TotalCodeSize: 2 * (sizes[0] ?? 0) + (sizes[1] ?? 0) });
    assert.deepEqual(body['AccountLimit'], {
      TotalCodeSize: 80_530_636_800, CodeSizeUnzipped: 262_144_000, CodeSizeZipped: 52_428_800, ConcurrentExecutions: ACCOUNT_CONCURRENCY, UnreservedConcurrentExecutions: ACCOUNT_CONCURRENCY - 50,
    });
  });
});

describe('updating', () => {
  test('a configuration changes only in what was given', async () => {
    await t.create('f', { Description: 'one', Environment: { Variables: { AA: '1' } } });
    const before = (await t.call('GET', `${F}/f/configuration`)).body;
    const answer = await t.call('PUT', `${F}/f/configuration`, { Timeout: 9 });
    assert.deepEqual([answer.status, answer.body['State'], answer.body['LastUpdateStatus'], answer.body['LastUpdateStatusReasonCode']], [200, 'Active', 'InProgress', 'Creating']);
    const after = (await t.call('GET', `${F}/f/configuration`)).body;
    assert.equal(after['LastUpdateStatus'], 'Successful');
    const changed = Object.keys(after).filter((member) => JSON.stringify(after[member]) !== JSON.stringify(before[member]));
    assert.deepEqual(changed.sort(), ['LastModified', 'RevisionId', 'Timeout']);
  });

  test('a stale revision is refused by all who take one', async () => {
    const { body } = await t.create('f');
    await t.api.idle();
    const RevisionId = body['RevisionId'];
    const stale = '412 PreconditionFailedException: The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id';
    const before = await record('f');
    assert.equal(errorOf(await t.call('PUT', `${F}/f/configuration`, { RevisionId, Timeout: 5 })), stale);
    assert.equal(errorOf(await t.call('PUT', `${F}/f/code`, { RevisionId, ZipFile: await packageBase64('2') })), stale);
    assert.equal(errorOf(await t.call('POST', `${F}/f/versions`, { RevisionId })), stale);
    assert.deepEqual(await record('f'), before);
    const fresh = before.latest.revisionId;
    assert.equal((await t.call('PUT', `${F}/f/configuration`, { RevisionId: fresh, Timeout: 5 })).status, 200);
  });

  test('code: a dry run changes nothing, a real one does, Publish makes a version', async () => {
    await t.create('f');
    await t.api.idle();
    const before = await record('f');
    const ZipFile = await packageBase64('two');
    const dry = await t.call('PUT', `${F}/f/code`, { ZipFile, DryRun: true });
    assert.equal(dry.status, 200);
    assert.notEqual(dry.body['CodeSha256'], before.latest.configuration.code.sha256);
    assert.deepEqual(await record('f'), before);
    const real = await t.call('PUT', `${F}/f/code`, { ZipFile });
    assert.equal(real.body['CodeSha256'], dry.body['CodeSha256']);
    const published = await t.call('PUT', `${F}/f/code`, { ZipFile: await packageBase64('three'), Publish: true });
    assert.deepEqual([published.body['Version'], published.body['FunctionArn'], published.body['State']], ['1', `${ARN}:f:1`, 'Pending']);
    assert.equal((await t.call('GET', `${F}/f/configuration?Qualifier=1`)).body['CodeSha256'], published.body['CodeSha256']);
  });

  test('updates that come at once are all made, one after another', async () => {
    await t.create('f');
    const answers = await Promise.all([2, 3, 4, 5].map((Timeout) => t.call('PUT', `${F}/f/configuration`, { Timeout })));
    for (const answer of answers) assert.ok(answer.status === 200 || /^409 ResourceConflictException: The operation cannot be performed at this time\./.test(errorOf(answer)), errorOf(answer));
    assert.ok(answers.some(({ status }) => status === 200));
    await t.api.idle();
    assert.equal((await record('f')).latest.lastUpdateStatus, 'Successful');
  });

  test('an unknown function and a qualified one are refused', async () => {
    await t.create('f', { Publish: true });
    assert.equal(errorOf(await t.call('PUT', `${F}/none/configuration`, {})), `404 ResourceNotFoundException: Function not found: ${ARN}:none`);
    assert.match(errorOf(await t.call('PUT', `${F}/f:1/configuration`, {})), /^400 InvalidParameterValueException: This operation is permitted on Lambda functions only/);
    assert.equal(errorOf(await t.call('PUT', `${F}/f/code`, { ImageUri: 'x' })), "400 InvalidParameterValueException: Please don't provide ImageUri when updating a function with packageType Zip.");
  });
});

describe('activation', () => {
  test('what a crash left half-way is healed by the next read', async () => {
    await t.create('f');
    await t.api.idle();
    const halfWay = await t.catalogue.update(ACCOUNT, 'f', (r) => ({ ...r, latest: { ...r.latest, revisionId: 'crashed', lastUpdateStatus: 'InProgress', lastUpdateStatusReasonCode: 'Creating' } }));
    assert.equal(halfWay?.latest.lastUpdateStatus, 'InProgress');
    const { body } = await t.call('GET', `${F}/f/configuration`);
    assert.deepEqual([body['LastUpdateStatus'], body['LastUpdateStatusReasonCode']], ['Successful', undefined]);
    assert.match(String(body['RevisionId']), UUID);
  });

  test('a package that is gone makes the update fail, and an upload mends it', async () => {
    await t.create('f');
    await t.api.idle();
    const { code } = (await record('f')).latest.configuration;
    await t.store.delete({ bucket: CODE_BUCKET, key: code.objectKey });
    await t.call('PUT', `${F}/f/configuration`, { Timeout: 4 });
    const failed = (await t.call('GET', `${F}/f/configuration`)).body;
    assert.deepEqual([failed['State'], failed['LastUpdateStatus'], failed['LastUpdateStatusReasonCode']], ['Active', 'Failed', 'InvalidZipFileException']);
    assert.match(errorOf(await t.call('POST', `${F}/f/versions`, {})), /^409 ResourceConflictException: /);
    await t.call('PUT', `${F}/f/code`, { ZipFile: await packageBase64('again') });
    assert.equal((await t.call('GET', `${F}/f/configuration`)).body['LastUpdateStatus'], 'Successful');
  });
});

describe('versions', () => {
  test('are published when something has changed, and only then', async () => {
    await t.create('f', { Description: 'mine' });
    const publish = async (body: object = {}): Promise<unknown> => (await t.call('POST', `${F}/f/versions`, body)).body['Version'];
    assert.equal(await publish({ Description: 'the first' }), '1');
    assert.equal(await publish(), '1');
    await t.call('PUT', `${F}/f/configuration`, { Description: 'mine now' });
    assert.equal(await publish(), '2');
    await t.call('PUT', `${F}/f/configuration`, { Environment: { Variables: { AA: '1' } } });
    assert.equal(await publish(), '3');
    await t.call('PUT', `${F}/f/configuration`, { Environment: { Variables: { AA: '1' } } });
    assert.equal(await publish(), '3');
    const { body } = await t.call('GET', `${F}/f/versions?MaxItems=3`);
    assert.deepEqual((body['Versions'] as Record<string, unknown>[]).map((v) => [v['Version'], v['FunctionArn'], v['Description']]), [
      ['$LATEST', `${ARN}:f:$LATEST`, 'mine now'], ['1', `${ARN}:f:1`, 'the first'], ['2', `${ARN}:f:2`, 'mine now'],
    ]);
    const rest = await t.call('GET', `${F}/f/versions?Marker=${String(body['NextMarker'])}`);
    assert.deepEqual((rest.body['Versions'] as Record<string, unknown>[]).map((v) => v['Version']), ['3']);
    assert.equal(rest.body['NextMarker'], undefined);
  });

  test('are not published from other code than the caller thinks', async () => {
    const { body } = await t.create('f');
    assert.equal(
      errorOf(await t.call('POST', `${F}/f/versions`, { CodeSha256: 'other' })),
      `400 InvalidParameterValueException: CodeSHA256 (other) is different from current CodeSHA256 in $LATEST (${String(body['CodeSha256'])}). Please try again with the CodeSHA256 in $LATEST.`,
    );
    assert.equal((await t.call('POST', `${F}/f/versions`, { CodeSha256: body['CodeSha256'] })).status, 201);
  });

  test('are deleted alone, unless an alias needs them; $LATEST and aliases never', async () => {
    await t.create('f', { Publish: true });
    await t.call('PUT', `${F}/f/code`, { ZipFile: await packageBase64('2'), Publish: true });
    await t.call('POST', `${F}/f/aliases`, { Name: 'live', FunctionVersion: '2', RoutingConfig: { AdditionalVersionWeights: { 1: 0.5 } } });
    for (const version of ['1', '2']) {
      assert.equal(errorOf(await t.call('DELETE', `${F}/f?Qualifier=${version}`)), '409 ResourceConflictException: Unable to delete version because the following aliases reference it: [live]');
    }
    assert.equal(errorOf(await t.call('DELETE', `${F}/f?Qualifier=$LATEST`)), '400 InvalidParameterValueException: $LATEST version cannot be deleted without deleting the function.');
    assert.equal(errorOf(await t.call('DELETE', `${F}/f:live`)), '400 InvalidParameterValueException: Deletion of aliases is not currently supported.');
    await t.call('DELETE', `${F}/f/aliases/live`);
    assert.equal((await t.call('DELETE', `${F}/f?Qualifier=2`)).status, 204);
    assert.equal((await t.call('DELETE', `${F}/f?Qualifier=2`)).status, 204);
    assert.equal((await t.call('GET', `${F}/f?Qualifier=2`)).status, 404);
    await t.call('PUT', `${F}/f/configuration`, { Timeout: 8 });
    assert.equal((await t.call('POST', `${F}/f/versions`, {})).body['Version'], '3');
    assert.equal((await t.call('DELETE', `${F}/f`)).status, 204);
    assert.equal(errorOf(await t.call('DELETE', `${F}/f`)), `404 ResourceNotFoundException: Function not found: ${ARN}:f`);
    assert.equal((await t.call('GET', `${F}/f`)).status, 404);
  });
});

describe('aliases', () => {
  beforeEach(async () => {
    await t.create('f', { Publish: true });
    await t.call('PUT', `${F}/f/code`, { ZipFile: await packageBase64('2'), Publish: true });
  });

  test('are created, read, moved, listed and deleted', async () => {
    const created = await t.call('POST', `${F}/f/aliases`, { Name: 'live', FunctionVersion: '1', RoutingConfig: { AdditionalVersionWeights: { 2: 0.25 } } });
    assert.equal(created.status, 201);
    const { RevisionId, ...rest } = created.body;
    assert.deepEqual(rest, { AliasArn: `${ARN}:f:live`, Name: 'live', FunctionVersion: '1', Description: '', RoutingConfig: { AdditionalVersionWeights: { 2: 0.25 } } });
    assert.deepEqual((await t.call('GET', `${F}/f/aliases/live`)).body, created.body);
    assert.equal((await t.call('GET', `${F}/f:live/configuration`)).body['Version'], '1');
    const moved = await t.call('PUT', `${F}/f/aliases/live`, { FunctionVersion: '2', RoutingConfig: { AdditionalVersionWeights: {} }, RevisionId });
    assert.deepEqual([moved.body['FunctionVersion'], moved.body['RoutingConfig']], ['2', undefined]);
    assert.match(errorOf(await t.call('PUT', `${F}/f/aliases/live`, { RevisionId })), /^412 PreconditionFailedException: /);
    for (const Name of ['beta', 'gamma']) await t.call('POST', `${F}/f/aliases`, { Name, FunctionVersion: '1' });
    const first = (await t.call('GET', `${F}/f/aliases?MaxItems=2`)).body;
    const second = (await t.call('GET', `${F}/f/aliases?Marker=${String(first['NextMarker'])}`)).body;
    assert.deepEqual([first, second].map((page) => (page['Aliases'] as Record<string, unknown>[]).map(({ Name }) => Name)), [['beta', 'gamma'], ['live']]);
    const ofTwo = (await t.call('GET', `${F}/f/aliases?FunctionVersion=2`)).body;
    assert.deepEqual((ofTwo['Aliases'] as Record<string, unknown>[]).map(({ Name }) => Name), ['live']);
    assert.equal((await t.call('DELETE', `${F}/f/aliases/live`)).status, 204);
    assert.equal((await t.call('DELETE', `${F}/f/aliases/live`)).status, 204);
  });

  for (const [what, body, error] of [
    ['two weights', { FunctionVersion: '1', RoutingConfig: { AdditionalVersionWeights: { 1: 0.1, 2: 0.1 } } }, '400 InvalidParameterValueException: Number of items in AdditionalVersionWeights cannot be greater than 1'],
    ['a weight of its own version', { FunctionVersion: '1', RoutingConfig: { AdditionalVersionWeights: { 1: 0.1 } } }, '400 InvalidParameterValueException: Invalid function version 1. Function version 1 is already included in routing configuration.'],
    ['a weight beside $LATEST', { FunctionVersion: '$LATEST', RoutingConfig: { AdditionalVersionWeights: { 1: 0.1 } } }, '400 InvalidParameterValueException: $LATEST is not supported for an alias pointing to more than 1 version'],
    ['an unknown version', { FunctionVersion: '10' }, `404 ResourceNotFoundException: Function not found: ${ARN}:f:10`],
    ['an unknown second version', { FunctionVersion: '1', RoutingConfig: { AdditionalVersionWeights: { 10: 0.1 } } }, `404 ResourceNotFoundException: Function not found: ${ARN}:f:10`],
    ['too large a weight', { FunctionVersion: '1', RoutingConfig: { AdditionalVersionWeights: { 2: 2 } } }, "400 ValidationException: 1 validation error detected: Value '{2=2.0}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have value greater than or equal to 0.0, Member must not be null]"],
    ['a weight of $LATEST', { FunctionVersion: '1', RoutingConfig: { AdditionalVersionWeights: { $LATEST: 0.5 } } }, "400 ValidationException: 1 validation error detected: Value '{$LATEST=0.5}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: Map keys must satisfy constraint: [Member must have length less than or equal to 1024, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: [0-9]+]"],
  ] as const) {
    test(`refuse ${what}`, async () => {
      assert.equal(errorOf(await t.call('POST', `${F}/f/aliases`, { Name: 'x', ...body })), error);
      assert.deepEqual((await record('f')).aliases, []);
    });
  }

  test('say in the service\'s words what is missing or there already', async () => {
    await t.call('POST', `${F}/f/aliases`, { Name: 'live', FunctionVersion: '1' });
    assert.equal(errorOf(await t.call('POST', `${F}/f/aliases`, { Name: 'live', FunctionVersion: '2' })), `409 ResourceConflictException: Alias already exists: ${ARN}:f:live`);
    assert.equal(errorOf(await t.call('GET', `${F}/f/aliases/no`)), `404 ResourceNotFoundException: Cannot find alias arn: ${ARN}:f:no`);
    assert.equal(errorOf(await t.call('PUT', `${F}/f/aliases/no`, {})), `404 ResourceNotFoundException: Alias not found: ${ARN}:f:no`);
    assert.equal(errorOf(await t.call('POST', `${F}/none/aliases`, { Name: 'x', FunctionVersion: '1' })), `404 ResourceNotFoundException: Function not found: ${ARN}:none:1`);
    assert.equal(errorOf(await t.call('DELETE', `${F}/none/aliases/x`)), `404 ResourceNotFoundException: Function not found: ${ARN}:none`);
    assert.match(errorOf(await t.call('POST', `${F}/f/aliases`, { Name: '2024', FunctionVersion: '1' })), /^400 ValidationException: .* pattern: \(\?!\^\[0-9\]\+\$\)\(\[a-zA-Z0-9-_\]\+\)$/);
  });
});

describe('tags', () => {
  const path = (arn: string): string => `/2017-03-31/tags/${encodeURIComponent(arn)}`;

  test('are laid over one another and taken away, and leave the revision alone', async () => {
    await t.create('f', { Tags: { a: '1' } });
    await t.api.idle();
    const { latest } = await record('f');
    assert.equal((await t.call('POST', path(`${ARN}:f`), { Tags: { b: '2', ['__proto__']: 'x' } })).status, 204);
    const tags = (await t.call('GET', path(`${ARN}:f`))).body['Tags'] as object;
    assert.deepEqual(Object.entries(tags).sort(), [['__proto__', 'x'], ['a', '1'], ['b', '2']]);
    assert.equal((await t.call('DELETE', `${path(`${ARN}:f`)}?tagKeys=a&tagKeys=nothing`)).status, 204);
    assert.deepEqual(Object.keys((await record('f')).tags).includes('a'), false);
    assert.deepEqual((await record('f')).latest, latest);
  });

  test('belong to functions that are there', async () => {
    await t.create('f');
    assert.equal(errorOf(await t.call('GET', path(`${ARN}:none`))), `404 ResourceNotFoundException: Function not found: ${ARN}:none`);
    assert.equal(errorOf(await t.call('POST', path(`${ARN}:f:1`), { Tags: { a: '' } })), '400 InvalidParameterValueException: Tags on function aliases and versions are not supported. Please specify a function ARN.');
    assert.equal(errorOf(await t.call('POST', path(`${ARN}:f`), { Tags: {} })), '400 InvalidParameterValueException: An error occurred and the request cannot be processed.');
    assert.equal(errorOf(await t.call('DELETE', path(`${ARN}:f`))), "400 ValidationException: 1 validation error detected: Value null at 'tagKeys' failed to satisfy constraint: Member must not be null");
    assert.match(errorOf(await t.call('GET', path('arn:aws:something'))), /^400 ValidationException: 1 validation error detected: Value 'arn:aws:something' at 'resource' failed/);
    assert.match(errorOf(await t.call('GET', path('arn:aws:lambda:us-east-1:000000000000:capacity-provider:x'))), /^404 ResourceNotFoundException: /);
  });
});

describe('reserved concurrency', () => {
  const put = (name: string, ReservedConcurrentExecutions: number) => t.call('PUT', `/2017-10-31/functions/${name}/concurrency`, { ReservedConcurrentExecutions });

  test('is put, shown and deleted', async () => {
    await t.create('f');
    assert.deepEqual((await put('f', 0)).body, { ReservedConcurrentExecutions: 0 });
    assert.deepEqual((await put('f', 7)).body, { ReservedConcurrentExecutions: 7 });
    assert.deepEqual((await t.call('GET', '/2019-09-30/functions/f/concurrency')).body, { ReservedConcurrentExecutions: 7 });
    assert.deepEqual((await t.call('GET', `${F}/f`)).body['Concurrency'], { ReservedConcurrentExecutions: 7 });
    assert.equal((await t.call('DELETE', '/2017-10-31/functions/f/concurrency')).status, 204);
    assert.deepEqual((await t.call('GET', '/2019-09-30/functions/f/concurrency')).body, {});
    assert.equal(errorOf(await put('none', 1)), `404 ResourceNotFoundException: Function not found: ${ARN}:none:$LATEST`);
  });

  test('leaves 100 to all others, also when several reserve at once', async () => {
    for (const name of ['a', 'b', 'c']) await t.create(name);
    const refusal = "400 InvalidParameterValueException: Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100].";
    const answers = await Promise.all(['a', 'b', 'c'].map((name) => put(name, 400)));
    assert.deepEqual(answers.map((answer) => (answer.status === 200 ? 'reserved' : errorOf(answer))).sort(), [refusal, 'reserved', 'reserved'].sort());
    const last = ['a', 'b', 'c'][answers.findIndex(({ status }) => status !== 200)] ?? '';
    assert.equal((await put(last, 100)).status, 200);
    assert.equal(errorOf(await put(last, 101)), refusal);
    assert.equal((await put(last, 99)).status, 200);
  });
});
