import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RoleName } from '../roles/role.ts';

/** One process of a `sluice up --processes`, as `sluice ps` shows it. */
export interface ProcessEntry {
  /** `gateway-1`: the same for every process in this place. */
  readonly name: string;
  readonly role: RoleName;
  readonly state: 'starting' | 'ready' | 'stopping' | 'waiting';
  /** Absent while it waits to be started again. */
  readonly pid?: number;
  /** Where clients reach it: gateways only. */
  readonly url?: string;
  readonly internalUrl?: string;
  /** How often it was started again after it had died. */
  readonly restarts: number;
  readonly startedAtMs: number;
}

const FILE = 'processes.json';

/** The processes in a data folder's table; undefined where no supervisor has written one. */
export async function readProcessTable(dataDir: string): Promise<readonly ProcessEntry[] | undefined> {
  try {
    return JSON.parse(await readFile(join(dataDir, FILE), 'utf8')) as readonly ProcessEntry[];
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Keeps the table in the data folder, a whole one at any moment. */
export class ProcessTable {
  readonly #file: string;
  #writing: Promise<void> = Promise.resolve();

  constructor(dataDir: string) {
    this.#file = join(dataDir, FILE);
  }

  write(entries: readonly ProcessEntry[]): Promise<void> {
    const text = `${JSON.stringify(entries, undefined, 2)}\n`;
    this.#writing = this.#writing.then(async () => {
      await writeFile(`${this.#file}.new`, text, { mode: 0o600 });
      await rename(`${this.#file}.new`, this.#file);
    });
    return this.#writing;
  }

  async remove(): Promise<void> {
    await this.#writing;
    await rm(this.#file, { force: true });
  }
}
