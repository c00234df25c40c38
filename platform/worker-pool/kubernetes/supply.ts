import type { PodTrouble } from './observed-pod.ts';
import type { PodState } from './labels.ts';
import { fits, type PodSize } from './sizes.ts';

/** An environment for which no worker has room. */
export interface Need {
  readonly environmentId: string;
  readonly functionId: string;
  readonly family: string;
  /** Of a pod that holds as many environments of it as a pod is to hold. */
  readonly size: PodSize;
}

export interface SupplyPod {
  readonly name: string;
  readonly family: string;
  readonly state: PodState;
  readonly functionId: string | undefined;
  readonly size: PodSize;
  /** Asked for, and not there yet. */
  readonly resizingTo: PodSize | undefined;
  readonly resizeRefused: boolean;
  readonly leaving: boolean;
  /** How its worker ended. */
  readonly death: string | undefined;
  readonly createdAtMs: number;
  /** Since when its worker has a session with this controller; undefined: it has none. */
  readonly joinedAtMs: number | undefined;
  /** When this controller had a session with its worker last. */
  readonly heardAtMs: number;
  /** Environments in it, of all controllers. */
  readonly environments: number;
  /** Since when this controller has seen it hold no environment, of a function that it serves. */
  readonly emptySinceMs: number | undefined;
  /** The last environment in it was this controller's, and has left: nobody else will come. */
  readonly vacated: boolean;
  readonly trouble: (PodTrouble & { readonly sinceMs: number }) | undefined;
}

export interface SupplySnapshot {
  /** In the order in which they were asked for. */
  readonly needs: readonly Need[];
  readonly pods: readonly SupplyPod[];
  /** Pods at once, besides those in state `warm`. */
  readonly maxPods: number;
  readonly environmentsPerPod: number;
  readonly nowMs: number;
}

export interface SupplyPlan {
  /** `environmentId`: the first that it is for. */
  readonly create: readonly { readonly environmentId: string; readonly family: string; readonly size: PodSize }[];
  readonly resize: readonly { readonly name: string; readonly size: PodSize }[];
  readonly giveUp: readonly { readonly environmentId: string; readonly message: string }[];
  readonly remove: readonly string[];
  /** When to look again though nothing has changed; Infinity: not at all. */
  readonly nextLookAtMs: number;
}

/** How long a pod may find no node before whoever waits for it is told: a cluster that grows by itself needs longer, and the pod goes on waiting. */
export const UNSCHEDULABLE_PATIENCE_MS = 10_000;
/** A spare pod that nobody needs any more waits so long for somebody who does. */
export const SPARE_MS = 5_000;
/** The same for one that cannot start: those who were told so are often back soon, and a cluster that grows goes by pods that wait. */
export const TROUBLED_SPARE_MS = 30_000;
/** A pod whose function is gone from it goes after so long where it may be another controller's to say: that one may only just have given it an environment. */
export const EMPTY_MS = 10_000;
/** A worker of which nothing was heard for so long is given up, in a pod that serves a function. */
export const UNHEARD_MS = 60_000;
/** From its making to its worker's first word. */
export const START_MAX_MS = 300_000;

/** What to do about pods now: pure. What could be placed has been: each need is one for which no worker has room. */
export function planSupply(snapshot: SupplySnapshot): SupplyPlan {
  const { needs, nowMs, environmentsPerPod, maxPods } = snapshot;
  // One that died before it said anything is bad news for the first that waits for its like.
  const pods = snapshot.pods.filter(({ leaving, death, state, joinedAtMs }) => !leaving && (death === undefined || (state === 'spare' && joinedAtMs === undefined)));
  const reserved = new Map<string, { readonly functionId: string; left: number }>();
  const ordered: { readonly functionId: string; readonly size: PodSize; left: number }[] = [];
  const plan = { create: [] as SupplyPlan['create'][number][], resize: [] as SupplyPlan['resize'][number][], giveUp: [] as SupplyPlan['giveUp'][number][], remove: [] as string[] };
  let nextLookAtMs = Infinity;
  const lookAt = (atMs: number): boolean => {
    if (atMs > nowMs) nextLookAtMs = Math.min(nextLookAtMs, atMs);
    return atMs <= nowMs;
  };
  let room = maxPods - pods.filter(({ state }) => state !== 'warm').length;

  const reserve = (pod: SupplyPod, { functionId }: Need): void => void reserved.set(pod.name, { functionId, left: environmentsPerPod - 1 });
  const awaits = ({ environmentId }: Need, { trouble, death }: SupplyPod): void => {
    if (death !== undefined) plan.giveUp.push({ environmentId, message: death });
    else if (trouble !== undefined && (trouble.lasting || lookAt(trouble.sinceMs + UNSCHEDULABLE_PATIENCE_MS))) plan.giveUp.push({ environmentId, message: trouble.message });
  };
  const shared = (need: Need): boolean => {
    const pod = pods.find(({ name, size }) => fits(need.size, size) && reserved.get(name)?.functionId === need.functionId && (reserved.get(name)?.left ?? 0) > 0);
    const claim = pod === undefined ? ordered.find(({ functionId, left, size }) => functionId === need.functionId && left > 0 && fits(need.size, size)) : reserved.get(pod.name);
    if (claim === undefined) return false;
    claim.left--;
    if (pod !== undefined) awaits(need, pod);
    return true;
  };

  for (const need of needs) {
    if (shared(need)) continue;
    const free = pods.filter((pod) => pod.family === need.family && !reserved.has(pod.name) && (pod.functionId ?? need.functionId) === need.functionId);
    const coming = best(free.filter((pod) => (pod.joinedAtMs === undefined ? fits(need.size, pod.size) : pod.resizingTo !== undefined && fits(need.size, pod.resizingTo))));
    if (coming !== undefined) {
      reserve(coming, need);
      awaits(need, coming);
      continue;
    }
    const small = best(free.filter((pod) => pod.joinedAtMs !== undefined && pod.environments === 0 && pod.resizingTo === undefined && !pod.resizeRefused && need.size.tmpMiB <= pod.size.tmpMiB));
    if (small !== undefined) {
      reserve(small, need);
      plan.resize.push({ name: small.name, size: { ...small.size, memoryMiB: need.size.memoryMiB } });
      continue;
    }
    if (room <= 0) continue;
    room--;
    ordered.push({ functionId: need.functionId, size: need.size, left: environmentsPerPod - 1 });
    plan.create.push({ environmentId: need.environmentId, family: need.family, size: need.size });
  }

  for (const pod of snapshot.pods) {
    if (!pod.leaving && (pod.death !== undefined || (!reserved.has(pod.name) && isOver(pod, nowMs, lookAt)))) plan.remove.push(pod.name);
  }
  return { ...plan, nextLookAtMs };
}

/** One without trouble, then the smallest, then the oldest. */
function best(pods: readonly SupplyPod[]): SupplyPod | undefined {
  return [...pods].sort((a, b) => Number(a.trouble !== undefined) - Number(b.trouble !== undefined) || a.size.memoryMiB - b.size.memoryMiB || a.createdAtMs - b.createdAtMs)[0];
}

/** Whether a pod that nothing waits for is to go. */
function isOver(pod: SupplyPod, nowMs: number, lookAt: (atMs: number) => boolean): boolean {
  if (pod.joinedAtMs === undefined) {
    if (pod.state === 'serving') return lookAt(pod.heardAtMs + UNHEARD_MS);
    return (pod.state === 'spare' && pod.trouble !== undefined && lookAt(pod.trouble.sinceMs + TROUBLED_SPARE_MS)) || lookAt(pod.createdAtMs + START_MAX_MS);
  }
  if (pod.environments > 0) return false;
  switch (pod.state) {
    case 'warm':
      return false;
    case 'spare':
      return lookAt(pod.joinedAtMs + SPARE_MS);
    case 'serving':
      return pod.vacated || lookAt((pod.emptySinceMs ?? nowMs) + EMPTY_MS);
  }
}
