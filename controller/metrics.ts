import type { Clock } from '../platform/clock.ts';
import type { InvocationLog } from '../platform/invocation-log/invocation-log.ts';
import type { InvocationKind } from '../platform/model/invocation.ts';
import type { Metrics, Sample } from '../platform/telemetry/metrics.ts';
import { CachedReading } from '../platform/telemetry/metrics/cached-reading.ts';
import type { ReadMetricName } from '../platform/telemetry/metrics/catalogue.ts';
import type { Fleet } from '../platform/worker-pool/fleet/fleet.ts';
import type { KubernetesPool } from '../platform/worker-pool/kubernetes/pool.ts';
import type { WorkerPool } from '../platform/worker-pool/worker-pool.ts';
import type { Controller, ControllerSnapshot } from './start.ts';

/** The log answers by asking its brokers: not for every scrape of every Prometheus. */
const BACKLOG_FRESH_MS = 5_000;
/** An older one would be taken for the present. */
const BACKLOG_USABLE_MS = 60_000;
/** Well below Prometheus' `scrape_timeout` (10 s by default). */
const BACKLOG_PATIENCE_MS = 1_000;

const MIB = 1_024 * 1_024;
const KINDS: readonly InvocationKind[] = ['sync', 'async'];

export interface ControllerMetricSources {
  /** Undefined until it is there. */
  readonly controller: () => Pick<Controller, 'snapshot' | 'owned'> | undefined;
  readonly fleet: () => Pick<Fleet, 'workers' | 'waitingForRoom'> | undefined;
  readonly pool: () => Pick<WorkerPool, 'capacity'> | undefined;
  /** Where workers are pods. */
  readonly pods: () => Pick<KubernetesPool, 'count' | 'tally' | 'requests'> | undefined;
  readonly log: Pick<InvocationLog, 'backlog' | 'partitions'>;
  readonly clock: Clock;
}

/** Registers the metrics of a controller: all of them are read from what it keeps anyway. */
export function registerControllerMetrics(metrics: Metrics, { controller, fleet, pool, pods, log, clock }: ControllerMetricSources): void {
  const fromSnapshot = <Name extends ReadMetricName>(name: Name, samples: (snapshot: ControllerSnapshot) => readonly Sample<Name>[]): void => {
    metrics.read(name, () => {
      const snapshot = controller()?.snapshot();
      return snapshot === undefined ? [] : samples(snapshot);
    });
  };
  fromSnapshot('sluice_invocations_held', ({ invocations }) =>
    KINDS.flatMap((kind) => (['waiting', 'running', 'retrying', 'concluded'] as const).map((state) => [invocations[kind][state], { kind, state }] as const)),
  );
  fromSnapshot('sluice_invocations_ended_total', ({ invocations }) =>
    KINDS.flatMap((kind) => {
      const { succeeded, failed, rejected, deadLettered, expired, released } = invocations[kind];
      return [
        [succeeded, { kind, outcome: 'succeeded' }],
        [failed, { kind, outcome: 'failed' }],
        [rejected, { kind, outcome: 'rejected' }],
        [deadLettered, { kind, outcome: 'dead_lettered' }],
        [expired, { kind, outcome: 'expired' }],
        [released, { kind, outcome: 'released' }],
      ] as const;
    }),
  );
  fromSnapshot('sluice_invocation_drift', ({ drift }) => [[drift, {}]]);
  fromSnapshot('sluice_throttled_total', ({ tally }) => [[tally.throttled, {}]]);
  fromSnapshot('sluice_duplicate_deliveries_total', ({ tally }) => [[tally.duplicates, {}]]);
  fromSnapshot('sluice_stale_reports_total', ({ tally }) => [[tally.staleReports, {}]]);
  fromSnapshot('sluice_leases_ended_total', ({ tally }) => [[tally.leasesEnded, {}]]);
  fromSnapshot('sluice_environments', ({ environments: { all, idle, leaving } }) => [
    [idle, { state: 'idle' } as const],
    [all - idle - leaving, { state: 'in_use' } as const],
    [leaving, { state: 'leaving' } as const],
  ]);
  fromSnapshot('sluice_environments_memory_bytes', ({ environments }) => [[environments.memoryMiB * MIB, {}]]);
  fromSnapshot('sluice_environment_starts_total', ({ tally }) => [[tally.started, {}]]);
  fromSnapshot('sluice_environment_start_failures_total', ({ tally }) => [[tally.startsFailed, {}]]);
  fromSnapshot('sluice_environment_evictions_total', ({ tally }) => [
    [tally.evicted, { reason: 'room' } as const],
    [tally.gaveWay, { reason: 'gave_way' } as const],
  ]);
  fromSnapshot('sluice_versions_without_room', ({ versionsWithoutRoom }) => [[versionsWithoutRoom, {}]]);
  fromSnapshot('sluice_functions', ({ functions }) => [[functions, {}]]);

  metrics.value('sluice_workers', () => fleet()?.workers.filter(({ live }) => live).length ?? 0);
  metrics.value('sluice_environments_waiting_for_room', () => fleet()?.waitingForRoom ?? 0);
  metrics.value('sluice_worker_capacity_environments', () => pool()?.capacity.maxEnvironments ?? 0);
  metrics.value('sluice_worker_capacity_bytes', () => (pool()?.capacity.maxMemoryMiB ?? 0) * MIB);
  metrics.read('sluice_pods', () => {
    const counts = pods()?.count();
    return (['warm', 'spare', 'serving', 'troubled'] as const).map((state) => [counts?.[state] ?? 0, { state }] as const);
  });
  metrics.read('sluice_pod_changes_total', () => {
    const tally = pods()?.tally;
    return (['created', 'refused', 'assigned', 'resized', 'removed', 'lost'] as const).map((change) => [tally?.[change] ?? 0, { change }] as const);
  });
  metrics.read('sluice_kubernetes_requests_total', () => {
    const requests = pods()?.requests;
    return [[requests ?? 0, {}]];
  });
  metrics.value('sluice_owned_partitions', () => controller()?.owned().size ?? 0);
  metrics.value('sluice_partitions', () => log.partitions);

  const backlog = new CachedReading({ clock, ask: () => log.backlog(), freshMs: BACKLOG_FRESH_MS, usableMs: BACKLOG_USABLE_MS, patienceMs: BACKLOG_PATIENCE_MS });
  metrics.read('sluice_log_backlog', async () => {
    const current = await backlog.get();
    return current === undefined ? [] : [[current.waiting, { state: 'waiting' } as const], [current.delayed, { state: 'delayed' } as const]];
  });
  metrics.value('sluice_log_backlog_failures_total', () => backlog.failures);
}
