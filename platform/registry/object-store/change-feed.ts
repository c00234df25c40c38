import { createHash, randomUUID } from 'node:crypto';
import type { Cache } from '../../cache/cache.ts';
import type { Clock, Timer } from '../../clock.ts';
import type { Logger } from '../../telemetry/logger.ts';
import type { EntryChange, EntryId } from '../registry.ts';
import { entryOfName, kindOfName, nameOf } from './document.ts';
import { LIST_PAGE_MAX, type Documents } from './documents.ts';

export interface ChangeFeedOptions {
  readonly documents: Documents;
  readonly cache: Cache;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly random: () => number;
  /** A change whose message was lost is found after at most about so long, or where listing takes long, after about twenty times that. */
  readonly checkIntervalMs: number;
  /** Called once for each change or more often, our own among them. */
  readonly announce: (change: EntryChange) => void;
}

/** Share of the time that checks may take. */
const CHECK_SHARE_MAX = 0.05;
/** After a gap in the messages a check comes at once, but no sooner than so after the last one. */
const PAUSE_MIN_MS = 1_000;
/** Objects whose state is remembered, some 200 bytes each; changes of further ones are found by their messages only. */
const KNOWN_MAX = 1_000_000;
/** Changed documents that are read side by side. */
const PARALLEL_READS = 16;
/** Messages on their way to a cache that is slow; a further one is left to the checks. */
const PUBLISHING_MAX = 1_000;

interface ChangeMessage {
  readonly v: 1;
  /** The registry that changed it, which knows already. */
  readonly from: string;
  readonly kind: EntryId['kind'];
  readonly key: string;
  readonly deleted: boolean;
  readonly etag: string;
}

interface Known {
  /** Of the ETag. */
  hash: number;
  /** The check in which it was last seen. */
  check: number;
}

/**
 * Who changed what: by messages over the cache, and by comparing a list of all objects with the one before, which finds what messages
 * missed: one that was lost, and changes made while the cache was away.
 */
export class ChangeFeed {
  readonly #options: ChangeFeedOptions;
  readonly #instance = randomUUID();
  readonly #channel: string;
  readonly #known = new Map<string, Known>();
  /** Keys of objects whose names do not tell them, where they were once read. */
  readonly #longKeys = new Map<string, EntryId>();
  #check = 0;
  #checking: Promise<void> | undefined;
  #lastEndedMs = 0;
  #lastTookMs = 0;
  #timer: Timer | undefined;
  #publishing = 0;
  #unsubscribe: (() => Promise<void>) | undefined;
  #stopGaps: (() => void) | undefined;
  /** Since the last check began. */
  #hadGap = false;
  #isClosed = false;
  #saidFull = false;

  constructor(options: ChangeFeedOptions) {
    this.#options = options;
    this.#channel = `registry:${options.documents.bucket}`;
  }

  /** From here on every change is found. Rejects with RegistryUnavailableError. */
  async open(): Promise<void> {
    const { cache } = this.#options;
    this.#stopGaps = cache.onGap(() => {
      this.#hadGap = true;
      if (this.#checking === undefined) this.#schedule(PAUSE_MIN_MS);
    });
    // First the messages, then the list: no change falls between.
    await this.#subscribe();
    await this.#list(() => undefined);
    this.#schedule(this.#options.checkIntervalMs);
  }

  /** Tells everyone of a change of ours. */
  changed(change: EntryChange, etag: string): void {
    this.#remember(nameOf(change), etag);
    this.#options.announce(change);
    const { cache, logger } = this.#options;
    if (this.#publishing >= PUBLISHING_MAX) return;
    this.#publishing += 1;
    const message: ChangeMessage = { v: 1, from: this.#instance, kind: change.kind, key: change.key, deleted: change.deleted, etag };
    cache
      .publish(this.#channel, JSON.stringify(message))
      .catch((error: unknown) => logger.debug({ err: error }, 'A change of the registry could not be published; other processes find it by themselves.'))
      .finally(() => void (this.#publishing -= 1));
  }

  /** Compares the store with what is known. Rejects with RegistryUnavailableError. */
  check(): Promise<void> {
    this.#checking ??= this.#compare().finally(() => void (this.#checking = undefined));
    return this.#checking;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#stopGaps?.();
    await this.#unsubscribe?.().catch(() => undefined);
    await this.#checking?.catch(() => undefined);
  }

  async #subscribe(): Promise<void> {
    if (this.#unsubscribe !== undefined || this.#isClosed) return;
    const { cache, logger } = this.#options;
    try {
      this.#unsubscribe = await cache.subscribe(this.#channel, (text) => this.#heard(text));
    } catch (error) {
      logger.warn({ err: error }, 'The registry hears of no changes through the cache; it finds them by itself, later.');
    }
  }

  #heard(text: string): void {
    const message = parseMessage(text);
    if (message === undefined || message.from === this.#instance || this.#isClosed) return;
    const { kind, key, deleted, etag } = message;
    this.#remember(nameOf({ kind, key }), etag);
    this.#options.announce({ kind, key, deleted });
  }

  #schedule(delayMs: number): void {
    if (this.#isClosed) return;
    const { clock, random } = this.#options;
    this.#timer?.cancel();
    const restMs = Math.max(delayMs, this.#lastTookMs * (1 / CHECK_SHARE_MAX - 1));
    // A tenth more or less, so that processes that started together do not list together.
    const dueMs = this.#lastEndedMs + restMs * (0.9 + random() / 5);
    this.#timer = clock.at(Math.max(clock.now(), dueMs), () => void this.#checkInTurn());
  }

  async #checkInTurn(): Promise<void> {
    const { logger, checkIntervalMs } = this.#options;
    await this.#subscribe();
    this.#hadGap = false;
    await this.check().catch((error: unknown) => logger.warn({ err: error }, 'The registry could not look for changes that it was not told of; it will again.'));
    this.#schedule(this.#hadGap ? PAUSE_MIN_MS : checkIntervalMs);
  }

  async #compare(): Promise<void> {
    const changed: { readonly key: string; readonly etag: string }[] = [];
    let gone: readonly string[];
    try {
      gone = await this.#list((object) => changed.push(object));
    } finally {
      // Also where the list broke off: what it has shown until then is known from now on, and would not be news again.
      for (let start = 0; start < changed.length && !this.#isClosed; start += PARALLEL_READS) {
        await Promise.all(changed.slice(start, start + PARALLEL_READS).map((object) => this.#announceListed(object)));
      }
    }
    for (const name of gone) {
      const id = this.#longKeys.get(name) ?? entryOfName(name);
      this.#longKeys.delete(name);
      if (id !== undefined && !this.#isClosed) this.#options.announce({ kind: id.kind, key: id.key, deleted: true });
    }
  }

  async #announceListed(object: { readonly key: string; readonly etag: string }): Promise<void> {
    const { documents, logger, announce } = this.#options;
    const kind = kindOfName(object.key);
    try {
      const seen = await documents.readListed(object);
      const id = seen === undefined ? entryOfName(object.key) : { kind, key: seen.document.key };
      if (kind === undefined || id === undefined) return;
      if (entryOfName(object.key) === undefined) this.#longKeys.set(object.key, { kind, key: id.key });
      announce({ kind, key: id.key, deleted: seen?.document.value === undefined });
    } catch (error) {
      logger.error({ err: error, object: object.key }, 'A changed document of the registry cannot be read.');
      // Unread, so unknown: the next check tries again.
      this.#known.delete(object.key);
    }
  }

  /** Lists all objects; calls `onChange` for each that is not as it was known. Resolves to the names of those that are gone. */
  async #list(onChange: (object: { readonly key: string; readonly etag: string }) => void): Promise<readonly string[]> {
    const { documents, clock } = this.#options;
    const startedMs = clock.now();
    this.#check += 1;
    try {
      for (let after: string | undefined; ; ) {
        const page = await documents.list({ prefix: '', after, limit: LIST_PAGE_MAX });
        for (const { key, etag } of page.objects) if (kindOfName(key) !== undefined && this.#remember(key, etag)) onChange({ key, etag });
        if (page.next === undefined) break;
        after = page.next;
      }
    } finally {
      this.#lastEndedMs = clock.now();
      this.#lastTookMs = this.#lastEndedMs - startedMs;
    }
    const gone: string[] = [];
    for (const [name, known] of this.#known) if (known.check !== this.#check) gone.push(name);
    for (const name of gone) this.#known.delete(name);
    return gone;
  }

  /** Whether this is news. */
  #remember(name: string, etag: string): boolean {
    const hash = hashOf(etag);
    const known = this.#known.get(name);
    if (known !== undefined) {
      known.check = this.#check;
      if (known.hash === hash) return false;
      known.hash = hash;
      return true;
    }
    if (this.#known.size >= KNOWN_MAX) {
      if (!this.#saidFull) this.#options.logger.error({ known: KNOWN_MAX }, 'The registry has more objects than it can watch; lost messages about the others stay lost.');
      this.#saidFull = true;
      return false;
    }
    this.#known.set(name, { hash, check: this.#check });
    return true;
  }
}

function parseMessage(text: string): ChangeMessage | undefined {
  try {
    const message = JSON.parse(text) as Partial<ChangeMessage> | null;
    const isWhole = message?.v === 1 && typeof message.kind === 'string' && typeof message.key === 'string' && typeof message.etag === 'string' && typeof message.deleted === 'boolean';
    return isWhole && kindOfName(`${message.kind}/`) !== undefined ? (message as ChangeMessage) : undefined;
  } catch {
    return undefined;
  }
}

/** 52 bits: an MD5's first, or those of one made of another kind of ETag. */
function hashOf(etag: string): number {
  const hex = /^[0-9a-f]{32}$/.test(etag) ? etag : createHash('md5').update(etag).digest('hex');
  return Number.parseInt(hex.slice(0, 13), 16);
}
