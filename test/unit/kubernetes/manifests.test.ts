import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { V1Container, V1ContainerStatus, V1Pod } from '@kubernetes/client-node';
import { stringViolations } from '../../../gateway/lambda-api/rest-json/violations.ts';
import { SETTINGS } from '../../../platform/configuration/settings.ts';
import { imageFamily, imagePod, variablesSecret } from '../../../platform/worker-pool/kubernetes/image-pod.ts';
import { labelValue, securityGroupLabel } from '../../../platform/worker-pool/kubernetes/labels.ts';
import { assignment, joinSecret, memoryResources, poolIdentity, poolSelector, sparePod, TEMPLATE_KEY, warmSet, warmSetName, type PoolIdentity } from '../../../platform/worker-pool/kubernetes/manifests.ts';
import { observe } from '../../../platform/worker-pool/kubernetes/observed-pod.ts';
import { PoolSetupError, type ImagePodOrder } from '../../../platform/worker-pool/kubernetes/pod-cluster.ts';
import { fits, functionMemoryMiB, memoryLimitMiB, memoryRequestMiB, WORKER_OVERHEAD_MIB } from '../../../platform/worker-pool/kubernetes/sizes.ts';
import { inGroups, specOf } from '../../support/fleet-listener.ts';

const TEMPLATE = `
metadata:
  labels: { team: payments, sluice.dev/state: forged }
  annotations: { example.com/scrape: "true" }
spec:
  serviceAccountName: workers
  restartPolicy: Never
  containers:
    - name: sidecar
      image: proxy:1
    - name: worker
      image: sluice:1
      env:
        - { name: SLUICE_STORE, value: s3 }
        - { name: ${SETTINGS.maxEnvironments.variable}, value: "500" }
        - { name: ${SETTINGS.dedicated.variable}, value: "off" }
        - { name: ${SETTINGS.joinToken.variable}, value: leaked }
      resources: { requests: { cpu: 100m, memory: 1Mi }, limits: { cpu: "2", memory: 2Mi } }
  volumes:
    - { name: code, emptyDir: { sizeLimit: 1Gi } }
    - { name: tmp, emptyDir: {} }
`;
const SIZE = { memoryMiB: 256, tmpMiB: 1_024 };
const OWNER = { apiVersion: 'v1', kind: 'ConfigMap', name: 'workers', uid: 'map-1' };

function pool(template = TEMPLATE, environmentsPerPod = 2): PoolIdentity {
  return poolIdentity({ metadata: { name: 'workers', namespace: 'functions', uid: 'map-1' }, data: { [TEMPLATE_KEY]: template } }, environmentsPerPod);
}

function workerOf({ spec }: Pick<V1Pod, 'spec'>): V1Container {
  const container = spec?.containers.find(({ name }) => name === 'worker');
  assert.ok(container !== undefined);
  return container;
}

const SPARE = sparePod(pool(), { name: 'c0-nodejs-1', family: 'nodejs', size: SIZE });

test('a spare pod is the template\'s, and says whose it is, what for and what from', () => {
  const { metadata, spec } = SPARE;
  assert.deepEqual([SPARE.apiVersion, SPARE.kind, metadata?.name, metadata?.namespace], ['v1', 'Pod', 'c0-nodejs-1', 'functions']);
  assert.deepEqual(metadata?.labels, {
    team: 'payments', 'app.kubernetes.io/part-of': 'sluice', 'app.kubernetes.io/component': 'worker', 'sluice.dev/pool': 'workers', 'sluice.dev/runtime': 'nodejs', 'sluice.dev/revision': pool().revision,
    'sluice.dev/state': 'spare',
  });
  assert.deepEqual([metadata.annotations, metadata.ownerReferences], [{ 'example.com/scrape': 'true' }, [OWNER]]);
  assert.deepEqual([spec?.serviceAccountName, spec?.restartPolicy], ['workers', 'Always'], 'a worker that ends is started again');
  assert.deepEqual(spec?.containers[0], { name: 'sidecar', image: 'proxy:1' });
});

test('its worker has the memory that is asked for, and whatever else the template gives it', () => {
  const { resources } = workerOf(SPARE);
  assert.deepEqual(resources, { requests: { cpu: '100m', memory: `${256 + WORKER_OVERHEAD_MIB}Mi` }, limits: { cpu: '2', memory: `${256 + 1_024 + WORKER_OVERHEAD_MIB}Mi` } });
  assert.deepEqual(SPARE.spec?.volumes, [{ name: 'code', emptyDir: { sizeLimit: '1Gi' } }, { name: 'tmp', emptyDir: { medium: 'Memory', sizeLimit: '1024Mi' } }]);
});

test('what a worker has to be told goes before what the template sets, and each is set once', () => {
  const { env = [] } = workerOf(SPARE);
  const names = env.map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
  const variable = (name: string): unknown => env.find((one) => one.name === name);
  assert.deepEqual(variable('SLUICE_STORE'), { name: 'SLUICE_STORE', value: 's3' });
  assert.deepEqual(variable('SLUICE_DEDICATED'), { name: 'SLUICE_DEDICATED', value: 'on' });
  assert.deepEqual(variable('SLUICE_MAX_ENVIRONMENTS'), { name: 'SLUICE_MAX_ENVIRONMENTS', value: '2' });
  assert.deepEqual(variable('SLUICE_PRESTARTED'), { name: 'SLUICE_PRESTARTED', value: '2' });
  assert.deepEqual(variable('SLUICE_PRESTARTED_RUNTIMES'), { name: 'SLUICE_PRESTARTED_RUNTIMES', value: 'nodejs' });
  assert.deepEqual(variable('SLUICE_JOIN_TOKEN'), { name: 'SLUICE_JOIN_TOKEN', valueFrom: { secretKeyRef: { name: 'workers-join', key: 'token' } } });
  assert.deepEqual(variable('SLUICE_WORKER_NAME'), { name: 'SLUICE_WORKER_NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } });
});

test('every value that a worker is told is one that its settings take', () => {
  for (const { name, value } of workerOf(SPARE).env ?? []) {
    const setting = Object.values(SETTINGS).find(({ variable }) => variable === name);
    assert.ok(setting !== undefined, name);
    if (value !== undefined && name !== SETTINGS.store.variable) assert.doesNotThrow(() => setting.parse(value), name);
  }
});

test('the template itself stays as it was', () => {
  const made = pool();
  const before = structuredClone(made.template);
  sparePod(made, { name: 'p', family: 'python', size: SIZE });
  warmSet(made, 'python', 3, SIZE);
  assert.deepEqual(made.template, before);
});

test('a set of warm pods selects its own, and none that has become another\'s', () => {
  const made = pool();
  const { metadata, spec } = warmSet(made, 'python', 3, SIZE);
  const labels = spec?.template?.metadata?.labels ?? {};
  const selecting = spec?.selector.matchLabels ?? {};
  assert.deepEqual(selecting, { 'sluice.dev/pool': 'workers', 'sluice.dev/runtime': 'python', 'sluice.dev/revision': made.revision, 'sluice.dev/state': 'warm' });
  for (const [label, value] of Object.entries(selecting)) assert.equal(labels[label], value, label);
  assert.deepEqual([metadata?.name, metadata?.namespace, metadata?.ownerReferences, spec?.replicas], [`workers-python-${made.revision}`, 'functions', [OWNER], 3]);
  const [poolLabel, name] = poolSelector(made).split('=');
  for (const given of [metadata?.labels, labels, SPARE.metadata?.labels]) assert.equal(given?.[poolLabel ?? ''], name);
  const given = { ...labels, ...assignment(made, { name: 'p', uid: 'u' }, specOf('f')).metadata?.labels };
  assert.ok(Object.entries(selecting).some(([label, value]) => given[label] !== value), 'an assigned pod leaves it');
  assert.deepEqual(workerOf(spec?.template ?? {}).env?.find(({ name: variable }) => variable === 'SLUICE_PRESTARTED_RUNTIMES')?.value, 'python');
  assert.deepEqual(workerOf(spec?.template ?? {}).env?.filter(({ name: variable }) => variable === SETTINGS.rehearse.variable), [{ name: SETTINGS.rehearse.variable, value: 'on' }]);
  assert.ok(!JSON.stringify(sparePod(made, { name: 'p', family: 'python', size: SIZE })).includes(SETTINGS.rehearse.variable), 'a pod that somebody waits for takes no time for that');
});

test('another template, or another number of environments, is another set; the same is the same', () => {
  const names = [pool(), pool(), pool(`${TEMPLATE}\n`), pool(TEMPLATE, 3)].map((made) => warmSetName(made, 'nodejs'));
  assert.equal(names[0], names[1]);
  assert.equal(new Set(names).size, 3);
  for (const name of names) assert.match(name, /^workers-nodejs-[0-9a-f]{10}$/);
});

test('an assignment says which function it is, and nothing else of the pod', () => {
  const spec = { ...specOf('f'), functionName: 'Größe_', version: '$LATEST', functionUid: 'uid/1' };
  assert.deepEqual(assignment(pool(), { name: 'p', uid: 'u' }, spec), {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: 'p',
      uid: 'u',
      namespace: 'functions',
      labels: { 'sluice.dev/state': 'serving', 'sluice.dev/function': 'Gr__e', 'sluice.dev/version': 'LATEST' },
      annotations: { 'sluice.dev/function-id': `${spec.account}/Größe_/uid/1` },
      ownerReferences: [OWNER],
    },
  });
});

test('an assignment has a label for each security group, once, and none where there are none any more', () => {
  const labelsOf = (spec: ReturnType<typeof specOf>): object => assignment(pool(), { name: 'p', uid: 'u' }, spec).metadata?.labels ?? {};
  const without = labelsOf(specOf('f'));
  assert.deepEqual(labelsOf(inGroups(specOf('f'), 'sg-2', 'sg-1', 'sg-2')), { ...without, 'security-group.sluice.dev/sg-1': '', 'security-group.sluice.dev/sg-2': '' });
  assert.deepEqual(labelsOf(inGroups(specOf('f'))), without);
});

test('every id of a security group that the API takes can be the name of a label', () => {
  const ids = fc.oneof(fc.string({ maxLength: 70 }), fc.stringMatching(/^sg-[0-9a-z]{0,70}$/));
  fc.assert(fc.property(ids, (id) => {
    fc.pre(stringViolations('SecurityGroupId', 'vpcConfig.securityGroupIds', id).length === 0);
    assert.match(securityGroupLabel(id), /^security-group\.sluice\.dev\/[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/);
  }));
});

test('whatever a function is called, a label can hold it', () => {
  for (const [text, value] of [['f', 'f'], ['$LATEST', 'LATEST'], ['-a-', 'a'], ['a'.repeat(64), 'a'.repeat(63)], ['a'.repeat(62) + '--b', 'a'.repeat(62)], ['$', ''], ['', '']] as const) assert.equal(labelValue(text), value);
  fc.assert(fc.property(fc.string({ unit: 'grapheme', maxLength: 100 }), (text) => assert.match(labelValue(text), /^(([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])?$/)));
});

test('what a pod is made with is what it is seen to have, also after it has grown', () => {
  fc.assert(
    fc.property(fc.integer({ min: 128, max: 40_960 }), fc.integer({ min: 512, max: 10_240 }), fc.integer({ min: 0, max: 10_240 }), (memoryMiB, tmpMiB, more) => {
      const made = sparePod(pool(), { name: 'p', family: 'nodejs', size: { memoryMiB, tmpMiB } });
      const { name, family, state, functionId, size } = observe(made);
      assert.deepEqual({ name, family, state, functionId, size }, { name: 'p', family: 'nodejs', state: 'spare', functionId: undefined, size: { memoryMiB, tmpMiB } });
      const grown = memoryResources({ memoryMiB: memoryMiB + more, tmpMiB });
      const status = { containerStatuses: [{ name: 'worker', image: '', imageID: '', ready: true, restartCount: 0, resources: grown }] };
      assert.deepEqual(observe({ ...made, status }).size, { memoryMiB: memoryMiB + more, tmpMiB });
    }),
  );
});

test('what is assigned is seen in the pod', () => {
  const { metadata } = assignment(pool(), { name: 'p', uid: 'u' }, specOf('f'));
  const { state, functionId } = observe({ ...SPARE, metadata: { ...SPARE.metadata, labels: { ...SPARE.metadata?.labels, ...metadata?.labels }, annotations: { ...metadata?.annotations } } });
  assert.deepEqual([state, functionId], ['serving', metadata?.annotations?.['sluice.dev/function-id']]);
});

test('sizes: /tmp is limited and not requested; what is smaller in both fits', () => {
  assert.deepEqual([memoryLimitMiB(SIZE), memoryRequestMiB(SIZE)], [1_280 + WORKER_OVERHEAD_MIB, 256 + WORKER_OVERHEAD_MIB]);
  assert.equal(functionMemoryMiB(memoryLimitMiB(SIZE) + 0.9, SIZE.tmpMiB), SIZE.memoryMiB);
  assert.deepEqual([fits(SIZE, SIZE), fits({ ...SIZE, memoryMiB: 257 }, SIZE), fits({ ...SIZE, tmpMiB: 1_025 }, SIZE)], [true, false, false]);
});

test('the Secret that lets workers in goes with the pool', () => {
  const { metadata, stringData } = joinSecret(pool(), 'w.1.token');
  assert.deepEqual([metadata?.name, metadata?.namespace, metadata?.ownerReferences, stringData], ['workers-join', 'functions', [OWNER], { token: 'w.1.token' }]);
});

const wrong: readonly (readonly [string, Record<string, string> | undefined, RegExp])[] = [
  ['without anything', undefined, /has no pod\.yaml/],
  ['without a template', { 'other.yaml': TEMPLATE }, /has no pod\.yaml/],
  ['with one that is no YAML', { [TEMPLATE_KEY]: 'spec: [' }, /is not YAML/],
  ['with an empty one', { [TEMPLATE_KEY]: '' }, /no container named worker/],
  ['with one that has no worker', { [TEMPLATE_KEY]: 'spec: { containers: [{ name: other }] }' }, /no container named worker/],
  ['with one that is a mere text', { [TEMPLATE_KEY]: 'pod' }, /no container named worker/],
];
for (const [what, data, message] of wrong) {
  test(`a ConfigMap ${what} is no pool, and the error says so in one line that names the setting`, () => {
    assert.throws(() => poolIdentity({ metadata: { name: 'workers', namespace: 'functions' }, ...(data === undefined ? {} : { data }) }, 1), (error) => {
      assert.ok(error instanceof PoolSetupError);
      assert.match(error.message, /^SLUICE_POOL: .*ConfigMap functions\/workers/);
      assert.match(error.message, message);
      return true;
    });
  });
}

test('a template without containers is one that has no worker', () => {
  assert.throws(() => pool('spec: {}'), PoolSetupError);
});

test('the message is one line, also where the reason is several', () => {
  assert.throws(() => pool('spec: ['), ({ message }: Error) => !message.includes('\n'));
});

const IMAGE_SPEC = specOf('f', { image: { uri: 'registry.example/f:1', entryPoint: ['/bin/run'], command: ['a', 'b'], workingDirectory: '/app' } });
const IMAGE_TEMPLATE = `
spec:
  containers:
    - name: worker
      image: sluice:1
      env: [{ name: ${SETTINGS.endpointUrl.variable}, value: "http://gateway" }]
      securityContext: { readOnlyRootFilesystem: true }
      resources: { requests: { cpu: 100m } }
      volumeMounts: [{ name: tmp, mountPath: /tmp }, { name: data, mountPath: /var/lib/sluice }]
  volumes:
    - { name: tmp, emptyDir: {} }
    - { name: data, emptyDir: {} }
`;

function imageOrder(spec = IMAGE_SPEC): ImagePodOrder {
  const { image } = spec.configuration;
  assert.ok(image !== undefined);
  return { name: 'c0-image-1', family: imageFamily(spec), size: SIZE, function: { spec, image, logStream: 'stream' } };
}

test('a pod for an image holds it beside the worker, as it is, with the memory that is the function\'s and as little as a function may do', () => {
  const { metadata, spec } = imagePod(pool(IMAGE_TEMPLATE), imageOrder());
  assert.equal(spec?.restartPolicy, 'Never');
  const [worker, container] = spec.containers;
  assert.deepEqual(container, {
    name: 'function', image: 'registry.example/f:1', command: ['/bin/run'], args: ['a', 'b'], workingDir: '/app', envFrom: [{ secretRef: { name: 'c0-image-1-variables' } }],
    resources: { requests: { cpu: '100m', memory: '256Mi' }, limits: { memory: '1280Mi' } }, securityContext: { readOnlyRootFilesystem: true },
    volumeMounts: [{ name: 'tmp', mountPath: '/tmp' }], lifecycle: { preStop: { httpGet: { path: '/v1/drained', port: 9401 } } },
  });
  assert.deepEqual(worker?.volumeMounts, [{ name: 'data', mountPath: '/var/lib/sluice' }]);
  assert.deepEqual(worker.resources?.limits, { memory: `${WORKER_OVERHEAD_MIB}Mi` });
  const value = (variable: string): string | undefined => worker.env?.filter(({ name }) => name === variable).map((one) => one.value).join('|');
  assert.deepEqual([value(SETTINGS.containerRuntimePort.variable), value(SETTINGS.containerLogStream.variable), value(SETTINGS.maxEnvironments.variable)], ['9001', 'stream', '1']);
  assert.deepEqual([metadata?.labels?.['sluice.dev/function'], metadata?.labels?.['sluice.dev/state'], metadata?.annotations?.['sluice.dev/log-stream']], ['f', 'spare', 'stream']);
});

test('what an image says itself stays where the function says nothing', () => {
  const { spec } = imagePod(pool(IMAGE_TEMPLATE), imageOrder(specOf('f', { image: { uri: 'f:1' } })));
  const container = spec?.containers[1];
  assert.deepEqual([container?.command, container?.args, container?.workingDir], [undefined, undefined, undefined]);
});

test('its variables are in a Secret that goes with the pod', () => {
  const spec = { ...IMAGE_SPEC, configuration: { ...IMAGE_SPEC.configuration, environment: { TOKEN: 'hidden' } } };
  const identity = pool(IMAGE_TEMPLATE);
  const order = imageOrder(spec);
  assert.ok(!JSON.stringify(imagePod(identity, order)).includes('hidden'));
  const { metadata, stringData } = variablesSecret(identity, { name: order.name, uid: 'uid-1' }, order, 'eu-west-1');
  assert.deepEqual([metadata?.name, metadata?.ownerReferences], ['c0-image-1-variables', [{ apiVersion: 'v1', kind: 'Pod', name: 'c0-image-1', uid: 'uid-1' }]]);
  assert.deepEqual([stringData?.['TOKEN'], stringData?.['AWS_LAMBDA_RUNTIME_API'], stringData?.['AWS_REGION'], stringData?.['AWS_ENDPOINT_URL'], stringData?.['AWS_LAMBDA_LOG_STREAM_NAME'], stringData?.['PATH']], ['hidden', '127.0.0.1:9001', 'eu-west-1', 'http://gateway', 'stream', undefined]);
});

test('a pod for an image is observed as what it is', () => {
  const pod = imagePod(pool(IMAGE_TEMPLATE), imageOrder());
  const seen = observe({ ...pod, status: { phase: 'Running', containerStatuses: [{ name: 'function', state: { running: {} } } as V1ContainerStatus] } });
  assert.deepEqual([seen.size, seen.container], [SIZE, { running: true, logStream: 'stream', drained: false, exit: undefined }]);
  const ended = observe({ ...pod, status: { phase: 'Running', containerStatuses: [{ name: 'function', state: { terminated: { exitCode: 127, reason: 'StartError', message: 'no such file' } } } as V1ContainerStatus] } });
  assert.deepEqual(ended.container?.exit, { code: 127, outOfMemory: false, message: "The function's container in the pod c0-image-1 ended with status 127 (StartError): no such file." });
  const stuck = observe({ ...pod, status: { containerStatuses: [{ name: 'function', state: { waiting: { reason: 'ImagePullBackOff', message: 'no such image' } } } as V1ContainerStatus] } });
  assert.deepEqual(stuck.trouble, { message: 'The pod c0-image-1 cannot start (ImagePullBackOff): no such image.', lasting: true });
});
