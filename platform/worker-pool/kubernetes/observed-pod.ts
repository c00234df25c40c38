import type { V1ContainerStatus, V1Pod } from '@kubernetes/client-node';
import { quantityToScalar } from '@kubernetes/client-node/dist/util.js';
import type { RuntimeExit } from '../../protocol/controller-link.ts';
import { ANNOTATION, FUNCTION_CONTAINER, LABEL, TMP_VOLUME, WORKER_CONTAINER, type PodState } from './labels.ts';
import { functionMemoryMiB, type PodSize } from './sizes.ts';

/** A worker pod as the pool sees it. */
export interface ObservedPod {
  readonly name: string;
  readonly uid: string;
  /** Its address, once it has one. */
  readonly address: string | undefined;
  readonly family: string;
  readonly state: PodState;
  /** Of the one function that it may run; undefined: of any. */
  readonly functionId: string | undefined;
  /** What it has now: a resize that is under way is not counted yet. */
  readonly size: PodSize;
  readonly createdAtMs: number;
  /** It has been told to end. */
  readonly leaving: boolean;
  /** What keeps it from starting. */
  readonly trouble: PodTrouble | undefined;
  /** How its worker ended, in a sentence for whoever waits; undefined while it lives. */
  readonly death: string | undefined;
  /** Nothing in it will ever run again. */
  readonly ended: boolean;
  /** The node has no memory for what it was to be resized to, now or ever. */
  readonly resizeRefused: boolean;
  /** There where it holds the container of a function's image. */
  readonly container: ObservedContainer | undefined;
}

export interface ObservedContainer {
  readonly running: boolean;
  readonly logStream: string;
  /** The worker beside it has ended: what it was asked to finish is finished. */
  readonly drained: boolean;
  /** How it has ended. `message` says so in a sentence, for whoever waits where the worker cannot. */
  readonly exit: (RuntimeExit & { readonly message: string }) | undefined;
}

export interface PodTrouble {
  /** A sentence for whoever waits for the pod. */
  readonly message: string;
  /** Time alone does not help. */
  readonly lasting: boolean;
}

const MIB = 1024 * 1024;

/** Why a container waits, where that is trouble (kubelet's reasons). */
const STUCK = new Set(['ErrImagePull', 'ImagePullBackOff', 'ErrImageNeverPull', 'InvalidImageName', 'ImageInspectError', 'CreateContainerConfigError', 'CreateContainerError', 'RunContainerError', 'CrashLoopBackOff']);

/** What the API server says of a pod of the pool. */
export function observe(pod: V1Pod): ObservedPod {
  const { metadata = {}, spec, status } = pod;
  const { labels = {}, annotations = {} } = metadata;
  const worker = status?.containerStatuses?.find(({ name }) => name === WORKER_CONTAINER);
  const own = spec?.containers.find(({ name }) => name === FUNCTION_CONTAINER);
  const held = own ?? spec?.containers.find(({ name }) => name === WORKER_CONTAINER);
  const holding = own === undefined ? worker : status?.containerStatuses?.find(({ name }) => name === FUNCTION_CONTAINER);
  const tmpMiB = mib(spec?.volumes?.find(({ name }) => name === TMP_VOLUME)?.emptyDir?.sizeLimit);
  const limitMiB = mib(holding?.resources?.limits?.['memory'] ?? held?.resources?.limits?.['memory']);
  return {
    name: metadata.name ?? '',
    uid: metadata.uid ?? '',
    address: status?.podIP,
    family: labels[LABEL.runtime] ?? '',
    state: stateOf(labels[LABEL.state]),
    functionId: annotations[ANNOTATION.functionId],
    size: { memoryMiB: own === undefined ? functionMemoryMiB(limitMiB, tmpMiB) : Math.floor(limitMiB) - tmpMiB, tmpMiB },
    // A list gives a date, a watch the text that the server sent.
    createdAtMs: new Date(metadata.creationTimestamp ?? 0).getTime(),
    leaving: metadata.deletionTimestamp !== undefined,
    trouble: troubleOf(pod, worker) ?? (own === undefined ? undefined : stuck(metadata.name ?? '', holding)),
    death: deathOf(pod, worker),
    ended: status?.phase === 'Failed' || status?.phase === 'Succeeded',
    resizeRefused: status?.conditions?.some(({ type, reason }) => type === 'PodResizePending' && (reason === 'Infeasible' || reason === 'Deferred')) === true,
    container: own === undefined ? undefined : { running: holding?.state?.running !== undefined, logStream: annotations[ANNOTATION.logStream] ?? '', drained: worker?.state?.terminated !== undefined, exit: exitOf(metadata.name ?? '', holding) },
  };
}

function stateOf(label: string | undefined): PodState {
  return label === 'warm' || label === 'serving' ? label : 'spare';
}

function troubleOf({ metadata, status }: V1Pod, worker: V1ContainerStatus | undefined): PodTrouble | undefined {
  const name = metadata?.name ?? '';
  const unscheduled = status?.conditions?.find(({ type, status: is, reason }) => type === 'PodScheduled' && is === 'False' && reason === 'Unschedulable');
  if (unscheduled !== undefined) return { message: `No node takes the pod ${name}: ${sentence(unscheduled.message ?? 'the cluster has no room for it')}`, lasting: false };
  return stuck(name, worker);
}

function stuck(name: string, container: V1ContainerStatus | undefined): PodTrouble | undefined {
  const waiting = container?.state?.waiting;
  if (waiting?.reason === undefined || !STUCK.has(waiting.reason)) return undefined;
  return { message: `The pod ${name} cannot start (${waiting.reason}): ${sentence(waiting.message ?? 'Kubernetes gives no reason')}`, lasting: waiting.reason !== 'ErrImagePull' };
}

function exitOf(name: string, container: V1ContainerStatus | undefined): ObservedContainer['exit'] {
  const ended = container?.state?.terminated;
  if (ended === undefined) return undefined;
  const { exitCode: code, reason, message } = ended;
  if (reason === 'OOMKilled') return { code, outOfMemory: true, message: `The pod ${name} ran out of memory and was killed.` };
  return { code, outOfMemory: false, message: `The function's container in the pod ${name} ended with status ${code}${reason === undefined ? '' : ` (${reason})`}${message === undefined ? '.' : `: ${sentence(message)}`}` };
}

function deathOf({ metadata, status }: V1Pod, worker: V1ContainerStatus | undefined): string | undefined {
  const name = metadata?.name ?? '';
  if (status?.reason === 'Evicted') return `The pod ${name} was evicted: ${sentence(status.message ?? 'its node needed the room')}`;
  const ended = worker?.state?.terminated ?? worker?.lastState?.terminated;
  if (ended?.reason === 'OOMKilled') return `The pod ${name} ran out of memory and was killed.`;
  if (ended !== undefined) return `The worker in the pod ${name} ended with status ${ended.exitCode}${ended.reason === undefined ? '' : ` (${ended.reason})`}.`;
  if (status?.phase === 'Failed' || status?.phase === 'Succeeded') return `The pod ${name} ended: ${sentence(status.message ?? status.reason ?? 'Kubernetes gives no reason')}`;
  return undefined;
}

function sentence(text: string): string {
  const trimmed = text.trim();
  return trimmed.endsWith('.') ? trimmed : `${trimmed}.`;
}

/** 0 where none is given. */
function mib(quantity: string | undefined): number {
  return quantity === undefined ? 0 : Number(quantityToScalar(quantity)) / MIB;
}
