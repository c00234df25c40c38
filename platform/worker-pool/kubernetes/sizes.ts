/** What a worker pod holds. */
export interface PodSize {
  /** Sum of MemorySize of the environments that it has memory for. */
  readonly memoryMiB: number;
  /** Size of its /tmp. */
  readonly tmpMiB: number;
}

/** Memory that a worker and the process that it has started ahead take beside the function: 96 MiB at rest, as measured, and as much again for what passes through them. */
export const WORKER_OVERHEAD_MIB = 192;

/** What the kernel enforces on the pod. /tmp lies in memory, and is counted there on top of what the function may have, as on Lambda, where it is not the function's memory. */
export function memoryLimitMiB({ memoryMiB, tmpMiB }: PodSize): number {
  return memoryMiB + tmpMiB + WORKER_OVERHEAD_MIB;
}

/** What the scheduler of the cluster sets aside: /tmp is rarely full. */
export function memoryRequestMiB({ memoryMiB }: PodSize): number {
  return memoryMiB + WORKER_OVERHEAD_MIB;
}

/** The reverse of {@link memoryLimitMiB}. */
export function functionMemoryMiB(limitMiB: number, tmpMiB: number): number {
  return Math.floor(limitMiB) - tmpMiB - WORKER_OVERHEAD_MIB;
}

export function fits(size: PodSize, into: PodSize): boolean {
  return size.memoryMiB <= into.memoryMiB && size.tmpMiB <= into.tmpMiB;
}
