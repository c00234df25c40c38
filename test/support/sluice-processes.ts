import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import type { RoleName } from '../../cli/roles/role.ts';
import { readProcessTable, type ProcessEntry } from '../../cli/supervisor/process-table.ts';
import { inheritedVariables } from './access.ts';
import { descendants } from './processes.ts';
import { endTree } from './sluice-process.ts';

const ROOT = join(import.meta.dirname, '..', '..');

/** A `sluice up --processes` with its processes, each of which can be killed. */
export interface SluiceProcesses {
  /** Of the first gateway. */
  readonly url: string;
  readonly pid: number;
  /** What it has written so far. */
  output(): string;
  /** As `sluice ps` shows them. */
  table(): Promise<readonly ProcessEntry[]>;
  /** Those of a role that are ready now. */
  ready(role: RoleName): Promise<readonly ProcessEntry[]>;
  /** Resolves once the process in this place is ready and another one than `pid`. */
  replaced(name: string, pid: number): Promise<ProcessEntry>;
  /** Asks it to stop; resolves to its exit code. */
  terminate(): Promise<number | null>;
  /** Ends everything at once, whatever state it is in. */
  end(): void;
}

export interface SluiceProcessesOptions {
  /** `gateway=2,controller=2,worker=3`. */
  readonly plan: string;
  readonly dataDir: string;
  readonly variables: Readonly<Record<string, string>>;
}

/** Looking again is the only way to see from here what another process writes. */
const LOOK_MS = 50;

/** Resolves when all processes are ready. Rejects with the output where it ends instead. */
export async function startProcesses({ plan, dataDir, variables }: SluiceProcessesOptions): Promise<SluiceProcesses> {
  const child = spawn(process.execPath, [join(ROOT, 'cli', 'main.ts'), 'up', '--processes', plan, '--port', '0', '--data', dataDir], {
    cwd: ROOT,
    env: { ...inheritedVariables(), SLUICE_LOG_LEVEL: 'warn', ...variables },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const chunks: string[] = [];
  const exited = once(child, 'exit');
  createInterface({ input: child.stderr }).on('line', (line) => chunks.push(line));
  const url = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      chunks.push(line);
      const found = /http:\/\/127\.0\.0\.1:\d+/.exec(line);
      if (found !== null) resolve(found[0]);
    });
    child.on('exit', (code) => reject(new Error(`sluice up --processes ended with ${code} before it was ready:\n${chunks.join('\n')}`)));
  });
  const { pid } = child;
  if (pid === undefined) throw new Error('A running process has no pid.');
  const table = async (): Promise<readonly ProcessEntry[]> => (await readProcessTable(dataDir)) ?? [];
  return {
    url,
    pid,
    output: () => chunks.join('\n'),
    table,
    ready: async (role) => (await table()).filter((entry) => entry.role === role && entry.state === 'ready'),
    async replaced(name, former) {
      for (;;) {
        const found = (await table()).find((entry) => entry.name === name);
        if (found?.state === 'ready' && found.pid !== former) return found;
        await delay(LOOK_MS);
      }
    },
    async terminate() {
      child.kill('SIGTERM');
      const [code] = (await exited) as [number | null];
      return code;
    },
    end() {
      // The roles are process groups of their own, and their environments below them.
      for (const victim of descendants(pid)) endTree(victim.pid);
      endTree(pid);
    },
  };
}
