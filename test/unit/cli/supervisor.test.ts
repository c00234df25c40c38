import assert from 'node:assert/strict';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { unusedServices } from '../../../cli/embedded.ts';
import { EXIT } from '../../../cli/errors.ts';
import { parseProcessPlan } from '../../../cli/supervisor/process-plan.ts';
import { ProcessTable, readProcessTable, type ProcessEntry } from '../../../cli/supervisor/process-table.ts';
import { Supervisor } from '../../../cli/supervisor/supervisor.ts';
import { readSettings } from '../../../platform/configuration/settings.ts';
import { verifyJoinToken } from '../../../platform/protocol/wire/tokens.ts';
import { inheritedVariables } from '../../support/access.ts';
import { cli, collector, folderWith } from './capture.ts';

const SECRET = 'a-secret-that-is-long-enough-for-all';

const ENTRIES: readonly ProcessEntry[] = [
  { name: 'gateway-1', role: 'gateway', state: 'ready', pid: 4_711, url: 'http://127.0.0.1:9400', internalUrl: 'http://127.0.0.1:9500', restarts: 0, startedAtMs: Date.UTC(2026, 6, 31, 12, 30, 15) },
  { name: 'worker-1', role: 'worker', state: 'waiting', restarts: 3, startedAtMs: Date.UTC(2026, 6, 31, 12, 31) },
];

describe('a plan of processes', () => {
  const plans: readonly (readonly [string, readonly [number, number, number]])[] = [
    ['gateway=2,controller=2,worker=3', [2, 2, 3]],
    ['worker=3', [1, 1, 3]],
    ['worker=0,controller=0', [1, 0, 0]],
    ['gateway=64', [64, 1, 1]],
    ['worker=2,worker=4', [1, 1, 4]],
  ];
  for (const [text, [gateway, controller, worker]] of plans) it(`is read: ${text}`, () => assert.deepEqual(parseProcessPlan(text), { gateway, controller, worker }));

  const wrong: readonly (readonly [string, RegExp])[] = [
    ['', /"" is no role; write for example gateway=2,controller=2,worker=3/],
    ['gateways=2', /"gateways" is no role/],
    ['worker=2,', /"" is no role/],
    ['worker', /worker=: give a whole number from 0 to 64/],
    ['worker=', /worker=: give a whole number/],
    ['worker=-1', /worker=-1: give a whole number/],
    ['worker=1.5', /worker=1\.5: give a whole number/],
    ['worker=65', /worker=65: give a whole number from 0 to 64/],
    ['worker= 2', /worker= 2: give a whole number/],
    ['gateway=0', /There must be a gateway/],
  ];
  for (const [text, message] of wrong) {
    it(`is refused in one line that says what is wrong: ${JSON.stringify(text)}`, async () => {
      assert.throws(() => parseProcessPlan(text), message);
      const { exitCode, stderr } = await cli(['up', '--processes', text]);
      assert.equal(exitCode, EXIT.usage);
      assert.match(stderr, message);
    });
  }
});

describe('the table of processes', () => {
  it('is read as it was written last, by whoever looks, and is whole at any moment', async (t) => {
    const folder = await folderWith(t);
    assert.equal(await readProcessTable(folder), undefined);
    const table = new ProcessTable(folder);
    await table.write(ENTRIES);
    assert.deepEqual(await readProcessTable(folder), ENTRIES);
    const many = Array.from({ length: 50 }, (_, restarts) => ENTRIES.map((entry) => ({ ...entry, restarts })));
    const writing = Promise.all(many.map((entries) => table.write(entries)));
    for (let looks = 0; looks < 50; looks++) assert.equal((await readProcessTable(folder))?.length, 2);
    await writing;
    assert.deepEqual(await readProcessTable(folder), many.at(-1));
  });

  it('is its owner\'s alone, and is gone when the supervisor is', async (t) => {
    const folder = await folderWith(t);
    const table = new ProcessTable(folder);
    await table.write(ENTRIES);
    assert.equal((await stat(join(folder, 'processes.json'))).mode & 0o777, 0o600);
    void table.write(ENTRIES);
    await table.remove();
    await table.remove();
    assert.equal(await readProcessTable(folder), undefined);
    assert.deepEqual(await readdir(folder), []);
  });

  it('that is none is as good as none', async (t) => {
    assert.equal(await readProcessTable(await folderWith(t, { 'processes.json': '[{"name":' })), undefined);
  });
});

describe('sluice ps', () => {
  it('lists the processes for people', async (t) => {
    const folder = await folderWith(t, { 'processes.json': JSON.stringify(ENTRIES) });
    const { exitCode, stdout, stderr } = await cli(['ps', '--data', folder]);
    assert.deepEqual([exitCode, stderr], [EXIT.ok, '']);
    assert.deepEqual(stdout.trimEnd().split('\n').map((line) => line.split(/ {2,}/)), [
      ['NAME', 'STATE', 'PID', 'ADDRESS', 'INTERNAL', 'RESTARTS', 'SINCE'],
      ['gateway-1', 'ready', '4711', 'http://127.0.0.1:9400', 'http://127.0.0.1:9500', '0', '2026-07-31 12:30:15'],
      ['worker-1', 'waiting', '3', '2026-07-31 12:31:00'],
    ]);
  });

  it('and for programs', async (t) => {
    const folder = await folderWith(t, { 'processes.json': JSON.stringify(ENTRIES) });
    const { exitCode, stdout, stderr } = await cli(['ps', '--output', 'json'], { SLUICE_DATA: folder });
    assert.deepEqual([exitCode, stderr], [EXIT.ok, '']);
    assert.deepEqual(JSON.parse(stdout), ENTRIES);
  });

  it('says that none runs there, and how to name another place', async (t) => {
    const folder = await folderWith(t);
    for (const output of ['text', 'json']) {
      const { exitCode, stdout, stderr } = await cli(['ps', '--data', folder, '--output', output]);
      assert.deepEqual([exitCode, stdout], [EXIT.noInstance, '']);
      assert.equal(stderr, `sluice: No "sluice up --processes" runs with data in ${folder}. Say which with --data or SLUICE_DATA.\n`);
    }
  });
});

describe('sluice token', () => {
  const DAY_MS = 86_400_000;

  it('prints a token with which that worker may join, for a year or as long as is said', async () => {
    for (const [args, days] of [[[], 365], [['--days', '2'], 2]] as const) {
      const { exitCode, stdout, stderr } = await cli(['token', '--worker', 'rack.7-worker', ...args], { SLUICE_SECRET: SECRET });
      assert.deepEqual([exitCode, stderr], [EXIT.ok, '']);
      const token = stdout.trimEnd();
      assert.equal(stdout, `${token}\n`);
      assert.equal(verifyJoinToken(SECRET, token, Date.now() + (days - 0.5) * DAY_MS), 'rack.7-worker');
      assert.equal(verifyJoinToken(SECRET, token, Date.now() + (days + 0.5) * DAY_MS), undefined);
      assert.ok(!stdout.includes(SECRET));
    }
  });

  const wrong: readonly (readonly [string, readonly string[], Readonly<Record<string, string>>, RegExp])[] = [
    ['without the secret', ['--worker', 'w'], {}, /^sluice: SLUICE_SECRET is not set; .*openssl rand -hex 32/],
    ['with a secret that is too short', ['--worker', 'w'], { SLUICE_SECRET: 'guessable' }, /^sluice: SLUICE_SECRET is not valid: .*at least 32 characters/],
    ['without a worker', [], { SLUICE_SECRET: SECRET }, /required option '--worker <name>' not specified/],
    ['for no time', ['--worker', 'w', '--days', '0'], { SLUICE_SECRET: SECRET }, /Give a whole number from 1 to 3650/],
  ];
  for (const [what, args, environment, message] of wrong) {
    it(`prints none ${what}`, async () => {
      const { exitCode, stdout, stderr } = await cli(['token', ...args], environment);
      assert.deepEqual([exitCode, stdout], [EXIT.usage, '']);
      assert.match(stderr, message);
      assert.doesNotMatch(stderr, /guessable/);
    });
  }
});

describe('a role in a process of its own', () => {
  /** All that a role needs, at addresses where nobody is: what is wrong with a setting is said before anybody is spoken to. */
  const SERVICES = { SLUICE_LOG: 'kafka://127.0.0.1:1', SLUICE_STORE: 's3://127.0.0.1:1', SLUICE_CACHE: 'redis://127.0.0.1:1', SLUICE_S3_ACCESS_KEY: 'access', SLUICE_S3_SECRET_KEY: 'an-s3-secret', SLUICE_SECRET: SECRET };
  const ALONE = /serves one process only; roles in processes of their own need/;
  const wrong: readonly (readonly [string, readonly string[], Readonly<Record<string, string>>, RegExp])[] = [
    ['no secret', ['gateway', 'controller', 'worker'], { SLUICE_SECRET: '' }, /^sluice: SLUICE_SECRET is not set; the processes of one Sluice know each other by it/],
    ['the log of one process', ['gateway', 'controller'], { SLUICE_LOG: 'sqlite:' }, new RegExp(`^sluice: SLUICE_LOG=sqlite: ${ALONE.source} SLUICE_LOG=kafka://host:port`)],
    ['the store of one process', ['gateway', 'controller'], { SLUICE_STORE: 'file:' }, new RegExp(`^sluice: SLUICE_STORE=file: ${ALONE.source} SLUICE_STORE=s3://host:port`)],
    ['the cache of one process', ['gateway', 'controller'], { SLUICE_CACHE: 'memory:' }, new RegExp(`^sluice: SLUICE_CACHE=memory: ${ALONE.source} SLUICE_CACHE=redis://host:port`)],
    ['no way to hear of controllers', ['worker'], { SLUICE_CACHE: 'memory:' }, /^sluice: A worker has to be told where controllers are: set SLUICE_CONTROLLERS=http:\/\/host:port, or SLUICE_CACHE=/],
    ['a store without a key for it', ['gateway', 'controller', 'worker'], { SLUICE_S3_SECRET_KEY: '' }, /^sluice: SLUICE_STORE=s3:\/\/127\.0\.0\.1:1 needs SLUICE_S3_SECRET_KEY, which is not set\./],
    ['a log that is none', ['gateway', 'controller', 'worker'], { SLUICE_LOG: 'kafka://here' }, /^sluice: SLUICE_LOG=kafka:\/\/here is not valid: .*kafka:\/\/host:port/],
    ['a join token that is none', ['worker'], { SLUICE_JOIN_TOKEN: 'abc' }, /^sluice: SLUICE_JOIN_TOKEN is not valid: .*sluice token/],
  ];
  for (const [what, roles, change, message] of wrong) {
    for (const role of roles) {
      it(`says what is wrong in one line that names the setting: a ${role} with ${what}`, async (t) => {
        const { exitCode, stdout, stderr } = await cli([role, '--data', join(await folderWith(t), 'data')], { ...SERVICES, ...change });
        assert.deepEqual([exitCode, stdout], [EXIT.usage, '']);
        assert.match(stderr, message);
        assert.equal(stderr.trimEnd().split('\n').length, 1);
        assert.ok(!stderr.includes(SECRET) && !stderr.includes('an-s3-secret'));
      });
    }
  }
});

describe('a supervisor', () => {
  it('that cannot start a role says that role\'s last words, and leaves nothing behind', async (t) => {
    const folder = await folderWith(t);
    const stderr = collector();
    const supervisor = new Supervisor({ plan: { gateway: 1, controller: 0, worker: 0 }, settings: readSettings({ SLUICE_DATA: folder }), environment: inheritedVariables(), stderr: stderr.stream });
    await assert.rejects(supervisor.start(), /^CliError: SLUICE_SECRET is not set/);
    assert.match(stderr.text(), /^gateway-1: sluice: SLUICE_SECRET is not set/);
    assert.equal(await readProcessTable(folder), undefined);
    const { pid = 0 } = supervisor.entries[0] ?? {};
    assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
    await supervisor.stop();
  });
});

describe('processes with settings of which a gateway can make nothing', () => {
  const wrong: readonly (readonly [string, Readonly<Record<string, string>>, RegExp])[] = [
    ['no secret', {}, /^sluice: SLUICE_SECRET is not set; /],
    ['the log of one process', { SLUICE_SECRET: SECRET }, /^sluice: SLUICE_LOG=sqlite: serves one process only/],
  ];
  for (const [what, environment, message] of wrong) {
    it(`are not begun with, and that is said once: ${what}`, async (t) => {
      const { exitCode, stdout, stderr } = await cli(['up', '--processes', 'gateway=2', '--data', join(await folderWith(t), 'data')], environment);
      assert.deepEqual([exitCode, stdout], [EXIT.usage, '']);
      assert.match(stderr, message);
      assert.equal(stderr.trimEnd().split('\n').length, 1);
    });
  }
});

it('one process says which services it has no use for', () => {
  assert.deepEqual(unusedServices(readSettings({})), []);
  assert.match(unusedServices(readSettings({ SLUICE_LOG: 'kafka://broker:9092' })).join(), /^SLUICE_LOG is not used: .*--processes/);
  assert.match(unusedServices(readSettings({ SLUICE_LOG: 'kafka://broker:9092', SLUICE_CACHE: 'redis://redis:6379' })).join(), /^SLUICE_LOG, SLUICE_CACHE are not used: /);
});

it('the table is a file that people can read', async (t) => {
  const folder = await folderWith(t);
  await new ProcessTable(folder).write(ENTRIES);
  assert.match(await readFile(join(folder, 'processes.json'), 'utf8'), /^\[\n {2}\{\n {4}"name": "gateway-1",/);
});
