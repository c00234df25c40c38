export interface EvictionSnapshot<Candidate extends IdleEnvironment> {
  /** Idle environments of the whole pool, least recently used first. */
  readonly idle: Iterable<Candidate>;
  /** The environment wanted must not push out one of its own kind. */
  readonly forSpecId: string;
  /** What must become free: environments and MiB. */
  readonly environments: number;
  readonly memoryMiB: number;
}

export interface IdleEnvironment {
  readonly specId: string;
  readonly memoryMiB: number;
}

/**
 * Which idle environments go so that another function's can start: the least recently used, and only if together they make enough room;
 * undefined otherwise, since pushing out some of them would cost warm starts and win nothing.
 */
export function victims<Candidate extends IdleEnvironment>(snapshot: EvictionSnapshot<Candidate>): readonly Candidate[] | undefined {
  const chosen: Candidate[] = [];
  let memoryMiB = 0;
  for (const candidate of snapshot.idle) {
    if (chosen.length >= snapshot.environments && memoryMiB >= snapshot.memoryMiB) break;
    if (candidate.specId === snapshot.forSpecId) continue;
    chosen.push(candidate);
    memoryMiB += candidate.memoryMiB;
  }
  return chosen.length >= snapshot.environments && memoryMiB >= snapshot.memoryMiB ? chosen : undefined;
}
