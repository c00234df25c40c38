import { setTimeout as delay } from 'node:timers/promises';
import type { Agent } from 'undici';
import { internalRequest, type InternalResponse } from '../../platform/internal-http/client.ts';
import type { EnvironmentDeparture, EnvironmentPoll, HeldEnvironment } from '../../platform/protocol/controller-link.ts';
import {
  decodeAnswer,
  encodePoll,
  INSTRUCTIONS_HOLD_MS,
  PROTOCOL_VERSION,
  wireDeparture,
  type Answer,
  type HeldAnswer,
  type Instruction,
  type InstructionsAnswer,
  type InstructionsRequest,
  type ObjectAnswer,
  type ObjectRequest,
  type SessionGrant,
  type SessionRequest,
  type WireLog,
  type WorkerRoom,
} from '../../platform/protocol/wire/messages.ts';
import type { Logger } from '../../platform/telemetry/logger.ts';

/** A controller that refuses connections for this long is gone, or cannot be told from one that is. */
const UNREACHABLE_MS = 4_000;
/** An answer that is not held open. */
const REQUEST_TIMEOUT_MS = 5_000;
const RETRY_FIRST_MS = 50;
const RETRY_MAX_MS = 2_000;

export interface ControllerSessionOptions {
  /** `http://host:port`. */
  readonly url: string;
  readonly worker: string;
  readonly instance: string;
  readonly joinToken: string;
  readonly agent: Agent;
  readonly logger: Logger;
  /** What this controller may use now. */
  readonly room: (session: ControllerSession) => WorkerRoom;
  /** What the controllers are to hear of the container's memory; undefined: nothing. */
  readonly memoryLimitMiB: () => number | undefined;
  /** How many environments the worker holds now, of all controllers. */
  readonly environments: () => number;
  /** A session has begun; called again after one was lost. */
  readonly onOpen: (session: ControllerSession) => void;
  /** The session is over: what it had is no controller's at present. Polls under way end when their signal is aborted. */
  readonly onLost: (session: ControllerSession) => void;
  /** The controller knows that these environments are gone. */
  readonly onDeparted: (environmentIds: readonly string[]) => void;
  readonly onInstruction: (session: ControllerSession, instruction: Instruction) => void;
}

/** What a poll came to. `lost`: there is no session any more; whoever polls waits for another one. */
export type PollOutcome = Answer | { readonly kind: 'lost' };

/**
 * A worker's side of its sessions with one controller, one after another: *connecting* until the controller grants one, *open* until the controller does not know it any
 * more, cannot be reached for {@link UNREACHABLE_MS} or says that it leaves, then *connecting* again, with back-off, until `stop`.
 */
export class ControllerSession {
  readonly url: string;
  /** Of partitions that the controller has claimed in this session. */
  readonly epochs = new Map<number, number>();
  readonly #options: ControllerSessionOptions;
  readonly #stopping = new AbortController();
  /** Ends what waits for an answer of the present session. */
  #ending = new AbortController();
  #grant: SessionGrant | undefined;
  #acknowledged = 0;
  #departures: EnvironmentDeparture[] = [];
  #sendingDepartures: Promise<void> | undefined;
  #wakeUp = new AbortController();
  readonly #running: Promise<void>;

  constructor(options: ControllerSessionOptions) {
    this.url = options.url;
    this.#options = options;
    this.#running = this.#run();
  }

  get open(): boolean {
    return this.#grant !== undefined;
  }

  get controller(): string | undefined {
    return this.#grant?.controller;
  }

  get partitions(): number {
    return this.#grant?.partitions ?? 0;
  }

  /** The room has changed: the controller is told now rather than with the next poll. */
  roomChanged(): void {
    this.#wakeUp.abort();
  }

  /** Sends one poll until it is answered. `onTaken`: the controller has taken it in, though there may be nothing to do yet. */
  async poll(poll: EnvironmentPoll, number: number, signal: AbortSignal, onTaken: () => void): Promise<PollOutcome> {
    const body = encodePoll(poll);
    const path = `/environments/${encodeURIComponent(poll.environmentId)}/next?seq=${number}`;
    for (let failures = 0; ; ) {
      if (!this.open || signal.aborted) return { kind: 'lost' };
      try {
        const response = await this.#request(path, body, signal, (status) => {
          if (status === 200) onTaken();
        });
        if (this.#isOver(response)) return { kind: 'lost' };
        const answer = response.status === 200 ? decodeAnswer(response.body) : undefined;
        if (response.status === 409) return { kind: 'moved' };
        if (answer !== undefined && answer.kind !== 'again') return answer;
        if (answer !== undefined) continue;
      } catch {
        // The connection broke, or the session ended: the loop tells which.
      }
      await this.#pause(failures++, signal);
    }
  }

  /** Offers environments to the controller; resolves to the ids of those that it has taken. Never rejects. */
  async offer(environments: readonly HeldEnvironment[], claim: number | undefined): Promise<readonly string[]> {
    const body = JSON.stringify({ environments, ...(claim === undefined ? {} : { claim }) });
    for (let failures = 0; failures < 3 && this.open; failures++) {
      try {
        const response = await this.#request('/held', body, AbortSignal.timeout(REQUEST_TIMEOUT_MS));
        if (this.#isOver(response)) return [];
        if (response.status === 200) return (JSON.parse(response.body.toString()) as HeldAnswer).adopted;
      } catch {
        await this.#pause(failures, this.#ending.signal);
      }
    }
    return [];
  }

  /** Reports a departure; sent again until the controller has it, or the session is over. */
  depart(departure: EnvironmentDeparture): void {
    this.#departures.push(departure);
    this.#sendingDepartures ??= this.#sendDepartures().finally(() => {
      this.#sendingDepartures = undefined;
    });
  }

  /** Asks the controller to let go of environments that have nothing to do. Their polls tell what came of it. */
  async retire(environmentIds: readonly string[]): Promise<void> {
    if (environmentIds.length === 0) return;
    try {
      await this.#request('/retirements', JSON.stringify({ environmentIds }), AbortSignal.timeout(REQUEST_TIMEOUT_MS));
    } catch (error) {
      this.#options.logger.debug({ err: error, controller: this.url }, 'the controller was not told which environments are to stop');
    }
  }

  /** Tells the controller what is left to tell, leaves it and opens no other session. Idempotent. */
  async stop(): Promise<void> {
    await this.#sendingDepartures;
    this.#stopping.abort();
    this.#wakeUp.abort();
    const grant = this.#grant;
    if (grant !== undefined) {
      try {
        await internalRequest(this.#options.agent, { origin: this.url, path: `/v1/sessions/${grant.session}`, method: 'DELETE', headers: { authorization: `Bearer ${grant.token}` }, signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
      } catch {
        // It notices by itself.
      }
    }
    this.#lose();
    await this.#running;
  }

  async #run(): Promise<void> {
    for (let failures = 0; !this.#stopping.signal.aborted; ) {
      if (await this.#connect()) {
        failures = 0;
        await this.#listen();
        this.#lose();
      }
      await this.#pause(failures++, this.#stopping.signal);
    }
  }

  /** Whether there is a session now. */
  async #connect(): Promise<boolean> {
    const { worker, instance, joinToken, agent, logger, room } = this.#options;
    const request: SessionRequest = { v: PROTOCOL_VERSION, worker, instance, room: room(this) };
    try {
      const { status, body } = await internalRequest(agent, {
        origin: this.url, path: '/v1/sessions', method: 'POST', headers: { authorization: `Bearer ${joinToken}`, 'content-type': 'application/json' },
        body: JSON.stringify(request), signal: AbortSignal.any([this.#stopping.signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]),
      });
      if (status === 503) {
        logger.debug({ controller: this.url }, 'the controller is stopping');
        return false;
      }
      if (status !== 201) {
        logger.warn({ controller: this.url, status }, status === 401 ? 'the controller refuses this worker: SLUICE_SECRET or SLUICE_JOIN_TOKEN is not what it expects, or the token has ended' : 'the controller grants no session');
        return false;
      }
      this.#ending = new AbortController();
      this.#acknowledged = 0;
      this.#grant = JSON.parse(body.toString()) as SessionGrant;
    } catch (error) {
      logger.debug({ err: error, controller: this.url }, 'the controller cannot be reached');
      return false;
    }
    this.#options.onOpen(this);
    return true;
  }

  /** Carries out instructions until the session is over. */
  async #listen(): Promise<void> {
    let reachedAt = performance.now();
    for (let failures = 0; this.open && !this.#stopping.signal.aborted; ) {
      this.#wakeUp = new AbortController();
      const signal = AbortSignal.any([this.#stopping.signal, this.#ending.signal, this.#wakeUp.signal, AbortSignal.timeout(INSTRUCTIONS_HOLD_MS + REQUEST_TIMEOUT_MS)]);
      try {
        const response = await this.#request('/instructions', JSON.stringify(this.#standing()), signal);
        if (this.#isOver(response)) return;
        if (response.status !== 200) throw new Error(`The controller answered ${response.status}.`);
        reachedAt = performance.now();
        failures = 0;
        for (const instruction of (JSON.parse(response.body.toString()) as InstructionsAnswer).instructions) {
          if (instruction.number <= this.#acknowledged) continue;
          this.#acknowledged = instruction.number;
          if (instruction.do === 'leave') return;
          if (instruction.do === 'claim') for (const partition of instruction.partitions) this.epochs.set(partition, instruction.epoch);
          this.#options.onInstruction(this, instruction);
        }
      } catch {
        if (this.#wakeUp.signal.aborted && !this.#stopping.signal.aborted) continue;
        if (performance.now() - reachedAt > UNREACHABLE_MS) return;
        await this.#pause(failures++, AbortSignal.any([this.#stopping.signal, this.#ending.signal]));
      }
    }
  }

  #standing(): InstructionsRequest {
    const { room, environments, memoryLimitMiB } = this.#options;
    const limitMiB = memoryLimitMiB();
    return { acknowledged: this.#acknowledged, room: room(this), environments: environments(), ...(limitMiB === undefined ? {} : { memoryLimitMiB: limitMiB }) };
  }

  /** Where an object lies that an environment of this session needs. Rejects where the controller cannot be asked, or says that it is none of them. */
  async locate(location: ObjectRequest): Promise<string> {
    if (!this.open) throw new Error(`There is no session with the controller at ${this.url}.`);
    const response = await this.#request('/objects', JSON.stringify(location), AbortSignal.any([this.#ending.signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]));
    if (this.#isOver(response) || response.status !== 200) throw new Error(`The controller at ${this.url} answered ${response.status} when it was asked for ${location.bucket}/${location.key}.`);
    return (JSON.parse(response.body.toString()) as ObjectAnswer).url;
  }

  /** A deployment package, where the controller hands it over itself; otherwise undefined. Never rejects. */
  async package(location: ObjectRequest): Promise<Buffer | undefined> {
    if (!this.open) return undefined;
    try {
      const response = await this.#request('/packages', JSON.stringify(location), AbortSignal.any([this.#ending.signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]));
      return !this.#isOver(response) && response.status === 200 ? response.body : undefined;
    } catch {
      return undefined;
    }
  }

  /** Whether the controller has taken these logs. Never rejects. */
  async log(logs: readonly WireLog[]): Promise<boolean> {
    if (!this.open) return false;
    try {
      const response = await this.#request('/logs', JSON.stringify({ logs }), AbortSignal.any([this.#ending.signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]));
      return !this.#isOver(response) && response.status === 204;
    } catch {
      return false;
    }
  }

  async #sendDepartures(): Promise<void> {
    // All that come in one turn go together.
    await Promise.resolve();
    for (let failures = 0; this.#departures.length > 0 && this.open; ) {
      // A copy: others come in while these are under way.
      const sent = [...this.#departures];
      try {
        const response = await this.#request('/departures', JSON.stringify({ departures: sent.map(wireDeparture) }), AbortSignal.any([this.#ending.signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]));
        if (this.#isOver(response)) return;
        if (response.status === 204) {
          this.#departures = this.#departures.slice(sent.length);
          this.#options.onDeparted(sent.map(({ environmentId }) => environmentId));
          failures = 0;
          continue;
        }
      } catch {
        // Sent again below: a departure may be reported twice.
      }
      await this.#pause(failures++, this.#ending.signal);
    }
  }

  #request(path: string, body: string, signal: AbortSignal, onHeaders?: (status: number) => void): Promise<InternalResponse> {
    const grant = this.#grant as SessionGrant;
    return internalRequest(this.#options.agent, {
      origin: this.url, path: `/v1/sessions/${grant.session}${path}`, method: 'POST', headers: { authorization: `Bearer ${grant.token}` }, body, signal,
      ...(onHeaders === undefined ? {} : { onHeaders }),
    });
  }

  /** The controller does not know the session. */
  #isOver({ status }: InternalResponse): boolean {
    if (status !== 410 && status !== 401) return false;
    this.#lose();
    return true;
  }

  #lose(): void {
    if (this.#grant === undefined) return;
    this.#grant = undefined;
    this.epochs.clear();
    this.#departures = [];
    this.#ending.abort();
    this.#options.onLost(this);
  }

  async #pause(failures: number, signal: AbortSignal): Promise<void> {
    const ms = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** Math.min(failures, 16)) * (0.5 + Math.random() / 2);
    await delay(ms, undefined, { signal }).catch(() => undefined);
  }
}
