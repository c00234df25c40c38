import { buffer } from 'node:stream/consumers';
import type { Clock } from '../../clock.ts';
import { NoSuchBucketError, NoSuchObjectError, PreconditionFailedError, StoreUnavailableError, type ObjectPage, type ObjectStore, type ObjectSummary } from '../../object-store/object-store.ts';
import { RegistryUnavailableError } from '../registry.ts';
import { decodeDocument, EARLIER_MAX, encodeDocument, freezeDeeply, type RegistryDocument } from './document.ts';
import { DocumentCache, type Seen } from './document-cache.ts';

export interface DocumentsOptions {
  readonly store: ObjectStore;
  readonly bucket: string;
  readonly clock: Clock;
  /** 0 up to 1; for the jitter. */
  readonly random: () => number;
  readonly cacheBytes: number;
}

/** What became of a compare-and-swap. */
export type Swap = { readonly kind: 'won'; readonly etag: string } | { readonly kind: 'lost' };

/** Tries of one request against a store that is away for a moment. */
const ATTEMPTS_MAX = 4;
const BACKOFF_FIRST_MS = 25;
const BACKOFF_MAX_MS = 400;
/** A store that took so long to fail is not away for a moment. */
const PATIENCE_MS = 2_000;
/** Keys of one list. One more, which S3 gives at once, tells whether there are more; one beyond that would cost a second request. */
export const LIST_PAGE_MAX = 999;

/**
 * The registry's documents in the object store: read, listed, and swapped by ETag. What may be repeated is, with jitter, when the store is
 * away for a moment; then rejects with {@link RegistryUnavailableError}.
 */
export class Documents {
  readonly #store: ObjectStore;
  readonly bucket: string;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #cache: DocumentCache;

  constructor({ store, bucket, clock, random, cacheBytes }: DocumentsOptions) {
    this.#store = store;
    this.bucket = bucket;
    this.#clock = clock;
    this.#random = random;
    this.#cache = new DocumentCache(cacheBytes);
  }

  /** The document as it was last seen, which may not be the newest. */
  peek(name: string): Seen | undefined {
    return this.#cache.get(name);
  }

  /** The newest state. */
  read(name: string): Promise<Seen | undefined> {
    return this.#repeating(() => this.#fetch(name));
  }

  /** The state that a list has shown, or a newer one. */
  async readListed({ key, etag }: Pick<ObjectSummary, 'key' | 'etag'>): Promise<Seen | undefined> {
    const known = this.#cache.get(key);
    return known?.etag === etag ? known : this.read(key);
  }

  list(query: { readonly prefix: string; readonly after?: string | undefined; readonly limit: number }): Promise<ObjectPage> {
    const { prefix, after, limit } = query;
    return this.#repeating(() => this.#store.list({ bucket: this.bucket, prefix, limit, detail: 'essential', ...(after === undefined ? {} : { after }) }));
  }

  /**
   * Writes a document over the one that was seen, or where none was. `lost`: the store had something else, and nothing has changed.
   *
   * A put whose answer is lost may have taken effect, so this looks: every document names the write that made it and those before. Only
   * where so many others came after that this shows no more, or the store stays away, nobody knows, and it rejects.
   */
  async swap(name: string, seen: Seen | undefined, document: RegistryDocument, json?: string): Promise<Swap> {
    const body = encodeDocument(document, json);
    const condition = seen === undefined ? ({ kind: 'absent' } as const) : ({ kind: 'etag', etag: seen.etag } as const);
    const startedMs = this.#clock.now();
    let lostAnswer: StoreUnavailableError | undefined;
    for (let attempt = 1; ; attempt += 1) {
      try {
        const { etag } = await this.#store.put({ bucket: this.bucket, key: name }, body, { condition, contentType: 'application/json', detail: 'essential' });
        this.#cache.set(name, { etag, document: freezeDeeply(document) }, body.length);
        return { kind: 'won', etag };
      } catch (error) {
        if (error instanceof StoreUnavailableError) {
          lostAnswer = error;
          await this.#backOff(attempt);
        } else if (!(error instanceof PreconditionFailedError)) throw this.#asUnavailable(error);
        else if (lostAnswer === undefined) {
          this.#forgetIf(name, seen);
          return { kind: 'lost' };
        }
      }
      const now = await this.read(name);
      const outcome = compare(now, seen, document);
      if (outcome === 'lost') return { kind: 'lost' };
      if (outcome === 'won') return { kind: 'won', etag: now?.etag ?? '' };
      if (outcome === 'unknown') {
        throw new RegistryUnavailableError(`The registry entry ${name} was written to, but it cannot be told whether by this change: the object store's answer was lost, and others have written since. Read it again and decide anew.`);
      }
      if (attempt === ATTEMPTS_MAX || this.#clock.now() - startedMs > PATIENCE_MS) throw this.#asUnavailable(lostAnswer);
    }
  }

  /** Removes an object by one request only; an error leaves open whether it is gone or will be. */
  async removeOnce(name: string): Promise<void> {
    this.#cache.delete(name);
    await this.#store.delete({ bucket: this.bucket, key: name }, { attempts: 'once' });
  }

  /** Waits for a time that differs for everyone. */
  wait(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#clock.at(this.#clock.now() + ms * (0.5 + this.#random() / 2), resolve));
  }

  #backOff(attempt: number): Promise<void> {
    return this.wait(Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** attempt));
  }

  /** A document that was compared in vain is not the newest. */
  #forgetIf(name: string, seen: Seen | undefined): void {
    if (seen !== undefined && this.#cache.get(name)?.etag === seen.etag) this.#cache.delete(name);
  }

  async #fetch(name: string): Promise<Seen | undefined> {
    try {
      const { summary, body } = await this.#store.get({ bucket: this.bucket, key: name });
      const bytes = await buffer(body);
      const seen = { etag: summary.etag, document: decodeDocument(bytes, `The object ${name} in the bucket ${this.bucket}`) };
      this.#cache.set(name, seen, bytes.length);
      return seen;
    } catch (error) {
      if (!(error instanceof NoSuchObjectError)) throw error;
      this.#cache.delete(name);
      return undefined;
    }
  }

  async #repeating<Result>(request: () => Promise<Result>): Promise<Result> {
    const startedMs = this.#clock.now();
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await request();
      } catch (error) {
        if (!(error instanceof StoreUnavailableError) || attempt === ATTEMPTS_MAX || this.#clock.now() - startedMs > PATIENCE_MS) throw this.#asUnavailable(error);
        await this.#backOff(attempt);
      }
    }
  }

  #asUnavailable(error: unknown): unknown {
    if (error instanceof StoreUnavailableError) return new RegistryUnavailableError(`The registry cannot be used now. ${error.message}`, { cause: error });
    if (error instanceof NoSuchBucketError) return new RegistryUnavailableError(`The registry's bucket ${this.bucket} is gone; restore it, or start anew.`, { cause: error });
    return error;
  }
}

/** What the store's present state tells about a write whose answer is unknown. */
function compare(now: Seen | undefined, seen: Seen | undefined, mine: RegistryDocument): 'won' | 'lost' | 'again' | 'unknown' {
  if (now?.etag === seen?.etag) return 'again';
  // It was there and is gone: only a sealed tombstone is removed, at which nobody aims.
  if (now === undefined) return 'lost';
  const { write, earlier } = now.document;
  if (write === mine.write || earlier.includes(mine.write)) return 'won';
  const showsAll = seen === undefined ? earlier.length < EARLIER_MAX : earlier.includes(seen.document.write);
  return showsAll ? 'lost' : 'unknown';
}
