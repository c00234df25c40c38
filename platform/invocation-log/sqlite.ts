import { join } from 'node:path';
import type { Clock } from '../clock.ts';
import type { InvocationRecord } from '../model/invocation.ts';
import type { Logger } from '../telemetry/logger.ts';
import { AsyncLane } from './async-lane.ts';
import { AsyncDelivery } from './async-partition.ts';
import { LogUnavailableError, type Delivery, type InvocationLog, type LogBacklog, type LogConsumer, type LogConsumption } from './invocation-log.ts';
import { SqliteLogLink } from './sqlite-log-link.ts';
import { PARTITIONS_MAX } from './sqlite-log-store.ts';
import { SyncDelivery, SyncLane } from './sync-lane.ts';

export { DataFileError, DataFolderInUseError } from '../sqlite/database.ts';

export interface SqliteLogOptions {
  /** Folder that the log's file lies in; made where it is missing. */
  readonly dataDir: string;
  /** For a new log: 1 to 512. A log that exists keeps the number that it was made with. */
  readonly partitions?: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Enough that a slow function shares its partition with few others; each costs a row and some hundred bytes. */
const PARTITIONS = 16;

/** The log's file in the data folder. */
export const LOG_FILE = 'invocations.sqlite';

/**
 * The invocation log of a Sluice in one process. Async records lie in a SQLite file that a thread of its own writes, all that wait
 * in one transaction; sync records never leave memory.
 *
 * Rejects with {@link DataFolderInUseError} while another process has the folder, with {@link DataFileError} for a file that is
 * damaged, foreign or of a newer release.
 */
export async function openSqliteLog({ dataDir, partitions = PARTITIONS, clock, logger }: SqliteLogOptions): Promise<InvocationLog> {
  if (!Number.isInteger(partitions) || partitions < 1 || partitions > PARTITIONS_MAX) {
    throw new RangeError(`A log of ${partitions} partitions cannot be made; choose a whole number from 1 to ${PARTITIONS_MAX}.`);
  }
  const { link, state } = await SqliteLogLink.open({ file: join(dataDir, LOG_FILE), partitions }, (error) =>
    logger.fatal({ err: error }, "The invocation log's thread has failed; no asynchronous invocation is accepted until a restart."),
  );
  return new SqliteLog(new SyncLane(state.partitions.length, clock), new AsyncLane({ link, state, clock, logger }), state.partitions.length, state.openings * CONSUMPTIONS_MAX);
}

/** One process consumes at most so often; an epoch is the file's opening times this, plus the consumption. */
const CONSUMPTIONS_MAX = 2 ** 20;

/** What every sync append resolves with: the record was delivered before `append` returned. */
const DELIVERED = Promise.resolve();

class SqliteLog implements InvocationLog {
  readonly partitions: number;
  readonly #sync: SyncLane;
  readonly #async: AsyncLane;
  #epoch: number;
  #consuming = false;
  /** The last consumption's stop, while it is under way. */
  #stopping: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  constructor(sync: SyncLane, async: AsyncLane, partitions: number, firstEpoch: number) {
    this.#epoch = firstEpoch;
    this.#sync = sync;
    this.#async = async;
    this.partitions = partitions;
  }

  append(record: InvocationRecord): Promise<void> {
    if (this.#closed !== undefined) return Promise.reject(new LogUnavailableError('The invocation log is closed.'));
    if (record.kind === 'async') return this.#async.append(record);
    const refusal = this.#sync.append(record);
    return refusal === undefined ? DELIVERED : Promise.reject(refusal);
  }

  async consume(consumer: LogConsumer): Promise<LogConsumption> {
    await this.#stopping;
    if (this.#closed !== undefined) throw new LogUnavailableError('The invocation log is closed.');
    if (this.#consuming) throw new Error('The invocation log has a consumer already; stop that one first.');
    if (!Number.isInteger(consumer.maxInFlight) || consumer.maxInFlight < 1) {
      throw new RangeError(`maxInFlight is ${consumer.maxInFlight}; it must be a whole number from 1.`);
    }
    this.#consuming = true;
    const epoch = this.#epoch++;
    await consumer.assigned({ partitions: Array.from({ length: this.partitions }, (_, partition) => partition), epoch });
    if (this.#closed !== undefined) throw new LogUnavailableError('The invocation log was closed.');
    const span = this.#async.consume(consumer, epoch);
    this.#sync.consume(consumer, epoch);
    let stopped: Promise<void> | undefined;
    return {
      settle: (delivery) => this.#settle(delivery),
      postpone: (delivery, change, notBeforeMs) => this.#postpone(delivery, change, notBeforeMs),
      undecided: () => undefined,
      stop: () => {
        stopped ??= span.ended ? Promise.resolve(this.#stopping) : this.#stop();
        return stopped;
      },
    };
  }

  #settle(delivery: Delivery): void {
    if (delivery instanceof SyncDelivery) this.#sync.settle(delivery);
    else if (delivery instanceof AsyncDelivery) this.#async.settle(delivery);
  }

  #postpone(delivery: Delivery, change: Pick<InvocationRecord, 'attempt' | 'throttles'>, notBeforeMs: number): Promise<void> {
    if (delivery instanceof AsyncDelivery) return this.#async.postpone(delivery, change, notBeforeMs);
    if (delivery instanceof SyncDelivery && this.#sync.postpone(delivery, change, notBeforeMs)) return DELIVERED;
    return Promise.reject(new LogUnavailableError(`Invocation ${delivery.head.id} cannot be postponed: it is settled.`));
  }

  #stop(): Promise<void> {
    this.#sync.stop();
    this.#stopping = this.#async.stop().finally(() => {
      this.#consuming = false;
      this.#stopping = undefined;
    });
    return this.#stopping;
  }

  backlog(): Promise<LogBacklog> {
    return this.#async.backlog();
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await this.#stopping;
    if (this.#consuming) await this.#stop();
    this.#sync.close();
    await this.#async.close();
  }
}
