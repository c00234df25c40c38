import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { setTimeout } from 'node:timers/promises';
import type { TestContext } from 'node:test';
import type { Agent } from 'undici';
import { internalAgent } from '../../platform/internal-http/client.ts';
import { sendBytes, sendEmpty, startInternalServer, type InternalRoute } from '../../platform/internal-http/server.ts';
import type { ExecutionSpec } from '../../platform/model/execution-spec.ts';
import type { Completion, ControllerLink, EnvironmentHost, EnvironmentPoll } from '../../platform/protocol/controller-link.ts';
import type { WorkerRoom } from '../../platform/protocol/wire/messages.ts';
import { joinToken, MIN_SECRET_BYTES } from '../../platform/protocol/wire/tokens.ts';
import { createLogger } from '../../platform/telemetry/logger.ts';
import { Fleet } from '../../platform/worker-pool/fleet/fleet.ts';
import { BELIEVING } from '../../platform/worker-pool/fleet/oversight.ts';
import { fleetRoutes } from '../../platform/worker-pool/fleet/routes.ts';
import { Controllers } from '../../worker/controllers/controllers.ts';
import { FakeListener, initialized, Watch, type Invoke } from './fleet-listener.ts';
import { VirtualClock } from './virtual-clock.ts';

export const SECRET = 's'.repeat(MIN_SECRET_BYTES);
export const ROOM: WorkerRoom = { maxEnvironments: 8, maxMemoryMiB: 2_048 };

const logger = createLogger('silent');

const cleanups = new WeakMap<object, (() => Promise<void>)[]>();

/** Cleans up after the test, what was made last first: workers leave controllers that are still there. */
function afterwards(t: Pick<TestContext, 'after'>, cleanUp: () => Promise<void>): void {
  const known = cleanups.get(t);
  if (known !== undefined) {
    known.push(cleanUp);
    return;
  }
  const all = [cleanUp];
  cleanups.set(t, all);
  t.after(async () => {
    for (const each of all.reverse()) await each();
  });
}

const POLL_MS = 5;

/** Resolves when the condition holds, for what tells nobody that it has changed. */
export async function polled(condition: () => boolean): Promise<void> {
  while (!condition()) await setTimeout(POLL_MS);
}

/** A controller as workers see it: a fleet with a fake listener, behind a real server on loopback. Its time stands still unless the test moves it. */
export interface FakeController {
  readonly fleet: Fleet;
  readonly listener: FakeListener;
  readonly clock: VirtualClock;
  readonly port: number;
  readonly url: string;
  /** What lies in the object store, by `bucket/key`: read from this controller's own server. */
  readonly objects: Map<string, Buffer>;
  /** What it was told that functions printed: `group stream message`. */
  readonly logged: string[];
  /** What its workers said of the memory that their containers have grown to, in MiB. */
  readonly grown: number[];
  /** Ends without a word: its connections break, and nobody listens any more. */
  die(): Promise<void>;
}

export interface FakeControllerOptions {
  readonly port?: number;
  /** Changes what it answers. */
  readonly routes?: (routes: readonly InternalRoute[]) => readonly InternalRoute[];
}

export async function fakeController(t: Pick<TestContext, 'after'>, { port = 0, routes = (all) => all }: FakeControllerOptions = {}): Promise<FakeController> {
  const clock = new VirtualClock();
  const listener = new FakeListener();
  const grown: number[] = [];
  const fleet = new Fleet({ gatherMs: 0, listener, clock, logger, oversight: { ...BELIEVING, grown: (_session, limitMiB) => void grown.push(limitMiB) } });
  const sockets = new Set<Socket>();
  let dead = false;
  const objects = new Map<string, Buffer>();
  const logged: string[] = [];
  let url = '';
  const stored: InternalRoute = {
    method: 'GET',
    path: '/objects/*/*',
    handle: (_request, response, [bucket, key]) => {
      const body = objects.get(`${bucket}/${key}`);
      if (body === undefined) sendEmpty(response, 404);
      else sendBytes(response, 200, 'application/octet-stream', body);
    },
  };
  const own = fleetRoutes({
    fleet, secret: SECRET, controller: 'c', partitions: 1, clock,
    store: {
      presignGet: ({ bucket, key }) => Promise.resolve(`${url}/objects/${bucket}/${key}`),
      get: ({ bucket, key }) => {
        const body = objects.get(`${bucket}/${key}`);
        if (body === undefined) return Promise.reject(new Error(`There is no ${bucket}/${key}.`));
        const summary = { bucket, key, sizeBytes: body.length, etag: '', lastModifiedMs: 0, contentType: '', metadata: {} };
        return Promise.resolve({ summary, range: { start: 0, endExclusive: body.length }, body: Readable.from([body]) });
      },
    },
    functionLogs: {
      append(group, stream, events) {
        logged.push(...events.map(({ message }) => `${group} ${stream} ${message}`));
        listener.changed();
      },
    },
  });
  const noting = [stored, ...routes(own)].map((route): InternalRoute => ({
    ...route,
    handle: (request, response, path, query) => {
      sockets.add(request.socket);
      if (dead) request.socket.destroy();
      return route.handle(request, response, path, query);
    },
  }));
  const server = await startInternalServer({ host: '127.0.0.1', port, routes: noting, logger });
  const die = async (): Promise<void> => {
    dead = true;
    const stopping = server.stop();
    for (const socket of sockets) socket.destroy();
    await stopping;
  };
  afterwards(t, die);
  url = `http://127.0.0.1:${server.port}`;
  return { fleet, listener, clock, port: server.port, url, objects, logged, grown, die };
}

/** Environments that do what the test says: each polls, and runs what it is given. */
export class FakeHost implements EnvironmentHost {
  readonly opened: string[] = [];
  readonly closed: string[] = [];
  readonly expected: ExecutionSpec[] = [];
  /** What was given to environments, in order. */
  readonly given: Invoke[] = [];
  /** Before the first poll of an environment. */
  init: (environmentId: string) => Promise<void> = () => Promise.resolve();
  /** Runs an invocation; what it resolves to is reported. */
  run: (invoke: Invoke, environmentId: string) => Promise<Partial<Completion>> = () => Promise.resolve({});
  readonly #link: ControllerLink;
  readonly #present = new Set<string>();
  readonly #watch = new Watch();

  constructor(link: ControllerLink) {
    this.#link = link;
  }

  open(environmentId: string): void {
    this.opened.push(environmentId);
    this.#present.add(environmentId);
    this.#watch.changed();
    void this.#live(environmentId);
  }

  close(environmentId: string): void {
    if (!this.#present.has(environmentId)) return;
    this.closed.push(environmentId);
    this.depart(environmentId);
  }

  expect(spec: ExecutionSpec): void {
    this.expected.push(spec);
    this.#watch.changed();
  }

  /** The process of an environment ends. */
  depart(environmentId: string, completion?: Completion): void {
    if (!this.#present.delete(environmentId)) return;
    this.#link.gone({ environmentId, cause: { kind: completion === undefined ? 'stopped' : 'failed' }, ...(completion === undefined ? {} : { completion }) });
    this.#watch.changed();
  }

  until(condition: () => boolean): Promise<void> {
    return this.#watch.until(condition);
  }

  async #live(environmentId: string): Promise<void> {
    await this.init(environmentId);
    for (let poll: EnvironmentPoll = initialized(environmentId); this.#present.has(environmentId); ) {
      const assignment = await this.#link.next(poll);
      if (!this.#present.has(environmentId)) return;
      if (assignment.kind === 'stop') {
        this.close(environmentId);
        return;
      }
      this.given.push(assignment);
      this.#watch.changed();
      const { invocation, epoch, deliveryId } = assignment;
      const change = await this.run(assignment, environmentId);
      poll = { kind: 'completed', environmentId, completion: { invocationId: invocation.id, epoch, deliveryId, outcome: 'success', durationMs: 1, ...change } };
    }
  }
}

export interface FakeWorker {
  readonly controllers: Controllers;
  readonly host: FakeHost;
  readonly clock: VirtualClock;
  readonly agent: Agent;
  /** What its container is granted. */
  readonly memory: { limitMiB: number; looks: number };
}

export interface FakeWorkerOptions {
  readonly name?: string;
  readonly room?: WorkerRoom;
  readonly dedicated?: boolean;
  readonly token?: string;
}

/** A worker's side of the protocol, with fake environments; it leaves its controllers at the end of the test. */
export function fakeWorker(t: Pick<TestContext, 'after'>, { name = 'w', room = ROOM, dedicated = false, token }: FakeWorkerOptions = {}): FakeWorker {
  const clock = new VirtualClock();
  const agent = internalAgent();
  const memory = { limitMiB: 0, looks: 0 };
  const met = new Set<string>();
  const controllers: Controllers = new Controllers({
    worker: name, instance: randomUUID(), joinToken: token ?? joinToken(SECRET, { worker: name, expiresAtMs: clock.now() + 3_600_000 }), agent, clock, logger, room, dedicated,
    storeAgent: agent,
    memoryLimitMiB() {
      memory.looks++;
      return memory.limitMiB;
    },
    onMet: (url) => controllers.known(met.add(url)),
  });
  const host = new FakeHost(controllers);
  controllers.attach(host);
  afterwards(t, async () => {
    await controllers.stop();
    await agent.destroy();
  });
  return { controllers, host, clock, agent, memory };
}

/** Resolves when the worker has a session there. */
export function joined({ fleet, listener }: FakeController): Promise<void> {
  return listener.until(() => fleet.workers.length > 0);
}
