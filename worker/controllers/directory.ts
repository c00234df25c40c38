import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { Cache } from '../../platform/cache/cache.ts';
import type { Clock, Timer } from '../../platform/clock.ts';
import { ANNOUNCEMENT_TTL_MS, CONTROLLERS_ASKED_CHANNEL, CONTROLLERS_CHANNEL, ownerKey, parseAnnouncement } from '../../platform/protocol/announcement.ts';
import type { Logger } from '../../platform/telemetry/logger.ts';

/** How often names are resolved again and controllers that were not heard of are forgotten. */
const REFRESH_MS = 2_000;
/** Controllers known at once; further ones are not listened to. */
const CONTROLLERS_MAX = 64;

export interface DirectoryOptions {
  /** URLs from the settings; a host name stands for all its addresses. */
  readonly fixed: readonly string[];
  readonly cache: Cache;
  readonly partitions: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called with the URLs of all controllers whenever they may have changed. */
  readonly onChange: (urls: ReadonlySet<string>) => void;
}

/** Where the controllers are, as far as settings, names, the cache and other controllers tell. */
export class ControllerDirectory {
  readonly #options: DirectoryOptions;
  /** By URL, when it was heard of last; Infinity for those that are set. */
  readonly #heard = new Map<string, number>();
  #resolved: readonly string[] = [];
  #timer: Timer | undefined;
  #unsubscribe: (() => Promise<void>) | undefined;
  #stopped = false;

  constructor(options: DirectoryOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { cache, logger } = this.#options;
    try {
      this.#unsubscribe = await cache.subscribe(CONTROLLERS_CHANNEL, (message) => this.#hear(message));
      await cache.publish(CONTROLLERS_ASKED_CHANNEL, '');
      await this.#lookUpOwners();
    } catch (error) {
      logger.warn({ err: error }, 'controllers cannot be heard of through the cache now; those of SLUICE_CONTROLLERS are served');
    }
    await this.#refresh();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#unsubscribe?.().catch(() => undefined);
  }

  /** One controller has told of another. */
  met(url: string): void {
    if (this.#stopped || this.#heard.has(url) || this.#heard.size >= CONTROLLERS_MAX || !URL.canParse(url)) return;
    this.#heard.set(url, this.#options.clock.now());
    this.#tell();
  }

  async #lookUpOwners(): Promise<void> {
    const { cache, partitions } = this.#options;
    const owners = await Promise.all(Array.from({ length: partitions }, (_, partition) => cache.get(ownerKey(partition))));
    for (const owner of owners) if (owner !== undefined) this.#hear(owner);
  }

  #hear(message: string): void {
    const announcement = parseAnnouncement(message);
    if (announcement === undefined || this.#stopped) return;
    const { url, leaving } = announcement;
    const known = this.#heard.has(url);
    if (leaving) this.#heard.delete(url);
    else if (known || this.#heard.size < CONTROLLERS_MAX) this.#heard.set(url, this.#options.clock.now());
    if (known === leaving) this.#tell();
  }

  async #refresh(): Promise<void> {
    const { clock, fixed, logger } = this.#options;
    const addresses = await Promise.all(fixed.map((url) => resolve(url, logger)));
    this.#resolved = addresses.flat();
    for (const [url, heardAtMs] of this.#heard) if (clock.now() - heardAtMs > ANNOUNCEMENT_TTL_MS) this.#heard.delete(url);
    if (this.#stopped) return;
    this.#tell();
    this.#timer = clock.at(clock.now() + REFRESH_MS, () => void this.#refresh());
  }

  #tell(): void {
    this.#options.onChange(new Set([...this.#resolved, ...this.#heard.keys()].slice(0, CONTROLLERS_MAX)));
  }
}

/** The URL with each of its host's addresses; none while the name cannot be resolved. */
async function resolve(url: string, logger: Logger): Promise<readonly string[]> {
  const { hostname, port, origin } = new URL(url);
  if (isIP(hostname) !== 0) return [origin];
  try {
    const addresses = await lookup(hostname, { all: true, family: 4 });
    return addresses.map(({ address }) => `http://${address}:${port === '' ? '80' : port}`);
  } catch (error) {
    logger.debug({ err: error, url }, 'the name of a controller cannot be resolved');
    return [];
  }
}
