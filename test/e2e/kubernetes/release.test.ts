/**
 * The chart on a real cluster: installed, used, scaled from nothing and back, its parts killed and upgraded under load, and taken away without a trace. Each test prints its counts.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { CloudWatchLogsClient, FilterLogEventsCommand, ResourceNotFoundException } from '@aws-sdk/client-cloudwatch-logs';
import { CreateFunctionCommand, InvokeWithResponseStreamCommand, UpdateFunctionConfigurationCommand, waitUntilFunctionActiveV2, waitUntilFunctionUpdatedV2, type CreateFunctionRequest, type LambdaClient } from '@aws-sdk/client-lambda';
import type { V1NodeList, V1PodList } from '@kubernetes/client-node';
import { quantityToScalar } from '@kubernetes/client-node/dist/util.js';
import { CREDENTIALS, inheritedVariables } from '../../support/access.ts';
import { awsPython } from '../../support/aws-python.ts';
import { deploy, invoke, result } from '../../support/functions.ts';
import { apply, images, kubectl, loadedImage, whyNoCluster, type SeenPod } from '../../support/kubernetes.ts';
import { until } from '../../support/until.ts';
import { zip } from '../../support/packages.ts';
import { SMALL, Trial } from './trial.ts';

const run = promisify(execFile);
const BURST = 30;
const KEEP_ALIVE_MS = 6_000;
/** Environments in one pod. */
const SHARED = 4;
const LOW_PRIORITY = 'sluice-e2e-low';

const SLEEPS = 'exports.handler = async ({ ms = 0 }) => { await new Promise((resolve) => setTimeout(resolve, ms)); return { pod: require("node:os").hostname() }; };';
/** Writes its second part once somebody has left a mark, who has the first. */
const STREAMS = `
exports.handler = awslambda.streamifyResponse(async (event, stream) => {
  stream.write('first');
  for (;;) {
    const { status } = await fetch(process.env.AWS_ENDPOINT_URL + '/marks/go-on');
    if (status === 200) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  stream.end('second');
});`;
const EATS = 'exports.handler = async () => { const eaten = []; for (;;) { eaten.push(Buffer.alloc(8 * 1024 * 1024, 1)); await new Promise((resolve) => setTimeout(resolve, 20)); } };';
const LOOKS = `
const fs = require('fs');
const attempt = (action) => { try { return action(); } catch (error) { return error.code; } };
const secrets = () => {
  const found = [];
  for (const pid of fs.readdirSync('/proc').filter((name) => /^\\d+$/.test(name))) {
    const text = attempt(() => fs.readFileSync('/proc/' + pid + '/environ', 'latin1')) || '';
    for (const entry of text.split('\\0')) if (/^SLUICE_.*(SECRET|ACCESS_KEY|PASSWORD|USERNAME)/.test(entry)) found.push(entry.split('=')[0]);
  }
  return found;
};
exports.handler = async () => ({
  uid: process.getuid(), secrets: secrets(), root: attempt(() => fs.writeFileSync('/opt/sluice/x', '')), tmp: attempt(() => fs.writeFileSync('/tmp/x', 'y')),
  token: fs.existsSync('/var/run/secrets/kubernetes.io/serviceaccount/token'),
});`;

const reason = await whyNoCluster();
if (reason !== undefined) process.stderr.write(`NOT TESTED: the chart on a cluster, since ${reason}.\n`);

describe('the chart on a cluster', { skip: reason ?? false, timeout: 1_800_000 }, () => {
  const trial = new Trial();
  const { release } = trial;
  let lambda: LambdaClient;

  const serving = async (name: string): Promise<readonly SeenPod[]> => (await release.pods('sluice.dev/state=serving')).filter((pod) => pod.function === name && !pod.leaving);

  before(async () => {
    const tag = await images();
    await trial.install([`image.tag=${tag}`, ...SMALL, 'functions.maxStartingPods=8', `settings.SLUICE_KEEP_ALIVE_MIN_MS=${KEEP_ALIVE_MS}`, `settings.SLUICE_KEEP_ALIVE_MAX_MS=${KEEP_ALIVE_MS}`]);
    ({ lambda } = trial);
    await deploy(lambda, { name: 'sleeps', files: { 'index.js': SLEEPS }, Timeout: 60 });
  });
  after(async () => {
    await trial.end();
    await kubectl('delete', 'priorityclass', LOW_PRIORITY, '--ignore-not-found');
  });

  test('helm test deploys and invokes a function', async () => {
    assert.match(await release.test(), /Phase:\s+Succeeded/);
  });

  test('Node and Python functions are deployed and invoked by the AWS CLI', async (t) => {
    const python = await awsPython();
    if (python === undefined) {
      t.skip('there is no python3');
      return;
    }
    const folder = await mkdtemp(join(tmpdir(), 'sluice-e2e-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    const aws = async (...args: readonly string[]): Promise<string> =>
      (await run(python.executable('aws'), [...args, '--endpoint-url', release.url, '--region', 'us-east-1'], { env: { ...inheritedVariables(), AWS_ACCESS_KEY_ID: 'any', AWS_SECRET_ACCESS_KEY: 'any' } })).stdout;
    for (const [name, runtime, files] of [
      ['cli-node', 'nodejs24.x', { 'index.js': 'exports.handler = async (event) => ({ hello: event.name });' }],
      ['cli-python', 'python3.12', { 'index.py': 'def handler(event, context):\n    return {"hello": event["name"]}\n' }],
    ] as const) {
      await writeFile(join(folder, `${name}.zip`), await zip(files));
      await aws('lambda', 'create-function', '--function-name', name, '--runtime', runtime, '--handler', 'index.handler', '--role', 'arn:aws:iam::000000000000:role/any', '--zip-file', `fileb://${join(folder, `${name}.zip`)}`);
      await writeFile(join(folder, 'event.json'), '{"name":"pods"}');
      await aws('lambda', 'wait', 'function-active-v2', '--function-name', name);
      await aws('lambda', 'invoke', '--function-name', name, '--payload', `fileb://${join(folder, 'event.json')}`, join(folder, 'out.json'));
      assert.deepEqual(JSON.parse(await readFile(join(folder, 'out.json'), 'utf8')), { hello: 'pods' });
    }
    assert.deepEqual(new Set((await release.pods('sluice.dev/state=serving')).map(({ function: name }) => name)).has('cli-python'), true);
  });

  test('an event runs, with a payload that lies in the object store too, and what a function prints is in its log', async () => {
    await invoke(lambda, 'marks', { mark: 'one-event' }, { InvocationType: 'Event' });
    await invoke(lambda, 'marks', { mark: 'large-event', filling: 'x'.repeat(200_000) }, { InvocationType: 'Event' });
    await until('both events have run', async () => {
      const seen = await trial.marks();
      return seen.has('one-event') && seen.has('large-event') ? true : undefined;
    });
    const logs = new CloudWatchLogsClient({ endpoint: release.url, region: 'us-east-1', credentials: CREDENTIALS });
    await until('the REPORT lines are in the log', async () => {
      try {
        const { events = [] } = await logs.send(new FilterLogEventsCommand({ logGroupName: '/aws/lambda/marks' }));
        return events.filter(({ message }) => message?.startsWith('REPORT') === true).length >= 2 ? true : undefined;
      } catch (error) {
        if (error instanceof ResourceNotFoundException) return undefined;
        throw error;
      }
    });
    logs.destroy();
  });

  test('a response is streamed to its caller while the function writes it', async () => {
    await deploy(lambda, { name: 'streams', files: { 'index.js': STREAMS }, Timeout: 30 });
    const { EventStream: events } = await lambda.send(new InvokeWithResponseStreamCommand({ FunctionName: 'streams' }));
    assert.ok(events !== undefined);
    const chunks: string[] = [];
    for await (const { PayloadChunk: chunk, InvokeComplete: complete } of events) {
      assert.equal(complete?.ErrorCode, undefined);
      const text = Buffer.from(chunk?.Payload ?? []).toString();
      if (text !== '') chunks.push(text);
      // Only now the function may go on.
      if (text === 'first') await trial.mark('go-on');
    }
    assert.equal(chunks.join(''), 'firstsecond');
  });

  test('a function finds no credentials of the platform, no service account, and a root file system that it cannot write', async () => {
    await deploy(lambda, { name: 'looks', files: { 'index.js': LOOKS } });
    assert.deepEqual(await result(lambda, 'looks'), { uid: 10_001, secrets: [], root: 'EROFS', token: false });
  });

  test(`from nothing to ${BURST} environments, and back to nothing`, async () => {
    const startedAt = performance.now();
    const madeBefore = await release.controllerMetric('sluice_pod_changes_total{change="created"}');
    const requestsBefore = await release.controllerMetric('sluice_kubernetes_requests_total');
    const answers = await Promise.allSettled(Array.from({ length: BURST }, () => invoke(lambda, 'sleeps', { ms: 15_000 })));
    const pods = new Set(answers.flatMap((answer) => (answer.status === 'fulfilled' ? [(JSON.parse(answer.value.text) as { pod: string }).pod] : [])));
    const failed = answers.filter(({ status }) => status === 'rejected').length;
    const seconds = Math.round((performance.now() - startedAt) / 1_000);
    await until('no pod serves the function any more', async () => ((await serving('sleeps')).length === 0 ? true : undefined));
    const spare = (await release.pods('sluice.dev/state=spare')).length;
    const made = (await release.controllerMetric('sluice_pod_changes_total{change="created"}')) - madeBefore;
    const requests = (await release.controllerMetric('sluice_kubernetes_requests_total')) - requestsBefore;
    trial.say(`burst of ${BURST}`, { answered: answers.length - failed, failed, pods: pods.size, seconds, 'spare pods left': spare, 'pods made': made, 'API requests per pod': (requests / made).toFixed(1) });
    assert.equal(failed, 0);
  });

  test('a controller is killed under load', async () => {
    const report = await trial.under('kill a controller', async () => {
      const [victim = ''] = await release.podsOf('controller');
      assert.ok(await kill(release.namespace, victim));
      await kubectl('rollout', 'status', 'deployment/sluice-controller', '--namespace', release.namespace, '--timeout=120s');
    });
    assert.equal(report.errors.size, 0);
  });

  test('a gateway is killed under load: its own callers see a broken connection, and nobody else', async () => {
    const report = await trial.under('kill a gateway', async () => {
      const [victim = ''] = await release.podsOf('gateway');
      assert.ok(await kill(release.namespace, victim));
      await kubectl('rollout', 'status', 'deployment/sluice-gateway', '--namespace', release.namespace, '--timeout=120s');
    });
    for (const error of report.errors.keys()) assert.match(error, /^(ECONNRESET|ECONNREFUSED|EPIPE|ETIMEDOUT|EHOSTUNREACH|socket hang up)$/);
  });

  test('worker pods are deleted under load', async () => {
    const report = await trial.under('kill worker pods', async () => {
      // One that is seen may be gone by itself a moment later.
      await until('one that serves is killed', async () => {
        const killed = await Promise.all((await serving('marks')).map(({ name }) => kill(release.functionsNamespace, name)));
        return killed.includes(true) ? true : undefined;
      });
      await until('another serves', async () => ((await serving('marks')).some(({ ready }) => ready) ? true : undefined));
    });
    for (const error of report.errors.keys()) assert.match(error, /^5\d\d /);
  });

  test('worker pods are evicted from a cordoned node under load, in order: no invocation fails', async (t) => {
    const [node = ''] = (await kubectl('get', 'nodes', '--output', 'jsonpath={.items[*].metadata.name}')).split(' ');
    t.after(() => kubectl('uncordon', node));
    const report = await trial.under('cordon and evict', async () => {
      await until('somebody serves', async () => ((await serving('marks')).length > 0 ? true : undefined));
      await kubectl('cordon', node);
      await Promise.all((await release.pods()).map(({ name }) => evict(release.functionsNamespace, name)));
      await kubectl('uncordon', node);
      await until('another serves', async () => ((await serving('marks')).some(({ ready }) => ready) ? true : undefined));
    });
    assert.equal(report.errors.size, 0);
  });

  test('an upgrade under load fails no invocation', async () => {
    const report = await trial.under('helm upgrade', () => release.upgrade(['functions.podAnnotations.upgraded=yes', 'gateway.podAnnotations.upgraded=yes']));
    assert.equal(report.errors.size, 0);
    assert.ok((await release.pods('sluice.dev/state=warm')).length > 0);
  });

  test('a function that takes more memory than it has is told so, and the next invocation runs', async () => {
    await deploy(lambda, { name: 'eats', files: { 'index.js': EATS }, MemorySize: 128, Timeout: 30 });
    const { output, text } = await invoke(lambda, 'eats');
    assert.equal(output.FunctionError, 'Unhandled');
    assert.match(text, /Runtime\.(ExitError|OutOfMemory)/);
    assert.deepEqual(await result(lambda, 'marks'), { name: 'marks' });
  });

  test('a function that needs more memory than waiting pods have gets it', async () => {
    await deploy(lambda, { name: 'large', files: { 'index.js': SLEEPS }, MemorySize: 512 });
    const { pod } = await result<{ pod: string }>(lambda, 'large');
    const limit = await kubectl('get', 'pod', pod, '--namespace', release.functionsNamespace, '--output', 'jsonpath={.spec.containers[0].resources.limits.memory}');
    assert.equal(limit, '1216Mi');
  });

  describe('a function that is a container image, with AWS\'s runtime interface client', { skip: process.env['E2E_LOAD_IMAGE'] === undefined ? 'E2E_LOAD_IMAGE does not say how an image gets into the cluster' : false }, () => {
    const image = 'sluice-e2e/image-function:1';
    const failure = async (name: string, event: object): Promise<{ readonly errorType: string; readonly errorMessage: string }> => {
      const { output, text } = await invoke(lambda, name, event);
      assert.equal(output.FunctionError, 'Unhandled', text);
      return JSON.parse(text) as { readonly errorType: string; readonly errorMessage: string };
    };
    const create = async (name: string, change: Partial<CreateFunctionRequest> = {}): Promise<void> => {
      await lambda.send(new CreateFunctionCommand({ FunctionName: name, PackageType: 'Image', Role: 'arn:aws:iam::000000000000:role/any', Code: { ImageUri: image }, MemorySize: 128, Timeout: 30, ...change }));
      await waitUntilFunctionActiveV2({ client: lambda, maxWaitTime: 30 }, { FunctionName: name });
    };
    before(() => loadedImage(image, join(import.meta.dirname, 'image-function')));

    test('runs as it is, as nobody in particular, and is logged', async () => {
      await create('image', { Environment: { Variables: { GREETING: 'hello' } } });
      const { logStream, ...answer } = await result<{ readonly logStream: string }>(lambda, 'image');
      assert.deepEqual(answer, { function: 'image', memory: '128', greeting: 'hello', uid: 10_001, cwd: '/function', arguments: ['app.handler'] });
      const logs = new CloudWatchLogsClient({ endpoint: release.url, region: 'us-east-1', credentials: CREDENTIALS });
      await until('what it printed is in its log', async () => {
        const { events = [] } = await logs.send(new FilterLogEventsCommand({ logGroupName: '/aws/lambda/image', logStreamNames: [logStream] })).catch(() => ({ events: [] }));
        return events.some(({ message }) => message?.startsWith('handled in a container') === true) && events.some(({ message }) => message?.startsWith('REPORT') === true) ? true : undefined;
      });
      logs.destroy();
    });

    test('is given another command, and a working directory', async () => {
      await create('image-broken', { ImageConfig: { EntryPoint: ['/usr/bin/python3', '-m', 'awslambdaric'], Command: ['app.broken'], WorkingDirectory: '/function' } });
      const { errorType, errorMessage } = await failure('image-broken', {});
      assert.deepEqual({ errorType, errorMessage }, { errorType: 'ValueError', errorMessage: 'as asked for' });
    });

    test('that ends, or takes too much memory or time, fails as on Lambda, and the next invocation runs', async () => {
      assert.match((await failure('image', { exit: true })).errorMessage, /^RequestId: [0-9a-f-]+ Error: Runtime exited with error: exit status 3$/);
      assert.match((await failure('image', { eat: true })).errorMessage, /^RequestId: [0-9a-f-]+ Error: Runtime exited with error: signal: killed$/);
      await lambda.send(new UpdateFunctionConfigurationCommand({ FunctionName: 'image', Timeout: 2 }));
      await waitUntilFunctionUpdatedV2({ client: lambda, maxWaitTime: 30 }, { FunctionName: 'image' });
      assert.match((await failure('image', { sleep: 30 })).errorMessage, /Task timed out after 2\.00 seconds$/);
      await result(lambda, 'image');
    });

    test('that cannot be pulled, or has no runtime, says so to whoever calls it', async () => {
      await create('image-missing', { Code: { ImageUri: 'registry.invalid/none:1' } });
      await assert.rejects(invoke(lambda, 'image-missing'), /cannot start \((ErrImagePull|ImagePullBackOff)\)/);
      await create('image-ends', { ImageConfig: { EntryPoint: ['/bin/true'] } });
      await assert.rejects(invoke(lambda, 'image-ends'), /The function's container in the pod \S+ ended with status 0/);
    });
  });

  test('where the quota is exhausted callers hear so, and are served when it is not', async () => {
    const used = (await release.pods()).length;
    await apply({ apiVersion: 'v1', kind: 'ResourceQuota', metadata: { name: 'few', namespace: release.functionsNamespace }, spec: { hard: { pods: String(used) } } });
    await until('the quota is in force', async () => ((await kubectl('get', 'resourcequota', 'few', '--namespace', release.functionsNamespace, '--output', 'jsonpath={.status.used.pods}')) === '' ? undefined : true));
    const answers = await Promise.allSettled(Array.from({ length: used + 4 }, (_, index) => invokeNew(lambda, `quota-${index}`)));
    const refused = answers.flatMap((answer) => (answer.status === 'rejected' ? [(answer.reason as Error).message] : []));
    await kubectl('delete', 'resourcequota', 'few', '--namespace', release.functionsNamespace);
    trial.say('quota exhausted', { sent: answers.length, answered: answers.length - refused.length, refused: refused.length });
    assert.ok(refused.length > 0);
    for (const message of refused) assert.match(message, /exceeded quota: few/);
    await invoke(lambda, `quota-${answers.length - 1}`);
  });

  test('environments of one function share a pod where that is wished for', async () => {
    await apply({ apiVersion: 'scheduling.k8s.io/v1', kind: 'PriorityClass', metadata: { name: LOW_PRIORITY }, value: -100, preemptionPolicy: 'Never' });
    await release.upgrade([`functions.environmentsPerWorker=${SHARED}`, `functions.priorityClassName=${LOW_PRIORITY}`]);
    await deploy(lambda, { name: 'shares', files: { 'index.js': SLEEPS }, Timeout: 60 });
    const answers = await Promise.all(Array.from({ length: 2 * SHARED }, () => invoke(lambda, 'shares', { ms: 8_000 })));
    const pods = new Set(answers.map(({ text }) => (JSON.parse(text) as { pod: string }).pod));
    trial.say(`${SHARED} environments in a pod`, { sent: 2 * SHARED, answered: answers.length, failed: 0, pods: pods.size });
    assert.ok(pods.size <= SHARED, `${2 * SHARED} invocations at once ran in ${pods.size} pods`);
  });

  test('worker pods that make room for what matters more come back when it is gone', async (t) => {
    t.after(() => kubectl('delete', 'pod', 'important', '--namespace', release.namespace, '--ignore-not-found', '--grace-period=0', '--force'));
    const report = await trial.under('preemption', async () => {
      await until('somebody serves', async () => ((await serving('marks')).length > 0 ? true : undefined));
      const [image = ''] = (await kubectl('get', 'pods', '--namespace', release.namespace, '--selector', 'app.kubernetes.io/component=controller', '--output', 'jsonpath={.items[*].spec.containers[0].image}')).split(' ');
      const security = { runAsNonRoot: true, runAsUser: 10_001, seccompProfile: { type: 'RuntimeDefault' } };
      const memory = `${await memoryBesides(release.functionsNamespace)}`;
      const container = { name: 'important', image, command: ['sleep', '600'], resources: { requests: { memory } }, securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } } };
      await apply({ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'important', namespace: release.namespace }, spec: { terminationGracePeriodSeconds: 0, securityContext: security, containers: [container] } });
      await kubectl('wait', '--for=condition=Ready', 'pod/important', '--namespace', release.namespace, '--timeout=120s');
      assert.equal((await serving('marks')).filter(({ ready }) => ready).length, 0);
      await kubectl('delete', 'pod', 'important', '--namespace', release.namespace, '--grace-period=0', '--force');
      await until('another serves', async () => ((await serving('marks')).some(({ ready }) => ready) ? true : undefined));
    });
    for (const error of report.errors.keys()) assert.match(error, /^5\d\d /);
  });

  test('uninstalled, nothing is left', async () => {
    await release.uninstall();
    const left = await until('everything is gone', async () => {
      const names = await kubectl('get', 'all,secrets,configmaps,persistentvolumeclaims,roles,rolebindings,networkpolicies', '--namespace', release.namespace, '--output', 'name');
      const others = names.split('\n').filter((name) => name !== '' && name !== 'configmap/kube-root-ca.crt');
      return others.length === 0 ? others : undefined;
    });
    assert.deepEqual(left, []);
    await until('the functions\' namespace is gone', async () => ((await kubectl('get', 'namespace', release.functionsNamespace, '--ignore-not-found', '--output', 'name')) === '' ? true : undefined));
  });
});

async function invokeNew(lambda: LambdaClient, name: string): Promise<void> {
  await deploy(lambda, { name, files: { 'index.js': 'exports.handler = async () => 1;' }, Timeout: 10 });
  await invoke(lambda, name);
}

/** Bytes that pods of no other namespace have asked for on the one node: whoever asks for them all gets them of that namespace's pods, or not at all. */
async function memoryBesides(namespace: string): Promise<number> {
  const { items: nodes } = JSON.parse(await kubectl('get', 'nodes', '--output', 'json')) as V1NodeList;
  const { items: pods } = JSON.parse(await kubectl('get', 'pods', '--all-namespaces', '--field-selector', 'status.phase=Running', '--output', 'json')) as V1PodList;
  const bytes = (quantity: string | undefined): number => (quantity === undefined ? 0 : Number(quantityToScalar(quantity)));
  const others = pods.filter(({ metadata }) => metadata?.namespace !== namespace).flatMap(({ spec }) => spec?.containers ?? []);
  return bytes(nodes[0]?.status?.allocatable?.['memory']) - others.reduce((sum, { resources }) => sum + bytes(resources?.requests?.['memory']), 0);
}

/** Whether the pod was still there. */
async function kill(namespace: string, name: string): Promise<boolean> {
  return (await kubectl('delete', 'pod', name, '--namespace', namespace, '--grace-period=0', '--force', '--ignore-not-found')) !== '';
}

/** As `kubectl drain` does with one pod, which may have gone by itself. */
async function evict(namespace: string, name: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-evict-'));
  const file = join(folder, 'eviction.json');
  await writeFile(file, JSON.stringify({ apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace } }));
  try {
    await kubectl('create', '--raw', `/api/v1/namespaces/${namespace}/pods/${name}/eviction`, '--filename', file);
  } catch (error) {
    if (!/NotFound/.test((error as { readonly stderr?: string }).stderr ?? '')) throw error;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
