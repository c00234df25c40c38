import type { Clock } from '../../platform/clock.ts';
import type { Settings } from '../../platform/configuration/settings.ts';
import type { FunctionLogs } from '../../platform/function-logs/function-logs.ts';
import { EVERY_WORKER, joinToken } from '../../platform/protocol/wire/tokens.ts';
import type { Logger } from '../../platform/telemetry/logger.ts';
import { Fleet } from '../../platform/worker-pool/fleet/fleet.ts';
import type { KubernetesPool } from '../../platform/worker-pool/kubernetes/pool.ts';
import type { PoolListener, WorkerPool } from '../../platform/worker-pool/worker-pool.ts';
import { oneLine } from './drivers.ts';

/**
 * The same for all controllers, which write it to one Secret. It ends with SLUICE_SECRET: who comes with it is known by the pod's address, which the cluster tells, so
 * that it opens nothing that the pod may not have.
 */
const POD_TOKEN_ENDS_MS = Date.UTC(2100, 0, 1);

export interface OpenedPool {
  readonly pool: WorkerPool;
  /** What workers speak to. */
  readonly fleet: Fleet;
  /** Where its workers are pods. */
  readonly pods: KubernetesPool | undefined;
}

export interface PoolRequest {
  readonly settings: Settings;
  readonly controller: string;
  readonly secret: string;
  readonly listener: PoolListener;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly functionLogs: Pick<FunctionLogs, 'append'>;
}

/** The pool that SLUICE_POOL names. Rejects with a {@link CliError} in one line where the cluster cannot be used as it is set. */
export async function openPool({ settings, controller, secret, listener, clock, logger, functionLogs }: PoolRequest): Promise<OpenedPool> {
  const { namespace, configMap } = /^kubernetes:(?<namespace>[^/]+)\/(?<configMap>.+)$/.exec(settings.pool)?.groups ?? {};
  if (namespace === undefined || configMap === undefined) {
    const fleet = new Fleet({ listener, clock, logger });
    return { pool: fleet, fleet, pods: undefined };
  }
  // Only here: the client of the Kubernetes API is large.
  const [{ openApiCluster }, { KubernetesPool: Pods }] = await Promise.all([import('../../platform/worker-pool/kubernetes/api-cluster.ts'), import('../../platform/worker-pool/kubernetes/pool.ts')]);
  const environmentsPerPod = settings.environmentsPerWorker;
  const cluster = await oneLine(openApiCluster({ namespace, configMap, environmentsPerPod, joinToken: joinToken(secret, { worker: EVERY_WORKER, expiresAtMs: POD_TOKEN_ENDS_MS }), region: settings.region, logger }));
  const pods = await oneLine(
    Pods.open({
      listener, cluster, name: `${configMap}-${controller}`, clock, logger, functionLogs,
      settings: { maxPods: settings.maxPods, maxStartingPods: settings.maxStartingPods, environmentsPerPod, warmPods: warmPods(settings.warmPods), warmPodMemoryMiB: settings.warmPodMemoryMiB },
    }),
  );
  return { pool: pods, fleet: pods.fleet, pods };
}

/** `nodejs=2,python=1`. */
function warmPods(text: string): ReadonlyMap<string, number> {
  return new Map(
    text
      .split(',')
      .filter((entry) => entry !== '')
      .map((entry): [string, number] => {
        const [family = '', count = ''] = entry.split('=');
        return [family, Number(count)];
      }),
  );
}
