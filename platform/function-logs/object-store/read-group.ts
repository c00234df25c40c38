import { buffer } from 'node:stream/consumers';
import { NoSuchObjectError, type ObjectStore } from '../../object-store/object-store.ts';
import type { LogPage, LogQuery, StoredLogEvent } from '../function-logs.ts';
import { LATE_MS_MAX, SKEW_MS_MAX } from './group-writer.ts';
import { LIST_PAGE_MAX, type Groups, type ListedSegment } from './groups.ts';
import { decodeId, edgeOf, ODD_SEGMENTS, segmentKey, type Generation, type Position } from './names.ts';
import { readSegment } from './segment.ts';

export interface ReaderContext {
  readonly store: ObjectStore;
  readonly bucket: string;
  readonly groups: Groups;
  /** Segments that are read for one page at most; a page that finds no more ends with a cursor. */
  readonly pageSegments: number;
}

/** A page holds at most about this many characters, whatever its limit (CloudWatch Logs, FilterLogEvents: 1 MB). */
const MAX_PAGE_CHARACTERS = 1024 * 1024;
/** Segments that are read side by side, of about a megabyte each. */
const PARALLEL_READS = 8;
/** Segments never change: those read last are kept, since the next page often begins in the middle of one. Texts count; in memory they take some three times that. */
const CACHE_CHARACTERS = 16 * 1024 * 1024;

/** Reads groups' events from their segments. */
export class GroupReader {
  readonly #context: ReaderContext;
  readonly #cache = new Map<string, { readonly events: readonly StoredLogEvent[]; readonly characters: number }>();
  #cachedCharacters = 0;

  constructor(context: ReaderContext) {
    this.#context = context;
  }

  async page(generation: Generation, query: LogQuery): Promise<LogPage> {
    const cursor = query.cursor === undefined ? undefined : decodeId(query.cursor);
    const isBackward = query.order === 'newestFirst';
    const page = new Page(query);
    let read = 0;
    let last: number | undefined;
    for await (const numbers of inGroups(isBackward ? this.#backward(generation, query, cursor) : this.#forward(generation, query, cursor), PARALLEL_READS)) {
      if (read >= this.#context.pageSegments && last !== undefined) return page.finish(edgeOf(last, isBackward ? 'beginning' : 'end'));
      const segments = await Promise.all(numbers.map((number) => this.#events(generation, number)));
      for (const events of segments) if (!page.take(isBackward ? events.toReversed() : events)) return page.finish();
      read += numbers.length;
      last = numbers.at(-1);
    }
    return page.finish();
  }

  /** Numbers of the segments that may hold what is asked for, from the oldest on. */
  async *#forward(generation: Generation, query: LogQuery, cursor: Position | undefined): AsyncGenerator<number> {
    const { groups } = this.#context;
    const odd = await this.#odd(generation, query);
    // A cursor is of a page that began where the query does.
    const from = Math.max(generation.number, cursor?.segment ?? (query.startMs === undefined ? 0 : await groups.firstSince(generation, query.startMs - SKEW_MS_MAX)));
    for (const segment of odd) if (segment < from && segment >= (cursor?.segment ?? 0)) yield segment;
    let after = from - 1;
    listing: for (;;) {
      const { segments, hasMore } = await groups.list(generation, after, LIST_PAGE_MAX);
      for (const listed of segments) {
        if (isBeyond(listed, query)) break listing;
        yield listed.segment;
        after = listed.segment;
      }
      if (!hasMore) break;
    }
    for (const segment of odd) if (segment > after && segment >= from) yield segment;
  }

  /** The same, from the newest on. */
  async *#backward(generation: Generation, query: LogQuery, cursor: Position | undefined): AsyncGenerator<number> {
    const { groups } = this.#context;
    const odd = (await this.#odd(generation, query)).toReversed();
    const tail = (await groups.tail(generation)) ?? generation.number - 1;
    const beyond = query.endMs === undefined ? tail + 1 : await groups.firstSince(generation, query.endMs + LATE_MS_MAX + SKEW_MS_MAX);
    const to = Math.min(tail, cursor?.segment ?? tail, beyond - 1);
    for (const segment of odd) if (segment > to && segment <= (cursor?.segment ?? Infinity)) yield segment;
    const first = query.startMs === undefined ? generation.number : await groups.firstSince(generation, query.startMs - SKEW_MS_MAX);
    // The oldest have expired: what is listed first is the first there is.
    const existing = (await groups.list(generation, first - 1, 1)).segments[0]?.segment ?? to + 1;
    for (let segment = to; segment >= existing; segment -= 1) yield segment;
    for (const segment of odd) if (segment < Math.min(existing, to + 1)) yield segment;
  }

  /** Segments whose events' times do not go with the time of their writing; nothing where times are not asked for. */
  async #odd(generation: Generation, { startMs, endMs }: LogQuery): Promise<number[]> {
    const odd: number[] = [];
    if (startMs === undefined && endMs === undefined) return odd;
    for (let after = generation.number - 1; ; ) {
      const { segments, hasMore } = await this.#context.groups.list(generation, after, LIST_PAGE_MAX, ODD_SEGMENTS);
      for (const { segment } of segments) odd.push((after = segment));
      if (!hasMore) return odd;
    }
  }

  /** Nothing for a segment that has expired, or that is not there yet. */
  async #events(generation: Generation, segment: number): Promise<readonly StoredLogEvent[]> {
    const { store, bucket } = this.#context;
    const key = segmentKey(generation, segment);
    const cached = this.#cache.get(key);
    if (cached !== undefined) {
      this.#cache.delete(key);
      this.#cache.set(key, cached);
      return cached.events;
    }
    try {
      const { body } = await store.get({ bucket, key });
      const text = (await buffer(body)).toString('utf8');
      const events = readSegment(text, segment);
      this.#keep(key, events, text.length);
      return events;
    } catch (error) {
      if (error instanceof NoSuchObjectError) return [];
      throw error;
    }
  }

  #keep(key: string, events: readonly StoredLogEvent[], characters: number): void {
    if (this.#cache.has(key)) return;
    this.#cache.set(key, { events, characters });
    this.#cachedCharacters += characters;
    for (const [oldest, { characters: freed }] of this.#cache) {
      if (this.#cachedCharacters <= CACHE_CHARACTERS) return;
      this.#cache.delete(oldest);
      this.#cachedCharacters -= freed;
    }
  }
}

/** Written so late that every event in it, unless it is odd, is behind the query's end. */
function isBeyond({ writtenMs }: ListedSegment, { endMs }: LogQuery): boolean {
  return endMs !== undefined && writtenMs > endMs + LATE_MS_MAX + SKEW_MS_MAX;
}

async function* inGroups<Item>(items: AsyncIterable<Item>, size: number): AsyncGenerator<Item[]> {
  let group: Item[] = [];
  for await (const item of items) {
    group.push(item);
    if (group.length < size) continue;
    yield group;
    group = [];
  }
  if (group.length > 0) yield group;
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

  /** `cursor`: where the search was broken off. */
  finish(cursor = this.#cursor): LogPage {
    return { events: this.#events, ...(cursor === undefined ? {} : { cursor }) };
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
