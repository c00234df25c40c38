import type { ExecutionSpec, FunctionKey } from '../../platform/model/execution-spec.ts';
import type { InvocationHead } from '../../platform/invocation-log/invocation-log.ts';
import type { Estimates } from './estimates.ts';
import { heapNode, type HeapNode } from './indexed-heap.ts';
import { LinkedList, listNode, type ListNode } from './linked-list.ts';
import { timerSlot, type TimerSlot } from './timers.ts';

export type TimerOwner = Work | Environment | VersionState;

export interface AccountState {
  /** Slots held by all functions of the account. */
  inUse: number;
  /** Slots held by functions without reserved concurrency. */
  unreservedInUse: number;
  /** Sum of reserved concurrency over all functions of the account. */
  reservedConcurrency: number;
}

/** One incarnation of a function, for as long as it has work or environments. */
export interface FunctionState {
  readonly uid: string;
  readonly key: FunctionKey;
  readonly account: AccountState;
  reservedConcurrency: number | undefined;
  /** Slots held: invocations that wait or run. */
  inUse: number;
  readonly versions: Map<string, VersionState>;
}

export interface VersionState {
  readonly kind: 'version';
  readonly owner: FunctionState;
  readonly version: string;
  /** What its environments are built from now. */
  spec: ExecutionSpec;
  /** The version was deleted, or its function was. */
  deleted: boolean;
  readonly estimates: Estimates;
  /** First come, first served. */
  readonly waiting: LinkedList<Work>;
  /** Last: the most recently used. */
  readonly idle: LinkedList<Environment>;
  readonly inUse: LinkedList<Environment>;
  readonly starting: LinkedList<Environment>;
  /** Starts for which room is being made. */
  claims: number;
  /** Environments of every state, those of earlier revisions and those that leave included. */
  environments: number;
  /** Its place among the versions that want more environments than the pool has room for; ordered by the oldest waiting invocation. */
  readonly wanting: HeapNode<VersionState>;
  readonly timer: TimerSlot<TimerOwner>;
}

export interface Environment {
  readonly kind: 'environment';
  readonly id: string;
  readonly version: VersionState;
  readonly specId: string;
  readonly memoryMiB: number;
  readonly timeoutMs: number;
  state: 'starting' | 'idle' | 'busy' | 'leaving';
  /** An earlier owner started it. */
  adopted: boolean;
  /** Its init has failed: it can answer one invocation with that, and nothing else. */
  spent: boolean;
  readonly startedAtMs: number;
  /** Invocations of a smaller sequence waited before this start. */
  readonly startedSequence: number;
  /** There exactly in state `busy`. */
  work: Work | undefined;
  startedWorkAtMs: number;
  respondedAtMs: number | undefined;
  /** In its version's `starting`, `idle` or `inUse`; in none of them when it is leaving or spent. */
  readonly place: ListNode<Environment>;
  /** Among all idle environments of the pool. */
  readonly recency: ListNode<Environment>;
  readonly timer: TimerSlot<TimerOwner>;
}

/** An invocation that the scheduler holds. */
export interface Work {
  readonly kind: 'work';
  /** {@link UNDELIVERED}: an environment that was adopted runs it, and the log has yet to deliver it here. */
  deliveryId: number;
  readonly head: InvocationHead;
  /** As it was given to its environment: an adopted one knows the earlier owner's epoch and delivery. */
  readonly givenEpoch: number;
  readonly givenDeliveryId: number;
  readonly version: VersionState;
  /** Order of arrival over all functions. */
  readonly sequence: number;
  readonly arrivedAtMs: number;
  state: 'waiting' | 'running';
  readonly place: ListNode<Work>;
  readonly timer: TimerSlot<TimerOwner>;
}

export function accountState(): AccountState {
  return { inUse: 0, unreservedInUse: 0, reservedConcurrency: 0 };
}

/** V8 must see every member in the literal, so the self-references are made through one cast each. */
export function versionState(owner: FunctionState, version: string, spec: ExecutionSpec, estimates: Estimates): VersionState {
  const state = {
    kind: 'version', owner, version, spec, deleted: false, estimates,
    waiting: new LinkedList<Work>(), idle: new LinkedList<Environment>(), inUse: new LinkedList<Environment>(),
    starting: new LinkedList<Environment>(), claims: 0, environments: 0, wanting: undefined, timer: undefined,
  } as unknown as Mutable<VersionState>;
  state.wanting = heapNode<VersionState>(state);
  state.timer = timerSlot<TimerOwner>(state);
  return state;
}

export function environmentState(id: string, version: VersionState, spec: ExecutionSpec, startedAtMs: number, startedSequence: number): Environment {
  const { configuration } = spec;
  const state = {
    kind: 'environment', id, version, specId: spec.id, adopted: false, memoryMiB: configuration.memoryMiB, timeoutMs: configuration.timeoutSec * 1_000,
    state: 'starting', spent: false, startedAtMs, startedSequence, work: undefined, startedWorkAtMs: 0, respondedAtMs: undefined,
    place: undefined, recency: undefined, timer: undefined,
  } as unknown as Mutable<Environment>;
  state.place = listNode<Environment>(state);
  state.recency = listNode<Environment>(state);
  state.timer = timerSlot<TimerOwner>(state);
  return state;
}

/** No delivery has this id. */
export const UNDELIVERED = -1;

export interface WorkOrigin {
  readonly deliveryId: number;
  readonly head: InvocationHead;
  readonly givenEpoch: number;
  readonly givenDeliveryId: number;
}

export function workState({ deliveryId, head, givenEpoch, givenDeliveryId }: WorkOrigin, version: VersionState, sequence: number, arrivedAtMs: number): Work {
  const state = { kind: 'work', deliveryId, head, givenEpoch, givenDeliveryId, version, sequence, arrivedAtMs, state: 'waiting', place: undefined, timer: undefined } as unknown as Mutable<Work>;
  state.place = listNode<Work>(state);
  state.timer = timerSlot<TimerOwner>(state);
  return state;
}

type Mutable<State> = { -readonly [Member in keyof State]: State[Member] };
