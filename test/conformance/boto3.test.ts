/** The real boto3 and the real `aws` command against Sluice. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { ROLE } from '../support/functions.ts';
import { zip } from '../support/packages.ts';
import { awsPython, type AwsPython } from '../support/aws-python.ts';
import { CREDENTIALS } from '../support/access.ts';
import { startSluice, type TestSluice } from '../support/sluice.ts';

const run = promisify(execFile);
const python: AwsPython | undefined = await awsPython();
const skip = python === undefined ? 'NOT TESTED: there is no python3 on this machine, so boto3 and the AWS CLI cannot be run' : false;

describe('boto3 and the AWS CLI', { skip }, () => {
  let sluice: TestSluice;
  let folder: string;
  let environment: NodeJS.ProcessEnv;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sluice-aws-'));
    sluice = await startSluice();
    const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('AWS_')));
    environment = {
      ...clean,
      // The only thing that differs from the use of AWS.
      AWS_ENDPOINT_URL: sluice.url,
      AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
      AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
      AWS_REGION: 'us-east-1',
      AWS_DEFAULT_REGION: 'us-east-1',
      AWS_MAX_ATTEMPTS: '1',
      AWS_EC2_METADATA_DISABLED: 'true',
      AWS_CONFIG_FILE: join(folder, 'no-config'),
      AWS_SHARED_CREDENTIALS_FILE: join(folder, 'no-credentials'),
      PYTHONWARNINGS: 'ignore',
    };
  });
  after(async () => {
    await sluice.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const aws = async (...args: readonly string[]): Promise<unknown> => {
    const { stdout } = await run(python?.executable('aws') ?? 'aws', ['--output', 'json', ...args], { env: environment, cwd: folder });
    return stdout === '' ? undefined : (JSON.parse(stdout) as unknown);
  };

  test('boto3: the story of a function', async () => {
    const script = join(import.meta.dirname, 'boto3', 'lambda_story.py');
    const { stderr } = await run(python?.executable('python') ?? 'python3', [script], { env: environment, cwd: folder });
    assert.match(stderr, /^OK$/m);
    assert.match(stderr, /Ran 5 tests/);
  });

  test('aws lambda: the story of a function', async () => {
    const handler = (word: string): string => `exports.handler = async (event) => { console.log('hearing', event); return { word: '${word}', event }; };`;
    await writeFile(join(folder, 'one.zip'), await zip({ 'index.js': handler('one') }));
    await writeFile(join(folder, 'two.zip'), await zip({ 'index.js': handler('two') }));
    const invoked = async (...args: readonly string[]): Promise<{ answer: Record<string, unknown>; payload: unknown }> => {
      const answer = (await aws('lambda', 'invoke', ...args, 'out.json')) as Record<string, unknown>;
      return { answer, payload: JSON.parse(await readFile(join(folder, 'out.json'), 'utf8')) as unknown };
    };
    const created = await aws('lambda', 'create-function', '--function-name', 'cli', '--runtime', 'nodejs22.x', '--handler', 'index.handler', '--role', ROLE, '--zip-file', 'fileb://one.zip', '--environment', 'Variables={COLOUR=blue}');
    assert.equal((created as { FunctionName: string }).FunctionName, 'cli');
    await aws('lambda', 'wait', 'function-active-v2', '--function-name', 'cli');
    const first = await invoked('--function-name', 'cli', '--payload', '{"n":1}', '--log-type', 'Tail');
    assert.deepEqual(first.payload, { word: 'one', event: { n: 1 } });
    assert.equal(first.answer['StatusCode'], 200);
    assert.match(Buffer.from(String(first.answer['LogResult']), 'base64').toString(), /hearing \{ n: 1 \}/);

    assert.equal(((await aws('lambda', 'publish-version', '--function-name', 'cli')) as { Version: string }).Version, '1');
    await aws('lambda', 'create-alias', '--function-name', 'cli', '--name', 'live', '--function-version', '1');
    await aws('lambda', 'update-function-code', '--function-name', 'cli', '--zip-file', 'fileb://two.zip');
    await aws('lambda', 'wait', 'function-updated-v2', '--function-name', 'cli');
    assert.deepEqual((await invoked('--function-name', 'cli', '--payload', '{}')).payload, { word: 'two', event: {} });
    assert.deepEqual((await invoked('--function-name', 'cli:live', '--payload', '{}')).payload, { word: 'one', event: {} });
    const event = (await aws('lambda', 'invoke', '--function-name', 'cli', '--invocation-type', 'Event', '--payload', '{}', 'out.json')) as { StatusCode: number };
    assert.equal(event.StatusCode, 202);

    const listed = (await aws('lambda', 'list-functions', '--query', 'Functions[].FunctionName')) as string[];
    assert.ok(listed.includes('cli'));
    const logged = (await aws('logs', 'filter-log-events', '--log-group-name', '/aws/lambda/cli', '--filter-pattern', 'hearing')) as { events: { message: string }[] };
    assert.ok(logged.events.some(({ message }) => message.includes('hearing { n: 1 }')));

    const configured = async (vpcConfig: string): Promise<unknown> => ((await aws('lambda', 'update-function-configuration', '--function-name', 'cli', '--vpc-config', vpcConfig)) as { VpcConfig: unknown }).VpcConfig;
    assert.deepEqual(await configured('SubnetIds=subnet-1,subnet-2,SecurityGroupIds=sg-1'), { SubnetIds: ['subnet-1', 'subnet-2'], SecurityGroupIds: ['sg-1'], VpcId: 'vpc-00000000000000001', Ipv6AllowedForDualStack: false });
    await aws('lambda', 'wait', 'function-updated-v2', '--function-name', 'cli');
    assert.deepEqual(await configured('SubnetIds=[],SecurityGroupIds=[]'), { SubnetIds: [], SecurityGroupIds: [], VpcId: '', Ipv6AllowedForDualStack: false });

    await aws('lambda', 'delete-alias', '--function-name', 'cli', '--name', 'live');
    await aws('lambda', 'delete-function', '--function-name', 'cli');
    await assert.rejects(aws('lambda', 'get-function', '--function-name', 'cli'), (error: Error & { code?: number; stderr?: string }) => {
      assert.match(error.stderr ?? '', /An error occurred \(ResourceNotFoundException\) when calling the GetFunction operation: Function not found: arn:aws:lambda:us-east-1:000000000000:function:cli/);
      return true;
    });
  });
});
