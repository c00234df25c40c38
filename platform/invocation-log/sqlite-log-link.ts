import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { DataFileError, DataFolderInUseError } from '../sqlite/database.ts';
import { LogUnavailableError } from './invocation-log.ts';
import type { FromThread, LogBatch, LogOperation, LogResult, LogResults, LogState, Refusal, ThreadOptions, ToThread } from './sqlite-log-protocol.ts';

/** Appends that may wait for the disk at once; some seconds of the disk's work. Beyond it a caller is better off being told. */
export const PENDING_APPENDS_MAX = 20_000;
/** And their payloads together: 64 MiB is what a slow disk writes in a second. */
export const PENDING_BYTES_MAX = 64 * 1024 * 1024;
/** One transaction's worth: large enough that its fsync does not count, small enough that nobody waits long behind it. */
const BATCH_OPERATIONS_MAX = 2_000;
const BATCH_BYTES_MAX = 8 * 1024 * 1024;

interface Pending {
  readonly operation: LogOperation;
  readonly payload: Uint8Array | undefined;
  readonly done: (result: LogResult) => void;
  readonly failed: (error: LogUnavailableError) => void;
}

/**
 * The main thread's end of the log's thread. Whatever is asked while a batch is on its way becomes the next one: group commit.
 * Answers come in the order of asking, as calls and not as promises, so that none can overtake another.
 */
export class SqliteLogLink {
  readonly #worker: Worker;
  readonly #exited: Promise<unknown>;
  #waiting: Pending[] = [];
  #posted: Pending[] | undefined;
  #flushScheduled = false;
  #pendingAppends = 0;
  #pendingBytes = 0;
  #unavailable: string | undefined;
  #closing: Promise<void> | undefined;
  #drained: (() => void) | undefined;

  private constructor(worker: Worker) {
    this.#worker = worker;
    this.#exited = once(worker, 'exit');
    worker.on('message', (message: FromThread) => this.#receive(message));
  }

  /** Rejects with DataFolderInUseError or DataFileError. */
  static async open(options: ThreadOptions, onLost: (error: Error) => void): Promise<{ link: SqliteLogLink; state: LogState }> {
    const worker = new Worker(new URL('./sqlite-log-thread.ts', import.meta.url), { workerData: options, name: 'sluice-log' });
    const [message] = (await once(worker, 'message')) as [FromThread];
    if ('opened' in message) {
      const link = new SqliteLogLink(worker);
      worker.on('error', (error) => link.#lose(error instanceof Error ? error : new Error(String(error)), onLost));
      return { link, state: message.opened };
    }
    await worker.terminate();
    throw 'refused' in message ? errorOf(message.refused) : new Error('The log thread answered out of turn.');
  }

  /** Exactly one of `done` and `failed` is called, later. */
  ask<Kind extends LogOperation['do']>(
    operation: Extract<LogOperation, { readonly do: Kind }>,
    done: (result: LogResults[Kind]) => void,
    failed: (error: LogUnavailableError) => void,
  ): void {
    this.#enqueue({ operation, payload: undefined, done: done as (result: LogResult) => void, failed });
  }

  /** Durable when `done` is called with the offset. */
  append(partition: number, head: string, payload: Uint8Array, done: (offset: number) => void, failed: (error: LogUnavailableError) => void): void {
    if (this.#pendingAppends >= PENDING_APPENDS_MAX || this.#pendingBytes + payload.length > PENDING_BYTES_MAX) {
      const error = new LogUnavailableError(`${this.#pendingAppends} records with ${this.#pendingBytes} bytes wait for the log's disk already; try again later.`);
      queueMicrotask(() => failed(error));
      return;
    }
    this.#pendingAppends++;
    this.#pendingBytes += payload.length;
    this.#enqueue({ operation: { do: 'append', partition, head, payloadBytes: payload.length }, payload, done: done as (result: LogResult) => void, failed });
  }

  /** Resolves when everything asked so far was answered, well or badly. */
  flushed(): Promise<void> {
    return new Promise((resolve) => this.ask<'flush'>({ do: 'flush' }, resolve, () => resolve()));
  }

  #enqueue(pending: Pending): void {
    const refusal = this.#unavailable ?? (this.#closing === undefined ? undefined : 'The invocation log is closed.');
    if (refusal !== undefined) {
      this.#release([pending]);
      // Refused later, as everything here is answered later: a caller is never called back in the middle of asking.
      queueMicrotask(() => pending.failed(new LogUnavailableError(refusal)));
      return;
    }
    this.#waiting.push(pending);
    if (this.#posted === undefined && !this.#flushScheduled) {
      this.#flushScheduled = true;
      // After this turn's I/O: what arrived together shares the first batch.
      setImmediate(() => {
        this.#flushScheduled = false;
        this.#post();
      });
    }
  }

  #post(): void {
    if (this.#posted !== undefined || this.#unavailable !== undefined) return;
    if (this.#waiting.length === 0) {
      this.#drained?.();
      return;
    }
    let count = 0;
    let bytes = 0;
    for (const { payload } of this.#waiting) {
      const size = payload?.length ?? 0;
      if (count > 0 && (count >= BATCH_OPERATIONS_MAX || bytes + size > BATCH_BYTES_MAX)) break;
      count++;
      bytes += size;
    }
    this.#posted = this.#waiting.splice(0, count);
    // One buffer of the batch's own: cloning a slice would copy the whole pool or network buffer that it points into.
    const payloads = new Uint8Array(bytes);
    let at = 0;
    for (const { payload } of this.#posted) {
      if (payload === undefined) continue;
      payloads.set(payload, at);
      at += payload.length;
    }
    this.#send({ operations: this.#posted.map(({ operation }) => operation), payloads }, [payloads.buffer]);
  }

  #send(message: ToThread, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message satisfies LogBatch | 'close', transfer);
  }

  #receive(message: FromThread): void {
    const posted = this.#posted ?? [];
    this.#posted = undefined;
    this.#release(posted);
    // Before the answers: the thread works while they are handled here.
    this.#post();
    if ('results' in message) {
      posted.forEach((pending, i) => pending.done(message.results[i]));
    } else if ('failed' in message) {
      const error = new LogUnavailableError(`The invocation log cannot be written or read: ${message.failed}`);
      for (const pending of posted) pending.failed(error);
    }
    if (this.#posted === undefined) this.#post();
  }

  #release(settled: readonly Pending[]): void {
    for (const { payload } of settled) {
      if (payload === undefined) continue;
      this.#pendingAppends--;
      this.#pendingBytes -= payload.length;
    }
  }

  /** The thread died: nothing that it had not answered is known to be in the log. */
  #lose(cause: Error, onLost: (error: Error) => void): void {
    this.#unavailable = `The invocation log's thread has failed (${cause.message}); restart Sluice.`;
    const failed = [...(this.#posted ?? []), ...this.#waiting];
    this.#posted = undefined;
    this.#waiting = [];
    this.#release(failed);
    const error = new LogUnavailableError(this.#unavailable, { cause });
    for (const pending of failed) pending.failed(error);
    this.#drained?.();
    onLost(cause);
  }

  /** Finishes what was asked, then closes the file. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#unavailable === undefined && (this.#posted !== undefined || this.#waiting.length > 0)) {
      await new Promise<void>((resolve) => (this.#drained = resolve));
    }
    if (this.#unavailable === undefined) this.#send('close');
    await this.#exited;
  }
}

function errorOf(refusal: Refusal): Error {
  switch (refusal.kind) {
    case 'inUse':
      return new DataFolderInUseError(refusal.folder);
    case 'file':
      return new DataFileError(refusal.file, refusal.problem, refusal.remedy);
    case 'other':
      return new Error(refusal.message);
  }
}
