/**
 * Brings a fresh clone to life on any Node from 20 on with nothing installed: installs the dependencies, then runs a TypeScript
 * entry on the Node 24 that came with them. Plain JavaScript without dependencies, since it runs before there are any.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { installFailure } from './install-failure.mjs';
import { installProgress } from './install-progress.mjs';

/** The major version of the npm package `node`, which type stripping and node:sqlite are used of. */
const NODE_MAJOR = 24;
const OLDEST_NODE_MAJOR = 20;
/** Holds the hash of the lockfile that node_modules was made from. */
const STAMP = '.sluice-lockfile-sha256';
/** How much of npm's output is kept for the explanation of a failure, in characters. */
const NPM_OUTPUT_KEPT = 16_384;

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** A condition that the person at the keyboard can mend; the message says how. */
export class BootstrapError extends Error {
  name = 'BootstrapError';
}

/** Whether `folder`/node_modules holds exactly what `folder`/package-lock.json asks for. */
export function isInstalled(folder) {
  const modules = join(folder, 'node_modules');
  const lockfile = readFileSync(join(folder, 'package-lock.json'));
  const stamp = join(modules, STAMP);
  if (existsSync(stamp) && readFileSync(stamp, 'utf8').trim() === sha256(lockfile)) return true;
  if (!wasInstalledByHand(modules, JSON.parse(lockfile.toString('utf8')))) return false;
  writeStamp(folder);
  return true;
}

/** npm leaves a record of what it installed: somebody who ran `npm install` need not wait for it again. */
function wasInstalledByHand(modules, lockfile) {
  const record = join(modules, '.package-lock.json');
  if (!existsSync(record)) return false;
  let installed;
  try {
    installed = JSON.parse(readFileSync(record, 'utf8')).packages ?? {};
  } catch {
    return false; // npm was killed while it wrote
  }
  return Object.entries(lockfile.packages).every(([location, wanted]) => {
    if (location === '') return true;
    const found = installed[location];
    return found === undefined ? wanted.optional === true : found.version === wanted.version && found.integrity === wanted.integrity;
  });
}

export function writeStamp(folder) {
  writeFileSync(join(folder, 'node_modules', STAMP), `${sha256(readFileSync(join(folder, 'package-lock.json')))}\n`);
}

/**
 * Runs `npm ci` in `folder` unless everything is there already; resolves to whether it ran. Says on standard error how far it is.
 * Rejects with {@link BootstrapError}.
 */
export async function install(folder, { label = 'Installing dependencies', output = process.stderr } = {}) {
  if (isInstalled(folder)) return false;
  const progress = installProgress(folder, label, output);
  try {
    await npmCi(folder);
  } catch (error) {
    progress.fail();
    throw error;
  }
  progress.done();
  writeStamp(folder);
  return true;
}

function npmCi(folder) {
  // `npm start` tells where npm itself lies; elsewhere it is looked up on the PATH.
  const npm = process.env.npm_execpath?.endsWith('.js') ? [process.execPath, process.env.npm_execpath] : ['npm'];
  const args = ['ci', '--include=dev', '--no-audit', '--no-fund', '--no-progress', '--loglevel=error'];
  return new Promise((resolve, reject) => {
    const child = spawn(npm[0], [...npm.slice(1), ...args], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'], shell: process.platform === 'win32' && npm.length === 1 });
    let said = '';
    const keep = (chunk) => {
      said = (said + chunk).slice(-NPM_OUTPUT_KEPT);
    };
    child.stdout.setEncoding('utf8').on('data', keep);
    child.stderr.setEncoding('utf8').on('data', keep);
    child.on('error', (error) => reject(new BootstrapError(installFailure(`${error.code} ${error.message}`, folder))));
    child.on('close', (code, signal) => {
      if (code === 0) resolve();
      else reject(new BootstrapError(signal === null ? installFailure(said, folder) : `npm ci was ended by ${signal}; run the same command again.`));
    });
  });
}

/** The Node that runs TypeScript. Throws {@link BootstrapError} when the install scripts that put it there were blocked. */
export function nodeOfProject(root = ROOT) {
  const node = join(root, 'node_modules', '.bin', process.platform === 'win32' ? 'node.cmd' : 'node');
  if (existsSync(node)) return node;
  throw new BootstrapError(
    `${node} is missing: npm did not run the install script of the package "node", which puts Node ${NODE_MAJOR} there. ` +
      `Run "npm rebuild node --ignore-scripts=false --foreground-scripts" in ${root}, or start with a Node ${NODE_MAJOR} of your own.`,
  );
}

/** Installs what is missing and runs `entry` (relative to the root) as if it were the command itself. */
export async function runEntry(entry, args) {
  try {
    const major = Number(process.versions.node.split('.')[0]);
    if (major < OLDEST_NODE_MAJOR) throw new BootstrapError(`Sluice needs Node ${OLDEST_NODE_MAJOR} or newer to install itself; this is ${process.version}.`);
    await install(ROOT);
    const file = join(ROOT, entry);
    if (major === NODE_MAJOR) {
      process.argv = [process.execPath, file, ...args];
      await import(pathToFileURL(file).href);
    } else {
      await runChild(nodeOfProject(), [file, ...args]);
    }
  } catch (error) {
    if (!(error instanceof BootstrapError)) throw error;
    process.stderr.write(`sluice: ${error.message}\n`);
    process.exitCode = 1;
  }
}

/** Runs a program in this one's place: its standard streams, its signals, its end. */
export function runChild(program, args) {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: 'inherit' });
    // A terminal sends Ctrl-C to the whole foreground group, so the child has it already; from elsewhere (kill -INT) only we get it.
    const onTerminal = process.stdin.isTTY === true || process.stdout.isTTY === true || process.stderr.isTTY === true;
    const handlers = new Map([
      ['SIGINT', () => onTerminal || child.kill('SIGINT')],
      ['SIGTERM', () => child.kill('SIGTERM')],
      ['SIGHUP', () => child.kill('SIGHUP')],
    ]);
    for (const [signal, handler] of handlers) process.on(signal, handler);
    const finish = (code, signal) => {
      for (const [name, handler] of handlers) process.off(name, handler);
      // The same end as the child's, so that a shell or a supervisor sees what really happened.
      if (signal === null) process.exitCode = code;
      else process.kill(process.pid, signal);
      resolve();
    };
    child.on('error', (error) => {
      process.stderr.write(`sluice: ${program} cannot be run: ${error.message}\n`);
      finish(1, null);
    });
    child.on('exit', finish);
  });
}

function sha256(bytes) {
  return createHash('sha256').update(bytes).digest('hex');
}
