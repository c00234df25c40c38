/**
 * Labels and annotations of worker pods. They are all that the pool keeps: a controller that starts finds in them what the one before has left.
 */
export const LABEL = {
  partOf: 'app.kubernetes.io/part-of',
  component: 'app.kubernetes.io/component',
  /** Name of the ConfigMap that the pool belongs to. */
  pool: 'sluice.dev/pool',
  /** The family of runtimes whose processes wait in the pod. */
  runtime: 'sluice.dev/runtime',
  /** A {@link PodState}. */
  state: 'sluice.dev/state',
  /** For people, as far as a label can hold them: the truth is in {@link ANNOTATION}. */
  function: 'sluice.dev/function',
  version: 'sluice.dev/version',
  /** What the pod was made from: another one after an upgrade. */
  revision: 'sluice.dev/revision',
} as const;

export const ANNOTATION = {
  /** Of the one function that the pod may run, as `functionIdOf` names it. */
  functionId: 'sluice.dev/function-id',
  /** Of a pod that was made with a function's container image: where what its function prints is written. */
  logStream: 'sluice.dev/log-stream',
} as const;

/**
 * The label, with an empty value, that a pod has for each security group of the function that it serves: network policies select by it. An id is at most as long as the name of a label
 * may be (`SecurityGroupId` in gateway/lambda-api/model.ts).
 */
export function securityGroupLabel(id: string): string {
  return `security-group.sluice.dev/${id}`;
}

/**
 * - `warm`: of a ReplicaSet, waits for any function.
 * - `spare`: made for a function that waits, and has not been given one yet.
 * - `serving`: runs one function, and no other for as long as it lives.
 */
export type PodState = 'warm' | 'spare' | 'serving';

export const PART_OF = 'sluice';
export const COMPONENT = 'worker';
/** The container of a worker pod in which the worker runs. */
export const WORKER_CONTAINER = 'worker';
/** The container, of a pod for a container image, in which the function runs. */
export const FUNCTION_CONTAINER = 'function';
/** The volume of a worker pod that is the function's /tmp. */
export const TMP_VOLUME = 'tmp';

const LABEL_MAX = 63;

/** The text as a label value: what labels do not allow is replaced, and what is too long cut. */
export function labelValue(text: string): string {
  return text
    .replaceAll(/[^\w.-]/g, '_')
    .slice(0, LABEL_MAX)
    .replaceAll(/^[^a-zA-Z0-9]+|[^a-zA-Z0-9]+$/g, '');
}
