import type { Completion, ControllerLink } from '../platform/protocol/controller-link.ts';
import type { WorkerRoom } from '../platform/protocol/wire/messages.ts';
import type { Metrics } from '../platform/telemetry/metrics.ts';
import type { Controllers } from './controllers/controllers.ts';

const MIB = 1_024 * 1_024;

export interface WorkerMetricSources {
  readonly controllers: Pick<Controllers, 'open' | 'environments'>;
  readonly room: WorkerRoom;
}

/** Registers the metrics of a worker. The result makes of a link one that counts the invocations of which environments report over it. */
export function registerWorkerMetrics(metrics: Metrics, { controllers, room }: WorkerMetricSources): (link: ControllerLink) => ControllerLink {
  const ended: Record<Completion['outcome'], number> = { success: 0, functionError: 0, notRun: 0 };
  const observe = metrics.histogram('sluice_worker_invocation_duration_seconds');
  metrics.read('sluice_worker_invocations_total', () => [
    [ended.success, { outcome: 'success' } as const],
    [ended.functionError, { outcome: 'function_error' } as const],
    [ended.notRun, { outcome: 'not_run' } as const],
  ]);
  metrics.value('sluice_worker_environments', () => controllers.environments);
  metrics.value('sluice_worker_sessions', () => controllers.open);
  metrics.value('sluice_worker_room_environments', () => room.maxEnvironments);
  metrics.value('sluice_worker_room_bytes', () => room.maxMemoryMiB * MIB);

  const count = ({ outcome, durationMs }: Completion): void => {
    ended[outcome]++;
    if (outcome !== 'notRun') observe(durationMs / 1_000);
  };
  return (link) => ({
    next(poll) {
      if (poll.kind === 'completed') count(poll.completion);
      return link.next(poll);
    },
    responded: (environmentId) => link.responded(environmentId),
    gone(departure) {
      if (departure.completion !== undefined) count(departure.completion);
      link.gone(departure);
    },
  });
}
