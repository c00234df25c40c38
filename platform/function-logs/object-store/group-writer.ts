import { buffer } from 'node:stream/consumers';
import type { Clock } from '../../clock.ts';
import { NoSuchObjectError, PreconditionFailedError, type ObjectStore } from '../../object-store/object-store.ts';
import type { LogEvent } from '../function-logs.ts';
import type { Groups } from './groups.ts';
import { ODD_SEGMENTS, segmentKey, type Generation } from './names.ts';
import { makeSegments, readSegmentHead, type PendingEvents, type Segment } from './segment.ts';
import type { Streams } from './streams.ts';

export interface WriterContext {
  readonly store: ObjectStore;
  readonly bucket: string;
  readonly clock: Clock;
  readonly groups: Groups;
  readonly streams: Streams;
  readonly segmentBytes: number;
  readonly newId: () => string;
}

/** Bookkeeping per event beside its text. */
const EVENT_OVERHEAD_BYTES = 100;
/**
 * Events of a segment are at most so much older than the moment in which it is written, or it is noted as odd: so a query by time knows
 * where to stop. They are older where the store was away, and where whoever appends says so.
 */
export const LATE_MS_MAX = 60 * 60 * 1_000;
/** What clocks of different machines may differ by. */
export const SKEW_MS_MAX = 5 * 60 * 1_000;
/** Every lost round was won by another process, which then has nothing more to write. */
const ROUNDS_MAX = 1_000;

export function sizeOf(events: readonly LogEvent[]): number {
  let bytes = 0;
  for (const { message } of events) bytes += message.length + EVENT_OVERHEAD_BYTES;
  return bytes;
}

/**
 * What one process has to write for one group. Segments are made by create-if-absent, each with the number above the last: processes that
 * write at the same time meet at a number, one wins, the others take the next. So numbers are the order in which segments came to be, and
 * a reader that has seen one has seen all before it.
 */
export class GroupWriter {
  readonly #context: WriterContext;
  readonly #group: string;
  #pending: PendingEvents[] = [];
  #segments: { readonly segment: Segment; readonly bytes: number }[] = [];
  #dropped = 0;
  #lastStream = '';
  #bytes = 0;
  /** Where the first of the segments may have been written already, by a request whose answer was lost. */
  #unsure: { readonly generation: number; readonly segment: number } | undefined;
  /** Writes and removals, one after another, and how many of them there are. */
  #work: Promise<unknown> = Promise.resolve();
  #steps = 0;

  constructor(context: WriterContext, group: string) {
    this.#context = context;
    this.#group = group;
  }

  /** What it holds in memory, until that is written. */
  get bytes(): number {
    return this.#bytes;
  }

  get isEmpty(): boolean {
    return this.#pending.length === 0 && this.#segments.length === 0 && this.#dropped === 0;
  }

  /** Whether another writer could take its place. */
  get isIdle(): boolean {
    return this.isEmpty && this.#steps === 0;
  }

  /** Events that wait, those among them that were dropped left out. */
  get events(): number {
    return this.#pending.reduce((sum, { events }) => sum + events.length, 0) + this.#segments.reduce((sum, { segment }) => sum + segment.events, 0);
  }

  add(stream: string, events: readonly LogEvent[]): void {
    this.#pending.push({ stream, events });
    this.#lastStream = stream;
    this.#bytes += sizeOf(events);
  }

  drop(stream: string, events: readonly LogEvent[]): void {
    this.#dropped += events.length;
    this.#lastStream = stream;
  }

  /** Writes what was added until now. `onWritten` is told how many bytes that gave back. Rejects with what the store rejects with; what is not written then stays. */
  write(onWritten: (bytes: number) => void): Promise<void> {
    return this.#inTurn(async () => {
      // What is added meanwhile is not waited for.
      for (let added = this.#pending.length, next = this.#segments[0]; ; next = this.#segments[0]) {
        if (next === undefined) {
          // The group may have been cleared meanwhile.
          added = Math.min(added, this.#pending.length);
          if (added === 0 && this.#dropped === 0) return;
          added -= this.#makeSegments(added);
          continue;
        }
        await this.#writeFirst(next.segment);
        this.#segments.shift();
        this.#bytes -= next.bytes;
        onWritten(next.bytes);
      }
    });
  }

  /** Forgets what waits, when what is under way is done; then does `action`. */
  clear(action: () => Promise<void>, onCleared: (bytes: number) => void): Promise<void> {
    const forgotten = this.#pending.reduce((sum, { events }) => sum + sizeOf(events), 0);
    this.#pending = [];
    this.#dropped = 0;
    this.#bytes -= forgotten;
    onCleared(forgotten);
    return this.#inTurn(async () => {
      const bytes = this.#segments.reduce((sum, each) => sum + each.bytes, 0);
      this.#segments = [];
      this.#unsure = undefined;
      this.#bytes -= bytes;
      onCleared(bytes);
      await action();
    });
  }

  #inTurn<Result>(step: () => Promise<Result>): Promise<Result> {
    this.#steps += 1;
    const done = this.#work.then(step).finally(() => void (this.#steps -= 1));
    this.#work = done.catch(() => undefined);
    return done;
  }

  /** Makes segments of about one segment's worth of what was added first, since it takes time in which nothing else runs. Returns how many additions of `added` went into them. */
  #makeSegments(added: number): number {
    const { clock, segmentBytes, newId } = this.#context;
    const nowMs = clock.now();
    const taken: PendingEvents[] = [];
    let bytes = 0;
    while (taken.length < added && bytes < segmentBytes) {
      const next = this.#pending[taken.length] as PendingEvents;
      taken.push(next);
      bytes += sizeOf(next.events);
    }
    this.#pending = this.#pending.slice(taken.length);
    const count = taken.length;
    if (this.#dropped > 0 && count === added) {
      const message = `Sluice dropped ${this.#dropped} log events of this log group: they came faster than they could be written.`;
      taken.push({ stream: this.#lastStream, events: [{ timestampMs: nowMs, message }] });
      this.#dropped = 0;
    }
    const segments = makeSegments(taken, { ingestedMs: nowMs, maxBytes: segmentBytes, newId });
    // The room is given back by and by; the last segment gives what is left.
    const share = Math.floor(bytes / Math.max(1, segments.length));
    segments.forEach((segment, index) => this.#segments.push({ segment, bytes: index === segments.length - 1 ? bytes - share * (segments.length - 1) : share }));
    return count;
  }

  async #writeFirst(segment: Segment): Promise<void> {
    const { groups, streams } = this.#context;
    for (let round = 1; round <= ROUNDS_MAX; round += 1) {
      const present = await groups.toWrite(this.#group);
      const isUnsure = this.#unsure !== undefined && this.#unsure.generation === present.number;
      const place = isUnsure ? { generation: present, segment: (this.#unsure as { readonly segment: number }).segment } : await groups.next(present);
      const isWritten = await this.#put(segment, place.generation, place.segment, isUnsure);
      groups.sawSegment(place.generation, place.segment);
      this.#unsure = undefined;
      if (!isWritten) continue;
      await Promise.all([...segment.streams].map(([stream, times]) => streams.wrote(place.generation, stream, times)));
      return;
    }
    throw new Error(`A segment of the log group ${this.#group} found no number in ${ROUNDS_MAX} rounds.`);
  }

  /** Whether the segment has this number now; another has it otherwise. */
  async #put(segment: Segment, generation: Generation, number: number, isUnsure: boolean): Promise<boolean> {
    const { store, bucket, clock } = this.#context;
    const nowMs = clock.now();
    const isOdd = segment.fromMs < nowMs - LATE_MS_MAX || segment.toMs > nowMs + SKEW_MS_MAX;
    // First the note: one about a segment that is not odd, since another won the number, does no harm.
    if (isOdd) await store.put({ bucket, key: segmentKey(generation, number, ODD_SEGMENTS) }, Buffer.alloc(0), { detail: 'essential' });
    const location = { bucket, key: segmentKey(generation, number) };
    try {
      await store.put(location, segment.body, { condition: { kind: 'absent' }, contentType: 'application/x-ndjson', detail: 'essential' });
      return true;
    } catch (error) {
      if (!(error instanceof PreconditionFailedError)) {
        this.#unsure = { generation: generation.number, segment: number };
        throw error;
      }
      return isUnsure && (await this.#idAt(location)) === segment.id;
    }
  }

  async #idAt(location: { readonly bucket: string; readonly key: string }): Promise<string | undefined> {
    try {
      const { body } = await this.#context.store.get(location);
      return readSegmentHead((await buffer(body)).toString('utf8')).id;
    } catch (error) {
      if (error instanceof NoSuchObjectError) return undefined;
      throw error;
    }
  }
}
