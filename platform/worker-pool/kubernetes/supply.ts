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
  /** It shares a pod with no other, whatever a pod may hold. */
  readonly alone?: boolean;
}

export interface SupplyPod {
  readonly name: string;
  readonly family: string;
  readonly state: PodState;
  readonly functionId: string | undefined;
  /** Of the need for which this controller made or resized it. */
  readonly madeFor: string | undefined;
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
  /** When this controller had a session with its worker last, or saw it first. */
  readonly heardAtMs: number;
  /** Its worker has had a session with this controller. */
  readonly heardBefore: boolean;
  /** Environments in it, of all controllers. */
  readonly environments: number;
  /** Since when this controller has seen it hold no environment, of a function that it serves. */
  readonly emptySinceMs: number | undefined;
  /** The last environment in it was this controller's, and has left: nobody else will come. */
  readonly vacated: boolean;
  readonly trouble: (PodTrouble & { readonly sinceMs: number }) | undefined;
  /** Since when the container of a function's image runs in it; undefined: it does not, or there is none. */
  readonly containerSinceMs: number | undefined;
}

export interface SupplySnapshot {
  /** In the order in which they were asked for. */
  readonly needs: readonly Need[];
  readonly pods: readonly SupplyPod[];
  /** Pods at once, besides those in state `warm`. */
  readonly maxPods: number;
  /** Pods in state `spare` that may be starting at once: more would only keep each other from it. One that has trouble is not counted. */
  readonly maxStartingPods: number;
  readonly environmentsPerPod: number;
  readonly nowMs: number;
}

export interface SupplyPlan {
  /** `environmentId`: the first that it is for. */
  readonly create: readonly { readonly environmentId: string; readonly functionId: string; readonly family: string; readonly size: PodSize }[];
  readonly resize: readonly { readonly name: string; readonly functionId: string; readonly size: PodSize }[];
  readonly giveUp: readonly { readonly environmentId: string; readonly message: string }[];
  readonly remove: readonly string[];
  /** When to look again though nothing has changed; Infinity: not at all. */
  readonly nextLookAtMs: number;
}

/** How long a pod may find no node before whoever waits for it is told: a cluster that grows by itself needs longer, and the pod goes on waiting. */
export const UNSCHEDULABLE_PATIENCE_MS = 10_000;
/** A spare pod that nobody needs any more waits so long for somebody who does. */
export const SPARE_MS = 5_000;
/** The same for one that another controller made, and will want to remove itself, if it is there. */
export const OTHERS_SPARE_MS = 30_000;
/** The same for one that cannot start, and that this controller made: those who were told so are often back soon, and a cluster that grows goes by pods that wait. */
export const TROUBLED_SPARE_MS = 30_000;
/** A pod whose function is gone from it goes after so long where it may be another controller's to say: that one may only just have given it an environment. */
export const EMPTY_MS = 10_000;
/** A worker of which nothing was heard for so long is given up, in a pod that serves a function. */
export const UNHEARD_MS = 60_000;
/** Workers find a controller that is new within this time. */
export const JOIN_MS = 10_000;
/** From when it was seen first to its worker's first word. */
export const START_MAX_MS = 300_000;

/** A worker joins when the runtime in the container beside it has said something: after so long it will not. Lambda gives init 10 s, and as long again as an invocation may take. */
export const SPEECHLESS_MS = 30_000;

/** What to do about pods now: pure. What could be placed has been: each need is one for which no worker has room. */
export function planSupply(snapshot: SupplySnapshot): SupplyPlan {
  const { needs, nowMs, environmentsPerPod, maxPods, maxStartingPods } = snapshot;
  // One that died before it said anything is bad news for the first that waits for its like.
  const pods = snapshot.pods.filter(({ leaving, death, state, joinedAtMs }) => !leaving && (death === undefined || (state === 'spare' && joinedAtMs === undefined)));
  const reserved = new Map<string, Reservation>();
  const ordered: Reservation[] = [];
  const plan = { create: [] as SupplyPlan['create'][number][], resize: [] as SupplyPlan['resize'][number][], giveUp: [] as SupplyPlan['giveUp'][number][], remove: [] as string[] };
  let nextLookAtMs = Infinity;
  const lookAt = (atMs: number): boolean => {
    if (atMs > nowMs) nextLookAtMs = Math.min(nextLookAtMs, atMs);
    return atMs <= nowMs;
  };
  const starting = pods.filter(({ state, joinedAtMs, trouble, death, heardAtMs }) => state === 'spare' && joinedAtMs === undefined && trouble === undefined && death === undefined && !lookAt(heardAtMs + START_MAX_MS)).length;
  let room = Math.min(maxPods - pods.filter(({ state }) => state !== 'warm').length, maxStartingPods - starting);

  const reserve = (need: Need, pod: SupplyPod, size: PodSize): void => void reserved.set(pod.name, { need, size, left: need.alone === true ? 0 : environmentsPerPod - 1, shared: false, pod });
  const awaited = new Map<Need, SupplyPod>();
  const share = (need: Need): boolean => {
    if (environmentsPerPod === 1 || need.alone === true) return false;
    const open = [...reserved.values(), ...ordered].filter(({ need: { functionId, family }, size, left }) => left > 0 && functionId === need.functionId && family === need.family && fits(need.size, size));
    // The smallest: the others may be all that a larger need has.
    const [claim] = open.sort((a, b) => bySize(a.size, b.size));
    if (claim === undefined) return false;
    claim.left--;
    claim.shared = true;
    if (claim.pod !== undefined) awaited.set(need, claim.pod);
    return true;
  };
  const isFree = ({ name }: SupplyPod): boolean => !reserved.has(name);
  const coming = (need: Need, which: (pod: SupplyPod) => boolean): SupplyPod[] =>
    pods.filter((pod) => which(pod) && isFor(pod, need) && (pod.joinedAtMs === undefined ? willJoin(pod, lookAt) && fits(need.size, pod.size) : pod.resizingTo !== undefined && fits(need.size, pod.resizingTo)));
  const waitFor = (need: Need, pod: SupplyPod): void => {
    reserve(need, pod, pod.resizingTo ?? pod.size);
    awaited.set(need, pod);
  };
  // Pods from which a search has led nowhere: nor will any later one (Kuhn's algorithm for matchings), and so a plan stays as short as its lists.
  const exhausted = new Set<string>();
  /** A pod that comes and will do: one that nobody waits for, or one for whose need there is another. */
  const find = (need: Need, passed: Set<string>): SupplyPod | undefined => {
    const free = best(coming(need, isFree));
    if (free !== undefined) return free;
    for (const pod of coming(need, ({ name }) => !passed.has(name) && !exhausted.has(name))) {
      const holder = reserved.get(pod.name);
      if (holder === undefined || holder.shared || passed.has(pod.name)) continue;
      passed.add(pod.name);
      const other = find(holder.need, passed);
      if (other === undefined) continue;
      waitFor(holder.need, other);
      return pod;
    }
    return undefined;
  };

  // First each finds what is its function's, or was made for it, the largest first: what one takes that would do for it may be all that another has.
  for (const need of [...needs].sort((a, b) => bySize(b.size, a.size))) {
    const own = best(coming(need, (pod) => isFree(pod) && (pod.functionId ?? pod.madeFor) === need.functionId));
    if (own !== undefined) waitFor(need, own);
  }
  for (const need of needs) {
    if (awaited.has(need) || share(need)) continue;
    const passed = new Set<string>();
    const pod = find(need, passed);
    if (pod !== undefined) {
      waitFor(need, pod);
      continue;
    }
    for (const name of passed) exhausted.add(name);
    const small = best(pods.filter((candidate) => isFor(candidate, need) && isFree(candidate) && canGrow(candidate, need)));
    if (small !== undefined) {
      const size = { ...small.size, memoryMiB: need.size.memoryMiB };
      reserve(need, small, size);
      plan.resize.push({ name: small.name, functionId: need.functionId, size });
      continue;
    }
    if (room <= 0) continue;
    room--;
    ordered.push({ need, size: need.size, left: need.alone === true ? 0 : environmentsPerPod - 1, shared: false, pod: undefined });
    plan.create.push({ environmentId: need.environmentId, functionId: need.functionId, family: need.family, size: need.size });
  }
  for (const [{ environmentId }, pod] of awaited) {
    const message = whyNot(pod, lookAt);
    if (message !== undefined) plan.giveUp.push({ environmentId, message });
  }

  for (const pod of snapshot.pods) {
    if (!pod.leaving && (pod.death !== undefined || (!reserved.has(pod.name) && isOver(pod, nowMs, lookAt)))) plan.remove.push(pod.name);
  }
  return { ...plan, nextLookAtMs };
}

interface Reservation {
  /** The first that it is for. */
  readonly need: Need;
  readonly size: PodSize;
  /** Environments that it will have room for beside those for which it is reserved. */
  left: number;
  /** It is for others too. */
  shared: boolean;
  /** Undefined: it is still to be made. */
  readonly pod: SupplyPod | undefined;
}

function isFor(pod: SupplyPod, need: Need): boolean {
  return pod.family === need.family && (pod.functionId ?? need.functionId) === need.functionId;
}

/** Why whoever waits for this pod waits in vain, or has for too long; undefined: it may come. */
function whyNot(pod: SupplyPod, lookAt: (atMs: number) => boolean): string | undefined {
  const { name, trouble, death } = pod;
  if (death !== undefined) return death;
  if (isSpeechless(pod, lookAt)) return `The container in the pod ${name} runs and has asked for no event for ${SPEECHLESS_MS / 1_000} s: its entry point has to be a runtime, or a Lambda runtime interface client.`;
  return trouble !== undefined && (trouble.lasting || lookAt(trouble.sinceMs + UNSCHEDULABLE_PATIENCE_MS)) ? trouble.message : undefined;
}

/** A pod that is known to run and is not heard may be one whose worker is still to find this controller, but not for long. */
function willJoin({ functionId, heardBefore, heardAtMs }: SupplyPod, lookAt: (atMs: number) => boolean): boolean {
  return !lookAt(heardAtMs + (functionId === undefined && !heardBefore ? START_MAX_MS : JOIN_MS));
}

/** Whether more memory is all that it lacks. */
function canGrow(pod: SupplyPod, { size }: Need): boolean {
  return pod.joinedAtMs !== undefined && pod.environments === 0 && pod.resizingTo === undefined && !pod.resizeRefused && size.tmpMiB <= pod.size.tmpMiB && size.memoryMiB > pod.size.memoryMiB;
}

function bySize(a: PodSize, b: PodSize): number {
  return a.memoryMiB - b.memoryMiB || a.tmpMiB - b.tmpMiB;
}

/** One that lives, one without trouble, then the smallest, then the oldest. */
function best(pods: readonly SupplyPod[]): SupplyPod | undefined {
  return [...pods].sort((a, b) => Number(a.death !== undefined) - Number(b.death !== undefined) || Number(a.trouble !== undefined) - Number(b.trouble !== undefined) || bySize(a.resizingTo ?? a.size, b.resizingTo ?? b.size) || a.createdAtMs - b.createdAtMs)[0];
}

function isSpeechless({ containerSinceMs, joinedAtMs, heardBefore }: SupplyPod, lookAt: (atMs: number) => boolean): boolean {
  return containerSinceMs !== undefined && joinedAtMs === undefined && !heardBefore && lookAt(containerSinceMs + SPEECHLESS_MS);
}

/** Whether a pod that nothing waits for is to go. */
function isOver(pod: SupplyPod, nowMs: number, lookAt: (atMs: number) => boolean): boolean {
  if (pod.joinedAtMs === undefined) {
    if (pod.state === 'serving') return lookAt(pod.heardAtMs + UNHEARD_MS);
    if (isSpeechless(pod, lookAt)) return true;
    return (pod.state === 'spare' && pod.madeFor !== undefined && pod.trouble !== undefined && lookAt(pod.trouble.sinceMs + TROUBLED_SPARE_MS)) || lookAt(pod.heardAtMs + START_MAX_MS);
  }
  if (pod.environments > 0) return false;
  switch (pod.state) {
    case 'warm':
      return false;
    case 'spare':
      return lookAt(pod.joinedAtMs + (pod.madeFor === undefined ? OTHERS_SPARE_MS : SPARE_MS));
    case 'serving':
      return pod.vacated || lookAt((pod.emptySinceMs ?? nowMs) + EMPTY_MS);
  }
}
