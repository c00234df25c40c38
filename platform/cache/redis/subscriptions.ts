import type { Redis } from 'ioredis';
import type { Logger } from '../../telemetry/logger.ts';
import { RedisConnection, type RedisConnectionOptions } from './connection.ts';

interface Channel {
  readonly listeners: Set<(message: string) => void>;
  /** Resolves when messages arrive, or will from the next connection on. */
  readonly subscribed: Promise<void>;
}

/**
 * The subscriptions of one process, on a connection of their own (Redis lets a subscribed connection do nothing else). When it was lost they
 * are made again, and then whoever asked for it hears of the gap.
 */
export class RedisSubscriptions {
  readonly #connection: RedisConnection;
  readonly #logger: Logger;
  readonly #channels = new Map<string, Channel>();
  readonly #gapListeners = new Set<() => void>();

  constructor(options: Omit<RedisConnectionOptions, 'prepare' | 'onUp'>) {
    this.#logger = options.logger;
    this.#connection = new RedisConnection({
      ...options,
      prepare: (client: Redis) => client.on('message', (channel: string, message: string) => this.#deliver(channel, message)),
      onUp: () => void this.#restore(),
    });
  }

  get connection(): RedisConnection {
    return this.#connection;
  }

  async subscribe(name: string, listener: (message: string) => void): Promise<() => Promise<void>> {
    // A function of its own, so that the same listener may subscribe twice.
    const registered = (message: string): void => listener(message);
    const channel = this.#channels.get(name) ?? { listeners: new Set(), subscribed: this.#begin(name) };
    channel.listeners.add(registered);
    this.#channels.set(name, channel);
    try {
      await channel.subscribed;
    } catch (error) {
      await this.#remove(name, channel, registered);
      throw error;
    }
    return () => this.#remove(name, channel, registered);
  }

  /** Rejects only where no later connection would make it good: Redis refuses it, or it could not be sent. */
  async #begin(name: string): Promise<void> {
    let lasting = this.#connection.up;
    try {
      await this.#connection.run(
        (client) => {
          lasting = false;
          return client.subscribe(name);
        },
        () => {
          lasting = true;
          return undefined;
        },
      );
    } catch (error) {
      if (lasting) throw error;
    }
  }

  async #remove(name: string, channel: Channel, listener: (message: string) => void): Promise<void> {
    if (!channel.listeners.delete(listener) || channel.listeners.size > 0 || this.#channels.get(name) !== channel) return;
    this.#channels.delete(name);
    try {
      await this.#connection.run((client) => client.unsubscribe(name));
    } catch {
      // The next connection does not subscribe to it.
    }
  }

  onGap(listener: () => void): () => void {
    const registered = (): void => listener();
    this.#gapListeners.add(registered);
    return () => void this.#gapListeners.delete(registered);
  }

  async #restore(): Promise<void> {
    // Whoever subscribes from now on does it on this connection.
    const names = [...this.#channels.keys()];
    if (names.length === 0) return;
    try {
      await this.#connection.run((client) => client.subscribe(...names));
    } catch (error) {
      // Either it is lost by now, or it is of no use.
      this.#connection.drop(`it does not restore the subscriptions: ${(error as Error).message}`);
      return;
    }
    for (const listener of this.#gapListeners) this.#guarded(() => listener());
  }

  #deliver(name: string, message: string): void {
    for (const listener of this.#channels.get(name)?.listeners ?? []) this.#guarded(() => listener(message));
  }

  /** A listener's mistake must not reach the client, which would take it for damage of the connection. */
  #guarded(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#logger.error({ err: error }, 'a listener of the cache failed');
    }
  }

  async close(): Promise<void> {
    this.#channels.clear();
    this.#gapListeners.clear();
    await this.#connection.close();
  }
}
