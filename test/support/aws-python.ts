import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, access, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { readSettings } from '../../platform/configuration/settings.ts';
import { sluiceVariables } from './access.ts';

const run = promisify(execFile);
const REQUIREMENTS = join(import.meta.dirname, '..', 'conformance', 'boto3', 'requirements.txt');

/** A private Python with the pinned boto3 and AWS CLI. */
export interface AwsPython {
  /** Path of `python`, `aws`, … */
  executable(name: string): string;
}

/**
 * Makes the private Python on first use, in the cache folder under the hash of what is pinned. Undefined only where the machine has no
 * python3; a failed install is an error.
 */
export async function awsPython(): Promise<AwsPython | undefined> {
  const settings = readSettings(sluiceVariables());
  try {
    await run(settings.python, ['--version']);
  } catch {
    return undefined;
  }
  const pinned = createHash('sha256').update(await readFile(REQUIREMENTS)).digest('hex').slice(0, 12);
  const home = join(settings.cacheDir, `test-aws-${pinned}`);
  if (!(await exists(join(home, 'complete')))) await install(settings.python, home);
  return { executable: (name) => join(home, 'bin', name) };
}

/** A virtual environment holds its own path, so it is made in its place; the marker tells a whole one from one that was interrupted. */
async function install(python: string, home: string): Promise<void> {
  process.stderr.write(`Installing boto3 and the AWS CLI for the conformance tests into ${home} (once)…\n`);
  await rm(home, { recursive: true, force: true });
  await mkdir(dirname(home), { recursive: true });
  await run(python, ['-m', 'venv', home]);
  await run(join(home, 'bin', 'python'), ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--requirement', REQUIREMENTS]);
  await writeFile(join(home, 'complete'), '');
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
