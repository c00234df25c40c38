import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Logger } from '../telemetry/logger.ts';
import { percentDecoded } from '../percent-encoding.ts';

/** Answers a request that its pattern has matched. A rejection becomes a 500 without a word of what went wrong. */
export type InternalHandler = (request: IncomingMessage, response: ServerResponse, path: readonly string[], query: URLSearchParams) => Promise<void> | void;

export interface InternalRoute {
  readonly method: 'GET' | 'POST' | 'DELETE' | 'HEAD';
  /** Segments of the path; `*` stands for any one of them and is given to the handler. */
  readonly path: string;
  readonly handle: InternalHandler;
}

export interface InternalServerOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly routes: readonly InternalRoute[];
  readonly logger: Logger;
}

/** The listener for Sluice's own processes, health checks and metrics; never the one that clients reach (invariant 10). */
export interface InternalServer {
  readonly port: number;
  /** Closes idle connections, lets what is being answered end for {@link STOP_PATIENCE_MS}. Idempotent. */
  stop(): Promise<void>;
}

/** Longer than the peers' clients keep a connection, so that it is they who close it. */
const KEEP_ALIVE_TIMEOUT_MS = 75_000;
const HEADERS_TIMEOUT_MS = 10_000;
/** Every environment of every worker holds a connection. */
const MAX_CONNECTIONS = 50_000;
const STOP_PATIENCE_MS = 1_000;

/** Rejects when the address is taken. */
export async function startInternalServer({ host, port, routes, logger }: InternalServerOptions): Promise<InternalServer> {
  const table = routes.map((route) => ({ ...route, segments: route.path.split('/') }));
  // A long poll may be held as long as its holder likes; the peers give up by themselves.
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS, headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: 0, noDelay: true });
  server.maxConnections = MAX_CONNECTIONS;
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    response.on('error', () => undefined);
    const url = request.url ?? '/';
    const queryAt = url.indexOf('?');
    const segments = (queryAt === -1 ? url : url.slice(0, queryAt)).split('/');
    for (const route of table) {
      if (route.method !== request.method) continue;
      const wild = match(route.segments, segments);
      if (wild === undefined) continue;
      void answer(route.handle, request, response, wild, new URLSearchParams(queryAt === -1 ? '' : url.slice(queryAt + 1)), logger);
      return;
    }
    sendEmpty(response, 404);
  });
  await listen(server, host, port);
  let stopped: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeIdleConnections();
    const force = setTimeout(() => server.closeAllConnections(), STOP_PATIENCE_MS);
    await closed;
    clearTimeout(force);
  };
  return { port: (server.address() as AddressInfo).port, stop: () => (stopped ??= stop()) };
}

async function answer(handle: InternalHandler, request: IncomingMessage, response: ServerResponse, path: readonly string[], query: URLSearchParams, logger: Logger): Promise<void> {
  try {
    await handle(request, response, path, query);
  } catch (error) {
    logger.error({ err: error, path: request.url?.split('?')[0] }, 'an internal request failed');
    sendEmpty(response, 500);
  }
}

/** The segments under the pattern's stars, decoded; undefined where it does not match. */
function match(pattern: readonly string[], segments: readonly string[]): readonly string[] | undefined {
  if (pattern.length !== segments.length) return undefined;
  const wild: string[] = [];
  for (let i = 0; i < pattern.length; i++) {
    const segment = segments[i] ?? '';
    if (pattern[i] !== '*') {
      if (pattern[i] !== segment) return undefined;
      continue;
    }
    const decoded = percentDecoded(segment);
    if (decoded === undefined) return undefined;
    wild.push(decoded);
  }
  return wild;
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.removeListener('error', reject);
      resolve();
    });
  });
}

export function sendEmpty(response: ServerResponse, status: number): void {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(status, { 'Content-Length': '0' }).end();
}

export function sendBytes(response: ServerResponse, status: number, contentType: string, body: Buffer | string): void {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(status, { 'Content-Type': contentType, 'Content-Length': Buffer.byteLength(body) }).end(body);
}

/** The token of an `Authorization: Bearer` header; empty where there is none. */
export function bearer(request: IncomingMessage): string {
  return /^Bearer (\S+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '';
}

/** The whole body; undefined where it is larger than `maxBytes` or was cut short. */
export function readInternalBody(request: IncomingMessage, maxBytes: number): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= maxBytes) chunks.push(chunk);
    });
    request.on('end', () => resolve(bytes > maxBytes ? undefined : chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)));
    request.on('error', () => resolve(undefined));
    request.on('close', () => resolve(undefined));
  });
}
