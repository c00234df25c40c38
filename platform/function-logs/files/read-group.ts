import { open, readdir, stat, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { LogPage, LogQuery, LogStreamSummary, StoredLogEvent } from '../function-logs.ts';
import { decodeId, decodeLine, segmentFile, segmentOf, type Position } from './event-format.ts';

const CHUNK_BYTES = 256 * 1024;
/** A page holds at most about this many characters, whatever its limit (CloudWatch Logs, FilterLogEvents: 1 MB). */
const MAX_PAGE_CHARACTERS = 1024 * 1024;
const NEWLINE = 10;

/** Segments of a group's folder, oldest first. Rejects with ENOENT where there is no such folder. */
export async function listSegments(folder: string): Promise<number[]> {
  return (await readdir(folder)).map(segmentOf).filter((segment) => segment !== undefined).sort((a, b) => a - b);
}

/** Reads one page of a group's events. */
export async function readPage(folder: string, query: LogQuery): Promise<LogPage> {
  const after = query.cursor === undefined ? undefined : decodeId(query.cursor);
  const newestFirst = query.order === 'newestFirst';
  const segments = await listSegments(folder);
  if (newestFirst) segments.reverse();
  const page = new Page(query);
  for (const segment of segments) {
    if (after !== undefined && (newestFirst ? segment > after.segment : segment < after.segment)) continue;
    const batches = newestFirst ? wholeSegmentReversed(folder, segment, query) : eventsOf(folder, segment, query, after?.segment === segment ? after.offset : 0);
    for await (const events of batches) if (!page.take(events)) return page.finish();
  }
  return page.finish();
}

/** Streams of a group by name, with the times of their first and last events. */
export async function readStreams(folder: string, prefix: string): Promise<LogStreamSummary[]> {
  const streams = new Map<string, { firstEventMs: number; lastEventMs: number }>();
  for (const segment of await listSegments(folder)) {
    for await (const events of eventsOf(folder, segment, {}, 0)) {
      for (const { stream, timestampMs } of events) {
        if (!stream.startsWith(prefix)) continue;
        const known = streams.get(stream);
        if (known === undefined) streams.set(stream, { firstEventMs: timestampMs, lastEventMs: timestampMs });
        else {
          known.firstEventMs = Math.min(known.firstEventMs, timestampMs);
          known.lastEventMs = Math.max(known.lastEventMs, timestampMs);
        }
      }
    }
  }
  return [...streams].map(([name, times]) => ({ name, ...times })).sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** What a page has so far, and where it stopped. */
class Page {
  readonly #query: LogQuery;
  readonly #streams: ReadonlySet<string> | undefined;
  readonly #events: StoredLogEvent[] = [];
  #characters = 0;
  #cursor: string | undefined;

  constructor(query: LogQuery) {
    this.#query = query;
    this.#streams = query.streams === undefined ? undefined : new Set(query.streams);
  }

  /** Takes what matches; false when the page is full and there was more. */
  take(events: readonly StoredLogEvent[]): boolean {
    for (const event of events) {
      if (!this.#matches(event)) continue;
      const last = this.#events.at(-1);
      if (last !== undefined && (this.#events.length >= this.#query.limit || this.#characters >= MAX_PAGE_CHARACTERS)) {
        this.#cursor = last.id;
        return false;
      }
      this.#events.push(event);
      this.#characters += event.message.length;
    }
    return true;
  }

  finish(): LogPage {
    return { events: this.#events, ...(this.#cursor === undefined ? {} : { cursor: this.#cursor }) };
  }

  #matches(event: StoredLogEvent): boolean {
    const { startMs, endMs, streamPrefix, contains, cursor, order } = this.#query;
    if (cursor !== undefined && (order === 'newestFirst' ? event.id >= cursor : event.id <= cursor)) return false;
    if (startMs !== undefined && event.timestampMs < startMs) return false;
    if (endMs !== undefined && event.timestampMs >= endMs) return false;
    if (streamPrefix !== undefined && !event.stream.startsWith(streamPrefix)) return false;
    if (this.#streams !== undefined && !this.#streams.has(event.stream)) return false;
    return contains === undefined || event.message.includes(contains);
  }
}

async function* wholeSegmentReversed(folder: string, segment: number, query: LogQuery): AsyncGenerator<StoredLogEvent[]> {
  const whole: StoredLogEvent[] = [];
  for await (const events of eventsOf(folder, segment, query, 0)) for (const event of events) whole.push(event);
  yield whole.reverse();
}

/** Events of a segment from a byte on, in batches. A segment that was rotated away meanwhile has none. */
async function* eventsOf(folder: string, segment: number, query: Pick<LogQuery, 'startMs'>, from: number): AsyncGenerator<StoredLogEvent[]> {
  const path = join(folder, segmentFile(segment));
  let file: FileHandle;
  try {
    // No event is newer than the write that brought it.
    if (query.startMs !== undefined && (await stat(path)).mtimeMs < query.startMs) return;
    file = await open(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  try {
    yield* batches(file, { segment, offset: from });
  } finally {
    await file.close();
  }
}

async function* batches(file: FileHandle, from: Position): AsyncGenerator<StoredLogEvent[]> {
  let rest: Buffer = Buffer.alloc(0);
  let { offset } = from;
  let position = from.offset;
  for (;;) {
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
    const { bytesRead } = await file.read(chunk, 0, CHUNK_BYTES, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    rest = Buffer.concat([rest, chunk.subarray(0, bytesRead)]);
    const events: StoredLogEvent[] = [];
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      const event = decodeLine(rest.toString('utf8', 0, end), { segment: from.segment, offset });
      if (event !== undefined) events.push(event);
      offset += end + 1;
      rest = rest.subarray(end + 1);
    }
    yield events;
  }
}
