import { execFile } from 'node:child_process';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { RUNTIMES } from '../../../platform/model/runtimes.ts';
import type { Logger } from '../../../platform/telemetry/logger.ts';
import { actsAtStartEverywhere, RuntimeUnavailableError, type RuntimeFamily, type RuntimeInstallation } from '../runtime.ts';
import { installClient } from './install-client.ts';

const run = promisify(execFile);

/** Asks an interpreter what it is. Bounded, because a command of this name may be anything. */
const ASK_TIMEOUT_MS = 20_000;
const ASK = 'import json,platform,sys;print(json.dumps([platform.python_version(),sys.executable,sys.base_prefix]))';

interface Interpreter {
  readonly version: string;
  readonly executable: string;
  readonly prefix: string;
}

/** python3.9 to python3.14 on the Python at hand, with AWS's own runtime interface client in a virtual environment made on first use. */
export function pythonFamily(options: { readonly python: string; readonly cacheDir: string; readonly logger: Logger; readonly onProgress: (message: string) => void }): RuntimeFamily {
  let interpreter: Promise<Interpreter> | undefined;
  let installation: Promise<RuntimeInstallation> | undefined;
  const find = (): Promise<Interpreter> => (interpreter ??= forgetFailure(ask(options.python), () => (interpreter = undefined)));
  const install = async (): Promise<RuntimeInstallation> => {
    const found = await find();
    const environmentDir = await installClient({ ...options, interpreter: found });
    const runtimeDir = import.meta.dirname;
    return {
      command: [join(environmentDir, 'bin', 'python'), '-u', '-B', join(runtimeDir, 'bootstrap.py')],
      version: `Python ${found.version}`,
      runtimeDir,
      interpreterDir: join(environmentDir, 'bin'),
      folders: [environmentDir, runtimeDir, found.prefix, dirname(found.executable)],
    };
  };
  return {
    name: 'python',
    runtimes: RUNTIMES.filter(({ family }) => family === 'python').map(({ name }) => name),
    version: async () => `Python ${(await find()).version}`,
    prepare: () => (installation ??= forgetFailure(install(), () => (installation = undefined))),
    actsAtStart: (variable) => actsAtStartEverywhere(variable) || variable.startsWith('PYTHON'),
  };
}

/** A failure is told to those who wait for it now; the next one tries again. */
function forgetFailure<Value>(promise: Promise<Value>, forget: () => void): Promise<Value> {
  promise.catch(forget);
  return promise;
}

async function ask(python: string): Promise<Interpreter> {
  try {
    const { stdout } = await run(python, ['-c', ASK], { timeout: ASK_TIMEOUT_MS });
    const [version = '', executable = '', prefix = ''] = JSON.parse(stdout) as string[];
    return { version, executable, prefix };
  } catch (error) {
    throw new RuntimeUnavailableError(`No Python interpreter runs as ${python}: ${(error as Error).message.split('\n')[0] ?? ''}. Install Python 3.10 or later, or name one with SLUICE_PYTHON.`, { cause: error });
  }
}
