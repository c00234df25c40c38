import type { InvocationKind, InvocationRecord } from '../model/invocation.ts';

/**
 * Port: the log between gateways and controllers.
 *
 * Two lanes, `sync` and `async`, of a fixed number of partitions; an invocation's partition follows from its function
 * ({@link partitionOf}), so one consumer sees all of a function's invocations.
 *
 * Promises of every driver:
 * - *Durable append*: an async record has survived the death of this process and the machine's power when `append` resolves. The sync lane
 *   needs to live no longer than its caller.
 * - *At least once*: every async record appended is delivered until it is settled, also to a later process.
 * - *Any order of settling*: records may be settled in any order; one that is never settled never causes others to be delivered twice,
 *   except after a crash, and then only those settled in the last moments before it.
 * - *Bounded*: at most `maxInFlight` deliveries of a partition are unsettled at a time; the rest waits in the log, not in memory.
 *   Delayed records take no place in it until they are due.
 */
export interface InvocationLog {
  readonly partitions: number;
  /**
   * Appends a record to the lane of its kind. Rejects with {@link LogUnavailableError} when the log cannot take it now; it is then not
   * in the log.
   */
  append(record: InvocationRecord): Promise<void>;
  /** Starts delivering. One consumer at a time per log handle; a second call rejects. */
  consume(consumer: LogConsumer): Promise<LogConsumption>;
  /** How many async records are waiting: not yet delivered, and delayed. Approximate while records move. */
  backlog(): Promise<LogBacklog>;
  /** Stops delivering, flushes what was settled, releases everything. Idempotent. */
  close(): Promise<void>;
}

export interface LogBacklog {
  readonly waiting: number;
  readonly delayed: number;
}

export interface LogConsumer {
  /** At most this many unsettled async deliveries per partition. */
  readonly maxInFlight: number;
  /** Called for each delivery, in order of appending within a partition and lane. Must not throw and must not block. */
  deliver(delivery: Delivery): void;
}

export interface Delivery {
  readonly kind: InvocationKind;
  readonly partition: number;
  /** Position in its partition and lane; with `partition` and `kind` it names the delivery. */
  readonly offset: number;
  /**
   * The record without its payload, so that a backlog costs little memory; `load` brings the whole one.
   */
  readonly head: InvocationHead;
  /** The whole record. May be called more than once until settled. Rejects with {@link LogUnavailableError}. */
  load(): Promise<InvocationRecord>;
}

export type InvocationHead = Omit<InvocationRecord, 'payload'> & { readonly payloadBytes: number };

export interface LogConsumption {
  /** Done with for good. Takes effect durably in the background, within {@link SETTLE_INTERVAL_MS}. Idempotent. */
  settle(delivery: Delivery): void;
  /**
   * Settles a delivery and appends its record again, changed as given, to be delivered no earlier than `notBeforeMs`: one step that is
   * durable before it resolves; a crash leaves the one or the other, never neither.
   */
  postpone(delivery: Delivery, change: Pick<InvocationRecord, 'attempt' | 'throttles'>, notBeforeMs: number): Promise<void>;
  /** Stops delivering, flushes what was settled. Unsettled records are delivered to the next consumer. Idempotent. */
  stop(): Promise<void>;
}

/** How long a settled record may be delivered again by a crash. */
export const SETTLE_INTERVAL_MS = 100;

/** The log cannot take or give records now. The caller may try again; the record was not accepted. */
export class LogUnavailableError extends Error {
  override readonly name = 'LogUnavailableError';
}

/** FNV-1a over UTF-16 code units: the home partition of `account/function`. Part of the log's format: changing it moves every function. */
export function partitionOf(functionKey: string, partitions: number): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < functionKey.length; i++) {
    hash = Math.imul(hash ^ functionKey.charCodeAt(i), 0x01000193);
  }
  return (hash >>> 0) % partitions;
}
