import type { InvocationRecord } from '../model/invocation.ts';
import type { Logger } from '../telemetry/logger.ts';
import { AcknowledgementWindow, METADATA_FILL_LIMIT, type OffsetRun } from './acknowledgement-window.ts';
import { LogUnavailableError, type Delivery, type InvocationHead, type LogConsumer } from './invocation-log.ts';
import { parseHead, recordOf } from './record-head.ts';
import type { SqliteLogLink } from './sqlite-log-link.ts';
import { metadataScope, type LogPage, type LogRow, type PartitionState } from './sqlite-log-protocol.ts';

/** Payloads just appended that are kept in memory for their `load`; further ones are read back from the file. */
const RETAINED_BYTES_MAX = 32 * 1024 * 1024;
/** Larger payloads are not worth the room that many small ones could use. */
const RETAINED_RECORD_BYTES_MAX = 64 * 1024;
/** Rows fetched at once: enough to hide the way to the thread, few enough not to hold up the main loop. */
const PAGE_RECORDS_MAX = 256;
/** Settled records that may stay in the file above the watermark, waiting to be removed with it in one sweep. */
const KEPT_SETTLED_MAX = 4_096;

/** One span from `consume` to `stop`. What belongs to an earlier one is refused. */
export interface ConsumptionSpan {
  readonly consumer: LogConsumer;
  readonly epoch: number;
  retainedBytes: number;
  ended: boolean;
}

export class AsyncDelivery implements Delivery {
  readonly kind = 'async';
  readonly partition: number;
  readonly offset: number;
  readonly head: InvocationHead;
  readonly inherited: boolean;
  readonly span: ConsumptionSpan;
  /** `postponing`: the log settles it itself once its successor is durable. */
  state: 'unsettled' | 'postponing' | 'settled' = 'unsettled';
  #retained: InvocationRecord | undefined;
  readonly #link: SqliteLogLink;

  constructor(row: { readonly partition: number; readonly offset: number; readonly inherited: boolean }, head: InvocationHead, record: InvocationRecord | undefined, span: ConsumptionSpan, link: SqliteLogLink) {
    this.partition = row.partition;
    this.offset = row.offset;
    this.inherited = row.inherited;
    this.head = head;
    this.span = span;
    this.#link = link;
    const size = head.payloadBytes;
    if (record !== undefined && size <= RETAINED_RECORD_BYTES_MAX && span.retainedBytes + size <= RETAINED_BYTES_MAX) {
      this.#retained = record;
      span.retainedBytes += size;
    }
  }

  get epoch(): number {
    return this.span.epoch;
  }

  load(): Promise<InvocationRecord> {
    if (this.#retained !== undefined) return Promise.resolve(this.#retained);
    return new Promise((resolve, reject) => {
      this.#link.ask<'load'>(
        { do: 'load', partition: this.partition, offset: this.offset },
        (payload) => {
          if (payload === undefined) reject(new LogUnavailableError(`Invocation ${this.head.id} is not in the log any more: it was settled.`));
          else resolve(recordOf(this.head, Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)));
        },
        reject,
      );
    });
  }

  /** Takes back the memory. */
  finish(): void {
    this.state = 'settled';
    if (this.#retained === undefined) return;
    this.#retained = undefined;
    this.span.retainedBytes -= this.head.payloadBytes;
  }
}

export interface AsyncPartitionOptions {
  readonly index: number;
  readonly logUid: string;
  readonly state: PartitionState;
  readonly link: SqliteLogLink;
  readonly logger: Logger;
  /** The file could not be read: `retry` is to be called after a while. */
  readonly onUnreadable: () => void;
}

/**
 * One partition of the async lane, as the main thread sees it.
 *
 * It is either *level*: everything in the log was delivered, and what is appended is delivered straight from memory; or *behind*:
 * records wait in the file and are fetched in pages as deliveries are settled. It falls behind when an append finds no room (or no
 * consumer), and is level again after a page behind which there was nothing.
 */
export class AsyncPartition {
  readonly #index: number;
  readonly #scope: string;
  readonly #link: SqliteLogLink;
  readonly #logger: Logger;
  readonly #onUnreadable: () => void;
  #window: AcknowledgementWindow;
  /** One above the highest offset known to be in the log. */
  #next: number;
  /** Below this, records were delivered before by this or an earlier consumption: `left` of them are still to come again. */
  #replay: { readonly until: number; left: number };
  #span: ConsumptionSpan | undefined;
  /** Below this, records were in the log before the present consumption. */
  #inheritedUntil = 0;
  #behind = true;
  #fetching = false;

  constructor({ index, logUid, state, link, logger, onUnreadable }: AsyncPartitionOptions) {
    this.#index = index;
    this.#scope = metadataScope(logUid, index);
    this.#link = link;
    this.#logger = logger;
    this.#onUnreadable = onUnreadable;
    this.#window = new AcknowledgementWindow(state.watermark, state.settled);
    this.#next = state.next;
    this.#replay = { until: state.delivered, left: state.unsettled };
    if (state.ignored !== undefined) {
      logger.warn({ partition: index, watermark: state.watermark, why: state.ignored }, 'The notes on what is settled above the watermark cannot be used; the partition is replayed from there.');
    }
  }

  start(span: ConsumptionSpan): void {
    this.#span = span;
    this.#inheritedUntil = this.#next;
    this.#fetch();
  }

  /** What is unsettled will be delivered again to the next consumer. */
  stop(): void {
    this.#replay = { until: Math.max(this.#replay.until, this.#window.next), left: this.#window.unsettledCount + this.#left };
    this.#span = undefined;
    this.#behind = true;
    this.#fetching = false;
    this.#window = new AcknowledgementWindow(this.#window.watermark, [...this.#window.settledRuns()]);
  }

  get #left(): number {
    return this.#window.next < this.#replay.until ? this.#replay.left : 0;
  }

  /** Records in the log that were not delivered in this consumption. */
  get waiting(): number {
    return this.#next - Math.max(this.#window.next, this.#replay.until) + this.#left;
  }

  /** A record was appended, or a delayed one has become due. `record` where it is at hand. */
  appended(offset: number, head: InvocationHead | string, record?: InvocationRecord): void {
    this.#next = offset + 1;
    if (this.#span === undefined || this.#behind || this.#room <= 0) {
      this.#behind = true;
      this.#fetch();
    } else {
      this.#deliver({ partition: this.#index, offset }, head, record, this.#span);
    }
  }

  get #room(): number {
    return this.#span === undefined || this.#span.ended ? 0 : this.#span.consumer.maxInFlight - this.#window.unsettledCount;
  }

  #deliver(row: Omit<LogRow, 'head'>, stored: InvocationHead | string, record: InvocationRecord | undefined, span: ConsumptionSpan): void {
    if (!this.#window.deliver(row.offset)) return;
    if (row.offset < this.#replay.until) this.#replay.left--;
    const head = typeof stored === 'string' ? parseHead(stored) : stored;
    if (head === undefined) {
      // Unsettled for ever: it keeps its place in the file, where someone can still look at it.
      this.#logger.error({ partition: this.#index, offset: row.offset }, 'A record in the invocation log cannot be read; it is kept and passed over.');
      return;
    }
    span.consumer.deliver(new AsyncDelivery({ ...row, inherited: row.offset < this.#inheritedUntil }, head, record, span, this.#link));
  }

  #fetch(): void {
    const room = this.#room;
    if (!this.#behind || this.#fetching || room <= 0) return;
    const span = this.#span;
    this.#fetching = true;
    this.#link.ask<'page'>(
      { do: 'page', partition: this.#index, from: this.#window.next, limit: Math.min(room, PAGE_RECORDS_MAX) },
      (page) => {
        if (span !== undefined) this.#take(page, span);
      },
      (error) => {
        if (span === undefined || span !== this.#span) return;
        this.#fetching = false;
        this.#logger.error({ partition: this.#index, err: error }, 'Waiting invocations cannot be read from the log; it is tried again.');
        this.#onUnreadable();
      },
    );
  }

  #take(page: LogPage, span: ConsumptionSpan): void {
    for (const row of page.rows) {
      // Also in the middle of a page: a consumer that has asked to stop gets nothing more.
      if (this.#span !== span || span.ended) return;
      this.#deliver(row, row.head, undefined, span);
    }
    if (this.#span !== span) return;
    this.#fetching = false;
    this.#behind = page.more;
    this.#fetch();
  }

  /** Asks again for what could not be read. */
  retry(): void {
    this.#fetch();
  }

  /** Whether anything changed. */
  settle(delivery: AsyncDelivery): boolean {
    if (delivery.span !== this.#span || !this.#window.settle(delivery.offset)) return false;
    delivery.finish();
    this.#fetch();
    return true;
  }

  /** Writes down what is settled. */
  commit(failed: (error: LogUnavailableError) => void): void {
    const window = this.#window;
    const { watermark } = window;
    const kept = window.next - watermark - window.unsettledCount;
    const purge: OffsetRun[] = kept > KEPT_SETTLED_MAX || window.fill() >= METADATA_FILL_LIMIT ? [...window.settledRuns()] : [];
    this.#link.ask<'commit'>(
      { do: 'commit', partition: this.#index, watermark, metadata: window.encode(this.#scope), delivered: Math.max(window.next, this.#replay.until), purge },
      () => undefined,
      failed,
    );
  }
}
