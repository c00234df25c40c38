import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { endTree } from '../../support/sluice-process.ts';

export interface ChildServer {
  readonly pid: number;
  /** What the first group of `ready` caught, or its whole match. */
  readonly ready: string;
  /** From just before the process was started until it said so. */
  readonly readyMs: number;
  /** Asks it to end, and ends it where it does not. */
  stop(): Promise<void>;
}

export interface ChildServerOptions {
  readonly command: readonly string[];
  readonly ready: RegExp;
  readonly cwd?: string;
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

/** How long a child may take to become ready or to stop. */
const PATIENCE_MS = 60_000;

/** Starts a server and waits until its output matches `ready`. Rejects with its output where it ends or stays silent. */
export async function startChild({ command, ready, cwd, environment }: ChildServerOptions): Promise<ChildServer> {
  const [file = '', ...args] = command;
  const startedAt = performance.now();
  const child = spawn(file, args, { cwd, env: environment ?? process.env, stdio: ['ignore', 'pipe', 'pipe'] });
  const found = await untilSaid(child, ready, command);
  const readyMs = performance.now() - startedAt;
  const { pid } = child;
  if (pid === undefined) throw new Error(`${command.join(' ')} has no process id.`);
  return {
    pid,
    ready: found[1] ?? found[0],
    readyMs,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      const timer = setTimeout(() => endTree(pid), PATIENCE_MS);
      child.kill('SIGTERM');
      await exited;
      clearTimeout(timer);
    },
  };
}

function untilSaid(child: ChildProcess, ready: RegExp, command: readonly string[]): Promise<RegExpExecArray> {
  return new Promise((resolve, reject) => {
    let output = '';
    const fail = (why: string): void => reject(new Error(`${command.join(' ')} ${why}. Its output:\n${output}`));
    const timer = setTimeout(() => {
      if (child.pid !== undefined) endTree(child.pid);
      fail(`was not ready after ${PATIENCE_MS / 1000} s`);
    }, PATIENCE_MS);
    const read = (chunk: Buffer): void => {
      if (output.length > 100_000) return;
      output += chunk.toString('utf8');
      const found = ready.exec(output);
      if (found === null) return;
      clearTimeout(timer);
      resolve(found);
    };
    child.stdout?.on('data', read);
    child.stderr?.on('data', read);
    child.on('error', (error) => fail(`cannot be started: ${error.message}`));
    child.on('exit', (code) => {
      clearTimeout(timer);
      fail(`ended with ${code}`);
    });
  });
}
