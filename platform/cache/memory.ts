import type { Clock } from '../clock.ts';
import { checkTtl, notACounter, type Cache } from './cache.ts';

export interface MemoryCacheOptions {
  readonly clock: Clock;
  /** The oldest entry makes room for one beyond. */
  readonly maxEntries?: number;
}

/** Some hundred bytes each. */
const ENTRIES_MAX = 100_000;
/** Counters as {@link Cache.increment} writes them. */
const COUNTER = /^(0|-?[1-9]\d{0,15})$/;

interface CacheEntry {
  readonly value: string;
  readonly expiresAtMs: number;
}

/** The cache of a Sluice in one process. Expired entries go when they are met. */
export function memoryCache({ clock, maxEntries = ENTRIES_MAX }: MemoryCacheOptions): Cache {
  return new MemoryCache(clock, maxEntries);
}

class MemoryCache implements Cache {
  readonly #clock: Clock;
  readonly #maxEntries: number;
  readonly #entries = new Map<string, CacheEntry>();
  readonly #channels = new Map<string, Set<(message: string) => void>>();

  constructor(clock: Clock, maxEntries: number) {
    this.#clock = clock;
    this.#maxEntries = maxEntries;
  }

  get(key: string): Promise<string | undefined> {
    return Promise.resolve(this.#live(key)?.value);
  }

  #live(key: string): CacheEntry | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.expiresAtMs > this.#clock.now()) return entry;
    this.#entries.delete(key);
    return undefined;
  }

  // The methods are async so that what is refused rejects.
  // eslint-disable-next-line @typescript-eslint/require-await
  async set(key: string, value: string, ttlMs: number): Promise<void> {
    this.#store(key, value, this.#expiry(ttlMs));
  }

  delete(key: string): Promise<void> {
    this.#entries.delete(key);
    return Promise.resolve();
  }

  // eslint-disable-next-line @typescript-eslint/require-await
  async increment(key: string, by: number, ttlMs: number): Promise<number> {
    const expiresAtMs = this.#expiry(ttlMs);
    const entry = this.#live(key);
    const value = entry?.value ?? '0';
    const sum = Number(value) + by;
    if (!COUNTER.test(value) || !Number.isSafeInteger(by) || !Number.isSafeInteger(sum)) throw notACounter(key, by);
    this.#store(key, String(sum), entry?.expiresAtMs ?? expiresAtMs);
    return sum;
  }

  #expiry(ttlMs: number): number {
    checkTtl(ttlMs);
    return this.#clock.now() + ttlMs;
  }

  #store(key: string, value: string, expiresAtMs: number): void {
    this.#entries.delete(key);
    if (this.#entries.size >= this.#maxEntries) {
      for (const oldest of this.#entries.keys()) {
        this.#entries.delete(oldest);
        break;
      }
    }
    this.#entries.set(key, { value, expiresAtMs });
  }

  publish(channel: string, message: string): Promise<void> {
    for (const listener of this.#channels.get(channel) ?? []) listener(message);
    return Promise.resolve();
  }

  subscribe(channel: string, listener: (message: string) => void): Promise<() => Promise<void>> {
    // A function of its own, so that the same listener may subscribe twice.
    const registered = (message: string): void => listener(message);
    const listeners = this.#channels.get(channel) ?? new Set();
    this.#channels.set(channel, listeners.add(registered));
    return Promise.resolve(() => {
      listeners.delete(registered);
      if (listeners.size === 0 && this.#channels.get(channel) === listeners) this.#channels.delete(channel);
      return Promise.resolve();
    });
  }

  /** Nothing is missed within a process. */
  onGap(): () => void {
    return () => undefined;
  }

  close(): Promise<void> {
    this.#entries.clear();
    this.#channels.clear();
    return Promise.resolve();
  }
}
