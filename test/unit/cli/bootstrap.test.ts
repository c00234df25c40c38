import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod } from 'node:fs/promises';
import { describe, it, type TestContext } from 'node:test';
import { install, isInstalled, nodeOfProject, writeStamp } from '../../../cli/bin/bootstrap.mjs';
import { installFailure } from '../../../cli/bin/install-failure.mjs';
import { collector, folderWith } from './capture.ts';

const BOOTSTRAP = new URL('../../../cli/bin/bootstrap.mjs', import.meta.url).href;

const LOCKFILE = JSON.stringify({
  lockfileVersion: 3,
  packages: { '': { name: 'x' }, 'node_modules/a': { version: '1.0.0', integrity: 'sha512-a' }, 'node_modules/b': { version: '2.0.0', integrity: 'sha512-b', optional: true } },
});

function installedRecord(version: string): string {
  return JSON.stringify({ packages: { 'node_modules/a': { version, integrity: 'sha512-a' } } });
}

describe('the check whether everything is installed', () => {
  it('says no without node_modules, yes with the stamp of the lockfile, no once the lockfile has changed', async (t) => {
    assert.equal(isInstalled(await folderWith(t, { 'package-lock.json': LOCKFILE })), false);
    const folder = await folderWith(t, { 'package-lock.json': LOCKFILE, 'node_modules/a/package.json': '{}' });
    assert.equal(isInstalled(folder), false);
    writeStamp(folder);
    assert.equal(isInstalled(folder), true);
    const changed = await folderWith(t, { 'package-lock.json': `${LOCKFILE}\n`, 'node_modules/.sluice-lockfile-sha256': 'of another lockfile\n' });
    assert.equal(isInstalled(changed), false);
  });

  it("takes npm's own record of the same versions for an answer", async (t) => {
    const folder = (record: string): Promise<string> => folderWith(t, { 'package-lock.json': LOCKFILE, 'node_modules/.package-lock.json': record });
    assert.equal(isInstalled(await folder(installedRecord('1.0.0'))), true);
    assert.equal(isInstalled(await folder(installedRecord('1.0.1'))), false);
    assert.equal(isInstalled(await folder('{"packages":{}}')), false);
    assert.equal(isInstalled(await folder('{ cut off')), false);
  });
});

describe('an installation', () => {
  /** An npm of our own: what it does and says is the test's. */
  async function withNpm(t: TestContext, script: string): Promise<{ readonly folder: string; readonly output: ReturnType<typeof collector> }> {
    const folder = await folderWith(t, { 'package-lock.json': LOCKFILE, 'fake-npm.js': script });
    const before = process.env.npm_execpath;
    process.env.npm_execpath = `${folder}/fake-npm.js`;
    t.after(() => {
      if (before === undefined) delete process.env.npm_execpath;
      else process.env.npm_execpath = before;
    });
    return { folder, output: collector() };
  }

  it('runs npm ci once, says so in plain lines, and is not repeated', async (t) => {
    const { folder, output } = await withNpm(t, `
      const { mkdirSync, writeFileSync, appendFileSync } = require('node:fs');
      appendFileSync('calls', process.argv.slice(2).join(' ') + '\\n');
      mkdirSync('node_modules/a', { recursive: true });
      writeFileSync('node_modules/a/package.json', '{}');`);
    assert.equal(await install(folder, { output: output.stream }), true);
    assert.equal(await install(folder, { output: output.stream }), false);
    assert.match(output.text(), /^Installing dependencies \(1 packages, once\) …\n(Installing dependencies: \d+ %\n)*Installing dependencies: done in [\d.]+ s\n$/);
  });

  it('that fails says why and leaves no stamp', async (t) => {
    const { folder, output } = await withNpm(t, `console.error('npm error code ENOTFOUND'); process.exit(1);`);
    await assert.rejects(install(folder, { output: output.stream }), /the package registry cannot be reached/);
    assert.equal(isInstalled(folder), false);
  });

  it('that was killed says so', async (t) => {
    const { folder, output } = await withNpm(t, `process.kill(process.pid, 'SIGTERM'); setInterval(() => {}, 1000);`);
    await assert.rejects(install(folder, { output: output.stream }), /npm ci was ended by SIGTERM/);
  });
});

describe('the explanation of a failed installation', () => {
  const signs: readonly (readonly [string, RegExp])[] = [
    ['ENOENT spawn npm ENOENT', /npm was not found/],
    ['npm error code ECONNREFUSED', /registry cannot be reached/],
    ['npm error code E403', /refused access/],
    ['npm error code EACCES', /\/some\/folder cannot be written to/],
    ['npm error code ENOSPC', /disk is full/],
    ['npm error code EINTEGRITY', /npm cache clean/],
    ['`npm ci` can only install packages when your package.json and package-lock.json are in sync', /disagree/],
    ['something\nquite new', /npm said last:\n {2}something\n {2}quite new/],
  ];
  for (const [said, told] of signs) {
    it(`of "${said.split('\n')[0]}" names the remedy`, () => {
      assert.match(installFailure(said, '/some/folder'), told);
    });
  }
});

describe('the Node of the project', () => {
  it('is the one that npm installed; without it, the message says what to do', async (t) => {
    const folder = await folderWith(t, { 'node_modules/.bin/node': '' });
    await chmod(`${folder}/node_modules/.bin/node`, 0o755);
    assert.equal(nodeOfProject(folder), `${folder}/node_modules/.bin/node`);
    const blocked = await folderWith(t, {});
    assert.throws(() => nodeOfProject(blocked), /npm rebuild node --ignore-scripts=false/);
  });
});

describe('a program run in place of the wrapper', () => {
  /** The wrapper in a process of its own, its child running `script`. */
  function wrapped(script: string): ChildProcess {
    const code = `import { runChild } from ${JSON.stringify(BOOTSTRAP)}; await runChild(process.execPath, ['-e', ${JSON.stringify(script)}]);`;
    return spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['pipe', 'pipe', 'inherit'] });
  }

  async function outcome(wrapper: ChildProcess): Promise<{ readonly code: number | null; readonly signal: string | null }> {
    const [code, signal] = (await once(wrapper, 'exit')) as [number | null, string | null];
    return { code, signal };
  }

  it('gives its exit code and its standard streams', async () => {
    const wrapper = wrapped(`process.stdin.on('data', (data) => { process.stdout.write('got ' + data); process.exit(7); });`);
    const ended = outcome(wrapper);
    wrapper.stdin?.write('this');
    const [said] = (await once(wrapper.stdout ?? wrapper, 'data')) as [Buffer];
    assert.equal(String(said), 'got this');
    assert.deepEqual(await ended, { code: 7, signal: null });
  });

  it('gets SIGTERM and SIGINT, each once, and may take its time', async () => {
    const wrapper = wrapped(`
      const got = [];
      process.on('SIGINT', () => { got.push('SIGINT'); console.log('interrupted'); });
      process.on('SIGTERM', () => { got.push('SIGTERM'); process.exit(got.join() === 'SIGINT,SIGTERM' ? 3 : 1); });
      setInterval(() => {}, 1000);
      console.log('ready');`);
    const ended = outcome(wrapper);
    await once(wrapper.stdout ?? wrapper, 'data');
    wrapper.kill('SIGINT');
    await once(wrapper.stdout ?? wrapper, 'data');
    wrapper.kill('SIGTERM');
    assert.deepEqual(await ended, { code: 3, signal: null });
  });

  it('that dies of a signal lets the wrapper die of the same', async () => {
    assert.deepEqual(await outcome(wrapped(`process.kill(process.pid, 'SIGKILL')`)), { code: null, signal: 'SIGKILL' });
  });
});
