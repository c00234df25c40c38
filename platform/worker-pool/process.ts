import type { ControllerLink, EnvironmentHost } from '../protocol/controller-link.ts';
import type { PoolCapacity, WorkerPool } from './worker-pool.ts';

export interface ProcessPoolOptions {
  /** Where departures are reported. */
  readonly link: ControllerLink;
  /** Starts this process's worker on the link that its environments are to speak to. Called once, at once. */
  readonly startWorker: (link: ControllerLink) => Promise<{ readonly host: EnvironmentHost; stop(): Promise<void> }>;
  readonly capacity: Omit<PoolCapacity, 'largestMiB'>;
}

/**
 * {@link WorkerPool} of one worker in this process, whose environments are its child processes. Thin: it listens in on the link, so as
 * to know which environments are left, and answers `start` after `close` itself.
 */
export async function processPool({ link, startWorker, capacity }: ProcessPoolOptions): Promise<WorkerPool> {
  const open = new Set<string>();
  let closing: { readonly closed: Promise<void>; readonly resolve: () => void } | undefined;
  const worker = await startWorker({
    next: (poll) => link.next(poll),
    responded: (environmentId) => link.responded(environmentId),
    gone(departure) {
      if (!open.delete(departure.environmentId)) return;
      link.gone(departure);
      if (open.size === 0) closing?.resolve();
    },
  });
  const { host } = worker;
  return {
    capacity: { ...capacity, largestMiB: capacity.maxMemoryMiB },
    // Its environments are children of this process: there is nobody to leave any or to take them over.
    claim: () => Promise.resolve(),
    handOver: (environmentId) => host.close(environmentId),
    start(environmentId, spec) {
      if (closing !== undefined) {
        queueMicrotask(() => link.gone({ environmentId, cause: { kind: 'cannotStart', message: 'The worker pool is closed.' } }));
        return;
      }
      open.add(environmentId);
      host.open(environmentId, spec);
    },
    stop: (environmentId) => host.close(environmentId),
    expect: (spec) => host.expect(spec),
    async close() {
      if (closing === undefined) {
        const { promise, resolve } = Promise.withResolvers<void>();
        closing = { closed: promise.then(() => worker.stop()), resolve };
        if (open.size === 0) resolve();
        for (const environmentId of open) host.close(environmentId);
      }
      await closing.closed;
    },
  };
}
