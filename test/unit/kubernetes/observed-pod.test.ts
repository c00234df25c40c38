import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { V1ContainerStatus, V1Pod, V1PodStatus } from '@kubernetes/client-node';
import { observe, type ObservedPod } from '../../../platform/worker-pool/kubernetes/observed-pod.ts';

const NAME = 'c0-nodejs-0a1b2c3d4e';
const CREATED = '2026-03-01T12:00:05Z';
const SCHEDULED = { type: 'PodScheduled', status: 'True' };
const DELETED = new Date('2026-03-01T12:10:00Z');

function worker(state: V1ContainerStatus['state'] = { running: { startedAt: new Date(CREATED) } }, change: Partial<V1ContainerStatus> = {}): V1ContainerStatus {
  return { name: 'worker', image: 'sluice:1', imageID: '', ready: true, restartCount: 0, ...(state === undefined ? {} : { state }), ...change };
}

/** As the API server shows a spare pod of 128 MiB for functions beside 512 MiB of /tmp. */
function pod(status: V1PodStatus, { metadata, limit = '832Mi', tmp = '512Mi' }: { readonly metadata?: V1Pod['metadata']; readonly limit?: string; readonly tmp?: string } = {}): V1Pod {
  return {
    metadata: {
      name: NAME,
      namespace: 'functions',
      uid: 'u-1',
      creationTimestamp: new Date(CREATED),
      labels: { 'app.kubernetes.io/part-of': 'sluice', 'sluice.dev/pool': 'workers', 'sluice.dev/runtime': 'nodejs', 'sluice.dev/state': 'spare' },
      ...metadata,
    },
    spec: {
      containers: [{ name: 'sidecar', resources: { limits: { memory: '64Mi' } } }, { name: 'worker', resources: { requests: { memory: '320Mi' }, limits: { cpu: '1', memory: limit } } }],
      volumes: [{ name: 'code', emptyDir: {} }, { name: 'tmp', emptyDir: { medium: 'Memory', sizeLimit: tmp } }],
    },
    status,
  };
}

const RUNNING: V1PodStatus = { phase: 'Running', podIP: '10.0.0.7', conditions: [SCHEDULED], containerStatuses: [worker()] };
const SEEN: ObservedPod = {
  name: NAME, uid: 'u-1', address: '10.0.0.7', family: 'nodejs', state: 'spare', functionId: undefined, size: { memoryMiB: 128, tmpMiB: 512 }, createdAtMs: Date.parse(CREATED), leaving: false,
  trouble: undefined, death: undefined, ended: false, resizeRefused: false, container: undefined,
};

function waiting(reason: string, message?: string): V1PodStatus {
  return { phase: 'Pending', podIP: '10.0.0.7', conditions: [SCHEDULED], containerStatuses: [worker({ waiting: { reason, ...(message === undefined ? {} : { message }) } })] };
}

const OOM = { terminated: { exitCode: 137, reason: 'OOMKilled' } };

const table: readonly (readonly [string, V1Pod, Partial<ObservedPod>])[] = [
  ['one that runs', pod(RUNNING), {}],
  ['one that has only just been made', pod({ phase: 'Pending' }), { address: undefined }],
  ['one whose image is being pulled', pod(waiting('ContainerCreating')), {}],
  [
    'one that no node takes',
    pod({ phase: 'Pending', conditions: [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: '0/3 nodes are available: 3 Insufficient memory.' }] }),
    { address: undefined, trouble: { lasting: false, message: `No node takes the pod ${NAME}: 0/3 nodes are available: 3 Insufficient memory.` } },
  ],
  [
    'one that no node takes, without a word of why',
    pod({ phase: 'Pending', conditions: [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable' }] }),
    { address: undefined, trouble: { lasting: false, message: `No node takes the pod ${NAME}: the cluster has no room for it.` } },
  ],
  ['one that is held back on purpose', pod({ phase: 'Pending', conditions: [{ type: 'PodScheduled', status: 'False', reason: 'SchedulingGated' }] }), { address: undefined }],
  [
    'one whose image cannot be pulled, for the first time',
    pod(waiting('ErrImagePull', 'failed to pull image "sluice:9": not found')),
    { trouble: { lasting: false, message: `The pod ${NAME} cannot start (ErrImagePull): failed to pull image "sluice:9": not found.` } },
  ],
  [
    'one whose image cannot be pulled',
    pod(waiting('ImagePullBackOff', 'Back-off pulling image "sluice:9"')),
    { trouble: { lasting: true, message: `The pod ${NAME} cannot start (ImagePullBackOff): Back-off pulling image "sluice:9".` } },
  ],
  ['one whose Secret is missing', pod(waiting('CreateContainerConfigError', 'secret "workers-join" not found')), { trouble: { lasting: true, message: `The pod ${NAME} cannot start (CreateContainerConfigError): secret "workers-join" not found.` } }],
  ['one that cannot start for no reason given', pod(waiting('RunContainerError')), { trouble: { lasting: true, message: `The pod ${NAME} cannot start (RunContainerError): Kubernetes gives no reason.` } }],
  [
    'one whose worker ends again and again',
    pod({ ...RUNNING, containerStatuses: [worker({ waiting: { reason: 'CrashLoopBackOff', message: 'back-off 10s restarting failed container' } }, { restartCount: 2, lastState: { terminated: { exitCode: 1, reason: 'Error' } } })] }),
    { death: `The worker in the pod ${NAME} ended with status 1 (Error).`, trouble: { lasting: true, message: `The pod ${NAME} cannot start (CrashLoopBackOff): back-off 10s restarting failed container.` } },
  ],
  ['one that has run out of memory', pod({ ...RUNNING, containerStatuses: [worker(OOM)] }), { death: `The pod ${NAME} ran out of memory and was killed.` }],
  ['one that has run out of memory and runs again', pod({ ...RUNNING, containerStatuses: [worker(undefined, { restartCount: 1, lastState: OOM })] }), { death: `The pod ${NAME} ran out of memory and was killed.` }],
  ['one whose worker has ended without a reason', pod({ ...RUNNING, containerStatuses: [worker({ terminated: { exitCode: 0 } })] }), { death: `The worker in the pod ${NAME} ended with status 0.` }],
  ['one beside whose worker something else has ended', pod({ ...RUNNING, containerStatuses: [{ ...worker(OOM), name: 'sidecar' }, worker()] }), {}],
  [
    'one that was evicted',
    pod({ phase: 'Failed', reason: 'Evicted', message: 'The node was low on resource: memory. ', podIP: '10.0.0.7' }),
    { ended: true, death: `The pod ${NAME} was evicted: The node was low on resource: memory.` },
  ],
  ['one that was evicted without a word', pod({ phase: 'Failed', reason: 'Evicted' }), { address: undefined, ended: true, death: `The pod ${NAME} was evicted: its node needed the room.` }],
  ['one whose node was shut down', pod({ phase: 'Failed', reason: 'NodeShutdown', message: 'Pod was terminated in response to imminent node shutdown.' }), { address: undefined, ended: true, death: `The pod ${NAME} ended: Pod was terminated in response to imminent node shutdown.` }],
  ['one that failed with a reason alone', pod({ phase: 'Failed', reason: 'DeadlineExceeded' }), { address: undefined, ended: true, death: `The pod ${NAME} ended: DeadlineExceeded.` }],
  ['one that has succeeded', pod({ phase: 'Succeeded' }), { address: undefined, ended: true, death: `The pod ${NAME} ended: Kubernetes gives no reason.` }],
  ['one that is being deleted', pod(RUNNING, { metadata: { name: NAME, uid: 'u-1', creationTimestamp: new Date(CREATED), deletionTimestamp: DELETED, labels: { 'sluice.dev/runtime': 'nodejs' } } }), { leaving: true }],
  [
    'one that serves a function',
    pod(RUNNING, { metadata: { name: NAME, uid: 'u-1', creationTimestamp: new Date(CREATED), labels: { 'sluice.dev/runtime': 'python', 'sluice.dev/state': 'serving' }, annotations: { 'sluice.dev/function-id': '123456789012/f/uid' } } }),
    { family: 'python', state: 'serving', functionId: '123456789012/f/uid' },
  ],
  ['one of a ReplicaSet', pod(RUNNING, { metadata: { name: NAME, uid: 'u-1', creationTimestamp: new Date(CREATED), labels: { 'sluice.dev/runtime': 'nodejs', 'sluice.dev/state': 'warm' } } }), { state: 'warm' }],
  ['one in a state that is none', pod(RUNNING, { metadata: { name: NAME, uid: 'u-1', creationTimestamp: new Date(CREATED), labels: { 'sluice.dev/runtime': 'nodejs', 'sluice.dev/state': 'other' } } }), { state: 'spare' }],
  // What it is to have stands in the spec, what it has in the status.
  ['one that is to grow', pod({ ...RUNNING, containerStatuses: [worker(undefined, { resources: { limits: { memory: '832Mi' } } })] }, { limit: '1728Mi' }), {}],
  ['one that has grown', pod({ ...RUNNING, containerStatuses: [worker(undefined, { resources: { limits: { memory: '1728Mi' } } })] }, { limit: '1728Mi' }), { size: { memoryMiB: 1_024, tmpMiB: 512 } }],
  ...(['Infeasible', 'Deferred'] as const).map((reason) =>
    [
      `one that may not grow (${reason})`,
      pod({ ...RUNNING, conditions: [SCHEDULED, { type: 'PodResizePending', status: 'True', reason, message: 'Node didn\'t have enough capacity: memory' }], containerStatuses: [worker(undefined, { resources: { limits: { memory: '832Mi' } } })] }, { limit: '1728Mi' }),
      { resizeRefused: true },
    ] as const,
  ),
  ['one that is growing', pod({ ...RUNNING, conditions: [SCHEDULED, { type: 'PodResizeInProgress', status: 'True' }] }), {}],
];
for (const [what, shown, expected] of table) {
  test(`${what} is seen as such`, () => assert.deepEqual(observe(shown), { ...SEEN, ...expected }));
}

test('every message is a sentence that names the pod', () => {
  const messages = table.flatMap(([, shown]) => {
    const { trouble, death } = observe(shown);
    return [trouble?.message, death].filter((message) => message !== undefined);
  });
  assert.ok(messages.length > 10);
  for (const message of messages) assert.match(message, new RegExp(`^[A-Z][^\\n]* ${NAME}\\b[^\\n]*[^. ]\\.$`));
});

test('a date is one whether a list has read it or a watch brings it as text', () => {
  const text = { name: NAME, creationTimestamp: CREATED, deletionTimestamp: CREATED } as unknown as NonNullable<V1Pod['metadata']>;
  const { createdAtMs, leaving } = observe(pod(RUNNING, { metadata: text }));
  assert.deepEqual([createdAtMs, leaving], [Date.parse(CREATED), true]);
});

const quantities: readonly (readonly [string, string, number, number])[] = [
  ['832Mi', '512Mi', 128, 512],
  ['2Gi', '1Gi', 832, 1_024],
  [String(832 * 1_024 * 1_024), String(512 * 1_024 * 1_024), 128, 512],
  ['851968Ki', '512Mi', 128, 512],
  ['1G', '512Mi', 249, 512],
  ['1e9', '512Mi', 249, 512],
  ['872415232000m', '512Mi', 128, 512],
];
for (const [limit, tmp, memoryMiB, tmpMiB] of quantities) {
  test(`a limit of ${limit} beside ${tmp} of /tmp leaves ${memoryMiB} MiB to functions`, () => assert.deepEqual(observe(pod(RUNNING, { limit, tmp })).size, { memoryMiB, tmpMiB }));
}

test('a pod of which nothing is known is one that nobody can use, and no error', () => {
  const { name, address, state, size } = observe({});
  assert.deepEqual([name, address, state], ['', undefined, 'spare']);
  assert.ok(size.memoryMiB < 0);
});
