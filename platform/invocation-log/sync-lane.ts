import type { Clock, Timer } from '../clock.ts';
import { functionKey } from '../model/execution-spec.ts';
import type { InvocationRecord } from '../model/invocation.ts';
import { LogUnavailableError, partitionOf, type Delivery, type InvocationHead, type LogConsumer } from './invocation-log.ts';
import { headOf } from './record-head.ts';

/** Sync records that may be in the lane at once, delivered or not. Above what a gateway lets wait, so that its answer comes first. */
export const SYNC_RECORDS_MAX = 20_000;
/** And their payloads together. Their callers' buffers hold the same bytes; the lane adds nothing but its patience. */
export const SYNC_BYTES_MAX = 512 * 1024 * 1024;
/** Without a consumer fewer are kept: they wait for a controller that is just starting, or for nobody. */
export const SYNC_UNCONSUMED_MAX = 1_000;

export class SyncDelivery implements Delivery {
  readonly kind = 'sync';
  readonly partition: number;
  readonly offset: number;
  readonly head: InvocationHead;
  readonly record: InvocationRecord;
  epoch = 0;
  inherited = false;

  constructor(partition: number, offset: number, record: InvocationRecord) {
    this.partition = partition;
    this.offset = offset;
    this.head = headOf(record);
    this.record = record;
  }

  load(): Promise<InvocationRecord> {
    return Promise.resolve(this.record);
  }
}

/**
 * The lane of invocations whose callers wait, in memory: it needs to live no longer than they do. `append` delivers before it
 * returns; nothing stands between a caller and the scheduler.
 */
export class SyncLane {
  readonly #partitions: number;
  readonly #next: number[];
  readonly #unsettled = new Set<SyncDelivery>();
  readonly #clock: Clock;
  readonly #delayed = new Set<Timer>();
  #bytes = 0;
  #consumer: LogConsumer | undefined;
  #epoch = 0;

  constructor(partitions: number, clock: Clock) {
    this.#partitions = partitions;
    this.#clock = clock;
    this.#next = Array.from({ length: partitions }, () => 0);
  }

  /** The error when the lane is full; undefined: it is in the lane. */
  append(record: InvocationRecord): LogUnavailableError | undefined {
    const most = this.#consumer === undefined ? SYNC_UNCONSUMED_MAX : SYNC_RECORDS_MAX;
    if (this.#unsettled.size + this.#delayed.size >= most || this.#bytes + record.payload.length > SYNC_BYTES_MAX) {
      return new LogUnavailableError(`${this.#unsettled.size} synchronous invocations with ${this.#bytes} bytes are under way already; try again later.`);
    }
    const partition = partitionOf(functionKey(record.account, record.functionName), this.#partitions);
    const offset = this.#next[partition] ?? 0;
    this.#next[partition] = offset + 1;
    const delivery = new SyncDelivery(partition, offset, record);
    this.#unsettled.add(delivery);
    this.#bytes += record.payload.length;
    this.#deliver(delivery, false);
    return undefined;
  }

  /** Delivers what is unsettled, then whatever comes. */
  consume(consumer: LogConsumer, epoch: number): void {
    this.#consumer = consumer;
    this.#epoch = epoch;
    for (const delivery of [...this.#unsettled]) this.#deliver(delivery, true);
  }

  #deliver(delivery: SyncDelivery, inherited: boolean): void {
    if (this.#consumer === undefined) return;
    delivery.epoch = this.#epoch;
    delivery.inherited = inherited;
    this.#consumer.deliver(delivery);
  }

  stop(): void {
    this.#consumer = undefined;
  }

  settle(delivery: SyncDelivery): void {
    if (this.#unsettled.delete(delivery)) this.#bytes -= delivery.head.payloadBytes;
  }

  /** As {@link LogConsumption.postpone}, in memory; a delayed record that no longer finds room when it is due is dropped, as its caller will have left. */
  postpone(delivery: SyncDelivery, change: Pick<InvocationRecord, 'attempt' | 'throttles'>, notBeforeMs: number): boolean {
    if (!this.#unsettled.has(delivery)) return false;
    this.settle(delivery);
    const timer = this.#clock.at(notBeforeMs, () => {
      this.#delayed.delete(timer);
      this.append({ ...delivery.record, ...change });
    });
    this.#delayed.add(timer);
    return true;
  }

  close(): void {
    this.stop();
    for (const timer of this.#delayed) timer.cancel();
    this.#delayed.clear();
    this.#unsettled.clear();
  }
}
