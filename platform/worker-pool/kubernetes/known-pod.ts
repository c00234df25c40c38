import type { Timer } from '../../clock.ts';
import type { ExecutionSpec } from '../../model/execution-spec.ts';
import type { ObservedPod, PodTrouble } from './observed-pod.ts';
import type { PodSize } from './sizes.ts';

/** In the place of a function's id: it is known only that it is none of this controller's. */
export const ANOTHERS = '?';

/** What the pool knows of a pod beyond what the cluster says of it. */
export interface KnownPod {
  /** As the cluster showed it last, or as it was asked for. */
  seen: ObservedPod;
  /** It has not been seen yet. */
  expected: boolean;
  /** Ahead of what the cluster shows. */
  functionId: string | undefined;
  resizingTo: PodSize | undefined;
  /** What its worker has found itself grown to, ahead of what the cluster shows. */
  grownTo: PodSize | undefined;
  joinedAtMs: number | undefined;
  heardAtMs: number;
  heardBefore: boolean;
  emptySinceMs: number | undefined;
  vacated: boolean;
  /** The last environment that was put in it is this controller's. */
  mine: boolean;
  trouble: (PodTrouble & { readonly sinceMs: number }) | undefined;
  containerSinceMs: number | undefined;
  /** Its worker has been told that the function's container has ended. */
  exitTold: boolean;
  removing: boolean;
  /** The function for which it was made or resized here. */
  madeFor: string | undefined;
  /** What this controller took it for, and has labelled it as, before it was sent back. */
  disowned: string | undefined;
  /** What was put in it here last. */
  spec: ExecutionSpec | undefined;
  /** The next attempt to write its function on it. */
  assigning: Timer | undefined;
}

/** A pod that nothing is known of yet but what is seen, or asked for. */
export function knownPod(seen: ObservedPod, nowMs: number, more: Partial<Pick<KnownPod, 'expected' | 'madeFor' | 'trouble'>>): KnownPod {
  return {
    seen, functionId: seen.functionId, expected: false, madeFor: undefined, trouble: undefined, containerSinceMs: undefined, exitTold: false, heardAtMs: nowMs, heardBefore: false, vacated: false, mine: false, removing: false,
    resizingTo: undefined, grownTo: undefined, joinedAtMs: undefined, emptySinceMs: undefined, disowned: undefined, spec: undefined, assigning: undefined, ...more,
  };
}

/** What it has, as far as is known. */
export function sizeNow({ seen, grownTo }: KnownPod): PodSize {
  return grownTo ?? seen.size;
}

/** The function of a pod: what is known here is ahead of its labels, except where another controller's are still to come. */
export function functionNow({ functionId, disowned }: KnownPod, seen: ObservedPod): string | undefined {
  if (functionId !== ANOTHERS) return functionId ?? seen.functionId;
  return seen.functionId === undefined || seen.functionId === disowned ? ANOTHERS : seen.functionId;
}

/** Its label names another function than the one that this controller has put in it. */
export function isMislabelled({ mine, functionId, seen }: KnownPod): boolean {
  return mine && seen.functionId !== undefined && seen.functionId !== functionId;
}
