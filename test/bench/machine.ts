import { readFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { descendants } from '../support/processes.ts';

const MIB = 1024 * 1024;

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly node: string;
  readonly platform: string;
}

export function machine(): Machine {
  const processors = cpus();
  return { cpu: processors[0]?.model.trim() ?? 'unknown', cores: processors.length, memoryGiB: Math.round(totalmem() / MIB / 1024), node: process.version, platform: `${process.platform} ${process.arch}` };
}

export interface TreeMemory {
  readonly processes: number;
  /** Resident memory of the process itself. */
  readonly ownMiB: number;
  /** Of it and all below it, where pages that several share count once for each. */
  readonly treeMiB: number;
  /** The same with shared pages divided among those who share them: what the machine really gives. Undefined outside Linux. */
  readonly treeProportionalMiB: number | undefined;
}

/** Memory of a process and its descendants, as the kernel counts it. Linux only; undefined elsewhere. */
export function treeMemory(pid: number): TreeMemory | undefined {
  if (process.platform !== 'linux') return undefined;
  const pids = [pid, ...descendants(pid).map((found) => found.pid)];
  const resident = pids.map((one) => field(one, 'status', 'VmRSS'));
  const proportional = pids.map((one) => field(one, 'smaps_rollup', 'Pss'));
  const sum = (values: readonly (number | undefined)[]): number => values.reduce<number>((total, value) => total + (value ?? 0), 0);
  return { processes: pids.length, ownMiB: resident[0] ?? Number.NaN, treeMiB: sum(resident), treeProportionalMiB: proportional.includes(undefined) ? undefined : sum(proportional) };
}

/** A field of a file in /proc in MiB; undefined where the process has ended or may not be looked at. */
function field(pid: number, file: string, name: string): number | undefined {
  try {
    const kib = new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/${file}`, 'utf8'));
    return kib === null ? undefined : Number(kib[1]) / 1024;
  } catch {
    return undefined;
  }
}
