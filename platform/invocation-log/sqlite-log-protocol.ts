import type { OffsetRun } from './acknowledgement-window.ts';

/**
 * What the main thread and the log's thread say to each other. A batch of operations runs in one transaction and is answered as
 * one, in order, after the commit: so all who wait share one fsync, and what is answered is durable.
 */
export type LogOperation =
  /** Answered with the record's offset. The payload is the next `payloadBytes` of the batch's payloads. */
  | { readonly do: 'append'; readonly partition: number; readonly head: string; readonly payloadBytes: number }
  | { readonly do: 'load'; readonly partition: number; readonly offset: number }
  | { readonly do: 'page'; readonly partition: number; readonly from: number; readonly limit: number }
  | {
      readonly do: 'commit';
      readonly partition: number;
      readonly watermark: number;
      readonly metadata: string;
      /** One above the highest offset delivered. */
      readonly delivered: number;
      /** Settled records above the watermark that are to be removed already. */
      readonly purge: readonly OffsetRun[];
    }
  /** Answered with false when the record is not there. */
  | { readonly do: 'postpone'; readonly partition: number; readonly offset: number; readonly attempt: number; readonly throttles: number; readonly notBeforeMs: number }
  /** Moves delayed records that are due into their partitions. */
  | { readonly do: 'promote'; readonly nowMs: number; readonly limit: number }
  /** Does nothing; its answer says that everything asked before it was answered. */
  | { readonly do: 'flush' };

export interface LogResults {
  append: number;
  load: Uint8Array | undefined;
  page: LogPage;
  commit: undefined;
  postpone: boolean;
  promote: Promotion;
  flush: undefined;
}

export type LogResult = LogResults[keyof LogResults];

export interface LogRow {
  readonly partition: number;
  readonly offset: number;
  readonly head: string;
}

export interface LogPage {
  readonly rows: readonly LogRow[];
  /** Whether there are rows behind the page. */
  readonly more: boolean;
}

export interface Promotion {
  readonly rows: readonly LogRow[];
  /** When the earliest record that is still delayed is due. */
  readonly nextDueMs: number | undefined;
}

/** What the file held when it was opened. */
export interface LogState {
  /** Names this file among all; see {@link metadataScope}. */
  readonly uid: string;
  /** How often the file was opened, this time included. */
  readonly openings: number;
  readonly partitions: readonly PartitionState[];
  readonly delayed: number;
  readonly nextDueMs: number | undefined;
}

export interface PartitionState {
  readonly watermark: number;
  readonly settled: readonly OffsetRun[];
  /** The stored metadata could not be used: the partition is replayed from its watermark. */
  readonly ignored?: 'foreign' | 'stale';
  readonly delivered: number;
  readonly next: number;
  /** How many records below `delivered` are not settled. */
  readonly unsettled: number;
}

/** Under which scope a partition's metadata is encoded and decoded: a file's metadata says nothing about another file. */
export function metadataScope(uid: string, partition: number): string {
  return `${uid}/${partition}`;
}

export interface LogBatch {
  readonly operations: readonly LogOperation[];
  /** All appends' payloads in order; transferred, not copied. */
  readonly payloads: Uint8Array;
}

export type ToThread = LogBatch | 'close';

export type FromThread =
  | { readonly opened: LogState }
  /** Opening failed: errors lose their class between threads, so what they are made of travels. */
  | { readonly refused: Refusal }
  | { readonly results: readonly LogResult[] }
  /** The transaction was rolled back: none of the batch happened. */
  | { readonly failed: string };

export type Refusal =
  | { readonly kind: 'inUse'; readonly folder: string }
  | { readonly kind: 'file'; readonly file: string; readonly problem: string; readonly remedy: string }
  | { readonly kind: 'other'; readonly message: string };

export interface ThreadOptions {
  readonly file: string;
  readonly partitions: number;
}
