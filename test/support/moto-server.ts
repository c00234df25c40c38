import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { access, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { readSettings } from '../../platform/configuration/settings.ts';
import { sluiceVariables } from './access.ts';
import type { S3Service } from './services.ts';

const run = promisify(execFile);
const FOLDER = join(import.meta.dirname, '..', 'contract', 'moto');
const REQUIREMENTS = join(FOLDER, 'requirements.txt');

/** A private Python with the pinned moto: a second S3 server, made for tests of others, independent of MinIO. */
export interface Moto {
  /** `restMs`: how long each write rests between the check of its condition and its taking effect. */
  start(options?: { readonly restMs?: number }): Promise<S3Service & { stop(): Promise<void> }>;
}

/**
 * Makes the private Python on first use, in the cache folder under the hash of what is pinned. Undefined only where the machine has no
 * python3; a failed install is an error.
 */
export async function moto(): Promise<Moto | undefined> {
  const settings = readSettings(sluiceVariables());
  try {
    await run(settings.python, ['--version']);
  } catch {
    return undefined;
  }
  const pinned = createHash('sha256').update(await readFile(REQUIREMENTS)).digest('hex').slice(0, 12);
  const home = join(settings.cacheDir, `test-moto-${pinned}`);
  const isComplete = await access(join(home, 'complete')).then(
    () => true,
    () => false,
  );
  if (!isComplete) await install(settings.python, home);
  return { start: ({ restMs } = {}) => start(join(home, 'bin', 'python'), restMs) };
}

/** A virtual environment holds its own path, so it is made in its place; the marker tells a whole one from one that was interrupted. */
async function install(python: string, home: string): Promise<void> {
  process.stderr.write(`Installing moto for the tests against a second S3 server into ${home} (once)…\n`);
  await rm(home, { recursive: true, force: true });
  await mkdir(dirname(home), { recursive: true });
  await run(python, ['-m', 'venv', home]);
  await run(join(home, 'bin', 'python'), ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--requirement', REQUIREMENTS]);
  await writeFile(join(home, 'complete'), '');
}

async function start(python: string, restMs: number | undefined): ReturnType<Moto['start']> {
  // It ends when its standard input does, so also with a test that is killed.
  const child = spawn(python, [join(FOLDER, 'serve.py'), ...(restMs === undefined ? [] : [String(restMs)])], { stdio: ['pipe', 'ignore', 'pipe'] });
  const ended = once(child, 'exit');
  const said: string[] = [];
  for await (const line of createInterface({ input: child.stderr })) {
    said.push(line);
    const endpoint = /Running on (http:\/\/127\.0\.0\.1:\d+)/.exec(line)?.[1];
    if (endpoint === undefined) continue;
    child.stderr.resume();
    return {
      endpoint,
      accessKey: 'any',
      secretKey: 'any',
      async stop() {
        child.stdin.end();
        await ended;
      },
    };
  }
  throw new Error(`moto did not start:\n${said.join('\n')}`);
}
