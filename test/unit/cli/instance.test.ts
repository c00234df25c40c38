import assert from 'node:assert/strict';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { EXIT } from '../../../cli/errors.ts';
import { announceInstance, ensureCredentials, findInstance, refuseSecondInstance, settingsWith } from '../../../cli/instance.ts';
import { cli, folderWith } from './capture.ts';

type Environment = Readonly<Record<string, string>>;

async function place(t: TestContext): Promise<Environment> {
  const folder = await folderWith(t);
  return { SLUICE_DATA: join(folder, 'data'), SLUICE_CACHE_DIR: join(folder, 'cache') };
}

/** Something that accepts connections, as a running Sluice would. */
async function listener(t: TestContext): Promise<{ readonly url: string; readonly port: number; readonly server: Server }> {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const { port } = server.address() as { port: number };
  return { url: `http://127.0.0.1:${port}`, port, server };
}

describe('credentials', () => {
  it("are made once, have AWS's form, and only the owner may read them", async (t) => {
    const { SLUICE_DATA: data = '' } = await place(t);
    const first = await ensureCredentials(data);
    assert.match(first.accessKeyId, /^AKIA[A-Z2-7]{16}$/);
    assert.match(first.secretAccessKey, /^[A-Za-z0-9+/]{40}$/);
    assert.deepEqual(await ensureCredentials(data), first);
    assert.equal((await stat(join(data, 'credentials.json'))).mode & 0o777, 0o600);
  });

  it('are the same for all who make them at once', async (t) => {
    const { SLUICE_DATA: data = '' } = await place(t);
    const made = await Promise.all(Array.from({ length: 8 }, () => ensureCredentials(data)));
    assert.equal(new Set(made.map(({ secretAccessKey }) => secretAccessKey)).size, 1);
  });

  it('that were damaged are refused, not replaced: somebody may still use the old ones', async (t) => {
    const { SLUICE_DATA: data = '' } = await place(t);
    await ensureCredentials(data);
    await writeFile(join(data, 'credentials.json'), '{}');
    await assert.rejects(ensureCredentials(data), /credentials\.json does not hold/);
  });
});

describe('a running instance', () => {
  it('is found by default, by folder and by port, until it withdraws', async (t) => {
    const environment = await place(t);
    const { url, port } = await listener(t);
    const { withdraw } = await announceInstance(settingsWith(environment, {}), url);
    for (const options of [{}, { data: environment.SLUICE_DATA ?? '' }, { port }]) {
      assert.equal((await findInstance(environment, options)).url, url);
    }
    assert.equal((await stat(join(environment.SLUICE_DATA ?? '', 'instance.json'))).mode & 0o777, 0o600);
    assert.doesNotMatch(await readFile(join(environment.SLUICE_DATA ?? '', 'instance.json'), 'utf8'), /secret/i);
    await withdraw();
    await assert.rejects(findInstance(environment, {}), { exitCode: EXIT.noInstance });
    await assert.rejects(findInstance(environment, { port }), { exitCode: EXIT.noInstance });
  });

  it('that was killed is not taken for a running one', async (t) => {
    const environment = await place(t);
    const { url, server } = await listener(t);
    await announceInstance(settingsWith(environment, {}), url);
    await new Promise((resolve) => server.close(resolve));
    await assert.rejects(findInstance(environment, {}), /No Sluice is running with data in .*Start one with/);
    await refuseSecondInstance(settingsWith(environment, {}));
  });

  it('on another port than asked for is told of', async (t) => {
    const environment = await place(t);
    const { url, port } = await listener(t);
    await announceInstance(settingsWith(environment, {}), url);
    await assert.rejects(findInstance(environment, { data: environment.SLUICE_DATA ?? '', port: port === 1 ? 2 : 1 }), new RegExp(`listens on port ${port}, not`));
  });

  it('keeps a second one off its data folder', async (t) => {
    const environment = await place(t);
    const { url } = await listener(t);
    await announceInstance(settingsWith(environment, {}), url);
    const file = join(environment.SLUICE_DATA ?? '', 'instance.json');
    // This very process may start again; the parent stands for another that runs.
    await refuseSecondInstance(settingsWith(environment, {}));
    await writeFile(file, (await readFile(file, 'utf8')).replace(/"pid": \d+/, `"pid": ${process.ppid}`));
    await assert.rejects(refuseSecondInstance(settingsWith(environment, {})), /already running at .*SLUICE_DATA, SLUICE_PORT/);
    assert.match((await cli(['up'], environment)).stderr, /already running/);
  });
});

describe('sluice env', () => {
  it('says that none runs, with exit code 3 and nothing on standard output', async (t) => {
    const { exitCode, stdout, stderr } = await cli(['env'], await place(t));
    assert.deepEqual([exitCode, stdout], [EXIT.noInstance, '']);
    assert.match(stderr, /No Sluice is running .*npx sluice up/);
  });

  it('prints variables for the shell, and the same as JSON', async (t) => {
    const environment = await place(t);
    const { url } = await listener(t);
    await announceInstance(settingsWith(environment, {}), url);
    const { accessKeyId, secretAccessKey } = await ensureCredentials(environment.SLUICE_DATA ?? '');
    const line = await cli(['env'], environment);
    assert.equal(line.stdout, `export AWS_ENDPOINT_URL=${url} AWS_ACCESS_KEY_ID=${accessKeyId} AWS_SECRET_ACCESS_KEY=${secretAccessKey} AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1\n`);
    const json = await cli(['env', '--output', 'json'], environment);
    assert.deepEqual(JSON.parse(json.stdout), { AWS_ENDPOINT_URL: url, AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_REGION: 'us-east-1', AWS_DEFAULT_REGION: 'us-east-1' });
  });
});
