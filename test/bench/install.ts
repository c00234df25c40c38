import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Apart from the bench itself, whose imports must not find the peers' dependencies. */
export const PEERS = join(import.meta.dirname, 'peers');
const LOCK = join(PEERS, 'package-lock.json');
/** Written after a whole install: what was installed. */
const INSTALLED_LOCK = join(PEERS, 'node_modules', '.installed-lock.json');

/** Installs what Sluice is compared with, on the first run and whenever the lock file has changed; shows npm's own progress. */
export async function installPeers(): Promise<void> {
  const [wanted, installed] = await Promise.all([readFile(LOCK, 'utf8'), readFile(INSTALLED_LOCK, 'utf8').catch(() => '')]);
  if (wanted === installed) return;
  process.stderr.write('Installing what Sluice is compared with into test/bench/peers/node_modules (once, about 280 MB)…\n');
  // Their install scripts only print notices.
  const npm = spawn('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', '--progress'], { cwd: PEERS, stdio: ['ignore', 'inherit', 'inherit'] });
  const [code] = (await once(npm, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`npm ci in test/bench/peers ended with ${code}; the parts that need no peer run with --only.`);
  await copyFile(LOCK, INSTALLED_LOCK);
}
