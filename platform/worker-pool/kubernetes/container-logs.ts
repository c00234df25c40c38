import type { Clock, Timer } from '../../clock.ts';
import type { FunctionLogs } from '../../function-logs/function-logs.ts';
import type { Logger } from '../../telemetry/logger.ts';
import { containerLines } from './container-lines.ts';
import type { PodCluster, PodName } from './pod-cluster.ts';

export interface ContainerLogsOptions {
  readonly cluster: Pick<PodCluster, 'containerLog'>;
  readonly functionLogs: Pick<FunctionLogs, 'append'>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A log that broke off, or could not be had yet, is asked for again after so long, as long as its pod is there. */
const AGAIN_MS = 1_000;

interface Following {
  readonly pod: PodName;
  readonly group: string;
  readonly stream: string;
  readonly stop: AbortController;
  /** Of the last line that was written. */
  last: string;
  again: Timer | undefined;
}

/**
 * What functions in containers of their own print, written to their logs: it comes from the cluster, line by line, since nobody else reads it. Lines arrive some tenths of a second after they were
 * printed, with the time at which they were. A pod that changes hands among controllers may have its lines of that moment twice.
 */
export class ContainerLogs {
  readonly #options: ContainerLogsOptions;
  readonly #followed = new Map<string, Following>();

  constructor(options: ContainerLogsOptions) {
    this.#options = options;
  }

  /** From what was printed at `sinceMs` on. One that is followed already goes on. */
  follow(pod: PodName, { group, stream, sinceMs }: { readonly group: string; readonly stream: string; readonly sinceMs: number }): void {
    if (this.#followed.has(pod.name)) return;
    const following: Following = { pod, group, stream, stop: new AbortController(), last: new Date(sinceMs).toISOString(), again: undefined };
    this.#followed.set(pod.name, following);
    void this.#run(following);
  }

  /** Another controller follows it from now on. */
  leave(name: string): void {
    this.#followed.get(name)?.stop.abort();
    this.gone(name);
  }

  /** The pod is gone: what is still under way of its log is written, and nothing is asked for any more. */
  gone(name: string): void {
    this.#followed.get(name)?.again?.cancel();
    this.#followed.delete(name);
  }

  close(): void {
    for (const name of [...this.#followed.keys()]) this.leave(name);
  }

  async #run(following: Following): Promise<void> {
    const { cluster, functionLogs, clock, logger } = this.#options;
    const { pod, group, stream, stop } = following;
    const from = following.last;
    try {
      for await (const { timestamp, timestampMs, message } of containerLines(cluster.containerLog(pod, { since: from, signal: stop.signal }))) {
        // The cluster counts in whole seconds where it begins.
        if (timestamp <= from) continue;
        following.last = timestamp;
        functionLogs.append(group, stream, [{ timestampMs, message }]);
      }
    } catch (error) {
      if (!stop.signal.aborted) logger.debug({ err: error, pod: pod.name }, "a container's log broke off");
    }
    if (this.#followed.get(pod.name) !== following) return;
    following.again = clock.at(clock.now() + AGAIN_MS, () => void this.#run(following));
  }
}
