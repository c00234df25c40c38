import assert from 'node:assert/strict';
import { test } from 'node:test';
import { registerControllerMetrics } from '../../../controller/metrics.ts';
import type { ControllerSnapshot } from '../../../controller/start.ts';
import { registerGatewayMetrics } from '../../../gateway/metrics.ts';
import type { InvocationMeter } from '../../../gateway/invoke/invocation-meter.ts';
import type { LogBacklog } from '../../../platform/invocation-log/invocation-log.ts';
import type { ControllerLink } from '../../../platform/protocol/controller-link.ts';
import { createLogger } from '../../../platform/telemetry/logger.ts';
import { Metrics } from '../../../platform/telemetry/metrics.ts';
import { METRICS, PER_PROCESS, seriesMax, type MetricDefinition, type MetricName, type MetricRole } from '../../../platform/telemetry/metrics/catalogue.ts';
import type { Fleet } from '../../../platform/worker-pool/fleet/fleet.ts';
import { registerWorkerMetrics } from '../../../worker/metrics.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const logger = createLogger('silent');
const CATALOGUE = Object.entries(METRICS) as [MetricName, MetricDefinition][];
const ROLES: readonly MetricRole[] = ['gateway', 'controller', 'worker'];
/** More than this in one process would be felt in a Prometheus that keeps hundreds of them. */
const SERIES_MAX = 60;

const counts = { accepted: 0, waiting: 3, running: 2, retrying: 1, succeeded: 40, failed: 5, rejected: 6, deadLettered: 7, expired: 8, released: 9, concluded: 0 };
const SNAPSHOT: ControllerSnapshot = {
  invocations: { sync: counts, async: { ...counts, waiting: 30 } },
  held: 0, undelivered: 0, functions: 4, rememberedVersions: 0, timers: 0,
  environments: { all: 10, idle: 6, leaving: 1, memoryMiB: 512 },
  versionsWithoutRoom: 2, drift: 0,
  tally: { started: 11, evicted: 12, gaveWay: 13, startsFailed: 14, leasesEnded: 15, throttled: 16, duplicates: 17, staleReports: 18 },
};

function metricsOf(role: MetricRole): Metrics {
  return new Metrics({ role, version: '1.2.3', logger });
}

function gateway(waiting = 5): { readonly metrics: Metrics; readonly meter: InvocationMeter } {
  const metrics = metricsOf('gateway');
  const limiter = { statistics: { refused: { FunctionInvocationRateLimitExceeded: 1, ReservedFunctionInvocationRateLimitExceeded: 2, CallerRateLimitExceeded: 3 }, functions: 1, alone: true } };
  return { metrics, meter: registerGatewayMetrics(metrics, { replies: { size: waiting }, limiter }) };
}

function controller(options: { readonly backlog?: () => Promise<LogBacklog>; readonly clock?: VirtualClock; readonly there?: boolean; readonly inPods?: boolean } = {}): Metrics {
  const { backlog = () => Promise.resolve({ waiting: 100, delayed: 20 }), clock = new VirtualClock(), there = true, inPods = true } = options;
  const metrics = metricsOf('controller');
  const fleet = { workers: [{ live: true }, { live: false }], waitingForRoom: 3 } as unknown as Fleet;
  registerControllerMetrics(metrics, {
    pool: () => (there ? { capacity: { maxEnvironments: 32, maxMemoryMiB: 2_048, largestMiB: 2_048 } } : undefined),
    pods: () => (there && inPods ? { count: () => ({ warm: 1, spare: 2, serving: 3, troubled: 4 }), tally: { created: 5, refused: 6, assigned: 7, resized: 8, removed: 9, lost: 10 }, requests: 11 } : undefined),
    controller: () => (there ? { snapshot: () => SNAPSHOT, owned: () => new Map([[0, 1], [5, 1]]) } : undefined),
    fleet: () => (there ? fleet : undefined),
    log: { partitions: 32, backlog },
    clock,
  });
  return metrics;
}

function worker(): { readonly metrics: Metrics; readonly metered: (link: ControllerLink) => ControllerLink } {
  const metrics = metricsOf('worker');
  return { metrics, metered: registerWorkerMetrics(metrics, { controllers: { open: 2, environments: 7 }, room: { maxEnvironments: 32, maxMemoryMiB: 4_096 } }) };
}

/** Samples of a text, by name with labels as they are written. */
function samples(text: string): ReadonlyMap<string, number> {
  return new Map(text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]));
}

async function read(metrics: Metrics): Promise<ReadonlyMap<string, number>> {
  return samples(await metrics.text());
}

const ofRole: Readonly<Record<MetricRole, () => Metrics>> = { gateway: () => gateway().metrics, controller: () => controller(), worker: () => worker().metrics };

for (const role of ROLES) {
  test(`a ${role} registers exactly the metrics that the catalogue says it has`, () => {
    const registered = ofRole[role]().names.filter((name) => name.startsWith('sluice_'));
    assert.deepEqual(registered.sort(), CATALOGUE.filter(([, { roles }]) => roles.includes(role)).map(([name]) => name).sort());
  });

  test(`what a ${role} tells keeps to the catalogue's types and labels`, async () => {
    const text = await ofRole[role]().text();
    for (const [name, definition] of CATALOGUE.filter(([, { roles }]) => roles.includes(role))) {
      assert.ok(text.includes(`# TYPE ${name} ${definition.type}\n`), `${name} is a ${definition.type}`);
      const series = [...samples(text).keys()].filter((key) => key.replace(/[{].*/, '').replace(/_(bucket|sum|count)$/, '') === name);
      assert.ok(series.length > 0 && series.length <= seriesMax(definition), `${name} has ${series.length} series`);
      for (const key of series) {
        for (const [, label = '', value = ''] of key.matchAll(/(\w+)="([^"]*)"/g)) {
          if (label === 'le') continue;
          const allowed = definition.labels?.[label];
          assert.ok(allowed !== undefined && (allowed === PER_PROCESS || allowed.includes(value)), `${key}: ${label}`);
        }
      }
    }
  });
}

test('names are Prometheus\' own: units last, _total exactly for counters', () => {
  for (const [name, { type }] of CATALOGUE) {
    assert.match(name, /^sluice_[a-z]+(_[a-z]+)*$/);
    assert.equal(name.endsWith('_total'), type === 'counter', name);
    assert.doesNotMatch(name, /_(ms|millis|milliseconds|mib|mb|kib)(_|$)/, `${name} is in base units`);
  }
});

test('no metric can have many series, and none is labelled with functions', () => {
  for (const [name, definition] of CATALOGUE) {
    assert.ok(seriesMax(definition) <= SERIES_MAX, `${name}: ${seriesMax(definition)}`);
    assert.deepEqual(Object.keys(definition.labels ?? {}).filter((label) => /function|arn|account|id$/.test(label)), []);
  }
});

test('the gateway counts each request in one outcome', async () => {
  const { metrics, meter } = gateway();
  const body = Buffer.from('1');
  meter.replied({ kind: 'success', body }, performance.now());
  meter.replied({ kind: 'functionError', functionError: 'Unhandled', body }, performance.now());
  meter.replied({ kind: 'rejected', rejection: { code: 'throttled', reason: 'CallerRateLimitExceeded' } }, performance.now());
  meter.replied({ kind: 'rejected', rejection: { code: 'functionGone' } }, performance.now());
  meter.replied({ kind: 'rejected', rejection: { code: 'workerLost' } }, performance.now());
  meter.appended(performance.now());
  meter.dryRun();
  meter.refused({}, 404);
  meter.refused({ 'x-amz-invocation-type': 'Event' }, 503);
  meter.refused({ 'x-amz-invocation-type': 'no such type' }, 400);
  meter.refused({ 'x-amz-invocation-type': 'RequestResponse' }, 429);
  meter.abandoned({ 'x-amz-invocation-type': 'Event' });
  const told = await read(metrics);
  const counted = new Map([...told].filter(([key, value]) => key.startsWith('sluice_invocations_total') && value > 0));
  assert.deepEqual(
    counted,
    new Map([
      ['sluice_invocations_total{type="RequestResponse",outcome="succeeded"}', 1],
      ['sluice_invocations_total{type="RequestResponse",outcome="function_error"}', 1],
      ['sluice_invocations_total{type="RequestResponse",outcome="throttled"}', 2],
      ['sluice_invocations_total{type="RequestResponse",outcome="refused"}', 2],
      ['sluice_invocations_total{type="RequestResponse",outcome="failed"}', 1],
      ['sluice_invocations_total{type="Event",outcome="accepted"}', 1],
      ['sluice_invocations_total{type="Event",outcome="failed"}', 1],
      ['sluice_invocations_total{type="Event",outcome="abandoned"}', 1],
      ['sluice_invocations_total{type="DryRun",outcome="accepted"}', 1],
      ['sluice_invocations_total{type="unknown",outcome="refused"}', 1],
    ]),
  );
  // Those that did not run say nothing about how long running takes.
  assert.equal(told.get('sluice_invocation_duration_seconds_count'), 2);
  assert.equal(told.get('sluice_event_append_duration_seconds_count'), 1);
  assert.equal(told.get('sluice_waiting_callers'), 5);
  assert.equal(told.get('sluice_rate_refusals_total{reason="CallerRateLimitExceeded"}'), 3);
  assert.equal(told.get('sluice_rate_limiter_alone'), 1);
});

test('a second scrape tells counters as they are, not their sum', async () => {
  const { metrics, meter } = gateway();
  meter.dryRun();
  await metrics.text();
  meter.dryRun();
  assert.equal((await read(metrics)).get('sluice_invocations_total{type="DryRun",outcome="accepted"}'), 2);
});

test('the controller tells its snapshot, its pool and its share of the log', async () => {
  const told = await read(controller());
  assert.equal(told.get('sluice_invocations_held{kind="async",state="waiting"}'), 30);
  assert.equal(told.get('sluice_invocations_ended_total{kind="sync",outcome="dead_lettered"}'), 7);
  assert.equal(told.get('sluice_environments{state="in_use"}'), 3);
  assert.equal(told.get('sluice_environments_memory_bytes'), 512 * 1_024 * 1_024);
  assert.equal(told.get('sluice_environment_evictions_total{reason="gave_way"}'), 13);
  assert.equal(told.get('sluice_invocation_drift'), 0);
  assert.equal(told.get('sluice_workers'), 1);
  assert.equal(told.get('sluice_environments_waiting_for_room'), 3);
  assert.equal(told.get('sluice_owned_partitions'), 2);
  assert.equal(told.get('sluice_partitions'), 32);
  assert.equal(told.get('sluice_log_backlog{state="delayed"}'), 20);
});

test('a controller that is still starting tells nothing of what it does not know: no drift of 0', async () => {
  const told = await read(controller({ there: false }));
  assert.equal(told.has('sluice_invocation_drift'), false);
  assert.equal(told.get('sluice_workers'), 0);
});

test('a log that cannot be read is absent and counted, and the rest of the scrape stands', async () => {
  const clock = new VirtualClock();
  let broken = false;
  let asked = 0;
  const metrics = controller({
    clock,
    backlog: () => {
      asked++;
      return broken ? Promise.reject(new Error('no broker')) : Promise.resolve({ waiting: asked, delayed: 0 });
    },
  });
  const waiting = async (): Promise<number | undefined> => (await read(metrics)).get('sluice_log_backlog{state="waiting"}');
  assert.equal(await waiting(), 1);
  assert.equal(await waiting(), 1, 'the brokers are not asked for each scrape');
  clock.advance(5_000);
  broken = true;
  assert.equal(await waiting(), 1, 'the last value stands for a while');
  clock.advance(60_001);
  const told = await read(metrics);
  assert.equal(told.has('sluice_log_backlog{state="waiting"}'), false);
  assert.equal(told.get('sluice_invocation_drift'), 0);
  broken = false;
  assert.equal(await waiting(), 4);
  assert.equal((await read(metrics)).get('sluice_log_backlog_failures_total'), 2);
});

test('a log that does not answer holds up no scrape beyond its patience', async () => {
  const clock = new VirtualClock();
  let answer: ((backlog: LogBacklog) => void) | undefined;
  const metrics = controller({ clock, backlog: () => new Promise((resolve) => (answer = resolve)) });
  const first = read(metrics);
  // Until the scrape waits with patience.
  while (clock.pending === 0) await new Promise(setImmediate);
  clock.advance(1_000);
  assert.equal((await first).has('sluice_log_backlog{state="waiting"}'), false);
  answer?.({ waiting: 9, delayed: 0 });
  await new Promise(setImmediate);
  assert.equal((await read(metrics)).get('sluice_log_backlog{state="waiting"}'), 9);
});

test('the worker counts what environments report, by poll or at their end, and passes everything on', async () => {
  const { metrics, metered } = worker();
  const passed: string[] = [];
  const link = metered({
    next: (poll) => {
      passed.push(poll.kind);
      return Promise.resolve({ kind: 'stop' });
    },
    responded: (id) => void passed.push(id),
    gone: ({ cause }) => void passed.push(cause.kind),
  });
  const completion = { invocationId: 'i', epoch: 1, deliveryId: 1, durationMs: 20 };
  await link.next({ kind: 'initialized', environmentId: 'e', initDurationMs: 1 });
  await link.next({ kind: 'completed', environmentId: 'e', completion: { ...completion, outcome: 'success' } });
  await link.next({ kind: 'completed', environmentId: 'e', completion: { ...completion, outcome: 'notRun' } });
  link.responded('e');
  link.gone({ environmentId: 'e', cause: { kind: 'failed' }, completion: { ...completion, outcome: 'functionError' } });
  link.gone({ environmentId: 'f', cause: { kind: 'stopped' } });
  assert.deepEqual(passed, ['initialized', 'completed', 'completed', 'e', 'failed', 'stopped']);
  const told = await read(metrics);
  assert.equal(told.get('sluice_worker_invocations_total{outcome="success"}'), 1);
  assert.equal(told.get('sluice_worker_invocations_total{outcome="function_error"}'), 1);
  assert.equal(told.get('sluice_worker_invocations_total{outcome="not_run"}'), 1);
  assert.equal(told.get('sluice_worker_invocation_duration_seconds_count'), 2);
  assert.equal(told.get('sluice_worker_invocation_duration_seconds_sum'), 0.04);
  assert.equal(told.get('sluice_worker_environments'), 7);
  assert.equal(told.get('sluice_worker_sessions'), 2);
});
