import { spawnSync } from 'node:child_process';
import { accessSync, constants, mkdirSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join, sep } from 'node:path';

/**
 * How far an environment's process is kept apart from the machine.
 *
 * With `unshare`, `setpriv` and the permission to use them, each process gets its own /tmp in memory, of the size that the function asked
 * for, and dies with the worker. A worker that holds one environment only, in a container whose /tmp is for it, gives it that. Otherwise it gets a folder named by
 * TMPDIR, whose size nobody enforces.
 */
export interface Isolation {
  readonly kind: 'privateTmp' | 'wholeTmp' | 'temporaryFolder';
  /** One line for the operator: what is enforced here. */
  readonly description: string;
  /** The command that runs `command` apart. `keep` are folders that must stay visible even where they lie under /tmp. */
  wrap(command: readonly string[], options: { readonly tmpMiB: number; readonly keep: readonly string[] }): readonly string[];
  /** Before an environment starts: takes away what the one before has left in a /tmp that outlives it. */
  clear(): Promise<void>;
}

const TMP = '/tmp';

/**
 * Runs in a mount namespace of its own. The staging folder receives the new /tmp first, so that folders below the old /tmp can be bound
 * into it before it takes that name.
 */
const MOUNT_SCRIPT = [
  'staging=$1; size=$2; shift 2',
  'if [ "$1" = -- ]; then mount -t tmpfs -o "size=${size}m,mode=1777" tmpfs /tmp || exit 70',
  'else',
  'mount -t tmpfs -o "size=${size}m,mode=1777" tmpfs "$staging" || exit 70',
  'while [ "$1" != -- ]; do mkdir -p "$staging/${1#/tmp/}" && mount --bind "$1" "$staging/${1#/tmp/}" || exit 70; shift; done',
  'mount --rbind "$staging" /tmp || exit 70',
  'fi',
  'shift; exec "$@"',
].join('\n');

/**
 * Finds out once what this machine permits. `alone`: there is never more than one environment here, and nobody else writes to this folder, which is /tmp wherever
 * it matters.
 */
export function probeIsolation(dataDir: string, { alone }: { readonly alone?: string | undefined }): Isolation {
  const unshare = findCommand('unshare');
  const setpriv = findCommand('setpriv');
  if (alone !== undefined) return wholeTmp(setpriv, alone);
  const shell = findCommand('sh');
  if (process.platform !== 'linux' || unshare === undefined || setpriv === undefined || shell === undefined) {
    return temporaryFolder(setpriv, 'unshare and setpriv are not there');
  }
  const staging = join(dataDir, 'mount');
  mkdirSync(staging, { recursive: true });
  const namespaces = process.getuid?.() === 0 ? ['--mount'] : ['--mount', '--user', '--map-root-user'];
  const wrap: Isolation['wrap'] = (command, { tmpMiB, keep }) => [
    unshare, ...namespaces, shell, '-c', MOUNT_SCRIPT, 'sluice', staging, String(tmpMiB), ...new Set(keep.filter(isBelowTmp)), '--', setpriv, '--pdeathsig', 'KILL', ...command,
  ];
  const trial = wrap(['true'], { tmpMiB: 1, keep: [dataDir] });
  const { status } = spawnSync(trial[0] as string, trial.slice(1), { stdio: 'ignore', env: { PATH: SYSTEM_PATH }, timeout: PROBE_TIMEOUT_MS });
  if (status !== 0) return temporaryFolder(setpriv, 'mounting a private /tmp is not permitted');
  return { kind: 'privateTmp', description: 'each environment has a private /tmp of the size its function asks for, and ends with the worker', wrap, clear: () => Promise.resolve() };
}

const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const PROBE_TIMEOUT_MS = 5_000;

function wholeTmp(setpriv: string | undefined, folder: string): Isolation {
  return {
    kind: 'wholeTmp',
    description: 'the one environment has all of /tmp, of the size that it has, and ends with the worker',
    wrap: dyingWithUs(setpriv),
    async clear() {
      for (const name of await readdir(folder)) await rm(join(folder, name), { recursive: true, force: true });
    },
  };
}

function dyingWithUs(setpriv: string | undefined): Isolation['wrap'] {
  const can = process.platform === 'linux' && setpriv !== undefined && spawnSync(setpriv, ['--pdeathsig', 'KILL', 'true'], { stdio: 'ignore' }).status === 0;
  return (command) => (can ? [setpriv, '--pdeathsig', 'KILL', ...command] : command);
}

function temporaryFolder(setpriv: string | undefined, why: string): Isolation {
  return {
    kind: 'temporaryFolder',
    description: `${why}: each environment has a folder of its own named by TMPDIR, and the size of its temporary files is not limited`,
    wrap: dyingWithUs(setpriv),
    clear: () => Promise.resolve(),
  };
}

function isBelowTmp(path: string): boolean {
  return path.startsWith(TMP + sep);
}

function findCommand(name: string): string | undefined {
  for (const folder of `${process.env.PATH ?? ''}:${SYSTEM_PATH}`.split(':')) {
    if (folder === '') continue;
    const candidate = join(folder, name);
    try {
      accessSync(candidate, constants.X_OK);
      return candidate;
    } catch {
      // Not here.
    }
  }
  return undefined;
}
