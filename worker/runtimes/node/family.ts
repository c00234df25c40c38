import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { RUNTIMES } from '../../../platform/model/runtimes.ts';
import { actsAtStartEverywhere, type RuntimeFamily, type RuntimeInstallation } from '../runtime.ts';

/** nodejs20.x to nodejs24.x on the Node that runs Sluice itself, with Sluice's own runtime client. */
export function nodeFamily(options: { readonly cacheDir: string }): RuntimeFamily {
  const runtimeDir = import.meta.dirname;
  const compileCacheDir = join(options.cacheDir, 'node-compile-cache');
  let ready: Promise<RuntimeInstallation> | undefined;
  const installation: RuntimeInstallation = {
    command: [process.execPath, join(runtimeDir, 'bootstrap.cjs')],
    version: `Node ${process.version}`,
    runtimeDir,
    interpreterDir: dirname(process.execPath),
    folders: [runtimeDir, dirname(process.execPath), compileCacheDir],
    compileCacheDir,
  };
  return {
    name: 'nodejs',
    runtimes: RUNTIMES.filter(({ family }) => family === 'nodejs').map(({ name }) => name),
    version: () => Promise.resolve(installation.version),
    prepare: () => (ready ??= mkdir(compileCacheDir, { recursive: true }).then(() => installation)),
    actsAtStart: (variable) => actsAtStartEverywhere(variable) || variable.startsWith('NODE_'),
  };
}
