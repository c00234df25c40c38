import { buffer } from 'node:stream/consumers';
import type { Clock } from '../../clock.ts';
import { NoSuchObjectError, PreconditionFailedError, type ObjectStore } from '../../object-store/object-store.ts';
import type { LogStreamSummary } from '../function-logs.ts';
import { LIST_PAGE_MAX } from './groups.ts';
import { streamKey, streamsPrefix, type Generation } from './names.ts';

interface OwnStream {
  readonly generation: Generation;
  readonly name: string;
  firstEventMs: number;
  lastEventMs: number;
  /** As it lies in the store; undefined until it was written. */
  etag: string | undefined;
  writtenMs: number;
  isDirty: boolean;
}

/** What the store tells of a stream that goes on is at most so old; what a flush wrote is there at once. */
export const STREAM_REFRESH_MS = 30_000;
/** Streams that this process writes to and remembers; one beyond is written and read anew. */
const OWN_MAX = 10_000;
const PARALLEL = 16;
/** Everyone who loses was beaten by someone who has written to the same stream. */
const SWAPS_MAX = 50;

/** Which streams a group has, and when they were first and last written to: an object for each. */
export class Streams {
  readonly #store: ObjectStore;
  readonly #bucket: string;
  readonly #clock: Clock;
  readonly #own = new Map<string, OwnStream>();

  constructor(store: ObjectStore, bucket: string, clock: Clock) {
    this.#store = store;
    this.#bucket = bucket;
    this.#clock = clock;
  }

  /** Events of a stream were written. Writes what is new about it, sooner or later. */
  async wrote(generation: Generation, name: string, times: { readonly firstEventMs: number; readonly lastEventMs: number }): Promise<void> {
    const key = streamKey(generation, name);
    let own = this.#own.get(key);
    if (own === undefined) {
      own = { generation, name, ...times, etag: undefined, writtenMs: 0, isDirty: true };
      if (this.#own.size >= OWN_MAX) await this.#evict();
      this.#own.set(key, own);
    } else if (times.firstEventMs < own.firstEventMs || times.lastEventMs > own.lastEventMs) {
      widen(own, times);
      own.isDirty = true;
    }
    if (own.isDirty && this.#isDue(own)) await this.#write(own);
  }

  /** Writes what is new: all of it, or what has waited long enough. */
  async write(which: 'all' | 'due'): Promise<void> {
    const dirty = [...this.#own.values()].filter((own) => own.isDirty && (which === 'all' || this.#isDue(own)));
    for (let start = 0; start < dirty.length; start += PARALLEL) await Promise.all(dirty.slice(start, start + PARALLEL).map((own) => this.#write(own)));
  }

  /** When something must be written next; undefined where nothing waits. */
  nextDueMs(): number | undefined {
    let dueMs: number | undefined;
    for (const own of this.#own.values()) if (own.isDirty) dueMs = Math.min(dueMs ?? Infinity, own.writtenMs + STREAM_REFRESH_MS);
    return dueMs;
  }

  /** Forgets a group's streams, what was not written of them too. */
  forget(group: string): void {
    for (const [key, own] of this.#own) if (own.generation.group === group) this.#own.delete(key);
  }

  /** By name. */
  async list(generation: Generation, prefix: string): Promise<LogStreamSummary[]> {
    const found: LogStreamSummary[] = [];
    for (let after: string | undefined; ; ) {
      const page = await this.#store.list({ bucket: this.#bucket, prefix: streamsPrefix(generation, prefix), limit: LIST_PAGE_MAX, detail: 'essential', ...(after === undefined ? {} : { after }) });
      for (let start = 0; start < page.objects.length; start += PARALLEL) {
        const read = await Promise.all(page.objects.slice(start, start + PARALLEL).map(({ key }) => this.#read(key)));
        for (const each of read) if (each?.summary.name.startsWith(prefix) === true) found.push(each.summary);
      }
      if (page.next === undefined) return found.sort((left, right) => (left.name < right.name ? -1 : 1));
      after = page.next;
    }
  }

  #isDue(own: OwnStream): boolean {
    return own.etag === undefined || this.#clock.now() - own.writtenMs >= STREAM_REFRESH_MS;
  }

  async #write(own: OwnStream): Promise<void> {
    const key = streamKey(own.generation, own.name);
    for (let swap = 1; ; swap += 1) {
      const summary: LogStreamSummary = { name: own.name, firstEventMs: own.firstEventMs, lastEventMs: own.lastEventMs };
      try {
        const condition = own.etag === undefined ? ({ kind: 'absent' } as const) : ({ kind: 'etag', etag: own.etag } as const);
        const { etag } = await this.#store.put({ bucket: this.#bucket, key }, Buffer.from(JSON.stringify({ v: 1, ...summary })), { condition, contentType: 'application/json', detail: 'essential' });
        own.etag = etag;
        own.writtenMs = this.#clock.now();
        own.isDirty = own.firstEventMs !== summary.firstEventMs || own.lastEventMs !== summary.lastEventMs;
        return;
      } catch (error) {
        if (!(error instanceof PreconditionFailedError) || swap === SWAPS_MAX) throw error;
        // Another process writes to the same stream, or did so; or our own answer was lost.
        const stored = await this.#read(key);
        own.etag = stored?.etag;
        if (stored !== undefined) widen(own, stored.summary);
      }
    }
  }

  /** Makes room: first of what is written. */
  async #evict(): Promise<void> {
    const oldest = [...this.#own].find(([, own]) => !own.isDirty) ?? [...this.#own][0];
    if (oldest === undefined) return;
    this.#own.delete(oldest[0]);
    if (oldest[1].isDirty) await this.#write(oldest[1]);
  }

  async #read(key: string): Promise<{ readonly summary: LogStreamSummary; readonly etag: string } | undefined> {
    try {
      const { summary, body } = await this.#store.get({ bucket: this.#bucket, key });
      const { name, firstEventMs, lastEventMs } = JSON.parse((await buffer(body)).toString('utf8')) as LogStreamSummary;
      return { summary: { name, firstEventMs, lastEventMs }, etag: summary.etag };
    } catch (error) {
      if (error instanceof NoSuchObjectError) return undefined;
      throw error;
    }
  }
}

function widen(own: { firstEventMs: number; lastEventMs: number }, { firstEventMs, lastEventMs }: { readonly firstEventMs: number; readonly lastEventMs: number }): void {
  own.firstEventMs = Math.min(own.firstEventMs, firstEventMs);
  own.lastEventMs = Math.max(own.lastEventMs, lastEventMs);
}
