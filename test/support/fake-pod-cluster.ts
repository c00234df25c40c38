import { functionIdOf, type ExecutionSpec } from '../../platform/model/execution-spec.ts';
import type { ObservedPod } from '../../platform/worker-pool/kubernetes/observed-pod.ts';
import { PodRefusedError, type PodCluster, type PodName, type PodOrder, type PodWatcher } from '../../platform/worker-pool/kubernetes/pod-cluster.ts';
import type { PodSize } from '../../platform/worker-pool/kubernetes/sizes.ts';

/** A pod as a cluster shows it: spare, without an address, of Lambda's smallest sizes, unless it says otherwise. */
export function observedPod(name: string, change: Partial<ObservedPod> = {}): ObservedPod {
  return {
    name, uid: `${name}-uid`, address: undefined, family: 'nodejs', state: 'spare', functionId: undefined, size: { memoryMiB: 128, tmpMiB: 512 }, createdAtMs: 1_700_000_000_000, leaving: false,
    trouble: undefined, death: undefined, ended: false, resizeRefused: false, container: undefined, ...change,
  };
}

/**
 * {@link PodCluster} that notes what it is asked for. A pod that was made shows itself, and comes to anything, only when the test says so; labels are shown at once, and one that is removed leaves
 * until the test lets it end.
 */
export class FakePodCluster implements PodCluster {
  readonly created: PodOrder[] = [];
  /** `name function`, in the order in which they were asked for. */
  readonly assigned: string[] = [];
  readonly resized: { readonly name: string; readonly size: PodSize }[] = [];
  readonly removed: string[] = [];
  readonly graces: (number | undefined)[] = [];
  /** What containers print, by pod; ends where its log ends. */
  readonly logs = new Map<string, AsyncIterable<Uint8Array>>();
  /** `name since` of logs that were asked for. */
  readonly followed: string[] = [];
  readonly warm: { readonly counts: ReadonlyMap<string, number>; readonly size: PodSize }[] = [];
  /** What it says to requests of a kind, as long as it is there. */
  readonly refuses: Partial<Record<'create' | 'assign' | 'resize' | 'remove', string>> = {};
  /** What requests for pods wait for. */
  creating: Promise<void> = Promise.resolve();
  requests = 0;
  readonly #pods = new Map<string, ObservedPod>();
  readonly #watchers = new Set<PodWatcher>();

  /** Watches that were not stopped. */
  get watches(): number {
    return this.#watchers.size;
  }

  /** As it shows it. */
  pod(name: string): ObservedPod | undefined {
    return this.#pods.get(name);
  }

  watch(watcher: PodWatcher): Promise<{ stop(): Promise<void> }> {
    this.requests++;
    this.#watchers.add(watcher);
    for (const pod of this.#pods.values()) watcher.changed(pod);
    const stop = (): Promise<void> => {
      this.#watchers.delete(watcher);
      return Promise.resolve();
    };
    return Promise.resolve({ stop });
  }

  async create(order: PodOrder): Promise<void> {
    this.created.push(order);
    await this.creating;
    await this.#answer('create');
  }

  async assign({ name }: PodName, spec: ExecutionSpec): Promise<void> {
    this.assigned.push(`${name} ${spec.functionName}`);
    await this.#answer('assign');
    if (this.#pods.has(name)) this.show(name, { state: 'serving', functionId: functionIdOf(spec) });
  }

  async resize({ name }: PodName, size: PodSize): Promise<void> {
    this.resized.push({ name, size });
    await this.#answer('resize');
  }

  async remove({ name }: PodName, graceSec?: number): Promise<void> {
    this.removed.push(name);
    this.graces.push(graceSec);
    await this.#answer('remove');
    if (this.#pods.has(name)) this.show(name, { leaving: true });
  }

  keepWarm(counts: ReadonlyMap<string, number>, size: PodSize): Promise<void> {
    this.warm.push({ counts, size });
    return Promise.resolve();
  }

  containerLog({ name }: PodName, { since }: { readonly since: string }): AsyncIterable<Uint8Array> {
    this.requests++;
    this.followed.push(`${name} ${since}`);
    return this.logs.get(name) ?? refusingLog();
  }

  #answer(request: keyof FakePodCluster['refuses']): Promise<void> {
    this.requests++;
    const refusal = this.refuses[request];
    return refusal === undefined ? Promise.resolve() : Promise.reject(new PodRefusedError(refusal));
  }

  /** Shows a pod, or what has changed of it. */
  show(name: string, change: Partial<ObservedPod> = {}): void {
    const order = this.created.find((one) => one.name === name);
    const pod = { ...(this.#pods.get(name) ?? observedPod(name, order)), ...change };
    this.#pods.set(name, pod);
    for (const watcher of [...this.#watchers]) watcher.changed(pod);
  }

  /** The pod is there no more. */
  end(name: string): void {
    const pod = this.#pods.get(name) ?? observedPod(name);
    this.#pods.delete(name);
    for (const watcher of [...this.#watchers]) watcher.gone(pod);
  }
}

/** As where the container has not started yet. */
// eslint-disable-next-line require-yield
async function* refusingLog(): AsyncGenerator<Uint8Array> {
  await Promise.resolve();
  throw new PodRefusedError('container "function" is waiting to start');
}
