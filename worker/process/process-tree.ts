import { readFileSync } from 'node:fs';

/** More processes than any function may reasonably have; bounds the work per sample. */
const MAX_PROCESSES = 256;

/** Ids of a process's children, their children and so on, as /proc shows them; empty where there is no /proc. */
export function descendants(pid: number): number[] {
  const found: number[] = [];
  const queue = [pid];
  for (let next = queue.pop(); next !== undefined && found.length < MAX_PROCESSES; next = queue.pop()) {
    for (const child of children(next)) {
      found.push(child);
      queue.push(child);
    }
  }
  return found;
}

function children(pid: number): number[] {
  const text = read(`/proc/${pid}/task/${pid}/children`);
  return text === undefined || text === '' ? [] : text.trim().split(' ').map(Number);
}

export interface MemoryUse {
  /** What the process and its descendants hold now. */
  readonly residentKiB: number;
  /** The most that the process itself ever held, or all of them hold now if that is more. */
  readonly peakKiB: number;
}

/** Memory of a process with its descendants; undefined when it is gone or there is no /proc. */
export function memoryUse(pid: number): MemoryUse | undefined {
  const status = read(`/proc/${pid}/status`);
  if (status === undefined) return undefined;
  let residentKiB = field(status, 'VmRSS:');
  const ownPeakKiB = field(status, 'VmHWM:');
  for (const child of descendants(pid)) {
    const childStatus = read(`/proc/${child}/status`);
    if (childStatus !== undefined) residentKiB += field(childStatus, 'VmRSS:');
  }
  return { residentKiB, peakKiB: Math.max(ownPeakKiB, residentKiB) };
}

function field(status: string, name: string): number {
  const at = status.indexOf(name);
  return at < 0 ? 0 : Number.parseInt(status.slice(at + name.length), 10) || 0;
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return undefined;
  }
}

/**
 * Memory of a process with its descendants where pages that several of them share count once (the kernel's proportional set size). Costs more than
 * {@link memoryUse}, so it is for the moment of decision. undefined when it cannot be told.
 */
export function proportionalMemoryKiB(pid: number): number | undefined {
  let sumKiB: number | undefined;
  for (const each of [pid, ...descendants(pid)]) {
    const rollup = read(`/proc/${each}/smaps_rollup`);
    if (rollup !== undefined) sumKiB = (sumKiB ?? 0) + field(rollup, '\nPss:');
  }
  return sumKiB;
}
