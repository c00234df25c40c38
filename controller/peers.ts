import type { Cache } from '../platform/cache/cache.ts';
import type { Clock } from '../platform/clock.ts';
import { ANNOUNCEMENT_TTL_MS, CONTROLLERS_ASKED_CHANNEL, CONTROLLERS_CHANNEL, parseAnnouncement } from '../platform/protocol/announcement.ts';
import type { Logger } from '../platform/telemetry/logger.ts';

/** Others that live and hear the question have answered by then. */
const ANSWER_WAIT_MS = 300;
/** Others known at once; further ones are not listened to. */
const PEERS_MAX = 64;

export interface PeersOptions {
  /** The name of this controller. */
  readonly controller: string;
  readonly cache: Cache;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A controller was heard of that was not known. */
  readonly onNew: (url: string) => void;
}

interface Peer {
  readonly workers: number;
  readonly heardAtMs: number;
}

/** The other controllers, as far as they are heard of through the cache. */
export class Peers {
  readonly #options: PeersOptions;
  /** By URL. */
  readonly #known = new Map<string, Peer>();
  #unsubscribe: (() => Promise<void>) | undefined;
  #stopped = false;

  constructor(options: PeersOptions) {
    this.#options = options;
  }

  /** Asks who is there; resolves when they have had time to answer. Without a cache there is nobody. */
  async start(): Promise<void> {
    const { cache, clock, logger } = this.#options;
    try {
      this.#unsubscribe = await cache.subscribe(CONTROLLERS_CHANNEL, (message) => this.#hear(message));
      await cache.publish(CONTROLLERS_ASKED_CHANNEL, '');
    } catch (error) {
      logger.debug({ err: error }, 'other controllers cannot be heard of through the cache');
      return;
    }
    await new Promise<void>((resolve) => clock.at(clock.now() + ANSWER_WAIT_MS, resolve));
  }

  /** How many workers the best connected of the others has. */
  get workers(): number {
    return Math.max(0, ...[...this.#known.values()].map(({ workers }) => workers));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#unsubscribe?.().catch(() => undefined);
  }

  #hear(message: string): void {
    const announcement = parseAnnouncement(message);
    if (announcement === undefined || announcement.controller === this.#options.controller || this.#stopped) return;
    const { url, leaving, workers } = announcement;
    this.#forgetSilent();
    const isNew = !this.#known.has(url);
    if (leaving) this.#known.delete(url);
    else if (!isNew || this.#known.size < PEERS_MAX) {
      this.#known.set(url, { workers, heardAtMs: this.#options.clock.now() });
      if (isNew) this.#options.onNew(url);
    }
  }

  #forgetSilent(): void {
    const sinceMs = this.#options.clock.now() - ANNOUNCEMENT_TTL_MS;
    for (const [url, { heardAtMs }] of this.#known) if (heardAtMs < sinceMs) this.#known.delete(url);
  }
}
