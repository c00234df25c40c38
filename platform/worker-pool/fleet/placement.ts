/** A worker as placement sees it. */
export interface Candidate {
  readonly maxEnvironments: number;
  readonly maxMemoryMiB: number;
  /** Taken by environments of every state, those that were only just asked for included. */
  readonly environments: number;
  readonly memoryMiB: number;
  /** It has run this function's code before: it need not fetch it. */
  readonly knowsCode: boolean;
}

/**
 * Which worker gets an environment: of those with room one that has the code already, and of these the one with the largest share of its memory
 * free, so that load spreads; of equals the smallest. Undefined: none has room.
 */
export function place<Worker extends Candidate>(workers: Iterable<Worker>, memoryMiB: number): Worker | undefined {
  let best: Worker | undefined;
  for (const worker of workers) {
    if (worker.environments + 1 > worker.maxEnvironments || worker.memoryMiB + memoryMiB > worker.maxMemoryMiB) continue;
    if (best === undefined || better(worker, best)) best = worker;
  }
  return best;
}

function better(worker: Candidate, than: Candidate): boolean {
  const [left, right] = [crowded(worker), crowded(than)];
  // A full worker is no bargain for having the code.
  if (worker.knowsCode !== than.knowsCode && Math.abs(left - right) < CODE_IS_WORTH) return worker.knowsCode;
  // A large empty one is kept for what needs it.
  return left === right ? worker.maxMemoryMiB < than.maxMemoryMiB : left < right;
}

/** How much fuller a worker may be and still be preferred because it has the code: a quarter of its room. */
const CODE_IS_WORTH = 0.25;

function crowded({ environments, maxEnvironments, memoryMiB, maxMemoryMiB }: Candidate): number {
  return Math.max(environments / maxEnvironments, memoryMiB / maxMemoryMiB);
}
