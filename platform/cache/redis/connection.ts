import type { Redis } from 'ioredis';
import type { Clock, Timer } from '../../clock.ts';
import type { Logger } from '../../telemetry/logger.ts';
import { CacheUnavailableError } from '../cache.ts';
import { newClient } from './client.ts';
import type { Patience, RedisAddress } from './settings.ts';

export interface RedisConnectionOptions {
  readonly address: RedisAddress;
  /** What it is for; shown in logs, and by Redis's CLIENT LIST. */
  readonly name: string;
  readonly patience: Patience;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly random: () => number;
  /** Called with each client before it connects. */
  readonly prepare?: (client: Redis) => void;
  /** Called each time commands can be sent. */
  readonly onUp?: () => void;
}

/** The first attempt after a loss comes at once as far as people see; those of a server that stays away cost nothing. */
const BACK_OFF_FIRST_MS = 50;
/** So long after Redis is back, everyone has found it. */
const BACK_OFF_MAX_MS = 2_000;
/** Commands that may wait for an answer at once, some hundred bytes each. Redis answers so many in a tenth of a second. */
const IN_FLIGHT_MAX = 10_000;

type State =
  | { readonly kind: 'connecting'; readonly client: Redis }
  | { readonly kind: 'up'; readonly client: Redis; readonly sinceMs: number; heartbeat: Timer }
  | { readonly kind: 'waiting'; readonly timer: Timer }
  | { readonly kind: 'closed' };

/**
 * A connection to Redis that is made again whenever it is lost. Its states:
 *
 * - *connecting*: an attempt is under way. It ends *up* once Redis has answered a PING, which it does only to a client that it lets in and
 *   when it has loaded its data; or *waiting*, with the reason.
 * - *up*: commands are sent. It ends *waiting* when the connection breaks, when a command or a heartbeat got no answer in time, or when the
 *   server says that it is no primary any more.
 * - *waiting*: until the next attempt, longer each time, until one has held for a while. Commands fail at once.
 * - *closed*: for good, from any state.
 *
 * Every attempt is a client of its own, so that nothing of an earlier connection lives on in a later one.
 */
export class RedisConnection {
  /** Resolves when the first attempt has come to something, whatever it is. */
  readonly firstAttempt: Promise<void>;
  readonly #options: RedisConnectionOptions;
  readonly #attempted: () => void;
  /** Clients whose sockets are not gone yet. */
  readonly #clients = new Map<Redis, Promise<void>>();
  #state: State;
  #attempts = 0;
  #inFlight = 0;
  #downSinceMs: number;
  /** Why it is not up, for the errors of those who ask for it. Undefined while nothing went wrong. */
  #reason: string | undefined;

  constructor(options: RedisConnectionOptions) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.firstAttempt = promise;
    this.#attempted = resolve;
    this.#options = options;
    this.#downSinceMs = options.clock.now();
    this.#state = this.#connect();
  }

  get up(): boolean {
    return this.#state.kind === 'up';
  }

  /**
   * What `command` resolves to. Rejects with {@link CacheUnavailableError}, or with what `refusal` makes of an error that Redis answered.
   */
  async run<Result>(command: (client: Redis) => Promise<Result>, refusal?: (answer: string) => Error | undefined): Promise<Result> {
    const state = this.#state;
    if (state.kind !== 'up') throw this.#unavailable(this.#reason ?? 'it is not connected yet');
    if (this.#inFlight >= IN_FLIGHT_MAX) throw this.#unavailable(`${IN_FLIGHT_MAX} commands wait for an answer already`);
    this.#inFlight++;
    try {
      return await command(state.client);
    } catch (error) {
      throw this.#failed(state.client, error as Error, refusal);
    } finally {
      this.#inFlight--;
    }
  }

  /** Takes the connection for lost, and makes another after a back-off. */
  drop(reason: string): void {
    if (this.#state.kind === 'up') this.#lost(this.#state.client, reason);
  }

  /** Resolves once no socket is left. Idempotent. */
  async close(): Promise<void> {
    const state = this.#state;
    this.#state = { kind: 'closed' };
    this.#reason = 'it has been closed';
    if (state.kind === 'waiting') state.timer.cancel();
    if (state.kind === 'up') state.heartbeat.cancel();
    if (state.kind === 'up' || state.kind === 'connecting') state.client.disconnect();
    this.#attempted();
    await Promise.all(this.#clients.values());
  }

  #connect(): State {
    const { address, patience, name, prepare } = this.#options;
    const client = newClient(address, patience, `sluice-${name}`);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#clients.set(client, promise);
    // Stays for good: without a listener ioredis prints errors, with the password among the command's arguments.
    client.on('error', (error: Error) => this.#lost(client, error.message));
    client.once('end', () => {
      this.#clients.delete(client);
      resolve();
      this.#lost(client, 'the server closed the connection');
    });
    prepare?.(client);
    client
      .connect()
      .then(() => client.ping())
      .then(
        () => this.#isUp(client),
        (error: Error) => this.#lost(client, error.message),
      );
    return { kind: 'connecting', client };
  }

  #isUp(client: Redis): void {
    if (this.#state.kind !== 'connecting' || this.#state.client !== client) return;
    const { clock, logger, name, address, onUp } = this.#options;
    const nowMs = clock.now();
    if (this.#reason !== undefined) logger.info({ connection: name, awayMs: nowMs - this.#downSinceMs }, `the cache at ${address.shown} is back`);
    this.#reason = undefined;
    this.#state = { kind: 'up', client, sinceMs: nowMs, heartbeat: this.#nextHeartbeat(client) };
    this.#attempted();
    onUp?.();
  }

  #nextHeartbeat(client: Redis): Timer {
    const { clock, patience } = this.#options;
    return clock.at(clock.now() + patience.heartbeatMs, () => void this.#heartbeat(client));
  }

  async #heartbeat(client: Redis): Promise<void> {
    try {
      await this.run((current) => current.ping());
    } catch {
      // If it was for want of an answer, the connection is lost by now.
    }
    if (this.#state.kind === 'up' && this.#state.client === client) this.#state.heartbeat = this.#nextHeartbeat(client);
  }

  #failed(client: Redis, error: Error, refusal?: (answer: string) => Error | undefined): Error {
    // Never the error itself: it carries the command's arguments, a password among them.
    if (error.name === 'ReplyError') {
      // What was a primary has become a replica: its name may lead to the new one by now.
      if (error.message.startsWith('READONLY')) this.#lost(client, error.message);
      return refusal?.(error.message) ?? this.#unavailable(error.message);
    }
    if (error.message === 'Command timed out') {
      const reason = `no answer within ${this.#options.patience.commandMs} ms`;
      this.#lost(client, reason);
      return this.#unavailable(reason);
    }
    return this.#unavailable(this.#reason ?? error.message);
  }

  #lost(client: Redis, reason: string): void {
    const state = this.#state;
    if ((state.kind !== 'connecting' && state.kind !== 'up') || state.client !== client) return;
    const { clock, logger, name, address, random } = this.#options;
    const nowMs = clock.now();
    if (state.kind === 'up') {
      state.heartbeat.cancel();
      this.#downSinceMs = nowMs;
      if (nowMs - state.sinceMs >= BACK_OFF_MAX_MS) this.#attempts = 0;
    }
    if (this.#reason === undefined) logger.warn({ connection: name }, `the cache at ${address.shown} is away: ${reason}`);
    this.#reason = reason;
    const delayMs = Math.min(BACK_OFF_MAX_MS, BACK_OFF_FIRST_MS * 2 ** Math.min(this.#attempts++, 30)) * (0.5 + random() / 2);
    this.#state = { kind: 'waiting', timer: clock.at(nowMs + delayMs, () => void (this.#state = this.#connect())) };
    client.disconnect();
    this.#attempted();
  }

  #unavailable(reason: string): CacheUnavailableError {
    return new CacheUnavailableError(`The cache at ${this.#options.address.shown} cannot be used now: ${reason}.`);
  }
}
