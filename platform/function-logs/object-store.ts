import { randomUUID } from 'node:crypto';
import type { Clock, Timer } from '../clock.ts';
import type { ObjectStore } from '../object-store/object-store.ts';
import type { ExpiryRule } from '../object-store/s3/lifecycle.ts';
import type { Logger } from '../telemetry/logger.ts';
import { NoSuchLogGroupError, type FunctionLogs, type LogEvent, type LogPage, type LogQuery, type LogStreamSummary } from './function-logs.ts';
import { GroupWriter, sizeOf, type WriterContext } from './object-store/group-writer.ts';
import { Groups } from './object-store/groups.ts';
import { ODD_SEGMENTS, SEGMENTS, STREAMS, type Generation } from './object-store/names.ts';
import { GroupReader } from './object-store/read-group.ts';
import { Streams } from './object-store/streams.ts';

/** The bucket of the functions' logs. */
export const LOGS_BUCKET = 'sluice-logs';

/** What of {@link LOGS_BUCKET} expires for logs to be kept so many days, at least 1. Groups stay, as in CloudWatch Logs. */
export function logsExpiry(retentionDays: number): readonly ExpiryRule[] {
  return [SEGMENTS, STREAMS, ODD_SEGMENTS].map((prefix) => ({ prefix, afterDays: retentionDays }));
}

export interface ObjectFunctionLogsOptions {
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly bucket?: string;
  /** For tests of the bounds. */
  readonly limits?: { readonly bufferedBytes?: number; readonly segmentBytes?: number; readonly pageSegments?: number };
}

/** Events wait this long for others to be written with: each write is a request. */
const FLUSH_INTERVAL_MS = 1_000;
/** What may wait to be written, in this process: some seconds of what a store takes, and what functions print in a minute or more while it is away. */
const MAX_BUFFERED_BYTES = 32 * 1024 * 1024;
/** A segment that has reached this is written at once. */
const SEGMENT_BYTES = 1024 * 1024;
/** One page reads some hundred megabytes at most; a search that finds little goes on with its cursor. */
const PAGE_SEGMENTS = 200;
/** Groups that are written side by side. */
const PARALLEL_GROUPS = 8;
/** While the store is away, it is asked again after this, and after longer each time. */
const RETRY_FIRST_MS = 1_000;
const RETRY_MAX_MS = 30_000;
/** How long `close` tries to write what waits. */
const CLOSE_PATIENCE_MS = 5_000;
const CLOSE_RETRY_MS = 250;

/**
 * Function logs of several processes in one object store. What was printed in the last {@link FLUSH_INTERVAL_MS} before a crash is lost;
 * while the store is away events wait up to the bound of the buffer.
 *
 * Events are in order of time as far as they were written together; those of different processes are in the order in which they were written, some
 * second apart. One that comes late, with an older time, stands where it came: who follows a log by cursor gets it, and a query by time finds it.
 * Nobody who follows misses an event, and nobody gets one twice.
 */
export async function openObjectFunctionLogs(options: ObjectFunctionLogsOptions): Promise<FunctionLogs> {
  await options.store.createBucket(options.bucket ?? LOGS_BUCKET);
  return new ObjectFunctionLogs(options);
}

class ObjectFunctionLogs implements FunctionLogs {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #groups: Groups;
  readonly #streams: Streams;
  readonly #reader: GroupReader;
  readonly #context: WriterContext;
  readonly #maxBufferedBytes: number;
  readonly #writers = new Map<string, GroupWriter>();
  #bufferedBytes = 0;
  #timer: Timer | undefined;
  #timerAtMs = Infinity;
  #flushing: Promise<void> | undefined;
  #failures = 0;
  #retryAtMs = 0;
  #closing: Promise<void> | undefined;

  constructor({ store, clock, logger, bucket = LOGS_BUCKET, limits = {} }: ObjectFunctionLogsOptions) {
    this.#clock = clock;
    this.#logger = logger;
    this.#groups = new Groups(store, bucket, clock);
    this.#streams = new Streams(store, bucket, clock);
    this.#reader = new GroupReader({ store, bucket, groups: this.#groups, pageSegments: limits.pageSegments ?? PAGE_SEGMENTS });
    const writer = randomUUID();
    let segments = 0;
    this.#context = { store, bucket, clock, groups: this.#groups, streams: this.#streams, segmentBytes: limits.segmentBytes ?? SEGMENT_BYTES, newId: () => `${writer}-${(segments += 1)}` };
    this.#maxBufferedBytes = limits.bufferedBytes ?? MAX_BUFFERED_BYTES;
  }

  append(group: string, stream: string, events: readonly LogEvent[]): void {
    if (this.#closing !== undefined || events.length === 0) return;
    const writer = this.#writerOf(group);
    const bytes = sizeOf(events);
    if (this.#bufferedBytes + bytes > this.#maxBufferedBytes) {
      writer.drop(stream, events);
    } else {
      this.#bufferedBytes += bytes;
      writer.add(stream, events);
    }
    const isFull = writer.bytes >= this.#context.segmentBytes;
    this.#wakeAt(Math.max(this.#retryAtMs, this.#clock.now() + (isFull ? 0 : FLUSH_INTERVAL_MS)));
  }

  async flush(): Promise<void> {
    // One that is under way may have begun before what was appended last.
    await this.#flushing?.catch(() => undefined);
    await this.#flush('all');
  }

  async filter(query: LogQuery): Promise<LogPage> {
    const generation = await this.#generation(query.group);
    return this.#reader.page(generation, query);
  }

  async listStreams(group: string, prefix: string): Promise<readonly LogStreamSummary[]> {
    const generation = await this.#generation(group);
    return this.#streams.list(generation, prefix);
  }

  async listGroups(prefix: string): Promise<readonly string[]> {
    await this.flush();
    return this.#groups.names(prefix);
  }

  async deleteGroup(group: string): Promise<void> {
    const remove = async (): Promise<void> => {
      this.#streams.forget(group);
      await this.#groups.remove(group);
    };
    // Through the writer, so that what is appended meanwhile is written after the removal.
    const writer = this.#writerOf(group);
    try {
      await writer.clear(remove, (bytes) => void (this.#bufferedBytes -= bytes));
    } finally {
      this.#release(group, writer);
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#timer?.cancel();
    const untilMs = this.#clock.now() + CLOSE_PATIENCE_MS;
    for (;;) {
      try {
        await this.flush();
        return;
      } catch (error) {
        if (this.#clock.now() >= untilMs) {
          const events = [...this.#writers.values()].reduce((sum, writer) => sum + writer.events, 0);
          this.#logger.error({ err: error, events }, 'Log events of functions could not be written before the end and are lost.');
          return;
        }
        await new Promise<void>((resolve) => void this.#clock.at(this.#clock.now() + CLOSE_RETRY_MS, resolve));
      }
    }
  }

  #writerOf(group: string): GroupWriter {
    let writer = this.#writers.get(group);
    if (writer === undefined) this.#writers.set(group, (writer = new GroupWriter(this.#context, group)));
    return writer;
  }

  #release(group: string, writer: GroupWriter): void {
    if (writer.isIdle && this.#writers.get(group) === writer) this.#writers.delete(group);
  }

  /** Own events first, so that whoever has appended reads them. */
  async #generation(group: string): Promise<Generation> {
    await this.flush();
    const generation = await this.#groups.find(group);
    if (generation === undefined) throw new NoSuchLogGroupError(`The log group ${group} does not exist; it comes into being when its function first runs.`);
    return generation;
  }

  #flush(streams: 'all' | 'due'): Promise<void> {
    const flushing = this.#writeAll(streams).finally(() => {
      if (this.#flushing === flushing) this.#flushing = undefined;
    });
    this.#flushing = flushing;
    return flushing;
  }

  async #writeAll(streams: 'all' | 'due'): Promise<void> {
    const waiting = [...this.#writers].filter(([, writer]) => !writer.isEmpty);
    const failures: unknown[] = [];
    const next = async (): Promise<void> => {
      for (let entry = waiting.pop(); entry !== undefined; entry = waiting.pop()) {
        const [group, writer] = entry;
        try {
          await writer.write((bytes) => void (this.#bufferedBytes -= bytes));
          this.#release(group, writer);
        } catch (error) {
          failures.push(error);
        }
      }
    };
    await Promise.all(Array.from({ length: PARALLEL_GROUPS }, next));
    await this.#streams.write(streams).catch((error: unknown) => failures.push(error));
    if (failures.length > 0) throw failures[0];
  }

  #wakeAt(atMs: number): void {
    if (this.#closing !== undefined || atMs >= this.#timerAtMs) return;
    this.#timer?.cancel();
    this.#timerAtMs = atMs;
    this.#timer = this.#clock.at(atMs, () => {
      this.#timer = undefined;
      this.#timerAtMs = Infinity;
      void this.#flushInTurn();
    });
  }

  async #flushInTurn(): Promise<void> {
    try {
      await this.#flushing?.catch(() => undefined);
      await this.#flush('due');
      if (this.#failures > 0) this.#logger.warn('Log events of functions can be written again.');
      this.#failures = 0;
      this.#retryAtMs = 0;
    } catch (error) {
      if (this.#failures === 0) this.#logger.error({ err: error, bufferedBytes: this.#bufferedBytes }, 'Log events of functions cannot be written; they wait, and are dropped when there is no more room.');
      this.#failures += 1;
      this.#retryAtMs = this.#clock.now() + Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** (this.#failures - 1));
    }
    const streamsDueMs = this.#streams.nextDueMs();
    const isWaiting = [...this.#writers.values()].some((writer) => !writer.isEmpty);
    if (isWaiting) this.#wakeAt(Math.max(this.#retryAtMs, this.#clock.now() + FLUSH_INTERVAL_MS));
    else if (streamsDueMs !== undefined) this.#wakeAt(Math.max(this.#retryAtMs, streamsDueMs, this.#clock.now() + FLUSH_INTERVAL_MS));
  }
}
