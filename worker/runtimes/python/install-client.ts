import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { access, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Logger } from '../../../platform/telemetry/logger.ts';
import { RuntimeUnavailableError } from '../runtime.ts';

const run = promisify(execFile);

/** AWS's runtime interface client with everything it needs, pinned: the same behaviour on every machine. */
const PACKAGES = ['awslambdaric==4.2.2', 'simplejson==4.3.0', 'snapshot-restore-py==1.0.0'];
/** The release of the client is part of the folder's name: a new one gets a folder of its own. */
const CLIENT = 'awslambdaric-4.2.2';
/** A download over a slow line. */
const INSTALL_TIMEOUT_MS = 5 * 60_000;
const MINIMUM_MINOR = 10;

export interface InstallRequest {
  readonly interpreter: { readonly version: string; readonly executable: string };
  readonly cacheDir: string;
  readonly logger: Logger;
  readonly onProgress: (message: string) => void;
}

/**
 * Makes the virtual environment of the Python runtime unless it is there, and resolves to its folder. It is built beside its place and renamed, so that one that
 * is there is whole. Rejects with {@link RuntimeUnavailableError}.
 */
export async function installClient(request: InstallRequest): Promise<string> {
  const { interpreter, cacheDir, logger, onProgress } = request;
  const [major, minor = '0'] = interpreter.version.split('.');
  if (major !== '3' || Number(minor) < MINIMUM_MINOR) {
    throw new RuntimeUnavailableError(`${interpreter.executable} is Python ${interpreter.version}, and AWS's runtime client needs 3.${MINIMUM_MINOR} or later. Name a newer one with SLUICE_PYTHON.`);
  }
  const runtimesDir = join(cacheDir, 'runtimes');
  const environmentDir = join(runtimesDir, `python${major}.${minor}-${CLIENT}`);
  if (await usable(environmentDir)) return environmentDir;
  await mkdir(runtimesDir, { recursive: true });
  const building = `${environmentDir}.${randomUUID()}.building`;
  const report = (message: string): void => {
    logger.info(message);
    onProgress(message);
  };
  try {
    report(`Installing the Python runtime (${CLIENT}) for Python ${interpreter.version}, once…`);
    await run(interpreter.executable, ['-m', 'venv', building], { timeout: INSTALL_TIMEOUT_MS });
    await run(join(building, 'bin', 'python'), ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-input', ...PACKAGES], { timeout: INSTALL_TIMEOUT_MS });
    // Half an environment of an older attempt, or of an interpreter that has moved, is in the way of the rename.
    if (!(await usable(environmentDir))) await rm(environmentDir, { recursive: true, force: true });
    await rename(building, environmentDir);
    report('The Python runtime is installed.');
  } catch (error) {
    await rm(building, { recursive: true, force: true });
    // Another process may have been faster; what it has made is as good.
    if (await usable(environmentDir)) return environmentDir;
    const detail = ((error as { stderr?: string }).stderr ?? '').trim().split('\n').at(-1) || (error as Error).message;
    throw new RuntimeUnavailableError(`The Python runtime could not be installed: ${detail}. Check that ${interpreter.executable} has the venv module and that pip can reach a package index, then invoke again.`, { cause: error });
  }
  return environmentDir;
}

async function usable(environmentDir: string): Promise<boolean> {
  try {
    await access(join(environmentDir, 'bin', 'python'));
    return (await readdir(environmentDir)).length > 0;
  } catch {
    return false;
  }
}
