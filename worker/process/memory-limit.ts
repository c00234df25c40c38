import { readFileSync } from 'node:fs';

/** Where a container sees the limit of its own cgroup: unified hierarchy, and the older one (kernel documentation, "Control Group v2", "Memory Resource Controller"). */
const LIMIT_FILES = ['/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes'] as const;
const MIB = 1024 * 1024;

/** What the kernel grants the container that this process is in now, in MiB; Infinity where it sets no limit or does not tell. Never throws. */
export function containerMemoryLimitMiB(files: readonly string[] = LIMIT_FILES): number {
  for (const file of files) {
    try {
      const text = readFileSync(file, 'utf8').trim();
      return text === 'max' ? Infinity : Math.floor(Number(text) / MIB);
    } catch {
      // The other hierarchy is mounted, or none.
    }
  }
  return Infinity;
}
