import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { descendants, type RunningProcess } from './processes.ts';
import { inheritedVariables } from './access.ts';

const ROOT = join(import.meta.dirname, '..', '..');

/** A `sluice up` in a process of its own, to be killed. */
export interface SluiceProcess {
  readonly url: string;
  readonly pid: number;
  /** Everything it has written so far. */
  output(): string;
  /** Kills it at once, its environments not; resolves when it has ended, to the processes that it leaves behind. */
  kill(): Promise<readonly RunningProcess[]>;
  /** Asks it to stop; resolves to its exit code. */
  terminate(): Promise<number | null>;
}

export interface SluiceExit {
  readonly code: number | null;
  readonly output: string;
}

/** Runs `sluice up` on a folder; resolves once it says where it listens. Rejects with its output if it ends instead. */
export async function spawnSluice(dataDir: string, variables: Readonly<Record<string, string>> = {}): Promise<SluiceProcess> {
  const { child, output } = spawnUp(dataDir, variables);
  const exited = once(child, 'exit');
  const url = await new Promise<string>((resolve, reject) => {
    const look = (): void => {
      const found = /http:\/\/127\.0\.0\.1:\d+/.exec(output());
      if (found !== null) resolve(found[0]);
    };
    child.stdout?.on('data', look);
    child.on('exit', (code) => reject(new Error(`sluice up ended with ${code} before it was ready:\n${output()}`)));
  });
  const { pid } = child;
  if (pid === undefined) throw new Error('A running process has no pid.');
  return {
    url,
    pid,
    output,
    async kill() {
      // Halted, it cannot start another one between the look and the end.
      child.kill('SIGSTOP');
      const orphans = descendants(pid);
      child.kill('SIGKILL');
      await exited;
      return orphans;
    },
    async terminate() {
      child.kill('SIGTERM');
      const [code] = (await exited) as [number | null];
      return code;
    },
  };
}

/** Runs a `sluice up` that is expected to refuse; resolves when it has ended. */
export async function refusedUp(dataDir: string, variables: Readonly<Record<string, string>> = {}): Promise<SluiceExit> {
  const { child, output } = spawnUp(dataDir, variables);
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output: output() };
}

function spawnUp(dataDir: string, variables: Readonly<Record<string, string>>): { child: ChildProcess; output: () => string } {
  const child = spawn(process.execPath, [join(ROOT, 'cli', 'main.ts'), 'up', '--port', '0', '--data', dataDir], {
    cwd: ROOT,
    env: { ...inheritedVariables(), ...variables },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const chunks: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk));
  return { child, output: () => Buffer.concat(chunks).toString('utf8') };
}

/** Ends a process and everything below it, whatever state the test left it in. */
export function endTree(pid: number): void {
  for (const victim of [...descendants(pid).map((found) => found.pid), pid]) {
    try {
      process.kill(victim, 'SIGKILL');
    } catch {
      // It has ended by itself meanwhile.
    }
  }
}
