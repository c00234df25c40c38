import type { Cache } from '../platform/cache/cache.ts';
import type { Clock, Timer } from '../platform/clock.ts';
import { ANNOUNCE_INTERVAL_MS, ANNOUNCEMENT_TTL_MS, CONTROLLERS_ASKED_CHANNEL, CONTROLLERS_CHANNEL, ownerKey, type Announcement } from '../platform/protocol/announcement.ts';
import type { Logger } from '../platform/telemetry/logger.ts';

export interface AnnouncerOptions {
  readonly controller: string;
  readonly url: string;
  readonly cache: Cache;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly owned: () => ReadonlyMap<number, number>;
  readonly workers: () => number;
}

/**
 * Tells workers through the cache where this controller is and what it owns, again and again: the cache may forget, and workers come and go. Without a cache
 * workers find controllers by their settings.
 */
export class Announcer {
  readonly #options: AnnouncerOptions;
  #timer: Timer | undefined;
  #unsubscribe: (() => Promise<void>) | undefined;
  #stopped = false;
  #failing = false;

  constructor(options: AnnouncerOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { cache, logger } = this.#options;
    try {
      this.#unsubscribe = await cache.subscribe(CONTROLLERS_ASKED_CHANNEL, () => void this.#tell(false));
    } catch (error) {
      logger.warn({ err: error }, 'workers cannot ask for controllers through the cache; they hear of them every two seconds');
    }
    await this.#announce();
  }

  async #announce(): Promise<void> {
    await this.#tell(false);
    const { clock } = this.#options;
    if (!this.#stopped) this.#timer = clock.at(clock.now() + ANNOUNCE_INTERVAL_MS, () => void this.#announce());
  }

  async #tell(leaving: boolean): Promise<void> {
    const { cache, controller, url, owned, workers, logger } = this.#options;
    const message = JSON.stringify({ v: 1, controller, url, leaving, workers: workers() } satisfies Announcement);
    try {
      await Promise.all([cache.publish(CONTROLLERS_CHANNEL, message), ...(leaving ? [] : [...owned().keys()].map((partition) => cache.set(ownerKey(partition), message, ANNOUNCEMENT_TTL_MS)))]);
      this.#failing = false;
    } catch (error) {
      if (!this.#failing) logger.warn({ err: error }, 'the controller cannot be announced through the cache');
      this.#failing = true;
    }
  }

  /** Says that this controller leaves. Idempotent. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#unsubscribe?.().catch(() => undefined);
    await this.#tell(true);
  }
}
