import { setTimeout as delay } from 'node:timers/promises';
import type { LambdaClient } from '@aws-sdk/client-lambda';
import { lambdaClient } from '../../support/access.ts';
import { deploy } from '../../support/functions.ts';
import { apply, images, kubectl, ReleasedSluice, whyNoCluster } from '../../support/kubernetes.ts';
import { until } from '../../support/until.ts';
import { paddedNodeSource } from '../functions/handlers.ts';
import { processesOnServices } from '../subjects/processes.ts';
import { ratioColumn, type PartReport } from '../report.ts';
import { median, percentile } from '../statistics.ts';

const STARTS = 11;
const SOURCE_BYTES = 5_000;
const WARM_CALLS = 500;
const BURST = 30;
const BURST_HOLD_MS = 12_000;
/** Short, so that each cold start finds the pods of the one before gone. */
const KEEP_ALIVE_MS = 2_000;
/** After a pod has become ready its node is busy with the next one for a moment. */
const SETTLE_MS = 1_500;
const SMALL_MIB = 128;
const LARGE_MIB = 512;

const IN_PROCESSES = ', in processes on this machine';

/** Says when it began, on the clock of the machine, and keeps its environment for a while. */
const HOLDS = `exports.handler = async ({ ms }) => { const at = Date.now(); await new Promise((resolve) => setTimeout(resolve, ms)); return at; };`;

/**
 * The chart on the cluster of KUBECONFIG, beside a bare pod's start, a gateway's bare answer and, where their services are there, a gateway, a controller and a worker in processes on
 * this machine. Reads best on a cluster of one node on this machine.
 */
export async function kubernetes(say: (what: string) => void): Promise<PartReport> {
  const reason = await whyNoCluster();
  if (reason !== undefined) throw new Error(reason);
  say('images');
  const tag = await images();
  const release = new ReleasedSluice();
  let lambda: LambdaClient | undefined;
  const peer = await processesOnServices();
  try {
    say('helm install');
    await release.install([
      `image.tag=${tag}`, 'persistence.enabled=false', `functions.warmPodMemoryMiB=${SMALL_MIB}`, 'functions.resources.requests.cpu=5m', 'functions.warmPods.python=0',
      `settings.SLUICE_KEEP_ALIVE_MIN_MS=${KEEP_ALIVE_MS}`, `settings.SLUICE_KEEP_ALIVE_MAX_MS=${KEEP_ALIVE_MS}`,
    ]);
    lambda = lambdaClient(release.url, { maxAttempts: 3 });
    return await measure(release, lambda, tag, peer?.sluice.url, say);
  } finally {
    lambda?.destroy();
    await peer?.end();
    await kubectl('delete', 'namespace', release.namespace, release.functionsNamespace, '--ignore-not-found', '--wait=false');
  }
}

async function measure(release: ReleasedSluice, lambda: LambdaClient, tag: string, peerUrl: string | undefined, say: (what: string) => void): Promise<PartReport> {
  say('warm');
  const places: Warm[] = [{ url: release.url, warm: [], bare: [] }, ...(peerUrl === undefined ? [] : [{ url: peerUrl, warm: [], bare: [] }])];
  for (const { url } of places) {
    const client = lambdaClient(url, { maxAttempts: 3 });
    await deploy(client, { name: 'warm', files: { 'index.js': paddedNodeSource(SOURCE_BYTES, 'warm') } });
    client.destroy();
  }
  for (let i = -WARM_CALLS; i < WARM_CALLS; i++) {
    for (const { url, warm, bare } of places) {
      const [took, answered] = [await invocation(url, 'warm'), await timed(async () => void (await (await fetch(`${url}/_sluice/health`)).arrayBuffer()))];
      if (i < 0) continue;
      warm.push(took);
      bare.push(answered);
    }
  }
  const coldOf = async (kind: string, memoryMiB: number, ready: () => Promise<void>, url = release.url, client = lambda): Promise<number[]> => {
    const took: number[] = [];
    for (let i = 0; i < STARTS; i++) {
      say(`cold, ${kind}: ${i + 1} of ${STARTS}`);
      const name = `cold-${kind.replaceAll(/\W/g, '-')}-${i}`;
      await deploy(client, { name, MemorySize: memoryMiB, files: { 'index.js': paddedNodeSource(SOURCE_BYTES, name) } });
      await ready();
      await delay(SETTLE_MS);
      took.push(await invocation(url, name));
    }
    return took;
  };
  const aPodWaits = (): Promise<void> => until('a pod waits', async () => ((await release.pods('sluice.dev/state=warm,sluice.dev/runtime=nodejs')).some(({ ready, leaving }) => ready && !leaving) ? true : undefined)).then(() => undefined);
  const inProcesses: number[] = [];
  if (peerUrl !== undefined) {
    const client = lambdaClient(peerUrl, { maxAttempts: 3 });
    inProcesses.push(...(await coldOf('processes', SMALL_MIB, () => Promise.resolve(), peerUrl, client)));
    client.destroy();
  }
  const peerCold = peerUrl === undefined ? undefined : inProcesses;
  const taken = await coldOf('a pod that waits', SMALL_MIB, aPodWaits);
  const resized = await coldOf('a pod that waits, resized', LARGE_MIB, aPodWaits);
  await release.upgrade(['functions.warmPods.nodejs=0']);
  const nothing = (): Promise<void> => until('no pod is left', async () => ((await release.pods()).length === 0 ? true : undefined)).then(() => undefined);
  const made = await coldOf('no pod', SMALL_MIB, nothing);
  const starts: number[] = [];
  for (let i = 0; i < STARTS; i++) {
    say(`a bare pod: ${i + 1} of ${STARTS}`);
    starts.push(await barePods(release.namespace, tag, 1));
  }
  say(`${BURST} bare pods`);
  const bareBurst = await barePods(release.namespace, tag, BURST);
  say(`from nothing to ${BURST}`);
  await deploy(lambda, { name: 'holds', Timeout: 60, files: { 'index.js': HOLDS } });
  await nothing();
  const podsBefore = await release.controllerMetric('sluice_pod_changes_total{change="created"}');
  const requestsBefore = await release.controllerMetric('sluice_kubernetes_requests_total');
  const startedAt = Date.now();
  const began = await Promise.all(Array.from({ length: BURST }, async () => Number(await answerOf(release.url, 'holds', { ms: BURST_HOLD_MS })) - startedAt));
  await nothing();
  const pods = (await release.controllerMetric('sluice_pod_changes_total{change="created"}')) - podsBefore;
  const requests = (await release.controllerMetric('sluice_kubernetes_requests_total')) - requestsBefore;
  const times = (name: string, values: readonly number[], floor: readonly number[] | undefined) => ({ name, values: [median(values), percentile(values, 0.9), floor === undefined ? undefined : median(values) / median(floor)] });
  const [here, there] = places.map(({ warm, bare }) => median(warm) - median(bare));
  const beyondPeer = here === undefined || there === undefined ? undefined : here - there;
  const perPod = requests / Math.max(1, pods);
  return {
    tables: [
      {
        title: 'On Kubernetes',
        columns: [{ title: 'median', digits: 1, unit: 'ms' }, { title: 'p90', digits: 1, unit: 'ms' }, ratioColumn('to its floor')],
        rows: [
          ...places.flatMap(({ bare, warm }, i) => [times(`a gateway's bare answer${i === 0 ? '' : IN_PROCESSES}`, bare, undefined), times(`warm Invoke, one connection${i === 0 ? '' : IN_PROCESSES}`, warm, bare)]),
          ...(peerCold === undefined ? [] : [times(`cold start${IN_PROCESSES}`, peerCold, undefined)]),
          times('cold start, a pod waits', taken, peerCold),
          times('cold start, a pod waits and is resized', resized, peerCold),
          times('a bare pod of the worker\'s image, until it runs', starts, undefined),
          times('cold start, no pod', made, starts),
          times(`${BURST} bare pods at once, until all run`, [bareBurst], starts),
          times(`${BURST} environments from nothing, until all run`, [Math.max(...began)], [bareBurst]),
        ],
      },
    ],
    targets: [
      ...(beyondPeer === undefined ? [] : [{ what: 'warm Invoke, one connection, median, each less a bare answer: beyond that in processes', value: beyondPeer, unit: 'ms', bound: 'at most', limit: 2 } as const]),
      { what: 'cold start from a pod that waits, median', value: median(taken), unit: 'ms', bound: 'at most', limit: 30 },
      { what: 'cold start from a pod that waits and is resized, median', value: median(resized), unit: 'ms', bound: 'at most', limit: 80 },
      { what: 'cold start without a pod, median beyond a bare pod\'s start', value: median(made) - median(starts), unit: 'ms', bound: 'at most', limit: 300 },
      { what: `the last of ${BURST} environments from nothing`, value: Math.max(...began) / 1_000, unit: 's', bound: 'at most', limit: 10 },
      { what: 'requests to the API server per pod', value: perPod, unit: '', bound: 'at most', limit: 4 },
    ],
    notes: ['The way to the cluster\'s gateway is `kubectl port-forward`; the floor of cold starts from waiting pods is that in processes, that of the others bare pods.', 'A bare pod is made and waited for by kubectl, which takes some 0.1 s of that.'],
    failures: [],
  };
}

/** What one Sluice takes for an invocation and for an answer that takes nothing. */
interface Warm {
  readonly url: string;
  readonly warm: number[];
  readonly bare: number[];
}

/** Milliseconds of one invocation over a connection that is kept. */
function invocation(url: string, name: string): Promise<number> {
  return timed(() => answerOf(url, name, {}));
}

async function answerOf(url: string, name: string, event: object): Promise<string> {
  const response = await fetch(`${url}/2015-03-31/functions/${name}/invocations`, { method: 'POST', body: JSON.stringify(event) });
  const text = await response.text();
  if (response.status !== 200 || response.headers.has('x-amz-function-error')) throw new Error(`${name} answered ${response.status}: ${text}`);
  return text;
}

async function timed(action: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await action();
  return performance.now() - startedAt;
}

/** From the wish for pods until the containers of all run, with an image that is there. */
async function barePods(namespace: string, tag: string, count: number): Promise<number> {
  const labels = { bare: 'yes' };
  const security = { runAsNonRoot: true, runAsUser: 10_001, seccompProfile: { type: 'RuntimeDefault' } };
  const container = { name: 'bare', image: `sluice/worker:${tag}`, imagePullPolicy: 'IfNotPresent', command: ['sleep', '60'], securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } } };
  const items = Array.from({ length: count }, (_, i) => ({ apiVersion: 'v1', kind: 'Pod', metadata: { name: `bare-${i}`, namespace, labels }, spec: { terminationGracePeriodSeconds: 0, securityContext: security, containers: [container] } }));
  const tookMs = await timed(async () => {
    await apply({ apiVersion: 'v1', kind: 'List', items });
    await kubectl('wait', '--for=jsonpath={.status.phase}=Running', 'pod', '--selector=bare', '--namespace', namespace, '--timeout=120s');
  });
  await kubectl('delete', 'pod', '--selector=bare', '--namespace', namespace, '--grace-period=0', '--force');
  return tookMs;
}
