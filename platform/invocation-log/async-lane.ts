import type { Clock, Timer } from '../clock.ts';
import { functionKey } from '../model/execution-spec.ts';
import type { InvocationRecord } from '../model/invocation.ts';
import type { Logger } from '../telemetry/logger.ts';
import { AsyncPartition, type AsyncDelivery, type ConsumptionSpan } from './async-partition.ts';
import { LogUnavailableError, partitionOf, SETTLE_INTERVAL_MS, type LogBacklog, type LogConsumer } from './invocation-log.ts';
import { headOf } from './record-head.ts';
import type { SqliteLogLink } from './sqlite-log-link.ts';
import type { LogState } from './sqlite-log-protocol.ts';

/** Delayed records moved in one transaction: with payloads of 1 MiB a second's work of a slow disk. */
const PROMOTE_RECORDS_MAX = 100;
/** After the file could not be read or written, wait this long before trying again. */
const RETRY_MS = 1_000;

export interface AsyncLaneOptions {
  readonly link: SqliteLogLink;
  readonly state: LogState;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The lane of invocations that must not be lost: in the log's file before they are accepted, in it until they are settled. */
export class AsyncLane {
  readonly #link: SqliteLogLink;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #partitions: readonly AsyncPartition[];
  readonly #changed = new Set<AsyncPartition>();
  readonly #postponements = new Set<Promise<void>>();
  #commitTimer: Timer | undefined;
  #retryTimer: Timer | undefined;
  #dueTimer: Timer | undefined;
  #dueMs: number | undefined;
  #promoting = false;
  #delayed: number;
  #span: ConsumptionSpan | undefined;
  #closed = false;

  constructor({ link, state, clock, logger }: AsyncLaneOptions) {
    this.#link = link;
    this.#clock = clock;
    this.#logger = logger;
    this.#partitions = state.partitions.map(
      (partition, index) => new AsyncPartition({ index, logUid: state.uid, state: partition, link, logger, onUnreadable: () => this.#retrySoon() }),
    );
    this.#delayed = state.delayed;
    this.#expectDue(state.nextDueMs);
  }

  append(record: InvocationRecord): Promise<void> {
    const index = partitionOf(functionKey(record.account, record.functionName), this.#partitions.length);
    const partition = this.#partition(index);
    const head = headOf(record);
    return new Promise((resolve, reject) => {
      this.#link.append(
        index,
        JSON.stringify(head),
        record.payload,
        (offset) => {
          resolve();
          partition.appended(offset, head, record);
        },
        reject,
      );
    });
  }

  consume(consumer: LogConsumer, epoch: number): ConsumptionSpan {
    const span: ConsumptionSpan = { consumer, epoch, retainedBytes: 0, ended: false };
    this.#span = span;
    for (const partition of this.#partitions) partition.start(span);
    return span;
  }

  settle(delivery: AsyncDelivery): void {
    if (delivery.span.ended || delivery.state !== 'unsettled') return;
    this.#settled(delivery);
  }

  #settled(delivery: AsyncDelivery): void {
    const partition = this.#partition(delivery.partition);
    if (partition.settle(delivery)) this.#commitSoon(partition);
  }

  #commitSoon(partition: AsyncPartition): void {
    this.#changed.add(partition);
    this.#commitTimer ??= this.#clock.at(this.#clock.now() + SETTLE_INTERVAL_MS, () => this.#commit());
  }

  #commit(): void {
    this.#commitTimer?.cancel();
    this.#commitTimer = undefined;
    const changed = [...this.#changed];
    this.#changed.clear();
    for (const partition of changed) {
      partition.commit((error) => {
        this.#logger.error({ err: error }, 'What was settled could not be written down; it is tried again.');
        if (!this.#closed) this.#commitSoon(partition);
      });
    }
  }

  postpone(delivery: AsyncDelivery, change: Pick<InvocationRecord, 'attempt' | 'throttles'>, notBeforeMs: number): Promise<void> {
    if (delivery.span.ended || delivery.state !== 'unsettled') {
      return Promise.reject(new LogUnavailableError(`Invocation ${delivery.head.id} cannot be postponed: its delivery is settled or belongs to a consumption that has ended.`));
    }
    delivery.state = 'postponing';
    const postponement = new Promise<void>((resolve, reject) => {
      const { partition, offset } = delivery;
      this.#link.ask<'postpone'>(
        { do: 'postpone', partition, offset, attempt: change.attempt, throttles: change.throttles, notBeforeMs },
        (moved) => {
          if (moved) {
            this.#delayed++;
            this.#settled(delivery);
            this.#expectDue(notBeforeMs);
            resolve();
          } else {
            reject(new LogUnavailableError(`Invocation ${delivery.head.id} cannot be postponed: it is not in the log any more.`));
          }
        },
        (error) => {
          delivery.state = 'unsettled';
          reject(error);
        },
      );
    });
    const outcome = postponement.catch(() => undefined);
    this.#postponements.add(outcome);
    void outcome.then(() => this.#postponements.delete(outcome));
    return postponement;
  }

  /** Sets the timer for the earliest delayed record. */
  #expectDue(dueMs: number | undefined): void {
    if (dueMs === undefined || this.#closed || (this.#dueMs !== undefined && this.#dueMs <= dueMs)) return;
    this.#dueTimer?.cancel();
    this.#dueMs = dueMs;
    this.#dueTimer = this.#clock.at(dueMs, () => {
      this.#dueMs = undefined;
      this.#promote();
    });
  }

  #promote(): void {
    if (this.#promoting) return;
    this.#promoting = true;
    this.#link.ask<'promote'>(
      { do: 'promote', nowMs: this.#clock.now(), limit: PROMOTE_RECORDS_MAX },
      ({ rows, nextDueMs }) => {
        this.#promoting = false;
        this.#delayed -= rows.length;
        for (const row of rows) this.#partition(row.partition).appended(row.offset, row.head);
        this.#expectDue(nextDueMs);
      },
      (error) => {
        this.#promoting = false;
        this.#logger.error({ err: error }, 'Delayed invocations that are due cannot be moved; it is tried again.');
        this.#expectDue(this.#clock.now() + RETRY_MS);
      },
    );
  }

  #retrySoon(): void {
    if (this.#closed) return;
    this.#retryTimer ??= this.#clock.at(this.#clock.now() + RETRY_MS, () => {
      this.#retryTimer = undefined;
      for (const partition of this.#partitions) partition.retry();
    });
  }

  backlog(): Promise<LogBacklog> {
    const waiting = this.#partitions.reduce((sum, partition) => sum + partition.waiting, 0);
    return Promise.resolve({ waiting, delayed: this.#delayed });
  }

  /** Ends the consumption; resolves when what was settled is durable. */
  async stop(): Promise<void> {
    if (this.#span === undefined) return;
    this.#span.ended = true;
    await Promise.all(this.#postponements);
    this.#commit();
    for (const partition of this.#partitions) partition.stop();
    this.#span = undefined;
    await this.#link.flushed();
  }

  async close(): Promise<void> {
    await this.stop();
    this.#closed = true;
    this.#dueTimer?.cancel();
    this.#commitTimer?.cancel();
    this.#retryTimer?.cancel();
    await this.#link.close();
  }

  #partition(index: number): AsyncPartition {
    const partition = this.#partitions[index];
    if (partition === undefined) throw new RangeError(`The log has no partition ${index}; it has ${this.#partitions.length}.`);
    return partition;
  }
}
