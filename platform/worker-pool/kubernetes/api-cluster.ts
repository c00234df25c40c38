import { PassThrough, type Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { ApiException, AppsV1Api, CoreV1Api, KubeConfig, Log, makeInformer, Observable, PatchStrategy, setHeaderOptions, type ObservableMiddleware, type V1Pod, type V1Status } from '@kubernetes/client-node';
import type { ExecutionSpec } from '../../model/execution-spec.ts';
import type { Logger } from '../../telemetry/logger.ts';
import { imagePod, variablesSecret } from './image-pod.ts';
import { assignment, joinSecret, memoryResources, poolIdentity, poolSelector, sparePod, warmSet, warmSetName, type PoolIdentity } from './manifests.ts';
import { FUNCTION_CONTAINER, WORKER_CONTAINER } from './labels.ts';
import { observe } from './observed-pod.ts';
import { PodRefusedError, PoolSetupError, type ImagePodOrder, type PodCluster, type PodName, type PodOrder, type PodWatcher } from './pod-cluster.ts';
import type { PodSize } from './sizes.ts';

/** Names this program among those that change objects (server-side apply). */
const FIELD_MANAGER = 'sluice';
/** An API server that takes longer is as good as away. The client has no such limit of its own. */
const REQUEST_TIMEOUT_MS = 8_000;
const TIMED = {
  middleware: [
    {
      pre(request) {
        request.setSignal(AbortSignal.timeout(REQUEST_TIMEOUT_MS));
        return new Observable(Promise.resolve(request));
      },
      post: (response) => new Observable(Promise.resolve(response)),
    } satisfies ObservableMiddleware,
  ],
  middlewareMergeStrategy: 'append' as const,
};
const APPLY = setHeaderOptions('Content-Type', PatchStrategy.ServerSideApply, TIMED);
const STRATEGIC_MERGE = setHeaderOptions('Content-Type', PatchStrategy.StrategicMergePatch, TIMED);
/** Before a watch that broke is made again: up to twice as long, so that controllers do not all come at once. */
const REWATCH_MS = 1_000;

export interface ApiClusterOptions {
  readonly namespace: string;
  readonly configMap: string;
  readonly environmentsPerPod: number;
  /** Lets workers of this pool in. */
  readonly joinToken: string;
  /** What functions in containers of their own find as AWS_REGION. */
  readonly region: string;
  readonly logger: Logger;
  /** By default the one of KUBECONFIG or of the pod's service account. */
  readonly config?: KubeConfig;
}

/**
 * Reads the pool's ConfigMap and writes the Secret that its workers need. Rejects with {@link PoolSetupError} where the cluster cannot be reached, or refuses.
 */
export async function openApiCluster(options: ApiClusterOptions): Promise<PodCluster> {
  const config = options.config ?? defaultConfig();
  const core = config.makeApiClient(CoreV1Api);
  const { namespace, configMap, environmentsPerPod } = options;
  let requests = 0;
  const asking = async <Answer>(what: string, request: () => Promise<Answer>): Promise<Answer> => {
    requests++;
    try {
      return await request();
    } catch (error) {
      throw new PoolSetupError(`SLUICE_POOL=kubernetes:${namespace}/${configMap}: ${what}: ${reasonOf(error)}`);
    }
  };
  const found = await asking('the ConfigMap cannot be read', () => core.readNamespacedConfigMap({ name: configMap, namespace }, TIMED));
  const pool = poolIdentity({ ...found, metadata: { ...found.metadata, name: configMap, namespace } }, environmentsPerPod);
  const secret = joinSecret(pool, options.joinToken);
  await asking('the Secret with which workers join cannot be written', () => core.patchNamespacedSecret({ name: secret.metadata?.name ?? '', namespace, body: secret, fieldManager: FIELD_MANAGER, force: true }, APPLY));
  return new ApiCluster({ config, core, pool, region: options.region, logger: options.logger, requests });
}

/** {@link PodCluster} on the API server. */
class ApiCluster implements PodCluster {
  requests: number;
  readonly #config: KubeConfig;
  readonly #core: CoreV1Api;
  readonly #apps: AppsV1Api;
  readonly #pool: PoolIdentity;
  readonly #region: string;
  readonly #logger: Logger;

  constructor({ config, core, pool, region, logger, requests }: { readonly config: KubeConfig; readonly core: CoreV1Api; readonly pool: PoolIdentity; readonly region: string; readonly logger: Logger; readonly requests: number }) {
    this.#config = config;
    this.#core = core;
    this.#apps = config.makeApiClient(AppsV1Api);
    this.#pool = pool;
    this.#region = region;
    this.#logger = logger;
    this.requests = requests;
  }

  async watch(watcher: PodWatcher): Promise<{ stop(): Promise<void> }> {
    const { namespace } = this.#pool;
    const labelSelector = poolSelector(this.#pool);
    const list = (): ReturnType<CoreV1Api['listNamespacedPod']> => {
      this.requests++;
      return this.#core.listNamespacedPod({ namespace, labelSelector }, TIMED);
    };
    const informer = makeInformer<V1Pod>(this.#config, `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods`, list, labelSelector);
    const stopping = new AbortController();
    let watching = false;
    let firstFailure: unknown;
    informer.on('add', (pod) => watcher.changed(observe(pod)));
    informer.on('update', (pod) => watcher.changed(observe(pod)));
    informer.on('delete', (pod) => watcher.gone(observe(pod)));
    informer.on('connect', () => void this.requests++);
    informer.on('error', (error: unknown) => {
      if (stopping.signal.aborted) return;
      if (!watching) {
        firstFailure = error;
        return;
      }
      this.#logger.warn({ reason: reasonOf(error) }, 'the watch on worker pods broke; it is made again');
      void delay(REWATCH_MS * (1 + Math.random()), undefined, { signal: stopping.signal }).then(
        () => informer.start(),
        () => undefined,
      );
    });
    await informer.start();
    if (firstFailure !== undefined) throw new PoolSetupError(`SLUICE_POOL: the pods in namespace ${namespace} cannot be watched: ${reasonOf(firstFailure)}`);
    watching = true;
    return {
      stop: () => {
        stopping.abort();
        return informer.stop();
      },
    };
  }

  async create(order: PodOrder): Promise<void> {
    const { namespace } = this.#pool;
    if (isForImage(order)) {
      await this.#createWithImage(order);
      return;
    }
    await this.#ask(() => this.#core.createNamespacedPod({ namespace, body: sparePod(this.#pool, order), fieldManager: FIELD_MANAGER }, TIMED));
  }

  /** The Secret comes after the pod that it goes with, and before the node gets to the container that needs it. */
  async #createWithImage(order: ImagePodOrder): Promise<void> {
    const { namespace } = this.#pool;
    const { metadata } = await this.#ask(() => this.#core.createNamespacedPod({ namespace, body: imagePod(this.#pool, order), fieldManager: FIELD_MANAGER }, TIMED));
    const pod: PodName = { name: order.name, uid: metadata?.uid ?? '' };
    try {
      await this.#ask(() => this.#core.createNamespacedSecret({ namespace, body: variablesSecret(this.#pool, pod, order, this.#region), fieldManager: FIELD_MANAGER }, TIMED));
    } catch (error) {
      await this.remove(pod, 0).catch(() => undefined);
      throw error;
    }
  }

  async *containerLog({ name }: PodName, { since, signal }: { readonly since: string; readonly signal: AbortSignal }): AsyncGenerator<Uint8Array> {
    const into = new PassThrough();
    // The client passes no error on, and throws one that nobody has heard.
    into.once('pipe', (source: Readable) => source.once('error', (error) => into.destroy(error)));
    this.requests++;
    const request = await new Log(this.#config).log(this.#pool.namespace, name, FUNCTION_CONTAINER, into, { follow: true, timestamps: true, sinceTime: since });
    const abort = (): void => request.abort();
    signal.addEventListener('abort', abort);
    if (signal.aborted) abort();
    try {
      yield* into as AsyncIterable<Uint8Array>;
    } finally {
      signal.removeEventListener('abort', abort);
      abort();
    }
  }

  async assign(pod: PodName, spec: ExecutionSpec): Promise<void> {
    const { namespace } = this.#pool;
    await this.#unlessGone(() => this.#core.patchNamespacedPod({ name: pod.name, namespace, body: assignment(this.#pool, pod, spec), fieldManager: FIELD_MANAGER, force: true }, APPLY));
    const now = new Date();
    await this.#unlessGone(() =>
      this.#core.createNamespacedEvent({
        namespace,
        body: {
          metadata: { generateName: `${pod.name}.`, namespace },
          involvedObject: { apiVersion: 'v1', kind: 'Pod', namespace, ...pod },
          type: 'Normal',
          reason: 'FunctionAssigned',
          message: `Serves ${spec.versionArn}.`,
          source: { component: 'sluice-controller' },
          firstTimestamp: now,
          lastTimestamp: now,
          count: 1,
        },
      }, TIMED),
    );
  }

  async resize(pod: PodName, size: PodSize): Promise<void> {
    const body = { spec: { containers: [{ name: WORKER_CONTAINER, resources: memoryResources(size) }] } };
    await this.#unlessGone(() => this.#core.patchNamespacedPodResize({ name: pod.name, namespace: this.#pool.namespace, body, fieldManager: FIELD_MANAGER }, STRATEGIC_MERGE));
  }

  async remove({ name, uid }: PodName, graceSec?: number): Promise<void> {
    const body = { ...(uid === '' ? {} : { preconditions: { uid } }), ...(graceSec === undefined ? {} : { gracePeriodSeconds: graceSec }) };
    await this.#unlessGone(() => this.#core.deleteNamespacedPod({ name, namespace: this.#pool.namespace, body }, TIMED));
  }

  async keepWarm(counts: ReadonlyMap<string, number>, size: PodSize): Promise<void> {
    const { namespace } = this.#pool;
    const kept = new Set<string>();
    for (const [family, replicas] of counts) {
      if (replicas === 0) continue;
      const name = warmSetName(this.#pool, family);
      kept.add(name);
      await this.#ask(() => this.#apps.patchNamespacedReplicaSet({ name, namespace, body: warmSet(this.#pool, family, replicas, size), fieldManager: FIELD_MANAGER, force: true }, APPLY));
    }
    const { items } = await this.#ask(() => this.#apps.listNamespacedReplicaSet({ namespace, labelSelector: poolSelector(this.#pool) }, TIMED));
    for (const { metadata } of items) {
      const name = metadata?.name ?? '';
      if (!kept.has(name)) await this.#unlessGone(() => this.#apps.deleteNamespacedReplicaSet({ name, namespace, propagationPolicy: 'Background' }, TIMED));
    }
  }

  /** Rejects with {@link PodRefusedError}. */
  async #ask<Answer>(request: () => Promise<Answer>): Promise<Answer> {
    this.requests++;
    try {
      return await request();
    } catch (error) {
      throw new PodRefusedError(reasonOf(error));
    }
  }

  async #unlessGone(request: () => Promise<unknown>): Promise<void> {
    this.requests++;
    try {
      await request();
    } catch (error) {
      // 409: another pod goes by its name, or it is being deleted.
      if (error instanceof ApiException && (error.code === 404 || error.code === 409)) return;
      throw new PodRefusedError(reasonOf(error));
    }
  }
}

function isForImage(order: PodOrder): order is ImagePodOrder {
  return order.function !== undefined;
}

function defaultConfig(): KubeConfig {
  const config = new KubeConfig();
  try {
    config.loadFromDefault();
  } catch (error) {
    throw new PoolSetupError(`SLUICE_POOL: there is no way to reach a Kubernetes cluster: ${(error as Error).message}`);
  }
  return config;
}

/** In a sentence: what the API server says, or what keeps it from being asked. */
function reasonOf(error: unknown): string {
  if (error instanceof ApiException) return statusMessage(error.body) ?? `The API server answered ${error.code}.`;
  const { message, cause } = error as Error;
  return cause instanceof Error ? `${message}: ${cause.message}.` : `${message}.`;
}

function statusMessage(body: unknown): string | undefined {
  const status = typeof body === 'string' ? parseStatus(body) : (body as V1Status | undefined);
  const text = status?.message;
  if (typeof text !== 'string' || text === '') return undefined;
  return text.endsWith('.') ? text : `${text}.`;
}

function parseStatus(text: string): V1Status | undefined {
  try {
    return JSON.parse(text) as V1Status;
  } catch {
    return undefined;
  }
}
