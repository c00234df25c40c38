import type { ExecutionSpec } from '../../model/execution-spec.ts';
import type { ContainerImage } from '../../model/function.ts';
import type { ObservedPod } from './observed-pod.ts';
import type { PodSize } from './sizes.ts';

/** Port: what the pool needs of a Kubernetes cluster, in one namespace. */
export interface PodCluster {
  /**
   * Tells all pods of the pool that there are, and every change from then on, until it is stopped; resolves when the present ones have been told. A connection that breaks
   * is made again, and what was missed meanwhile told then. Rejects with {@link PoolSetupError} where the first look fails.
   */
  watch(watcher: PodWatcher): Promise<{ stop(): Promise<void> }>;
  /** Makes a pod in state `spare`. Rejects with {@link PodRefusedError}. */
  create(order: PodOrder): Promise<void>;
  /** Writes on a pod which function it serves, and says so in an event. Resolves as well where the pod is gone. */
  assign(pod: PodName, spec: ExecutionSpec): Promise<void>;
  /** Asks for more memory for a pod that runs: it has it when it is observed to. Resolves as well where the pod is gone; rejects with {@link PodRefusedError}. */
  resize(pod: PodName, size: PodSize): Promise<void>;
  /** Tells a pod to end, in its own time where no other is given. Resolves as well where it is gone. */
  remove(pod: PodName, graceSec?: number): Promise<void>;
  /**
   * What the container of a function's image has printed since then, and prints until it ends: UTF-8, each line with its time before it. `since` is an RFC 3339 time; what was printed in the same second
   * before it may come too. Ends by rejecting where the log breaks off, or cannot be had, or `signal` says so.
   */
  containerLog(pod: PodName, options: { readonly since: string; readonly signal: AbortSignal }): AsyncIterable<Uint8Array>;
  /** Keeps so many pods of this size in state `warm` for each family, from now on and without this process, and none of other families. */
  keepWarm(counts: ReadonlyMap<string, number>, size: PodSize): Promise<void>;
  /** Requests to the API server so far, watches included. */
  readonly requests: number;
}

export type PodName = Pick<ObservedPod, 'name' | 'uid'>;

export interface PodOrder {
  readonly name: string;
  readonly family: string;
  readonly size: PodSize;
  /** There where the pod is to hold the container of a function's image. */
  readonly function?: FunctionOfImage;
}

export interface FunctionOfImage {
  readonly spec: ExecutionSpec;
  readonly image: ContainerImage;
  readonly logStream: string;
}

export type ImagePodOrder = PodOrder & { readonly function: FunctionOfImage };

export interface PodWatcher {
  changed(pod: ObservedPod): void;
  gone(pod: ObservedPod): void;
}

/** The API server will not have it. The message is a sentence that says why: a quota, a policy, a field. */
export class PodRefusedError extends Error {
  override readonly name = 'PodRefusedError';
}

/** The pool cannot work as it is set up. The message is one line that names the setting and the remedy. */
export class PoolSetupError extends Error {
  override readonly name = 'PoolSetupError';
}
