import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Clock } from '../../clock.ts';
import type { FunctionLogs, LogEvent } from '../../function-logs/function-logs.ts';
import { bearer, readInternalBody, sendBytes, sendEmpty, type InternalRoute } from '../../internal-http/server.ts';
import {
  decodePoll,
  departureOf,
  encodeAnswer,
  PROTOCOL_VERSION,
  type DeparturesRequest,
  type HeldAnswer,
  type HeldRequest,
  type InstructionsRequest,
  type LogsRequest,
  type ObjectAnswer,
  type ObjectRequest,
  type RetirementsRequest,
  type SessionGrant,
  type SessionRequest,
  type WireLog,
  type WorkerRoom,
} from '../../protocol/wire/messages.ts';
import { equal, EVERY_WORKER, verifyJoinToken } from '../../protocol/wire/tokens.ts';
import type { ObjectStore } from '../../object-store/object-store.ts';
import type { Fleet } from './fleet.ts';
import { SmallPackages } from './small-packages.ts';
import type { WorkerSession } from './worker-session.ts';

/** A poll carries an error object of 256 KiB at most, in base64. */
const MAX_POLL_BYTES = 512 * 1024;
/** What a worker with a thousand environments says at once: heads and specs, some 8 KiB each. */
const MAX_MESSAGE_BYTES = 32 * 1024 * 1024;
/** How long a signed URL is good: the worker uses it at once. */
const OBJECT_URL_SEC = 300;

export interface FleetRoutesOptions {
  readonly fleet: Fleet;
  readonly secret: string;
  readonly controller: string;
  readonly partitions: number;
  /** Signs where objects are, and reads small packages. */
  readonly store: Pick<ObjectStore, 'presignGet' | 'get'>;
  readonly functionLogs: Pick<FunctionLogs, 'append'>;
  readonly clock: Clock;
}

/** The workers' side of a {@link Fleet} as HTTP. */
export function fleetRoutes({ fleet, secret, controller, partitions, store, functionLogs, clock }: FleetRoutesOptions): readonly InternalRoute[] {
  const small = new SmallPackages(store);
  const json = async <Message>(request: IncomingMessage): Promise<Message | undefined> => parse<Message>(await readInternalBody(request, MAX_MESSAGE_BYTES));

  /** The session that a request belongs to; otherwise it is answered here. */
  const sessionOf = (request: IncomingMessage, response: ServerResponse, id: string | undefined): WorkerSession | undefined => {
    const session = fleet.session(id ?? '');
    if (session === undefined || !session.live) {
      request.resume();
      sendEmpty(response, 410);
      return undefined;
    }
    if (!equal(bearer(request), session.token)) {
      request.resume();
      sendEmpty(response, 401);
      return undefined;
    }
    session.heard();
    return session;
  };

  const open = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const named = verifyJoinToken(secret, bearer(request), clock.now());
    const message = await json<SessionRequest>(request);
    const worker = named === EVERY_WORKER && (await fleet.admits(message?.worker ?? '', request.socket.remoteAddress ?? '')) ? message?.worker : named;
    if (worker === undefined || worker === EVERY_WORKER) {
      sendEmpty(response, 401);
      return;
    }
    if (message?.v !== PROTOCOL_VERSION || message.worker !== worker || !isRoom(message.room)) {
      sendEmpty(response, 400);
      return;
    }
    if (fleet.closed) {
      sendEmpty(response, 503);
      return;
    }
    const session = fleet.open(message);
    const grant: SessionGrant = { session: session.id, token: session.token, controller, partitions };
    sendBytes(response, 201, 'application/json', JSON.stringify(grant));
  };

  const instructions = async (request: IncomingMessage, response: ServerResponse, [id]: readonly string[]): Promise<void> => {
    const session = sessionOf(request, response, id);
    if (session === undefined) return;
    const message = await json<InstructionsRequest>(request);
    if (message === undefined || !isRoom(message.room)) {
      sendEmpty(response, 400);
      return;
    }
    fleet.holds(session, message.environments ?? 0);
    fleet.roomChanged(session, message.room);
    if (Number.isSafeInteger(message.memoryLimitMiB)) fleet.grown(session, message.memoryLimitMiB as number);
    watchConnection(request.socket, session);
    const answer = await session.instructions(message.acknowledged);
    sendBytes(response, 200, 'application/json', JSON.stringify(answer));
  };

  const next = async (request: IncomingMessage, response: ServerResponse, [id, environmentId = '']: readonly string[], query: URLSearchParams): Promise<void> => {
    const session = sessionOf(request, response, id);
    if (session === undefined) return;
    const body = await readInternalBody(request, MAX_POLL_BYTES);
    const number = Number(query.get('seq'));
    if (body === undefined || !Number.isSafeInteger(number)) {
      sendEmpty(response, 400);
      return;
    }
    const poll = decodePoll(body.toString());
    // Not taken in, it may still be told to another controller.
    const undecided = fleet.heldBack(poll);
    if (undecided !== undefined) await undecided;
    let answered = false;
    const answering = fleet.next(session, environmentId, number, poll);
    const sent = answering.then(
      (answer) => {
        answered = true;
        if (response.destroyed) return;
        // Without the header that would say that the poll was taken in: what it reports is still to be told, to the next owner.
        if (answer.kind === 'moved' && !response.headersSent) {
          sendEmpty(response, 409);
          return;
        }
        const frame = encodeAnswer(answer);
        if (!response.headersSent) response.writeHead(200, { 'Content-Type': 'application/octet-stream', 'Content-Length': frame.length });
        response.end(frame);
      },
      () => {
        answered = true;
        sendEmpty(response, 409);
      },
    );
    // The header alone says that the poll was taken in. Under load the answer is there by now, and both go out as one.
    setImmediate(() => {
      if (answered || response.destroyed) return;
      response.writeHead(200, { 'Content-Type': 'application/octet-stream' });
      response.flushHeaders();
    });
    await sent;
  };

  const held = async (request: IncomingMessage, response: ServerResponse, [id]: readonly string[]): Promise<void> => {
    const session = sessionOf(request, response, id);
    if (session === undefined) return;
    const message = await json<HeldRequest>(request);
    if (message === undefined) {
      sendEmpty(response, 400);
      return;
    }
    const answer: HeldAnswer = { adopted: await fleet.held(session, message.claim, message.environments) };
    sendBytes(response, 200, 'application/json', JSON.stringify(answer));
  };

  const departures = async (request: IncomingMessage, response: ServerResponse, [id]: readonly string[]): Promise<void> => {
    const session = sessionOf(request, response, id);
    if (session === undefined) return;
    const message = await json<DeparturesRequest>(request);
    for (const departure of message?.departures ?? []) fleet.departed(session, departureOf(departure));
    sendEmpty(response, message === undefined ? 400 : 204);
  };

  const retirements = async (request: IncomingMessage, response: ServerResponse, [id]: readonly string[]): Promise<void> => {
    const session = sessionOf(request, response, id);
    if (session === undefined) return;
    const message = await json<RetirementsRequest>(request);
    for (const environmentId of message?.environmentIds ?? []) fleet.retire(session, environmentId);
    sendEmpty(response, message === undefined ? 400 : 204);
  };

  /** The object that a worker asks for; otherwise it is answered here. */
  const wanted = async (request: IncomingMessage, response: ServerResponse, id: string | undefined): Promise<(ObjectRequest & { readonly sizeBytes: number | undefined }) | undefined> => {
    const session = sessionOf(request, response, id);
    if (session === undefined) return undefined;
    const location = await json<ObjectRequest>(request);
    if (typeof location?.bucket !== 'string' || typeof location.key !== 'string') {
      sendEmpty(response, 400);
      return undefined;
    }
    const { bucket, key } = location;
    if (session.grants.mayRead(location)) return { bucket, key, sizeBytes: session.grants.sizeOf(location) };
    sendEmpty(response, 403);
    return undefined;
  };

  const packages = async (request: IncomingMessage, response: ServerResponse, [id]: readonly string[]): Promise<void> => {
    const location = await wanted(request, response, id);
    if (location === undefined) return;
    const { key, sizeBytes } = location;
    const code = sizeBytes === undefined ? undefined : await small.read(key, sizeBytes).catch(() => undefined);
    if (code === undefined) sendEmpty(response, 404);
    else sendBytes(response, 200, 'application/octet-stream', code);
  };

  const objects = async (request: IncomingMessage, response: ServerResponse, [id]: readonly string[]): Promise<void> => {
    const location = await wanted(request, response, id);
    if (location === undefined) return;
    const answer: ObjectAnswer = { url: await store.presignGet({ bucket: location.bucket, key: location.key }, OBJECT_URL_SEC, 'platform') };
    sendBytes(response, 200, 'application/json', JSON.stringify(answer));
  };

  const logs = async (request: IncomingMessage, response: ServerResponse, [id]: readonly string[]): Promise<void> => {
    const session = sessionOf(request, response, id);
    if (session === undefined) return;
    const message = await json<LogsRequest>(request);
    if (!areLogs(message?.logs)) {
      sendEmpty(response, 400);
      return;
    }
    const { logs: told } = message as LogsRequest;
    if (!told.every(({ group }) => session.grants.mayLog(group))) {
      sendEmpty(response, 403);
      return;
    }
    for (const { group, stream, events } of told) functionLogs.append(group, stream, events);
    sendEmpty(response, 204);
  };

  const leave = (request: IncomingMessage, response: ServerResponse, [id]: readonly string[]): void => {
    const session = sessionOf(request, response, id);
    request.resume();
    session?.end('left');
    sendEmpty(response, 204);
  };

  return [
    { method: 'POST', path: '/v1/sessions', handle: open },
    { method: 'POST', path: '/v1/sessions/*/instructions', handle: instructions },
    { method: 'POST', path: '/v1/sessions/*/environments/*/next', handle: next },
    { method: 'POST', path: '/v1/sessions/*/held', handle: held },
    { method: 'POST', path: '/v1/sessions/*/departures', handle: departures },
    { method: 'POST', path: '/v1/sessions/*/retirements', handle: retirements },
    { method: 'POST', path: '/v1/sessions/*/objects', handle: objects },
    { method: 'POST', path: '/v1/sessions/*/packages', handle: packages },
    { method: 'POST', path: '/v1/sessions/*/logs', handle: logs },
    { method: 'DELETE', path: '/v1/sessions/*', handle: leave },
  ];
}

/** Tells the session when the connection ends that its heartbeat came over. */
function watchConnection(socket: Socket, session: WorkerSession): void {
  if (watched.get(socket) === session) return;
  watched.set(socket, session);
  socket.once('close', () => session.connectionLost());
}

const watched = new WeakMap<Socket, WorkerSession>();

function isRoom(room: WorkerRoom | undefined): room is WorkerRoom {
  return room !== undefined && Number.isSafeInteger(room.maxEnvironments) && room.maxEnvironments >= 0 && Number.isSafeInteger(room.maxMemoryMiB) && room.maxMemoryMiB >= 0;
}

function areLogs(logs: unknown): boolean {
  return Array.isArray(logs) && logs.every((log) => isLog(log as Partial<WireLog> | null));
}

function isLog(log: Partial<WireLog> | null): boolean {
  return typeof log?.group === 'string' && typeof log.stream === 'string' && Array.isArray(log.events) && log.events.every((event: Partial<LogEvent> | null) => typeof event?.timestampMs === 'number' && typeof event.message === 'string');
}

/** Undefined for what is no JSON object. */
function parse<Message>(body: Buffer | undefined): Message | undefined {
  if (body === undefined) return undefined;
  try {
    const parsed: unknown = JSON.parse(body.toString());
    return typeof parsed === 'object' && parsed !== null ? (parsed as Message) : undefined;
  } catch {
    return undefined;
  }
}
