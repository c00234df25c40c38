import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { Readable } from 'node:stream';
import { describe, it } from 'node:test';
import { parseAge } from '../../../cli/commands/logs.ts';
import { readPayload } from '../../../cli/commands/invoke.ts';
import { CliError, EXIT, toCliError } from '../../../cli/errors.ts';
import { cli, folderWith } from './capture.ts';

const COMMANDS = ['up', 'env', 'deploy', 'invoke', 'logs', 'list', 'delete'];

describe('the sluice command', () => {
  it('prints help for itself and every command, with examples, on standard output', async () => {
    const all = await cli(['--help']);
    assert.equal(all.exitCode, EXIT.ok);
    for (const command of COMMANDS) {
      assert.match(all.stdout, new RegExp(`^  ${command}\\b`, 'm'));
      const { exitCode, stdout, stderr } = await cli([command, '--help']);
      assert.deepEqual([exitCode, stderr], [EXIT.ok, '']);
      assert.match(stdout, new RegExp(`Examples:\\n  \\$ (eval "\\$\\()?npx sluice ${command}`));
    }
  });

  it('documents every exit code', async () => {
    const { stdout } = await cli(['--help']);
    for (const code of Object.values(EXIT)) assert.match(stdout, new RegExp(`^  ${code}  \\w`, 'm'));
  });

  it('prints its version', async () => {
    assert.match((await cli(['--version'])).stdout, /^\d+\.\d+\.\d+\n$/);
  });

  const usage: readonly (readonly [string, readonly string[], RegExp])[] = [
    ['no command', [], /^Usage: sluice/],
    ['an unknown command', ['deplo'], /unknown command 'deplo'[^]*Did you mean deploy/],
    ['an unknown option', ['list', '--nope'], /unknown option '--nope'/],
    ['a missing argument', ['invoke'], /missing required argument 'name'/],
    ['one argument too many', ['list', 'x'], /too many arguments/],
    ['a port out of bounds', ['up', '--port', '65536'], /'65536' is invalid.*Give a whole number from 0 to 65535/],
    ['a port that is no number', ['env', '--port', '94oo'], /Give a whole number/],
    ['an unknown format', ['list', '--output', 'xml'], /Allowed choices are text, json/],
    ['a memory size out of bounds', ['deploy', '.', '--memory', '64'], /from 128 to 10240/],
    ['a variable without a value', ['deploy', '.', '--env', 'NAME'], /Give NAME=VALUE/],
    ['a path that is not there', ['deploy', '/nowhere/at/all'], /\/nowhere\/at\/all: no such file or folder/],
    ['an event in a file that is not there', ['invoke', 'f', '-p', '@/nowhere/event.json'], /^sluice: \/nowhere\/event\.json: no such file or folder\.$/m],
    ['an event that is not JSON', ['invoke', 'f', '-p', '{bad'], /The event in the value of --payload is not JSON/],
    ['an event above 6 MiB', ['invoke', 'f', '-p', JSON.stringify('x'.repeat(6_291_456))], /has 6291458 bytes; Lambda takes at most 6291456/],
    ['an asynchronous event above 1 MiB', ['invoke', 'f', '--async', '-p', JSON.stringify('x'.repeat(1_048_576))], /has 1048578 bytes; Lambda takes at most 1048576/],
    ['an age without a unit', ['logs', 'f', '--since', '10'], /30s, 10m, 6h or 2d/],
  ];
  for (const [what, args, message] of usage) {
    it(`answers ${what} with exit code 2 and a line on standard error`, async () => {
      const { exitCode, stdout, stderr } = await cli(args);
      assert.deepEqual([exitCode, stdout], [EXIT.usage, '']);
      assert.match(stderr, message);
      assert.doesNotMatch(stderr, /^\s+at /m);
    });
  }

  it('shows what a wrong setting is, but no password in it', async () => {
    const { exitCode, stderr } = await cli(['env'], { SLUICE_CACHE: 'redis://user:hunter2@redis:6379' });
    assert.equal(exitCode, EXIT.usage);
    assert.match(stderr, /SLUICE_CACHE=redis:\/\/…@redis:6379 is not valid: .*password has a setting of its own/);
  });

  it('takes a wrong setting for wrong usage, and names it', async () => {
    const { exitCode, stderr } = await cli(['env'], { SLUICE_PROT: '1' });
    assert.equal(exitCode, EXIT.usage);
    assert.match(stderr, /SLUICE_PROT is not a setting of Sluice/);
  });

  it('refuses flags of a folder for a template, and the reverse', async (t) => {
    const folder = await folderWith(t, { 'index.mjs': 'export const handler = 1' });
    const template = await folderWith(t, { 'template.yaml': 'Resources: {}' });
    assert.match((await cli(['deploy', folder, '--parameter', 'A=1'])).stderr, /--parameter is for a template/);
    assert.match((await cli(['deploy', template, '--memory', '128'])).stderr, /--memory is for a folder/);
  });

  it('answers exit code 3 where nothing listens at AWS_ENDPOINT_URL', async () => {
    const port = await freePort();
    const environment = { AWS_ENDPOINT_URL: `http://127.0.0.1:${port}` };
    process.env.AWS_ACCESS_KEY_ID ??= 'test';
    process.env.AWS_SECRET_ACCESS_KEY ??= 'test';
    const { exitCode, stderr } = await cli(['invoke', 'f'], environment);
    assert.equal(exitCode, EXIT.noInstance);
    assert.match(stderr, new RegExp(`No Sluice answers there \\(connect ECONNREFUSED 127\\.0\\.0\\.1:${port}\\)`));
    assert.doesNotMatch(stderr, /^\s+at /m);
  });
});

describe('an event', () => {
  it('comes from the command line, a file or standard input', async (t) => {
    const folder = await folderWith(t, { 'event.json': '{"from":"file"}' });
    assert.equal((await readPayload('{"from":"argument"}', Readable.from([]))).toString(), '{"from":"argument"}');
    assert.equal((await readPayload(`@${folder}/event.json`, Readable.from([]))).toString(), '{"from":"file"}');
    assert.equal((await readPayload('-', Readable.from([Buffer.from('{"from":'), Buffer.from('"stdin"}')]))).toString(), '{"from":"stdin"}');
  });
});

describe('an age', () => {
  it('is a number with a unit', () => {
    assert.deepEqual(['30s', '10m', '6h', '2d'].map(parseAge), [30_000, 600_000, 21_600_000, 172_800_000]);
    for (const wrong of ['', '10', '1w', '-1m', '1.5h', '9999999s']) assert.throws(() => parseAge(wrong));
  });
});

describe('an error', () => {
  const service = (name: string): Error => Object.assign(new Error('what happened'), { name, $metadata: {} });

  it('becomes one line with the exit code that fits', () => {
    const told = (error: unknown): readonly [number, string] => {
      const { exitCode, message } = toCliError(error);
      return [exitCode, message];
    };
    assert.deepEqual(told(new CliError('mine', EXIT.functionError)), [EXIT.functionError, 'mine']);
    assert.deepEqual(told(service('ResourceNotFoundException')), [EXIT.notFound, 'what happened']);
    assert.deepEqual(told(service('InvalidParameterValueException')), [EXIT.failure, 'InvalidParameterValueException: what happened']);
    assert.deepEqual(told(Object.assign(new Error('x'), { code: 'ENOENT', path: '/a/b' })), [EXIT.failure, '/a/b: no such file or folder.']);
    assert.deepEqual(told(new Error('first\nsecond')), [EXIT.failure, 'first']);
    assert.deepEqual(told('thrown text'), [EXIT.failure, 'thrown text']);
    // Node tries IPv6 and IPv4 of a name, and reports both in one error without a message.
    const both = new AggregateError([Object.assign(new Error('connect ECONNREFUSED ::1:1'), { code: 'ECONNREFUSED' })]);
    assert.equal(toCliError(both).exitCode, EXIT.noInstance);
    assert.match(toCliError(both).message, /ECONNREFUSED ::1:1/);
  });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
