import { createServer as createHttpServer, type IncomingMessage, type Server as HttpServer, type ServerResponse } from 'node:http';
import { createServer as createNetServer, type AddressInfo, type Server as NetServer, type Socket } from 'node:net';
import { MAX_DISCARDED_BYTES, MAX_RESPONSE_BYTES, MAX_STREAMED_RESPONSE_BYTES } from './limits.ts';
import type { CallVerdict, RuntimeCalls, RuntimeEvent, WaitingNext } from './runtime-calls.ts';
import { midstreamErrorOf, passOn } from './streamed-body.ts';

/**
 * The Lambda Runtime API (Lambda guide, "Using the Lambda runtime API for custom runtimes"), one address per environment, so that a
 * runtime can never speak for another one.
 *
 * All addresses share one HTTP server: a listener per environment hands its sockets over, marked with whom they belong to. What runs
 * per request is kept small, because every invocation passes here twice.
 */
export interface RuntimeApi {
  /** Opens an address for one environment; at a free port where none is given. Rejects where the port is taken. */
  open(calls: RuntimeCalls, port?: number): Promise<RuntimeApiAddress>;
  close(): Promise<void>;
}

export interface RuntimeApiAddress {
  /** `127.0.0.1:port`: the runtime's `AWS_LAMBDA_RUNTIME_API`. */
  readonly address: string;
  /** Stops listening and cuts the runtime's connections. Idempotent. */
  close(): void;
}

const CALLS = Symbol('calls');
/** A POST of this connection is being read or answered. */
const POSTING = Symbol('posting');
/** A `next` that came in the same breath as the POST before it: its turn comes when that one is answered. */
const PIPELINED_NEXT = Symbol('pipelinedNext');
type MarkedSocket = Socket & { [CALLS]?: RuntimeCalls; [POSTING]?: boolean; [PIPELINED_NEXT]?: ServerResponse | undefined };

const INVOCATION = '/2018-06-01/runtime/invocation/';
const NEXT = `${INVOCATION}next`;
const INIT_ERROR = '/2018-06-01/runtime/init/error';
const JSON_TYPE = 'application/json';

const ACCEPTED = '{"status":"OK"}\n';
const ACCEPTED_HEADERS = ['Content-Type', JSON_TYPE, 'Content-Length', String(ACCEPTED.length)];

export function createRuntimeApi(): RuntimeApi {
  const http: HttpServer = createHttpServer({ keepAlive: true, noDelay: true, requestTimeout: 0, headersTimeout: 0, keepAliveTimeout: 0, maxHeaderSize: 2 * 1024 * 1024 }, route);
  const open = new Set<NetServer>();
  return {
    open(calls, port = 0) {
      const sockets = new Set<Socket>();
      const listener = createNetServer({ noDelay: true, keepAlive: false }, (socket: MarkedSocket) => {
        socket[CALLS] = calls;
        sockets.add(socket);
        socket.on('close', () => sockets.delete(socket));
        http.emit('connection', socket);
      });
      open.add(listener);
      return new Promise((resolve, reject) => {
        listener.once('error', reject);
        listener.listen({ host: '127.0.0.1', port }, () => {
          resolve({
            address: `127.0.0.1:${(listener.address() as AddressInfo).port}`,
            close() {
              if (!open.delete(listener)) return;
              listener.close();
              for (const socket of sockets) socket.destroy();
            },
          });
        });
      });
    },
    async close() {
      await Promise.all([...open].map((listener) => new Promise((resolve) => listener.close(resolve))));
      open.clear();
      http.close();
    },
  };
}

function route(request: IncomingMessage, response: ServerResponse): void {
  response.sendDate = false;
  const socket = request.socket as MarkedSocket;
  const calls = socket[CALLS];
  if (request.method === 'POST') socket[POSTING] = true;
  const url = request.url ?? '';
  if (calls === undefined) {
    notFound(request, response);
  } else if (url === NEXT && request.method === 'GET') {
    if (socket[POSTING] === true) socket[PIPELINED_NEXT] = response;
    else next(calls, response);
  } else if (request.method === 'POST' && url.startsWith(INVOCATION)) {
    const slash = url.indexOf('/', INVOCATION.length);
    const invocationId = slash < 0 ? '' : url.slice(INVOCATION.length, slash);
    const what = slash < 0 ? '' : url.slice(slash);
    if (what === '/response') invocationResponse(calls, invocationId, request, response);
    else if (what === '/error') invocationError(calls, invocationId, request, response);
    else notFound(request, response);
  } else if (request.method === 'POST' && url === INIT_ERROR) {
    initError(calls, request, response);
  } else {
    notFound(request, response);
  }
}

/** A `next` on hold: its socket and response are all it needs to remember. */
class HeldNext implements WaitingNext {
  readonly #response: ServerResponse;

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  deliver(event: RuntimeEvent): void {
    const headers = [
      'Content-Type', JSON_TYPE,
      'Content-Length', String(event.payload.length),
      'Lambda-Runtime-Aws-Request-Id', event.invocationId,
      'Lambda-Runtime-Deadline-Ms', String(event.deadlineMs),
      'Lambda-Runtime-Invoked-Function-Arn', event.invokedArn,
      'Lambda-Runtime-Trace-Id', event.traceId,
    ];
    if (event.clientContext !== undefined) headers.push('Lambda-Runtime-Client-Context', event.clientContext);
    this.#response.writeHead(200, headers);
    this.#response.end(event.payload);
  }
}

function next(calls: RuntimeCalls, response: ServerResponse): void {
  const verdict = calls.next(new HeldNext(response));
  if (verdict !== 'accepted') refuse(response, verdict);
}

function invocationResponse(calls: RuntimeCalls, invocationId: string, request: IncomingMessage, response: ServerResponse): void {
  const verdict = calls.mayEnd(invocationId);
  if (verdict !== 'accepted') {
    request.resume();
    refuse(response, verdict);
    return;
  }
  const mode = request.headers['lambda-runtime-function-response-mode'];
  if (mode !== undefined && mode !== 'streaming') {
    request.resume();
    calls.error(invocationId, Buffer.from(JSON.stringify({ errorType: 'Runtime.InvalidResponseModeHeader', errorMessage: `Lambda-Runtime-Function-Response-Mode is ${String(mode)}; the only value that it may have is streaming.` })), 'Runtime.InvalidResponseModeHeader');
    answer(response, 400, 'InvalidFunctionResponseMode', 'Invalid function response mode');
    return;
  }
  const sink = mode === undefined ? undefined : calls.stream(invocationId, request.headers['content-type']);
  if (sink !== undefined) {
    passOn(request, sink, (verdict, status) => accept(response, verdict, status, MAX_STREAMED_RESPONSE_BYTES));
    return;
  }
  readBody(request, MAX_RESPONSE_BYTES, (body) => {
    if (body === undefined) {
      accept(response, calls.responseTooLarge(invocationId), 413);
      return;
    }
    const contentType = request.headers['content-type'] ?? JSON_TYPE;
    if (mode === undefined) {
      accept(response, calls.response(invocationId, { body, contentType, streamed: false }), 202);
      return;
    }
    const midstreamError = midstreamErrorOf(request);
    accept(response, calls.response(invocationId, { body, contentType, streamed: true, ...(midstreamError === undefined ? {} : { midstreamError }) }), 202);
  });
}

function invocationError(calls: RuntimeCalls, invocationId: string, request: IncomingMessage, response: ServerResponse): void {
  const verdict = calls.mayEnd(invocationId);
  if (verdict !== 'accepted') {
    request.resume();
    refuse(response, verdict);
    return;
  }
  readErrorBody(request, (body, errorType) => accept(response, calls.error(invocationId, body, errorType), 202));
}

function initError(calls: RuntimeCalls, request: IncomingMessage, response: ServerResponse): void {
  readErrorBody(request, (body, errorType) => accept(response, calls.initError(body, errorType), 202));
}

function readErrorBody(request: IncomingMessage, done: (body: Buffer, errorType: string) => void): void {
  const header = request.headers['lambda-runtime-function-error-type'];
  readBody(request, MAX_RESPONSE_BYTES, (whole) => {
    const body = whole ?? Buffer.from(JSON.stringify({ errorType: 'Function.ResponseSizeTooLarge', errorMessage: `The error object of the function exceeded the maximum of ${MAX_RESPONSE_BYTES} bytes.` }));
    done(body, typeof header === 'string' ? header : '');
  });
}

/** Reads a body to its end and calls back once: with the body, or with undefined when it was larger than `maxBytes`. A body cut short never calls back. */
function readBody(request: IncomingMessage, maxBytes: number, done: (body: Buffer | undefined) => void): void {
  let first: Buffer | undefined;
  let rest: Buffer[] | undefined;
  let sizeBytes = 0;
  request.on('data', (chunk: Buffer) => {
    sizeBytes += chunk.length;
    if (sizeBytes > maxBytes) {
      first = rest = undefined;
      if (sizeBytes > MAX_DISCARDED_BYTES) request.destroy();
    } else if (first === undefined) {
      first = chunk;
    } else {
      (rest ??= [first]).push(chunk);
    }
  });
  request.on('end', () => {
    if (sizeBytes > maxBytes) done(undefined);
    else done(rest === undefined ? (first ?? Buffer.alloc(0)) : Buffer.concat(rest, sizeBytes));
  });
}

function accept(response: ServerResponse, verdict: CallVerdict, status: 202 | 413, maxBytes = MAX_RESPONSE_BYTES): void {
  if (verdict !== 'accepted') {
    refuse(response, verdict);
  } else if (status === 413) {
    answer(response, 413, 'RequestEntityTooLarge', `Exceeded maximum allowed payload size (${maxBytes} bytes).`);
  } else {
    end(response, 202, ACCEPTED_HEADERS, ACCEPTED);
  }
}

function refuse(response: ServerResponse, verdict: Exclude<CallVerdict, 'accepted'>): void {
  if (verdict === 'invalidRequestId') answer(response, 400, 'InvalidRequestID', 'Invalid request ID');
  else answer(response, 403, 'InvalidStateTransition', 'The environment is in a state in which this call is not allowed.');
}

function notFound(request: IncomingMessage, response: ServerResponse): void {
  request.resume();
  answer(response, 404, 'NotFound', `${request.method ?? ''} ${request.url ?? ''} is not part of the Runtime API.`);
}

function answer(response: ServerResponse, status: number, errorType: string, errorMessage: string): void {
  const body = JSON.stringify({ errorMessage, errorType });
  end(response, status, ['Content-Type', JSON_TYPE, 'Content-Length', String(Buffer.byteLength(body))], body);
}

/** Writes an answer, and lets a `next` that waited behind it go on. */
function end(response: ServerResponse, status: number, headers: string[], body: string): void {
  const socket: MarkedSocket | null = response.socket;
  response.writeHead(status, headers);
  response.end(body);
  if (socket === null) return;
  socket[POSTING] = false;
  const waiting = socket[PIPELINED_NEXT];
  socket[PIPELINED_NEXT] = undefined;
  const calls = socket[CALLS];
  if (waiting !== undefined && calls !== undefined) next(calls, waiting);
}
