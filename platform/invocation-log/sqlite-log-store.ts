import { randomUUID } from 'node:crypto';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { openDatabase, type DatabaseFormat } from '../sqlite/database.ts';
import { decodeSettled } from './acknowledgement-window.ts';
import { metadataScope, type LogBatch, type LogOperation, type LogPage, type LogResult, type LogRow, type LogState, type PartitionState, type Promotion } from './sqlite-log-protocol.ts';

/**
 * A record's row id is its partition and offset in one number, so that one B-tree holds every partition in order. 2^44 offsets
 * are fifty years at 10,000 per second; 512 partitions fill JavaScript's safe integers.
 */
const OFFSETS = 2 ** 44;
export const PARTITIONS_MAX = 512;

/** `Sluc`, and the file's format. Format 1: what is below. `openings` counts the processes that have had the file. */
const FORMAT: DatabaseFormat = {
  applicationId: 0x536c7563,
  version: 1,
  schema: `
    CREATE TABLE log (uid TEXT NOT NULL, partitions INTEGER NOT NULL, openings INTEGER NOT NULL);
    CREATE TABLE partition (
      partition INTEGER PRIMARY KEY,
      watermark INTEGER NOT NULL,
      metadata TEXT NOT NULL,
      delivered INTEGER NOT NULL,
      next INTEGER NOT NULL
    );
    CREATE TABLE record (id INTEGER PRIMARY KEY, head TEXT NOT NULL, payload BLOB NOT NULL);
    CREATE TABLE delayed (
      id INTEGER PRIMARY KEY,
      not_before INTEGER NOT NULL,
      partition INTEGER NOT NULL,
      head TEXT NOT NULL,
      payload BLOB NOT NULL
    );
    CREATE INDEX delayed_by_time ON delayed (not_before, id)`,
};

/** The log's file. Synchronous; lives in the log's own thread. */
export class LogStore {
  readonly #database: DatabaseSync;
  readonly #uid: string;
  readonly #openings: number;
  readonly #next: number[];
  readonly #statements: ReturnType<typeof prepareStatements>;

  /** Throws DataFolderInUseError or DataFileError. `partitions` counts only for a new file. */
  constructor(file: string, partitions: number) {
    this.#database = openDatabase(file, FORMAT);
    if (this.#database.prepare('SELECT 1 FROM log').get() === undefined) this.#initialize(partitions);
    const row = this.#database.prepare('UPDATE log SET openings = openings + 1 RETURNING uid, openings').get();
    this.#uid = String(row?.uid);
    this.#openings = Number(row?.openings);
    this.#statements = prepareStatements(this.#database);
    this.#next = this.#database
      .prepare('SELECT partition, next FROM partition ORDER BY partition')
      .all()
      .map((row) => Math.max(Number(row.next), this.#lastOffset(Number(row.partition)) + 1));
  }

  #initialize(partitions: number): void {
    this.#database.exec('BEGIN');
    this.#database.prepare('INSERT INTO log VALUES (?, ?, 0)').run(randomUUID(), partitions);
    const insert = this.#database.prepare(`INSERT INTO partition VALUES (?, 0, '', 0, 0)`);
    for (let partition = 0; partition < partitions; partition++) insert.run(partition);
    this.#database.exec('COMMIT');
  }

  #lastOffset(partition: number): number {
    const last = this.#statements.last.get(rowId(partition, 0), rowId(partition + 1, 0));
    return last === undefined ? -1 : Number(last.id) - rowId(partition, 0);
  }

  state(): LogState {
    const rows = this.#database.prepare('SELECT * FROM partition ORDER BY partition').all();
    return {
      uid: this.#uid,
      openings: this.#openings,
      partitions: rows.map((row) => this.#partitionState(Number(row.partition), Number(row.watermark), String(row.metadata), Number(row.delivered), Number(row.next))),
      delayed: Number(this.#database.prepare('SELECT count(*) AS count FROM delayed').get()?.count),
      nextDueMs: this.#nextDueMs(),
    };
  }

  #partitionState(partition: number, watermark: number, metadata: string, delivered: number, committedNext: number): PartitionState {
    // Against the end as committed, not as it is now: offsets given out after the commit cannot have been settled by it.
    const decoded = decodeSettled(metadata, { scope: metadataScope(this.#uid, partition), watermark, end: committedNext });
    const rowsIn = (start: number, end: number): number => Number(this.#statements.count.get(rowId(partition, start), rowId(partition, end))?.count);
    let unsettled = rowsIn(watermark, delivered);
    for (const run of decoded.settled) unsettled -= rowsIn(run.start, run.end);
    return {
      watermark,
      settled: decoded.settled,
      ...(decoded.ignored === undefined ? {} : { ignored: decoded.ignored }),
      delivered,
      next: this.#next[partition] ?? 0,
      unsettled,
    };
  }

  /** Runs a batch in one transaction. Throws, and has then changed nothing. */
  run(batch: LogBatch): LogResult[] {
    this.#database.exec('BEGIN');
    try {
      let at = 0;
      const results = batch.operations.map((operation) => {
        if (operation.do !== 'append') return this.#run(operation);
        const payload = batch.payloads.subarray(at, at + operation.payloadBytes);
        at += operation.payloadBytes;
        const offset = this.#takeOffset(operation.partition);
        this.#statements.append.run(rowId(operation.partition, offset), operation.head, payload);
        return offset;
      });
      this.#database.exec('COMMIT');
      return results;
    } catch (error) {
      // A full disk can have ended the transaction already; a second rollback would hide the cause.
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  #run(operation: Exclude<LogOperation, { do: 'append' }>): LogResult {
    switch (operation.do) {
      case 'load':
        return this.#statements.load.get(rowId(operation.partition, operation.offset))?.payload as Uint8Array | undefined;
      case 'page':
        return this.#page(operation.partition, operation.from, operation.limit);
      case 'commit':
        return this.#commit(operation);
      case 'postpone': {
        const id = rowId(operation.partition, operation.offset);
        const moved = this.#statements.postpone.run(operation.notBeforeMs, operation.partition, operation.attempt, operation.throttles, id);
        this.#statements.remove.run(id, id + 1);
        return moved.changes === 1;
      }
      case 'promote':
        return this.#promote(operation.nowMs, operation.limit);
      case 'flush':
        return undefined;
    }
  }

  #page(partition: number, from: number, limit: number): LogPage {
    const base = rowId(partition, 0);
    const rows = this.#statements.page.all(rowId(partition, from), rowId(partition + 1, 0), limit + 1);
    const more = rows.length > limit;
    return { rows: rows.slice(0, limit).map((row): LogRow => ({ partition, offset: Number(row.id) - base, head: String(row.head) })), more };
  }

  #commit(commit: Extract<LogOperation, { do: 'commit' }>): undefined {
    const { partition } = commit;
    this.#statements.commit.run(commit.watermark, commit.metadata, commit.delivered, this.#next[partition] ?? 0, partition);
    this.#statements.remove.run(rowId(partition, 0), rowId(partition, commit.watermark));
    for (const run of commit.purge) this.#statements.remove.run(rowId(partition, run.start), rowId(partition, run.end));
  }

  #promote(nowMs: number, limit: number): Promotion {
    const rows = this.#statements.due.all(nowMs, limit).map((row): LogRow => {
      const partition = Number(row.partition);
      const offset = this.#takeOffset(partition);
      this.#statements.promote.run(rowId(partition, offset), Number(row.id));
      this.#statements.removeDelayed.run(Number(row.id));
      return { partition, offset, head: String(row.head) };
    });
    return { rows, nextDueMs: this.#nextDueMs() };
  }

  #nextDueMs(): number | undefined {
    const earliest = this.#statements.earliest.get()?.earliest;
    return earliest === null || earliest === undefined ? undefined : Number(earliest);
  }

  /** After a failed batch the offset stays unused: offsets may leave gaps, but never come twice. */
  #takeOffset(partition: number): number {
    const offset = this.#next[partition];
    if (offset === undefined) throw new RangeError(`The log has no partition ${partition}; it has ${this.#next.length}.`);
    this.#next[partition] = offset + 1;
    return offset;
  }

  close(): void {
    this.#database.close();
  }
}

function rowId(partition: number, offset: number): number {
  return partition * OFFSETS + offset;
}

function prepareStatements(database: DatabaseSync): Readonly<Record<'append' | 'load' | 'page' | 'last' | 'count' | 'commit' | 'remove' | 'postpone' | 'due' | 'promote' | 'removeDelayed' | 'earliest', StatementSync>> {
  return {
    append: database.prepare('INSERT INTO record (id, head, payload) VALUES (?, ?, ?)'),
    load: database.prepare('SELECT payload FROM record WHERE id = ?'),
    page: database.prepare('SELECT id, head FROM record WHERE id >= ? AND id < ? ORDER BY id LIMIT ?'),
    last: database.prepare('SELECT id FROM record WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT 1'),
    count: database.prepare('SELECT count(*) AS count FROM record WHERE id >= ? AND id < ?'),
    commit: database.prepare('UPDATE partition SET watermark = ?, metadata = ?, delivered = ?, next = ? WHERE partition = ?'),
    remove: database.prepare('DELETE FROM record WHERE id >= ? AND id < ?'),
    // Changed in place, so that members written by a newer release survive the way through an older one.
    postpone: database.prepare(`INSERT INTO delayed (not_before, partition, head, payload)
      SELECT ?, ?, json_set(head, '$.attempt', CAST(? AS INTEGER), '$.throttles', CAST(? AS INTEGER)), payload FROM record WHERE id = ?`),
    due: database.prepare('SELECT id, partition, head FROM delayed WHERE not_before <= ? ORDER BY not_before, id LIMIT ?'),
    promote: database.prepare('INSERT INTO record (id, head, payload) SELECT ?, head, payload FROM delayed WHERE id = ?'),
    removeDelayed: database.prepare('DELETE FROM delayed WHERE id = ?'),
    earliest: database.prepare('SELECT min(not_before) AS earliest FROM delayed'),
  };
}
