import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock, Timer } from '../clock.ts';
import type { Logger } from '../telemetry/logger.ts';
import { groupFolder, groupOfFolder, NAME_FILE } from './files/group-folder.ts';
import { GroupWriter, type PendingEvents, type SegmentLimits } from './files/group-writer.ts';
import { readPage, readStreams } from './files/read-group.ts';
import { NoSuchLogGroupError, type FunctionLogs, type LogEvent, type LogPage, type LogQuery, type LogStreamSummary } from './function-logs.ts';

/** Events wait this long for others to be written with. */
const FLUSH_INTERVAL_MS = 100;
/** What may wait to be written: a second of the fastest disk's worth, far more than functions print unless they flood. */
const MAX_BUFFERED_BYTES = 32 * 1024 * 1024;
/** Bookkeeping per event beside its text. */
const EVENT_OVERHEAD_BYTES = 100;
/** Groups whose segments are remembered; the others are looked up again when they print again. */
const MAX_OPEN_GROUPS = 10_000;

const LIMITS: SegmentLimits = { segmentBytes: 8 * 1024 * 1024, groupBytes: 64 * 1024 * 1024, groupSegments: 64 };

export interface FileFunctionLogsOptions {
  readonly dataDir: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** For tests of the bounds. */
  readonly limits?: Partial<SegmentLimits> & { readonly bufferedBytes?: number };
}

interface Waiting {
  readonly pending: PendingEvents[];
  dropped: number;
  lastStream: string;
}

/**
 * Function logs as files under `<dataDir>/logs`: a folder per group with rotated segments, at most 64 MiB per group. Written in the
 * background; what was printed in the last {@link FLUSH_INTERVAL_MS} before a crash is lost.
 */
export async function openFileFunctionLogs(options: FileFunctionLogsOptions): Promise<FunctionLogs> {
  const folder = join(options.dataDir, 'logs');
  await mkdir(folder, { recursive: true });
  return new FileFunctionLogs(folder, options);
}

class FileFunctionLogs implements FunctionLogs {
  readonly #folder: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #limits: SegmentLimits;
  readonly #maxBufferedBytes: number;
  readonly #writers = new Map<string, GroupWriter>();
  #waiting = new Map<string, Waiting>();
  #bufferedBytes = 0;
  #timer: Timer | undefined;
  /** Everything that touches files, one after the other. */
  #work: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(folder: string, options: FileFunctionLogsOptions) {
    this.#folder = folder;
    this.#clock = options.clock;
    this.#logger = options.logger;
    this.#limits = { ...LIMITS, ...options.limits };
    this.#maxBufferedBytes = options.limits?.bufferedBytes ?? MAX_BUFFERED_BYTES;
  }

  append(group: string, stream: string, events: readonly LogEvent[]): void {
    if (this.#closed) return;
    let waiting = this.#waiting.get(group);
    if (waiting === undefined) this.#waiting.set(group, (waiting = { pending: [], dropped: 0, lastStream: stream }));
    let bytes = 0;
    for (const event of events) bytes += event.message.length + EVENT_OVERHEAD_BYTES;
    if (this.#bufferedBytes + bytes > this.#maxBufferedBytes) {
      waiting.dropped += events.length;
      waiting.lastStream = stream;
    } else {
      this.#bufferedBytes += bytes;
      waiting.pending.push({ stream, events });
    }
    this.#timer ??= this.#clock.at(this.#clock.now() + FLUSH_INTERVAL_MS, () => void this.flush());
  }

  flush(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    return this.#enqueue(async () => {
      const waiting = this.#waiting;
      this.#waiting = new Map();
      // Room is given back only when the text is on disk: it is in memory until then.
      const bytes = this.#bufferedBytes;
      for (const [group, { pending, dropped, lastStream }] of waiting) await this.#write(group, dropped === 0 ? pending : [...pending, this.#dropNotice(dropped, lastStream)]);
      this.#bufferedBytes -= bytes;
    });
  }

  filter(query: LogQuery): Promise<LogPage> {
    return this.#read(query.group, (folder) => readPage(folder, query));
  }

  listStreams(group: string, prefix: string): Promise<readonly LogStreamSummary[]> {
    return this.#read(group, (folder) => readStreams(folder, prefix));
  }

  async listGroups(prefix: string): Promise<readonly string[]> {
    await this.flush();
    const groups: string[] = [];
    for (const folder of await readdir(this.#folder)) {
      const known = groupOfFolder(folder);
      if (known === undefined) continue;
      const group = known === 'inFile' ? await readFile(join(this.#folder, folder, NAME_FILE), 'utf8') : known.group;
      if (group.startsWith(prefix)) groups.push(group);
    }
    return groups.sort();
  }

  deleteGroup(group: string): Promise<void> {
    return this.#enqueue(async () => {
      this.#waiting.delete(group);
      this.#writers.delete(group);
      await rm(join(this.#folder, groupFolder(group).folder), { recursive: true, force: true });
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.flush();
  }

  async #read<Result>(group: string, read: (folder: string) => Promise<Result>): Promise<Result> {
    await this.flush();
    try {
      return await read(join(this.#folder, groupFolder(group).folder));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      throw new NoSuchLogGroupError(`The log group ${group} does not exist; it comes into being when its function first runs.`, { cause: error });
    }
  }

  #enqueue(step: () => Promise<void>): Promise<void> {
    const done = this.#work.then(step);
    this.#work = done.catch(() => undefined);
    return done;
  }

  async #write(group: string, pending: readonly PendingEvents[]): Promise<void> {
    if (pending.length === 0) return;
    const writer = this.#writers.get(group) ?? new GroupWriter(this.#folder, group, this.#limits);
    this.#writers.delete(group);
    this.#writers.set(group, writer);
    if (this.#writers.size > MAX_OPEN_GROUPS) this.#writers.delete(this.#writers.keys().next().value as string);
    try {
      await writer.write(pending, this.#clock.now());
    } catch (error) {
      // A full disk must not stop functions; what was lost is said here.
      this.#writers.delete(group);
      this.#logger.error({ err: error, group, events: pending.reduce((sum, { events }) => sum + events.length, 0) }, 'Log events of a function could not be written and are lost.');
    }
  }

  #dropNotice(dropped: number, stream: string): PendingEvents {
    return { stream, events: [{ timestampMs: this.#clock.now(), message: `Sluice dropped ${dropped} log events of this log group: they came faster than they could be written.` }] };
  }
}
