import { createHash } from 'node:crypto';
import type { V1Container, V1EnvVar, V1Pod, V1Secret } from '@kubernetes/client-node';
import { SETTINGS } from '../../configuration/settings.ts';
import type { ExecutionSpec } from '../../model/execution-spec.ts';
import { functionVariables } from '../../model/function-variables.ts';
import type { ContainerImage } from '../../model/function.ts';
import { DRAINED_PATH } from '../../protocol/wire/messages.ts';
import { ANNOTATION, FUNCTION_CONTAINER, LABEL, TMP_VOLUME, WORKER_CONTAINER } from './labels.ts';
import { functionLabels, sparePod, withVariables, type PoolIdentity } from './manifests.ts';
import type { ImagePodOrder, PodName } from './pod-cluster.ts';
import { WORKER_OVERHEAD_MIB } from './sizes.ts';

/** Of the pod's own loopback, where nobody else listens. */
export const RUNTIME_API_PORT = 9001;
/** Port of the worker's internal listener, which Kubernetes asks for its health as well (Dockerfile). */
const INTERNAL_PORT = 9401;

/** Pods of one revision of one function are alike, and of no use to others: like a family of runtimes. */
export function imageFamily({ id }: ExecutionSpec): string {
  return `image-${createHash('sha256').update(id).digest('hex').slice(0, 12)}`;
}

/**
 * A pod for a function that is a container image: the image as it is, in a container of its own beside the worker, which answers its Runtime API on the pod's loopback. The function's container
 * starts when the worker listens, and is told to end when the worker has nothing to do any more. One that ends is not started again: its state was the function's.
 */
export function imagePod(pool: PoolIdentity, order: ImagePodOrder): V1Pod {
  const { spec: functionSpec, image, logStream } = order.function;
  const pod = sparePod(pool, order);
  const { metadata, spec } = pod;
  const worker = spec?.containers.find(({ name }) => name === WORKER_CONTAINER);
  if (spec === undefined || worker === undefined) throw new Error(`The template of the pool ${pool.configMap} has no container named ${WORKER_CONTAINER}.`);
  const function_ = functionContainer(worker, order, image);
  return {
    ...pod,
    metadata: {
      ...metadata,
      labels: { ...metadata?.labels, ...functionLabels(functionSpec) },
      annotations: { ...metadata?.annotations, [ANNOTATION.logStream]: logStream },
    },
    spec: { ...spec, restartPolicy: 'Never', containers: spec.containers.flatMap((container) => (container === worker ? [workerBeside(worker, logStream), function_] : [container])) },
  };
}

/** What a worker is told besides that has a function's container beside it. */
export function variablesBeside(logStream: string): readonly V1EnvVar[] {
  return [
    { name: SETTINGS.containerRuntimePort.variable, value: String(RUNTIME_API_PORT) },
    { name: SETTINGS.containerLogStream.variable, value: logStream },
    { name: SETTINGS.maxEnvironments.variable, value: '1' },
    { name: SETTINGS.prestartedRuntimes.variable, value: '' },
    { name: SETTINGS.prestartedPerRuntime.variable, value: '0' },
  ];
}

/** The worker passes events on, and starts no process. */
function workerBeside(worker: V1Container, logStream: string): V1Container {
  const memory = { memory: `${WORKER_OVERHEAD_MIB}Mi` };
  return {
    ...worker,
    env: withVariables(worker.env, variablesBeside(logStream)),
    resources: { requests: { ...memory }, limits: { ...memory } },
    volumeMounts: (worker.volumeMounts ?? []).filter((mount) => mount.name !== TMP_VOLUME),
    // Containers start in order, each when the hook of the one before it has ended: no runtime asks in vain.
    lifecycle: { postStart: { exec: { command: ['node', 'cli/bin/health.mjs', '--wait', `http://127.0.0.1:${RUNTIME_API_PORT}/`] } } },
  };
}

function functionContainer({ securityContext, resources, volumeMounts }: V1Container, { name, size }: ImagePodOrder, { uri, entryPoint, command, workingDirectory }: ContainerImage): V1Container {
  const tmp = volumeMounts?.find((mount) => mount.name === TMP_VOLUME);
  return {
    name: FUNCTION_CONTAINER,
    image: uri,
    ...(entryPoint === undefined ? {} : { command: [...entryPoint] }),
    ...(command === undefined ? {} : { args: [...command] }),
    ...(workingDirectory === undefined ? {} : { workingDir: workingDirectory }),
    envFrom: [{ secretRef: { name: variablesSecretName(name) } }],
    resources: {
      requests: { ...resources?.requests, memory: `${size.memoryMiB}Mi` },
      limits: { ...resources?.limits, memory: `${size.memoryMiB + size.tmpMiB}Mi` },
    },
    ...(securityContext === undefined ? {} : { securityContext }),
    ...(tmp === undefined ? {} : { volumeMounts: [{ name: TMP_VOLUME, mountPath: tmp.mountPath }] }),
    // Ended with the pod, but not before what it runs has ended.
    lifecycle: { preStop: { httpGet: { path: DRAINED_PATH, port: INTERNAL_PORT } } },
  };
}

function variablesSecretName(podName: string): string {
  return `${podName}-variables`;
}

/** The function's variables, which may be secrets, and which whoever may look at pods need not be able to read. It goes with its pod. */
export function variablesSecret(pool: PoolIdentity, pod: PodName, order: ImagePodOrder, region: string): V1Secret {
  const { spec, logStream } = order.function;
  const worker = pool.template.spec?.containers.find(({ name }) => name === WORKER_CONTAINER);
  const endpointUrl = worker?.env?.find(({ name }) => name === SETTINGS.endpointUrl.variable)?.value ?? '';
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {
      name: variablesSecretName(pod.name),
      namespace: pool.namespace,
      labels: { [LABEL.pool]: pool.configMap },
      ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', name: pod.name, uid: pod.uid }],
    },
    immutable: true,
    stringData: functionVariables({ spec, logStream, region, endpointUrl, runtimeApi: `127.0.0.1:${RUNTIME_API_PORT}` }),
  };
}
