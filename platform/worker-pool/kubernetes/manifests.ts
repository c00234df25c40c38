import { createHash } from 'node:crypto';
import type { V1ConfigMap, V1Container, V1EnvVar, V1OwnerReference, V1Pod, V1PodTemplateSpec, V1ReplicaSet, V1Secret } from '@kubernetes/client-node';
import { parse } from 'yaml';
import { SETTINGS } from '../../configuration/settings.ts';
import { functionIdOf, securityGroupsOf, type ExecutionSpec } from '../../model/execution-spec.ts';
import { ANNOTATION, COMPONENT, LABEL, labelValue, PART_OF, securityGroupLabel, TMP_VOLUME, WORKER_CONTAINER } from './labels.ts';
import { joinSecretName } from './permissions.ts';
import { PoolSetupError, type PodName, type PodOrder } from './pod-cluster.ts';
import { memoryLimitMiB, memoryRequestMiB, type PodSize } from './sizes.ts';

/** Key of the pool's ConfigMap under which the pod template lies. */
export const TEMPLATE_KEY = 'pod.yaml';
const JOIN_TOKEN_KEY = 'token';

/** What all objects of a pool have in common. */
export interface PoolIdentity {
  readonly namespace: string;
  /** Name of the ConfigMap, which owns all of them: with it they go. */
  readonly configMap: string;
  readonly configMapUid: string;
  readonly template: V1PodTemplateSpec;
  /** Of the template. */
  readonly revision: string;
  readonly environmentsPerPod: number;
}

/** Throws {@link PoolSetupError} where the ConfigMap holds no pod template that a worker could run in. */
export function poolIdentity({ metadata, data }: V1ConfigMap, environmentsPerPod: number): PoolIdentity {
  const where = `ConfigMap ${metadata?.namespace ?? ''}/${metadata?.name ?? ''}`;
  const text = data?.[TEMPLATE_KEY];
  if (text === undefined) throw new PoolSetupError(`SLUICE_POOL: ${where} has no ${TEMPLATE_KEY}, the template of worker pods.`);
  const template = parsed(text, where);
  if ((template.spec?.containers)?.some(({ name }) => name === WORKER_CONTAINER) !== true) throw new PoolSetupError(`SLUICE_POOL: ${TEMPLATE_KEY} of ${where} has no container named ${WORKER_CONTAINER}.`);
  return {
    namespace: metadata?.namespace ?? '',
    configMap: metadata?.name ?? '',
    configMapUid: metadata?.uid ?? '',
    template,
    revision: createHash('sha256').update(`${environmentsPerPod} ${text}`).digest('hex').slice(0, 10),
    environmentsPerPod,
  };
}

function parsed(text: string, where: string): V1PodTemplateSpec {
  try {
    return (parse(text) ?? {}) as V1PodTemplateSpec;
  } catch (error) {
    throw new PoolSetupError(`SLUICE_POOL: ${TEMPLATE_KEY} of ${where} is not YAML: ${(error as Error).message.split('\n', 1)[0]}`);
  }
}

/** Selects the pods of a pool. */
export function poolSelector({ configMap }: Pick<PoolIdentity, 'configMap'>): string {
  return `${LABEL.pool}=${configMap}`;
}

export function sparePod(pool: PoolIdentity, { name, family, size }: PodOrder): V1Pod {
  const { metadata, spec } = podTemplate(pool, family, size);
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { ...metadata, name, namespace: pool.namespace, labels: { ...metadata?.labels, [LABEL.state]: 'spare' }, ownerReferences: [owner(pool)] },
    ...(spec === undefined ? {} : { spec }),
  };
}

/** Another one for another template, so that an upgrade makes new pods beside those that wait. */
export function warmSetName({ configMap, revision }: PoolIdentity, family: string): string {
  return `${configMap}-${family}-${revision}`;
}

export function warmSet(pool: PoolIdentity, family: string, replicas: number, size: PodSize): V1ReplicaSet {
  const template = rehearsing(podTemplate(pool, family, size));
  const selecting = { [LABEL.pool]: pool.configMap, [LABEL.runtime]: family, [LABEL.revision]: pool.revision, [LABEL.state]: 'warm' };
  return {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: { name: warmSetName(pool, family), namespace: pool.namespace, labels: { ...template.metadata?.labels }, ownerReferences: [owner(pool)] },
    spec: { replicas, selector: { matchLabels: selecting }, template: { ...template, metadata: { ...template.metadata, labels: { ...template.metadata?.labels, ...selecting } } } },
  };
}

/** What a pod says of itself once it serves a function: to be applied. It leaves its ReplicaSet by it, which makes another one. */
export function assignment(pool: PoolIdentity, { name, uid }: PodName, spec: ExecutionSpec): V1Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      uid,
      namespace: pool.namespace,
      labels: { [LABEL.state]: 'serving', ...functionLabels(spec) },
      annotations: { [ANNOTATION.functionId]: functionIdOf(spec) },
      ownerReferences: [owner(pool)],
    },
  };
}

/** Which function a pod is for, for people and network policies. */
export function functionLabels(spec: ExecutionSpec): Readonly<Record<string, string>> {
  const groups = Object.fromEntries(securityGroupsOf(spec).map((id) => [securityGroupLabel(id), '']));
  return { [LABEL.function]: labelValue(spec.functionName), [LABEL.version]: labelValue(spec.version), ...groups };
}

export function memoryResources(size: PodSize): { readonly requests: Record<string, string>; readonly limits: Record<string, string> } {
  return { requests: { memory: `${memoryRequestMiB(size)}Mi` }, limits: { memory: `${memoryLimitMiB(size)}Mi` } };
}

/** What lets workers in. */
export function joinSecret(pool: PoolIdentity, token: string): V1Secret {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: joinSecretName(pool.configMap), namespace: pool.namespace, labels: { [LABEL.partOf]: PART_OF, [LABEL.pool]: pool.configMap }, ownerReferences: [owner(pool)] },
    stringData: { [JOIN_TOKEN_KEY]: token },
  };
}

function podTemplate(pool: PoolIdentity, family: string, size: PodSize): V1PodTemplateSpec {
  const { metadata, spec } = pool.template;
  const labels = { ...metadata?.labels, [LABEL.partOf]: PART_OF, [LABEL.component]: COMPONENT, [LABEL.pool]: pool.configMap, [LABEL.runtime]: family, [LABEL.revision]: pool.revision };
  return {
    metadata: { ...metadata, labels },
    spec: {
      ...spec,
      restartPolicy: 'Always',
      containers: (spec?.containers ?? []).map((container) => (container.name === WORKER_CONTAINER ? workerContainer(pool, container, family, size) : container)),
      volumes: (spec?.volumes ?? []).map((volume) => (volume.name === TMP_VOLUME ? { ...volume, emptyDir: { ...volume.emptyDir, medium: 'Memory', sizeLimit: `${size.tmpMiB}Mi` } } : volume)),
    },
  };
}

/** What a worker is told besides whose pod waits for any function. */
export const WAITING_VARIABLES: readonly V1EnvVar[] = [{ name: SETTINGS.rehearse.variable, value: 'on' }];

/** Nobody waits for it while it starts: it may take the time that makes the first start in it short. */
function rehearsing(template: V1PodTemplateSpec): V1PodTemplateSpec {
  const { spec } = template;
  if (spec === undefined) return template;
  const containers = spec.containers.map((container) => (container.name === WORKER_CONTAINER ? { ...container, env: withVariables(container.env, WAITING_VARIABLES) } : container));
  return { ...template, spec: { ...spec, containers } };
}

function workerContainer(pool: PoolIdentity, container: V1Container, family: string, size: PodSize): V1Container {
  const memory = memoryResources(size);
  return {
    ...container,
    env: withVariables(container.env, workerVariables(pool, family)),
    resources: { ...container.resources, requests: { ...container.resources?.requests, ...memory.requests }, limits: { ...container.resources?.limits, ...memory.limits } },
  };
}

/** Variables with others, which take the place of those of their names. */
export function withVariables(env: readonly V1EnvVar[] | undefined, own: readonly V1EnvVar[]): V1EnvVar[] {
  const names = new Set(own.map(({ name }) => name));
  return [...(env ?? []).filter(({ name }) => !names.has(name)), ...own];
}

/** What a worker in a pod of this pool has to be told, whatever else the template sets. */
export function workerVariables(pool: Pick<PoolIdentity, 'configMap' | 'environmentsPerPod'>, family: string): readonly V1EnvVar[] {
  return [
    { name: SETTINGS.workerName.variable, valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
    { name: SETTINGS.joinToken.variable, valueFrom: { secretKeyRef: { name: joinSecretName(pool.configMap), key: JOIN_TOKEN_KEY } } },
    { name: SETTINGS.dedicated.variable, value: 'on' },
    { name: SETTINGS.maxEnvironments.variable, value: String(pool.environmentsPerPod) },
    // How much fits is the pool's to know: a pod can grow.
    { name: SETTINGS.maxEnvironmentMemoryMiB.variable, value: '10000000' },
    { name: SETTINGS.prestartedRuntimes.variable, value: family },
    { name: SETTINGS.prestartedPerRuntime.variable, value: String(pool.environmentsPerPod) },
  ];
}

function owner({ configMap, configMapUid }: PoolIdentity): V1OwnerReference {
  return { apiVersion: 'v1', kind: 'ConfigMap', name: configMap, uid: configMapUid };
}
