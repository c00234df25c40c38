/**
 * Port: what may be forgotten. Every value, counter and message can vanish at any moment, and nothing may be lost by it but time.
 */
export interface Cache {
  /** The value, or undefined when it was never set, expired or was forgotten. */
  get(key: string): Promise<string | undefined>;
  /** Sets a value for `ttlMs` (1 to 24 h). The bound on entries may push out others. */
  set(key: string, value: string, ttlMs: number): Promise<void>;
  delete(key: string): Promise<void>;
  /** Adds to a counter atomically and returns its new value. A new counter begins at 0 and lives `ttlMs` from its first increment. */
  increment(key: string, by: number, ttlMs: number): Promise<number>;
  /** Sends a message to the current subscribers of a channel, at most once each. */
  publish(channel: string, message: string): Promise<void>;
  /** Calls `listener` for messages from now on. A listener must not throw. Resolves once messages arrive. */
  subscribe(channel: string, listener: (message: string) => void): Promise<() => Promise<void>>;
  close(): Promise<void>;
}
