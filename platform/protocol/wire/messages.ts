import type { LogEvent } from '../../function-logs/function-logs.ts';
import type { ExecutionSpec } from '../../model/execution-spec.ts';
import type { InvocationRecord } from '../../model/invocation.ts';
import type { ObjectLocation } from '../../object-store/object-store.ts';
import type { Assignment, Completion, EnvironmentDeparture, EnvironmentPoll, HeldEnvironment, RuntimeExit } from '../controller-link.ts';
import { decodeFrame, encodeFrame } from './frame.ts';

/**
 * What a worker and a controller say to each other over HTTP. The worker dials, always; version 1:
 *
 * - `POST /v1/sessions` with a join token: {@link SessionRequest} → 201 {@link SessionGrant}, or 503 from a controller that stops. All that follows carries the session's token, and is
 *   answered 410 once the controller does not know the session: the worker opens another one.
 * - `POST /v1/sessions/S/instructions`: {@link InstructionsRequest} → {@link InstructionsAnswer}, held open for {@link INSTRUCTIONS_HOLD_MS} while there is
 *   nothing to say; so it is the session's heartbeat in both directions.
 * - `POST /v1/sessions/S/environments/E/next?seq=N`: an {@link EnvironmentPoll} → an {@link Answer}. The answer's HTTP header comes as soon as the poll has
 *   been taken in, its body when there is something to do. A poll is sent again under the same number when its answer was lost, and is then not
 *   taken in twice. 409: it was not taken in, since the environment is not this controller's.
 * - `POST /v1/sessions/S/held`: {@link HeldRequest} → {@link HeldAnswer}: environments of another owner that this controller may claim.
 * - `POST /v1/sessions/S/departures`: {@link DeparturesRequest} → 204. May be repeated.
 * - `POST /v1/sessions/S/retirements`: {@link RetirementsRequest} → 204: environments that the worker would like to stop. The poll of one that has nothing to do is
 *   answered with `stop`; one that was given something meanwhile goes on.
 * - `POST /v1/sessions/S/objects`: {@link ObjectRequest} → {@link ObjectAnswer}: where an object lies that the worker needs; 403 for one that it does not need.
 * - `POST /v1/sessions/S/packages`: {@link ObjectRequest} → the object itself, where it is a deployment package of at most {@link SMALL_PACKAGE_BYTES}; 404: ask where it lies; 403 as above.
 * - `POST /v1/sessions/S/logs`: {@link LogsRequest} → 204: what functions have printed. 403 where one of them is not the controller's affair: nothing was taken then.
 * - `DELETE /v1/sessions/S` → 204: the worker leaves; it holds nothing any more.
 *
 * Either side ignores members that it does not know; what cannot be ignored gets another version in the path.
 */
export const PROTOCOL_VERSION = 1;

/** Of a worker's internal listener: answered once nothing runs there any more. */
export const DRAINED_PATH = '/v1/drained';

/** A worker is heard of at least so often. */
export const INSTRUCTIONS_HOLD_MS = 2_000;
/** An idle environment polls anew after this long, so that a connection that is dead unnoticed is not waited on for ever. */
export const NEXT_HOLD_MS = 60_000;

/** A deployment package up to this size may be had of a controller. */
export const SMALL_PACKAGE_BYTES = 256 * 1024;

export interface WorkerRoom {
  readonly maxEnvironments: number;
  readonly maxMemoryMiB: number;
}

export const NO_ROOM: WorkerRoom = { maxEnvironments: 0, maxMemoryMiB: 0 };

export interface SessionRequest {
  readonly v: typeof PROTOCOL_VERSION;
  /** Its token names it, or is the one for all workers of a pool that knows them from elsewhere. */
  readonly worker: string;
  /** Another one for each process: a worker that was started again holds nothing of what it held before. */
  readonly instance: string;
  /** What this controller may use of it: its room, divided by the controllers that it serves. */
  readonly room: WorkerRoom;
}

export interface SessionGrant {
  readonly session: string;
  readonly token: string;
  readonly controller: string;
  /** Of the log: they decide which functions a claim means. */
  readonly partitions: number;
}

export type Instruction =
  /** `waitedMs`: how long ago it was wished for. Absent: a moment ago. */
  | { readonly do: 'open'; readonly environmentId: string; readonly spec: ExecutionSpec; readonly waitedMs?: number }
  | { readonly do: 'close'; readonly environmentId: string }
  | { readonly do: 'expect'; readonly spec: ExecutionSpec }
  /** The worker's container is being given more memory: say by {@link InstructionsRequest.memoryLimitMiB} when the kernel grants so much, which is long before the cluster tells. */
  | { readonly do: 'grow'; readonly memoryLimitMiB: number }
  /** The runtime in the container beside the worker has ended, which only the pod's cluster sees. */
  | { readonly do: 'runtimeEnded'; readonly exit: RuntimeExit }
  /** Functions of these partitions are the controller's now: say what you hold of them, under `claim`. */
  | { readonly do: 'claim'; readonly claim: number; readonly partitions: readonly number[]; readonly epoch: number }
  /** There is a controller at this URL: open a session with it. A worker may have no other way to hear of one that has just come. */
  | { readonly do: 'meet'; readonly url: string }
  /** The controller stops: open no session with it again until it is announced anew. */
  | { readonly do: 'leave' };

export interface InstructionsRequest {
  /** The number of the last instruction that was carried out; they are repeated until then. 0: none. */
  readonly acknowledged: number;
  readonly room: WorkerRoom;
  /** Environments that the worker holds, whichever controller's they are. */
  readonly environments?: number;
  /** What the kernel grants the worker's container, where it was told to grow and has. */
  readonly memoryLimitMiB?: number;
}

export interface InstructionsAnswer {
  readonly instructions: readonly (Instruction & { readonly number: number })[];
}

export interface HeldRequest {
  /** Undefined: nobody's at present; offered to whom it may concern. */
  readonly claim?: number;
  readonly environments: readonly HeldEnvironment[];
}

export interface HeldAnswer {
  /** Ids of those that are the controller's now. */
  readonly adopted: readonly string[];
}

export interface DeparturesRequest {
  readonly departures: readonly WireDeparture[];
}

export interface RetirementsRequest {
  readonly environmentIds: readonly string[];
}

export type ObjectRequest = ObjectLocation;

export interface ObjectAnswer {
  /** Good for some minutes, without credentials. */
  readonly url: string;
}

export interface LogsRequest {
  readonly logs: readonly WireLog[];
}

export interface WireLog {
  readonly group: string;
  readonly stream: string;
  readonly events: readonly LogEvent[];
}

/** The answer to a poll. */
export type Answer =
  | Assignment
  /** Nothing to do so far: poll again under the same number. */
  | { readonly kind: 'again' }
  /** The environment is another controller's, or will be: wait until it is claimed. */
  | { readonly kind: 'moved' };

type WireCompletion = Omit<Completion, 'errorBody'> & { readonly errorBody?: string };
type WireDeparture = Omit<EnvironmentDeparture, 'completion'> & { readonly completion?: WireCompletion };
type WirePoll =
  | Extract<EnvironmentPoll, { kind: 'initialized' }>
  | (Omit<Extract<EnvironmentPoll, { kind: 'initFailed' }>, 'errorBody'> & { readonly errorBody: string })
  | (Omit<Extract<EnvironmentPoll, { kind: 'completed' }>, 'completion'> & { readonly completion: WireCompletion });

export function encodePoll(poll: EnvironmentPoll): string {
  return JSON.stringify(wirePoll(poll));
}

function wirePoll(poll: EnvironmentPoll): WirePoll {
  switch (poll.kind) {
    case 'initialized':
      return poll;
    case 'initFailed':
      return { ...poll, errorBody: poll.errorBody.toString('base64') };
    case 'completed':
      return { ...poll, completion: wireCompletion(poll.completion) };
  }
}

/** Throws for what is no poll. */
export function decodePoll(text: string): EnvironmentPoll {
  const poll = JSON.parse(text) as WirePoll;
  switch (poll.kind) {
    case 'initialized':
      return poll;
    case 'initFailed':
      return { ...poll, errorBody: Buffer.from(poll.errorBody, 'base64') };
    case 'completed':
      return { ...poll, completion: completionOf(poll.completion) };
    default:
      throw new TypeError(`${String((poll as { kind?: unknown }).kind)} is no kind of poll; this controller speaks version ${PROTOCOL_VERSION} of the protocol.`);
  }
}

export function wireDeparture({ completion, ...departure }: EnvironmentDeparture): WireDeparture {
  return completion === undefined ? departure : { ...departure, completion: wireCompletion(completion) };
}

export function departureOf({ completion, ...departure }: WireDeparture): EnvironmentDeparture {
  return completion === undefined ? departure : { ...departure, completion: completionOf(completion) };
}

function wireCompletion({ errorBody, ...completion }: Completion): WireCompletion {
  return errorBody === undefined ? completion : { ...completion, errorBody: errorBody.toString('base64') };
}

function completionOf({ errorBody, ...completion }: WireCompletion): Completion {
  return errorBody === undefined ? completion : { ...completion, errorBody: Buffer.from(errorBody, 'base64') };
}

export function encodeAnswer(answer: Answer): Buffer {
  if (answer.kind !== 'invoke') return encodeFrame(answer);
  const { invocation, ...rest } = answer;
  const { payload, ...head } = invocation;
  return encodeFrame({ ...rest, invocation: head }, payload);
}

/** Undefined for what is no answer: its head was cut short, or somebody else gave it. */
export function decodeAnswer(bytes: Buffer): Answer | undefined {
  const frame = decodeFrame(bytes);
  if (frame === undefined) return undefined;
  const head = frame.head as Exclude<Answer, { kind: 'invoke' }> | (Omit<Extract<Answer, { kind: 'invoke' }>, 'invocation'> & { readonly invocation: Omit<InvocationRecord, 'payload'> }) | null;
  switch (head?.kind) {
    case 'invoke':
      return { ...head, invocation: { ...head.invocation, payload: frame.body } };
    case 'stop':
    case 'again':
    case 'moved':
      return head;
    default:
      return undefined;
  }
}
