import { execFileSync } from 'node:child_process';

export interface RunningProcess {
  readonly pid: number;
  readonly parent: number;
  /** When it started, as the system writes it: together with the pid it names a process for good. */
  readonly started: string;
  readonly command: string;
}

function running(): readonly RunningProcess[] {
  const lines = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,stat=,lstart=,args='], { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 }).split('\n');
  return lines.flatMap((line) => {
    const fields = /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(\S+\s+\S+\s+\d+\s+[\d:]+\s+\d+)\s+(.*)$/.exec(line);
    // A zombie has ended; it only waits for its parent to notice.
    if (fields === null || (fields[3] ?? '').startsWith('Z')) return [];
    return [{ pid: Number(fields[1]), parent: Number(fields[2]), started: fields[4] ?? '', command: fields[5] ?? '' }];
  });
}

/** All processes below `pid`, not itself. */
export function descendants(pid: number): readonly RunningProcess[] {
  const all = running();
  const found: RunningProcess[] = [];
  const parents = new Set([pid]);
  for (let grown = true; grown; ) {
    grown = false;
    for (const candidate of all) {
      if (!parents.has(candidate.parent) || parents.has(candidate.pid)) continue;
      parents.add(candidate.pid);
      found.push(candidate);
      grown = true;
    }
  }
  return found;
}

/** Those of `processes` that still run. */
export function survivors(processes: readonly RunningProcess[]): readonly RunningProcess[] {
  const all = new Map(running().map((found) => [found.pid, found]));
  return processes.filter(({ pid, started }) => all.get(pid)?.started === started);
}
