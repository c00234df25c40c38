import { spawn, type ChildProcess } from 'node:child_process';
import type { Socket } from 'node:net';
import { descendants } from './process-tree.ts';

/** How to start the process of a runtime. */
export interface ProcessStart {
  /** Program and arguments, already wrapped by the isolation. */
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly cwd: string;
}

export interface ExitStatus {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** It is known to have been killed for its memory. */
  readonly outOfMemory?: boolean;
}

export type OutputListener = (stream: 'stdout' | 'stderr', chunk: Buffer) => void;

/** The process cannot be started: the program is missing or the system has no room for one more. */
export class ProcessStartError extends Error {
  override readonly name = 'ProcessStartError';
}

/**
 * One process of a runtime in a process group of its own, with its output and a descriptor (3) over which it is told, once, what to become.
 */
export class RuntimeProcess {
  readonly pid: number;
  /** Resolves when the process has ended; output may still be in the pipes for one turn of the event loop. */
  readonly exited: Promise<ExitStatus>;
  readonly #child: ChildProcess;
  #status: ExitStatus | undefined;

  private constructor(child: ChildProcess, pid: number) {
    this.#child = child;
    this.pid = pid;
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        this.#status = { code, signal };
        resolve(this.#status);
      });
    });
    // A process that died cannot read its order; its exit says the rest.
    (child.stdio[3] as Socket).on('error', () => undefined);
  }

  /** Rejects with {@link ProcessStartError}. */
  static start(start: ProcessStart): Promise<RuntimeProcess> {
    const [program = '', ...parameters] = start.command;
    return new Promise((resolve, reject) => {
      const child = spawn(program, parameters, { cwd: start.cwd, env: start.environment, detached: true, stdio: ['ignore', 'pipe', 'pipe', 'pipe'] });
      child.once('error', (error) => reject(new ProcessStartError(`${program} cannot be started: ${error.message}.`)));
      if (child.pid !== undefined) resolve(new RuntimeProcess(child, child.pid));
    });
  }

  get alive(): boolean {
    return this.#status === undefined;
  }

  /** Gets everything that the process prints from now on, and what it printed before. Once only. */
  listen(listener: OutputListener): void {
    this.#child.stdout?.on('data', (chunk: Buffer) => listener('stdout', chunk));
    this.#child.stderr?.on('data', (chunk: Buffer) => listener('stderr', chunk));
  }

  /** Tells the process what to become: one line of JSON. Once only. */
  order(message: object): void {
    (this.#child.stdio[3] as Socket).end(`${JSON.stringify(message)}\n`);
  }

  /** Kills the process with everything it has started, resolves when it is gone. Idempotent. */
  async kill(): Promise<void> {
    if (this.#status === undefined) {
      // Children that made themselves a session of their own are not in the group any more: they are found by their parents first.
      const others = descendants(this.pid);
      signal(-this.pid);
      for (const pid of others) signal(pid);
    } else {
      signal(-this.pid);
    }
    await this.exited;
    for (const stream of [this.#child.stdout, this.#child.stderr, this.#child.stdio[3]]) stream?.destroy();
  }
}

function signal(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Already gone.
  }
}
