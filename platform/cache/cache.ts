/**
 * Port: what may be forgotten. Every value, counter and message can vanish at any moment, and nothing may be lost by it but time.
 *
 * Every method but `close` and `onGap` may reject with {@link CacheUnavailableError}; it does so soon, whatever became of the server or the
 * network, and a write that so rejected may have happened or not. Whoever meets it goes on as if the cache were empty.
 */
export interface Cache {
  /** The value, or undefined when it was never set, expired or was forgotten. */
  get(key: string): Promise<string | undefined>;
  /** Sets a value for `ttlMs`, 1 to {@link CACHE_TTL_MS_MAX}. The bound on entries may push out others. */
  set(key: string, value: string, ttlMs: number): Promise<void>;
  delete(key: string): Promise<void>;
  /**
   * Adds to a counter atomically and returns its new value. A new counter begins at 0 and lives `ttlMs` from its first increment. Rejects with
   * RangeError where a counter would not be a whole number that JavaScript holds exactly, and leaves the entry as it was.
   */
  increment(key: string, by: number, ttlMs: number): Promise<number>;
  /** Sends a message to the current subscribers of a channel, at most once each. */
  publish(channel: string, message: string): Promise<void>;
  /**
   * Calls `listener` for messages from now on. A listener must not throw. Resolves once messages arrive. While the cache is away it resolves
   * at once: messages arrive from the cache's return on, of which {@link Cache.onGap} tells.
   */
  subscribe(channel: string, listener: (message: string) => void): Promise<() => Promise<void>>;
  /**
   * Calls `listener` whenever messages to subscribers here may have been missed, each time once messages arrive again: whoever keeps a copy
   * of what messages tell of must look at the original then. Must not throw. Returns how to stop it.
   */
  onGap(listener: () => void): () => void;
  /** Ends everything, subscriptions too. Idempotent. */
  close(): Promise<void>;
}

/** The cache cannot be used now. What was asked may be asked again later; it must not be waited for. */
export class CacheUnavailableError extends Error {
  override readonly name = 'CacheUnavailableError';
}

/** Long enough for everything that another look can bring back. */
export const CACHE_TTL_MS_MAX = 24 * 60 * 60 * 1_000;

/** Throws RangeError for a time to live that no driver takes. */
export function checkTtl(ttlMs: number): void {
  if (!(ttlMs >= 1 && ttlMs <= CACHE_TTL_MS_MAX)) throw new RangeError(`A time to live of ${ttlMs} ms cannot be set; choose 1 to ${CACHE_TTL_MS_MAX}.`);
}

/** What {@link Cache.increment} rejects with. */
export function notACounter(key: string, by: number): RangeError {
  return new RangeError(`${by} cannot be added to the cache's ${key}. Counters are whole numbers of at most ${Number.MAX_SAFE_INTEGER}, and so is what is added.`);
}
