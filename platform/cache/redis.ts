import { checkTtl, notACounter, type Cache } from './cache.ts';
import { RedisConnection } from './redis/connection.ts';
import { DEFAULT_KEY_PREFIX, PATIENCE, redisAddress, type RedisCacheOptions } from './redis/settings.ts';
import { RedisSubscriptions } from './redis/subscriptions.ts';

export { checkRedis, type RedisCheck } from './redis/check.ts';
export { CacheSetupError, type RedisCacheOptions, type RedisSettings } from './redis/settings.ts';

/** {@link Cache} on a Redis. */
export interface RedisCache extends Cache {
  /** Whether it can be used at this moment, as far as is known. */
  readonly connected: boolean;
}

/**
 * The answer where the sum is a whole number that JavaScript holds exactly, else an error and the entry as it was. One script, so that no counter
 * can be left without a time to live, neither by a crash between two commands nor by the entry's expiry between them.
 */
const INCREMENT = `local sum = redis.call('INCRBY', KEYS[1], ARGV[1])
if sum > 9007199254740991 or sum < -9007199254740991 then
  redis.call('DECRBY', KEYS[1], ARGV[1])
  return redis.error_reply('ERR increment or decrement would overflow')
end
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return sum`;

/** Redis's words for a value that INCRBY cannot add to. */
const NOT_A_COUNTER = /not an integer|would overflow|WRONGTYPE/;

/**
 * Connects to Redis. Resolves when the first attempt has succeeded or failed, at most after the patience for it: a Redis that is away is a
 * cache that has forgotten everything, and is found when it is there. Rejects only with CacheSetupError, for settings that cannot be meant so.
 *
 * One connection for commands and one for subscriptions. While Redis is away, every operation rejects at once; it never waits longer than
 * the patience for a command. A command is sent once only.
 */
export async function redisCache(options: RedisCacheOptions): Promise<RedisCache> {
  const cache = new RedisCacheDriver(options);
  await cache.attempted();
  return cache;
}

class RedisCacheDriver implements RedisCache {
  readonly #prefix: string;
  readonly #commands: RedisConnection;
  readonly #subscriptions: RedisSubscriptions;

  constructor({ keyPrefix = DEFAULT_KEY_PREFIX, logger, clock, random = Math.random, patience, ...settings }: RedisCacheOptions) {
    this.#prefix = keyPrefix;
    const connection = { address: redisAddress(settings), patience: { ...PATIENCE, ...patience }, logger, clock, random };
    this.#commands = new RedisConnection({ ...connection, name: 'cache' });
    this.#subscriptions = new RedisSubscriptions({ ...connection, name: 'cache-subscriptions' });
  }

  async attempted(): Promise<void> {
    await Promise.all([this.#commands.firstAttempt, this.#subscriptions.connection.firstAttempt]);
  }

  get connected(): boolean {
    return this.#commands.up && this.#subscriptions.connection.up;
  }

  async get(key: string): Promise<string | undefined> {
    return (await this.#commands.run((client) => client.get(this.#prefix + key))) ?? undefined;
  }

  async set(key: string, value: string, ttlMs: number): Promise<void> {
    checkTtl(ttlMs);
    await this.#commands.run((client) => client.set(this.#prefix + key, value, 'PX', Math.ceil(ttlMs)));
  }

  async delete(key: string): Promise<void> {
    await this.#commands.run((client) => client.del(this.#prefix + key));
  }

  async increment(key: string, by: number, ttlMs: number): Promise<number> {
    checkTtl(ttlMs);
    if (!Number.isSafeInteger(by)) throw notACounter(key, by);
    const sum = await this.#commands.run(
      (client) => client.eval(INCREMENT, 1, this.#prefix + key, by, Math.ceil(ttlMs)),
      (answer) => (NOT_A_COUNTER.test(answer) ? notACounter(key, by) : undefined),
    );
    return Number(sum);
  }

  async publish(channel: string, message: string): Promise<void> {
    await this.#commands.run((client) => client.publish(this.#prefix + channel, message));
  }

  subscribe(channel: string, listener: (message: string) => void): Promise<() => Promise<void>> {
    return this.#subscriptions.subscribe(this.#prefix + channel, listener);
  }

  onGap(listener: () => void): () => void {
    return this.#subscriptions.onGap(listener);
  }

  async close(): Promise<void> {
    await Promise.all([this.#commands.close(), this.#subscriptions.close()]);
  }
}
