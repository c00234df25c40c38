import { buffer } from 'node:stream/consumers';
import type { Clock } from '../../clock.ts';
import { NoSuchObjectError, PreconditionFailedError, type ObjectStore } from '../../object-store/object-store.ts';
import { textOfName } from '../../object-store/ordered-names.ts';
import { generationOfKey, generationPrefix, groupPrefix, headKey, HEADS, headsPrefix, ODD_SEGMENTS, SEGMENTS, segmentKey, segmentOfKey, STREAMS, type Generation } from './names.ts';

interface Head {
  readonly v: 1;
  readonly group: string;
  /** The number of the generation and of its first segment. */
  readonly generation: number;
  readonly createdMs: number;
}

interface KnownGroup {
  readonly head: Head;
  readonly etag: string;
  /** When the head was read. */
  readonly readMs: number;
  /** The last segment that is known to exist. */
  tail: number | undefined;
}

/** A writer looks so often whether its group still exists: what it writes until then into one that another process deleted goes with it. */
const HEAD_FRESH_MS = 10_000;
/** No segment expires sooner, so a younger generation without any never had one. */
const EXPIRY_MIN_MS = 24 * 60 * 60 * 1_000;
/** Groups that are remembered; others are looked up again. */
const KNOWN_MAX = 10_000;
/** Searches by time that are remembered. */
const FOUND_MAX = 1_000;
/** Keys of one list. One more, which S3 gives at once, tells whether there are more; one beyond that would cost a second request. */
export const LIST_PAGE_MAX = 999;
const PARALLEL_REMOVALS = 16;

/** A segment as a list shows it. */
export interface ListedSegment {
  readonly segment: number;
  readonly writtenMs: number;
}

/** The heads of groups, and which segments there are. */
export class Groups {
  readonly #store: ObjectStore;
  readonly #bucket: string;
  readonly #clock: Clock;
  readonly #known = new Map<string, KnownGroup>();
  /** What {@link firstSince} has found. */
  readonly #found = new Map<string, number>();

  constructor(store: ObjectStore, bucket: string, clock: Clock) {
    this.#store = store;
    this.#bucket = bucket;
    this.#clock = clock;
  }

  /** The present generation of a group, as the store has it now; undefined where there is no such group. */
  async find(group: string): Promise<Generation | undefined> {
    return generationOf((await this.#readHead(group))?.head);
  }

  /** The generation to write to, seen lately; the group begins where it is missing. */
  async toWrite(group: string): Promise<Generation> {
    const known = this.#known.get(group);
    if (known !== undefined && this.#clock.now() - known.readMs < HEAD_FRESH_MS) return { group, number: known.head.generation };
    const existing = await this.find(group);
    return existing ?? this.#begin(group);
  }

  /**
   * The number of the segment that comes next: one above the last, so that whoever sees a segment sees all before it. A generation
   * whose segments have all expired has no last; then another begins, above it.
   */
  async next(generation: Generation): Promise<{ readonly generation: Generation; readonly segment: number }> {
    const tail = await this.tail(generation);
    if (tail !== undefined) return { generation, segment: tail + 1 };
    const known = this.#known.get(generation.group);
    const isYoung = known === undefined || known.head.generation !== generation.number || this.#clock.now() - known.head.createdMs < EXPIRY_MIN_MS;
    if (isYoung) return { generation, segment: generation.number };
    const renewed = await this.#renew(known);
    return { generation: renewed, segment: renewed.number };
  }

  /** A segment was seen to exist. */
  sawSegment({ group, number }: Generation, segment: number): void {
    const known = this.#known.get(group);
    if (known?.head.generation === number && segment > (known.tail ?? 0)) known.tail = segment;
  }

  /** The last segment there is; undefined where there is none. */
  async tail(generation: Generation): Promise<number | undefined> {
    const known = this.#known.get(generation.group);
    const from = known?.head.generation === generation.number ? known.tail : undefined;
    const tail = await this.#searchTail(generation, from);
    if (tail !== undefined) this.sawSegment(generation, tail);
    return tail;
  }

  /** Segments behind one, in order. */
  async list(generation: Generation, afterSegment: number, limit: number, place: typeof SEGMENTS | typeof ODD_SEGMENTS = SEGMENTS): Promise<{ readonly segments: readonly ListedSegment[]; readonly hasMore: boolean }> {
    const { objects, next } = await this.#store.list({ bucket: this.#bucket, prefix: generationPrefix(place, generation), after: segmentKey(generation, afterSegment, place), limit, detail: 'essential' });
    return { segments: objects.map(({ key, lastModifiedMs }) => ({ segment: segmentOfKey(key), writtenMs: lastModifiedMs })), hasMore: next !== undefined };
  }

  /** The first segment written at `sinceMs` or later; one above the last where there is none. */
  async firstSince(generation: Generation, sinceMs: number): Promise<number> {
    const place = `${segmentKey(generation, generation.number)} ${sinceMs}`;
    const found = this.#found.get(place);
    if (found !== undefined) return found;
    let low = generation.number;
    let high = ((await this.tail(generation)) ?? generation.number - 1) + 1;
    const end = high;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const [listed] = (await this.list(generation, middle - 1, 1)).segments;
      if (listed === undefined || listed.writtenMs >= sinceMs) high = middle;
      else low = listed.segment + 1;
    }
    // What comes later is written later: it stays the first. Pages of one query ask again and again.
    if (low < end) {
      this.#found.set(place, low);
      if (this.#found.size > FOUND_MAX) this.#found.delete(this.#found.keys().next().value as string);
    }
    return low;
  }

  /** Names of groups that begin with a prefix. */
  async names(prefix: string): Promise<string[]> {
    const names: string[] = [];
    for (let after: string | undefined; ; ) {
      const page = await this.#store.list({ bucket: this.#bucket, prefix: headsPrefix(prefix), limit: LIST_PAGE_MAX, detail: 'essential', ...(after === undefined ? {} : { after }) });
      for (const { key } of page.objects) {
        const name = textOfName(key.slice(HEADS.length)) ?? (await this.#read(key))?.head.group;
        if (name?.startsWith(prefix) === true) names.push(name);
      }
      if (page.next === undefined) return names.sort();
      after = page.next;
    }
  }

  /** Removes a group: its head first, and with that it is gone for everyone; then what it held. */
  async remove(group: string): Promise<void> {
    const found = await this.#readHead(group);
    this.#known.delete(group);
    if (found === undefined) return;
    await this.#store.delete({ bucket: this.#bucket, key: headKey(group) });
    for (const place of [SEGMENTS, STREAMS, ODD_SEGMENTS]) await this.#removeUpTo(place, group, found.head.generation);
    this.#known.delete(group);
  }

  /** Not what belongs to a generation that has begun since. */
  async #removeUpTo(place: string, group: string, generation: number): Promise<void> {
    for (;;) {
      const { objects } = await this.#store.list({ bucket: this.#bucket, prefix: groupPrefix(place, group), limit: LIST_PAGE_MAX, detail: 'essential' });
      const old = objects.filter(({ key }) => generationOfKey(place, group, key) <= generation);
      if (old.length === 0) return;
      for (let start = 0; start < old.length; start += PARALLEL_REMOVALS) await Promise.all(old.slice(start, start + PARALLEL_REMOVALS).map((object) => this.#store.delete(object)));
    }
  }

  async #begin(group: string): Promise<Generation> {
    const nowMs = this.#clock.now();
    const written = await this.#writeHead({ v: 1, group, generation: nowMs, createdMs: nowMs }, { kind: 'absent' });
    return written ?? this.#mustFind(group);
  }

  async #renew({ head, etag }: KnownGroup): Promise<Generation> {
    const nowMs = this.#clock.now();
    const written = await this.#writeHead({ ...head, generation: Math.max(nowMs, head.generation + 1), createdMs: nowMs }, { kind: 'etag', etag });
    return written ?? this.#mustFind(head.group);
  }

  /** Undefined where another was quicker. */
  async #writeHead(head: Head, condition: { readonly kind: 'absent' } | { readonly kind: 'etag'; readonly etag: string }): Promise<Generation | undefined> {
    try {
      const { etag } = await this.#store.put({ bucket: this.#bucket, key: headKey(head.group) }, Buffer.from(JSON.stringify(head)), { condition, contentType: 'application/json', detail: 'essential' });
      this.#remember(head, etag);
      return { group: head.group, number: head.generation };
    } catch (error) {
      if (error instanceof PreconditionFailedError) return undefined;
      throw error;
    }
  }

  async #mustFind(group: string): Promise<Generation> {
    const found = await this.find(group);
    // It was made and deleted again while we looked.
    return found ?? this.#begin(group);
  }

  async #readHead(group: string): Promise<{ readonly head: Head } | undefined> {
    const found = await this.#read(headKey(group));
    if (found === undefined) this.#known.delete(group);
    else this.#remember(found.head, found.etag);
    return found;
  }

  async #read(key: string): Promise<{ readonly head: Head; readonly etag: string } | undefined> {
    try {
      const { summary, body } = await this.#store.get({ bucket: this.#bucket, key });
      return { head: JSON.parse((await buffer(body)).toString('utf8')) as Head, etag: summary.etag };
    } catch (error) {
      if (error instanceof NoSuchObjectError) return undefined;
      throw error;
    }
  }

  #remember(head: Head, etag: string): void {
    const known = this.#known.get(head.group);
    this.#known.delete(head.group);
    const tail = known?.head.generation === head.generation ? known.tail : undefined;
    this.#known.set(head.group, { head, etag, readMs: this.#clock.now(), tail });
    if (this.#known.size > KNOWN_MAX) this.#known.delete(this.#known.keys().next().value as string);
  }

  /** Numbers have no gaps, save at the beginning, where the oldest have expired: so it can leap, and then halve. */
  async #searchTail(generation: Generation, from: number | undefined): Promise<number | undefined> {
    const near = await this.list(generation, from ?? generation.number - 1, LIST_PAGE_MAX);
    let low = near.segments.at(-1)?.segment ?? from;
    if (low === undefined || !near.hasMore) return low;
    let high: number | undefined;
    for (let step = LIST_PAGE_MAX; high === undefined || high - low > 1; step *= 2) {
      const probe: number = high === undefined ? low + step : Math.floor((low + high) / 2);
      const { segments, hasMore } = await this.list(generation, probe - 1, 1);
      const [found] = segments;
      if (found === undefined) high = probe;
      else if (!hasMore) return found.segment;
      else low = found.segment;
    }
    return low;
  }
}

function generationOf(head: Head | undefined): Generation | undefined {
  return head === undefined ? undefined : { group: head.group, number: head.generation };
}
