import type { Clock, Timer } from '../../clock.ts';
import type { ObjectSummary } from '../../object-store/object-store.ts';
import type { Logger } from '../../telemetry/logger.ts';
import { kindOfName, sealOf } from './document.ts';
import { LIST_PAGE_MAX, type Documents } from './documents.ts';

export interface CollectorOptions {
  readonly documents: Documents;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: () => number;
}

/**
 * A tombstone stays so long. It keeps the entry's chain of revisions going: a new one begins at the time of day, and so above the old one
 * as long as the clocks of those who write differ by less than this.
 */
export const TOMBSTONE_KEEP_MS = 24 * 60 * 60 * 1_000;
const COLLECT_INTERVAL_MS = 60 * 60 * 1_000;
/** A tombstone has no value; so no larger object need be looked at. Keys of 512 characters that JSON writes as six each are below. */
const TOMBSTONE_BYTES_MAX = 4 * 1024;
/** Who has sealed a tombstone removes it within this, or not at all. */
const REMOVE_WITHIN_MS = 30_000;
/** Who finds a sealed tombstone may remove it after having seen it for so long: whoever sealed it has given up long ago, and so has its network. */
export const SEAL_LEASE_MS = 60 * 60 * 1_000;
/** Sealed tombstones that are watched for that; there are some only where processes died at the wrong moment. */
const WATCHED_MAX = 10_000;
const PARALLEL_READS = 8;

/**
 * Removes tombstones from the store.
 *
 * S3 has no conditional removal that every server knows, and a plain one that comes late takes whatever has come since. So a tombstone is
 * first sealed, by compare-and-swap: whoever makes the entry anew before that has won, and the sealing fails; whoever comes after it waits
 * until the object is gone, and creates then. Nobody writes over a seal, so the removal finds nothing else. It is one request, sent at once and
 * never repeated, by the one who sealed; where that one dies before it, another seals anew after {@link SEAL_LEASE_MS}. What remains:
 * a process that stops for an hour in the very moment in which it sends, and goes on then.
 */
export class Collector {
  readonly #options: CollectorOptions;
  /** Sealed tombstones of others, by name: since when each is seen. */
  readonly #seals = new Map<string, { readonly etag: string; readonly sinceMs: number }>();
  #timer: Timer | undefined;
  #dueMs = 0;
  #running: Promise<number> | undefined;
  #isClosed = false;

  constructor(options: CollectorOptions) {
    this.#options = options;
  }

  open(): void {
    this.#schedule(COLLECT_INTERVAL_MS * (0.5 + this.#options.random()));
  }

  /** Someone wants to make an entry whose tombstone is sealed: so it is not left until its time. */
  sawSeal(name: string, etag: string): void {
    if (this.#isAbandoned(name, etag) || this.#isClosed) return;
    const { clock } = this.#options;
    if (this.#dueMs > clock.now() + SEAL_LEASE_MS) this.#schedule(SEAL_LEASE_MS);
  }

  /** Removes what is due. Resolves to how many. Rejects with RegistryUnavailableError. */
  collect(): Promise<number> {
    this.#running ??= this.#collect().finally(() => void (this.#running = undefined));
    return this.#running;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    await this.#running?.catch(() => undefined);
  }

  #schedule(afterMs: number): void {
    if (this.#isClosed) return;
    const { clock, random, logger } = this.#options;
    this.#timer?.cancel();
    this.#dueMs = clock.now() + afterMs;
    this.#timer = clock.at(this.#dueMs, () => {
      void this.collect()
        .catch((error: unknown) => logger.warn({ err: error }, 'Deleted entries of the registry could not be cleared away; that is tried again.'))
        .finally(() => this.#schedule(COLLECT_INTERVAL_MS * (0.5 + random())));
    });
  }

  async #collect(): Promise<number> {
    const { documents, clock } = this.#options;
    let removed = 0;
    for (let after: string | undefined; !this.#isClosed; ) {
      const page = await documents.list({ prefix: '', after, limit: LIST_PAGE_MAX });
      const dueMs = clock.now() - TOMBSTONE_KEEP_MS;
      const candidates = page.objects.filter(({ key, sizeBytes, lastModifiedMs }) => kindOfName(key) !== undefined && sizeBytes <= TOMBSTONE_BYTES_MAX && (lastModifiedMs <= dueMs || this.#seals.has(key)));
      for (let start = 0; start < candidates.length && !this.#isClosed; start += PARALLEL_READS) {
        const outcomes = await Promise.all(candidates.slice(start, start + PARALLEL_READS).map((object) => this.#clear(object, dueMs)));
        removed += outcomes.filter(Boolean).length;
      }
      if (page.next === undefined) break;
      after = page.next;
    }
    return removed;
  }

  /** Whether the object is gone by this. */
  async #clear(object: ObjectSummary, dueMs: number): Promise<boolean> {
    const { documents, clock } = this.#options;
    const seen = await documents.readListed(object);
    if (seen?.document.value !== undefined || seen === undefined) {
      this.#seals.delete(object.key);
      return false;
    }
    if (seen.document.sealed === true ? !this.#isAbandoned(object.key, seen.etag) : object.lastModifiedMs > dueMs) return false;
    const startedMs = clock.now();
    const { kind } = await documents.swap(object.key, seen, sealOf(seen.document));
    this.#seals.delete(object.key);
    const tookMs = clock.now() - startedMs;
    if (kind === 'lost' || tookMs < 0 || tookMs > REMOVE_WITHIN_MS) return false;
    await documents.removeOnce(object.key);
    return true;
  }

  #isAbandoned(name: string, etag: string): boolean {
    const nowMs = this.#options.clock.now();
    const seal = this.#seals.get(name);
    if (seal?.etag === etag) return nowMs - seal.sinceMs >= SEAL_LEASE_MS;
    if (this.#seals.size < WATCHED_MAX) this.#seals.set(name, { etag, sinceMs: nowMs });
    return false;
  }
}
