import type { FunctionKey } from '../model/execution-spec.ts';
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
  /** Starts delivering; resolves once the consumer has its first partitions, or there are others who have them all. One consumer at a time per log handle; a second call rejects. */
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

/**
 * Who takes deliveries. A partition belongs to one consumer at a time, among all processes that share the log (invariant 2): between its
 * `assigned` and its `revoked`, nobody else is given deliveries of it. None of the methods may throw.
 */
export interface LogConsumer {
  /** At most this many unsettled async deliveries per partition. */
  readonly maxInFlight: number;
  /**
   * How many unsettled async deliveries of a function the consumer has use for at this moment, at least 1. What is beyond waits in the log
   * and stands in nobody's way. A hint: a driver for a log that only one process uses may disregard it.
   */
  inFlightWanted(functionKey: FunctionKey): number;
  /**
   * These partitions are this consumer's from now on. Deliveries of them begin once the promise has resolved, so that what an earlier owner
   * left running can be found out first. May come any number of times, for partitions that are not assigned already.
   */
  assigned(assignment: PartitionAssignment): Promise<void>;
  /**
   * These partitions may be another consumer's from now on. Deliveries of them that are unsettled are void: settling them does
   * nothing, postponing them rejects; the next owner gets them. Not called by `stop`.
   */
  revoked(partitions: readonly number[]): void;
  /** Called for each delivery, in order of appending within a partition, lane and function. Must not block. */
  deliver(delivery: Delivery): void;
}

export interface PartitionAssignment {
  readonly partitions: readonly number[];
  /** Greater than that of every earlier assignment of any of these partitions to anyone. */
  readonly epoch: number;
}

export interface Delivery {
  readonly kind: InvocationKind;
  readonly partition: number;
  /** Position in its partition and lane. */
  readonly offset: number;
  /** Of the {@link PartitionAssignment} under which it is made. */
  readonly epoch: number;
  /** It was in the log before this assignment, so an earlier owner may have given it out already. */
  readonly inherited: boolean;
  /**
   * The record without its payload, so that a backlog costs little memory; `load` brings the whole one.
   */
  readonly head: InvocationHead;
  /**
   * The whole record; its payload may have stayed where its {@link InvocationRecord.claim} says. May be called more than once until
   * settled. Rejects with {@link LogUnavailableError}.
   */
  load(): Promise<InvocationRecord>;
}

export type InvocationHead = Omit<InvocationRecord, 'payload'> & { readonly payloadBytes: number };

export interface LogConsumption {
  /** Done with for good; a payload that was kept elsewhere is removed. Takes effect durably in the background, within {@link SETTLE_INTERVAL_MS}. Idempotent. */
  settle(delivery: Delivery): void;
  /**
   * Settles a delivery and appends its record again, changed as given, to be delivered no earlier than `notBeforeMs`: one step that is
   * durable before it resolves; a crash leaves the one or the other, never neither.
   */
  postpone(delivery: Delivery, change: Pick<InvocationRecord, 'attempt' | 'throttles'>, notBeforeMs: number): Promise<void>;
  /**
   * Undefined: what is settled now takes effect. Otherwise partitions are being divided anew among consumers, and what is settled meanwhile of one that goes to another consumer may
   * be delivered there again; resolves when that is decided, and after {@link UNDECIDED_MAX_MS} in any case.
   */
  undecided(): Promise<void> | undefined;
  /** Stops delivering, flushes what was settled. Unsettled records are delivered to the next consumer. Idempotent. */
  stop(): Promise<void>;
}

/** How long a settled record may be delivered again by a crash. */
export const SETTLE_INTERVAL_MS = 100;

/** For longer than this nobody is to wait for a decision that may cost a second run. */
export const UNDECIDED_MAX_MS = 2_000;

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
