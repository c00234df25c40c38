import type { Cache } from '../cache/cache.ts';
import { systemClock, type Clock } from '../clock.ts';
import { REGISTRY_BUCKET } from '../model/internal-buckets.ts';
import { StoreUnavailableError, type ObjectStore } from '../object-store/object-store.ts';
import { orderedPrefix, orderedStart, sharedBeginning } from '../object-store/ordered-names.ts';
import { compareUtf8 } from '../object-store/utf8-order.ts';
import type { Logger } from '../telemetry/logger.ts';
import { ChangeFeed } from './object-store/change-feed.ts';
import { Collector } from './object-store/collector.ts';
import { checkedJson, checkKey, firstDocument, nameOf, RegistryDocumentError, successor, type RegistryDocument } from './object-store/document.ts';
import type { Seen } from './object-store/document-cache.ts';
import { Documents, LIST_PAGE_MAX } from './object-store/documents.ts';
import {
  RegistryUnavailableError,
  RevisionConflictError,
  type Entry,
  type EntryChange,
  type EntryId,
  type EntryPage,
  type JsonDocument,
  type ListQuery,
  type Registry,
  type Unsubscribe,
} from './registry.ts';

export interface ObjectRegistryOptions {
  /** One that keeps its promise about conditional puts; `probeCompareAndSwap` looks whether it does. */
  readonly store: ObjectStore;
  /** Carries messages about changes. It may fail or forget at any time. */
  readonly cache: Cache;
  readonly logger: Logger;
  readonly bucket?: string;
  readonly clock?: Clock;
  /** 0 up to 1; for the jitter. */
  readonly random?: () => number;
  /** How often the store is compared with what is known of it; see {@link Registry.watch}. */
  readonly checkIntervalMs?: number;
  /** Bound on the text of the documents kept in memory. */
  readonly cacheBytes?: number;
}

/** The registry of several processes over one object store. */
export interface ObjectRegistry extends Registry {
  /** Looks for changes now. */
  check(): Promise<void>;
  /** Clears away what was deleted long ago now; resolves to how many entries. */
  collect(): Promise<number>;
}

const CHECK_INTERVAL_MS = 10_000;
/** Ten thousand functions of some kilobytes. */
const CACHE_BYTES = 32 * 1024 * 1024;
const LIST_LIMIT_MAX = 10_000;
const PARALLEL_READS = 16;
/** Everyone who loses a round of creating was beaten by someone who deleted, or cleared away. */
const CREATE_ATTEMPTS_MAX = 20;
/** How long the making of an entry waits for what was deleted under its key to be gone. */
const SEAL_PATIENCE_MS = 5_000;
const SEAL_LOOK_MS = 50;

/**
 * Opens the registry over an object store: one JSON object per entry, changed by compare-and-swap only. A read is one request, a change one or
 * two; a list reads only documents that have changed since they were last seen. Linearizable as far as the store is.
 *
 * A deleted entry leaves a tombstone for a day, so that its revisions never come back; see `object-store/collector.ts` for how that
 * goes. Changes by others are told of by messages, and within some seconds without them; see `object-store/change-feed.ts`.
 *
 * Resolves once no change can be overlooked any more. Rejects with {@link RegistryUnavailableError}.
 */
export async function openObjectRegistry(options: ObjectRegistryOptions): Promise<ObjectRegistry> {
  const registry = new StoreRegistry(options);
  try {
    await registry.open();
    return registry;
  } catch (error) {
    await registry.close();
    throw error;
  }
}

class StoreRegistry implements ObjectRegistry {
  readonly #store: ObjectStore;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #documents: Documents;
  readonly #feed: ChangeFeed;
  readonly #collector: Collector;
  readonly #listeners = new Set<(change: EntryChange) => void>();

  constructor(options: ObjectRegistryOptions) {
    const { store, cache, logger, bucket = REGISTRY_BUCKET, clock = systemClock, random = Math.random } = options;
    this.#store = store;
    this.#clock = clock;
    this.#logger = logger;
    this.#documents = new Documents({ store, bucket, clock, random, cacheBytes: options.cacheBytes ?? CACHE_BYTES });
    const announce = (change: EntryChange): void => {
      for (const listener of this.#listeners) listener(change);
    };
    this.#feed = new ChangeFeed({ documents: this.#documents, cache, clock, logger, random, checkIntervalMs: options.checkIntervalMs ?? CHECK_INTERVAL_MS, announce });
    this.#collector = new Collector({ documents: this.#documents, clock, logger, random });
  }

  async open(): Promise<void> {
    try {
      await this.#store.createBucket(this.#documents.bucket);
    } catch (error) {
      if (error instanceof StoreUnavailableError) throw new RegistryUnavailableError(`The registry cannot be used now. ${error.message}`, { cause: error });
      throw error;
    }
    await this.#feed.open();
    this.#collector.open();
  }

  async get(id: EntryId): Promise<Entry | undefined> {
    checkKey(id.key);
    return entryOf(id, await this.#documents.read(nameOf(id)));
  }

  async put(id: EntryId, value: JsonDocument, condition: number | 'absent'): Promise<Entry> {
    checkKey(id.key);
    const json = checkedJson(id, value);
    const stored = JSON.parse(json) as JsonDocument;
    const document = condition === 'absent' ? await this.#create(id, stored, json) : await this.#replace(id, stored, json, condition);
    return { kind: id.kind, key: id.key, value: stored, revision: document.revision };
  }

  async delete(id: EntryId, condition: number): Promise<void> {
    checkKey(id.key);
    await this.#replace(id, undefined, undefined, condition);
  }

  /** Writes the next document of an entry that is in the state that the caller has seen. */
  async #replace(id: EntryId, value: JsonDocument | undefined, json: string | undefined, condition: number): Promise<RegistryDocument> {
    const name = nameOf(id);
    // What was seen last need not be the newest: then the swap is lost, and with it the condition does not hold.
    const known = this.#documents.peek(name);
    const seen = known?.document.revision === condition ? known : await this.#documents.read(name);
    if (seen?.document.value === undefined || seen.document.revision !== condition) throw new RevisionConflictError(id);
    const document = successor(seen.document, value);
    const swap = await this.#documents.swap(name, seen, document, json);
    if (swap.kind === 'lost') throw new RevisionConflictError(id);
    this.#feed.changed({ kind: id.kind, key: id.key, deleted: value === undefined }, swap.etag);
    return document;
  }

  /** Writes the first document of an entry, or the next one over its tombstone. */
  async #create(id: EntryId, value: JsonDocument, json: string): Promise<RegistryDocument> {
    const name = nameOf(id);
    let seen: Seen | undefined = this.#documents.peek(name);
    // Mostly there is nothing, and one request is enough.
    let isCurrent = seen === undefined;
    let waitedSinceMs: number | undefined;
    for (let attempt = 1; attempt <= CREATE_ATTEMPTS_MAX; ) {
      if (!isCurrent) seen = await this.#documents.read(name);
      isCurrent = false;
      if (seen?.document.value !== undefined) throw new RevisionConflictError(id);
      if (seen?.document.sealed === true) {
        waitedSinceMs ??= this.#clock.now();
        this.#collector.sawSeal(name, seen.etag);
        if (this.#clock.now() - waitedSinceMs >= SEAL_PATIENCE_MS) break;
        await this.#documents.wait(SEAL_LOOK_MS);
        continue;
      }
      const document = seen === undefined ? firstDocument(id.key, value, this.#clock.now()) : successor(seen.document, value);
      const swap = await this.#documents.swap(name, seen, document, json);
      if (swap.kind === 'won') {
        this.#feed.changed({ kind: id.kind, key: id.key, deleted: false }, swap.etag);
        return document;
      }
      attempt += 1;
    }
    throw new RegistryUnavailableError(`The registry entry ${id.kind} ${id.key} was deleted, and is being cleared away just now; make it again in a moment. (After a crash in that very moment it takes an hour.)`);
  }

  async list({ kind, prefix, after, limit }: ListQuery): Promise<EntryPage> {
    if (!Number.isInteger(limit) || limit < 1 || limit > LIST_LIMIT_MAX) throw new RangeError(`A page of ${limit} entries cannot be listed; ask for 1 to ${LIST_LIMIT_MAX}.`);
    const entries: Entry[] = [];
    // Names of long keys that begin alike stand in no order: they are put in order when all of them are here.
    let group: { readonly beginning: string; readonly entries: Entry[] } | undefined;
    const endGroup = (): void => {
      entries.push(...(group?.entries ?? []).sort((left, right) => compareUtf8(left.key, right.key)));
      group = undefined;
    };
    const take = (name: string, entry: Entry): void => {
      const beginning = sharedBeginning(name);
      if (group !== undefined && group.beginning !== beginning) endGroup();
      if (!entry.key.startsWith(prefix) || (after !== undefined && compareUtf8(entry.key, after) <= 0)) return;
      if (beginning === undefined) entries.push(entry);
      else (group ??= { beginning, entries: [] }).entries.push(entry);
    };
    for await (const [name, entry] of this.#liveEntries(kind, prefix, after, limit)) {
      take(name, entry);
      if (entries.length > limit) break;
    }
    if (entries.length <= limit) endGroup();
    const page = entries.slice(0, limit);
    const last = page.at(-1);
    return entries.length > limit && last !== undefined ? { entries: page, next: last.key } : { entries: page };
  }

  /** Entries of a kind with their objects' names, in the order of these; also a few that a query with a long text does not mean. */
  async *#liveEntries(kind: ListQuery['kind'], prefix: string, after: string | undefined, limit: number): AsyncGenerator<readonly [string, Entry]> {
    const inStore = `${kind}/${orderedPrefix(prefix)}`;
    let start = after === undefined ? undefined : `${kind}/${orderedStart(after)}`;
    let live = 0;
    // As many as are needed still; more each time, since what was short were tombstones between.
    for (let pageMin = 1; ; pageMin = Math.max(PARALLEL_READS, pageMin * 2)) {
      const page = await this.#documents.list({ prefix: inStore, after: start, limit: Math.min(LIST_PAGE_MAX, Math.max(pageMin, limit + 1 - live)) });
      for (let first = 0; first < page.objects.length; first += PARALLEL_READS) {
        const objects = page.objects.slice(first, first + PARALLEL_READS);
        const seen = await Promise.all(objects.map((object) => this.#readListed(object)));
        for (const [index, each] of seen.entries()) {
          const entry = each === undefined ? undefined : entryOf({ kind, key: each.document.key }, each);
          if (entry === undefined) continue;
          live += 1;
          yield [objects[index]?.key ?? '', entry];
        }
      }
      if (page.next === undefined) return;
      start = page.next;
    }
  }

  /** One damaged document must not hide all others. */
  async #readListed(object: Parameters<Documents['readListed']>[0]): Promise<Seen | undefined> {
    try {
      return await this.#documents.readListed(object);
    } catch (error) {
      if (!(error instanceof RegistryDocumentError)) throw error;
      this.#logger.error({ err: error, object: object.key }, 'A document of the registry cannot be read and is left out of a list.');
      return undefined;
    }
  }

  watch(listener: (change: EntryChange) => void): Unsubscribe {
    // A function of its own, so that the same listener may watch twice.
    const registered = (change: EntryChange): void => listener(change);
    this.#listeners.add(registered);
    return () => void this.#listeners.delete(registered);
  }

  check(): Promise<void> {
    return this.#feed.check();
  }

  collect(): Promise<number> {
    return this.#collector.collect();
  }

  async close(): Promise<void> {
    this.#listeners.clear();
    await Promise.all([this.#feed.close(), this.#collector.close()]);
  }
}

/** The entry of a live document; undefined for none and for a tombstone. */
function entryOf({ kind, key }: EntryId, seen: Seen | undefined): Entry | undefined {
  return seen?.document.value === undefined ? undefined : { kind, key, value: seen.document.value, revision: seen.document.revision };
}
