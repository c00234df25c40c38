import type { Readable } from 'node:stream';
import { Agent, type Dispatcher } from 'undici';

/**
 * The connections of this process to others of the same Sluice: kept alive, as many as there are requests under way. undici rather than node:http, since a
 * request costs half as much and every invocation makes three. `caPem`: the authority that is trusted where a connection is over TLS.
 */
export function internalAgent({ caPem }: { readonly caPem?: string | undefined } = {}): Agent {
  return new Agent({
    connect: { timeout: CONNECT_TIMEOUT_MS, ...(caPem === undefined ? {} : { ca: caPem }) },
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MS,
    pipelining: 1,
    // Long polls and bodies of slow runtimes: whoever sends a request says how long it may take.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
}

/** A process on the same network accepts at once or not at all. */
const CONNECT_TIMEOUT_MS = 2_000;
/** Shorter than the servers', so that no request meets a closing connection. */
const KEEP_ALIVE_MS = 60_000;

export interface InternalResponse {
  readonly status: number;
  readonly body: Buffer;
}

export interface InternalRequest {
  readonly origin: string;
  readonly path: string;
  readonly method: 'GET' | 'POST' | 'DELETE' | 'HEAD';
  readonly headers?: Readonly<Record<string, string>>;
  /** A stream is sent as it comes, and destroyed where the request fails. */
  readonly body?: string | Buffer | Readable;
  readonly signal?: AbortSignal;
  /** Called when the answer's header is there, which may be long before its body. */
  readonly onHeaders?: (status: number) => void;
}

/** What lies at a URL that somebody else has made and signed. Rejects as {@link internalRequest}, and after the time-out. */
export function internalGet(agent: Agent, signedUrl: string, timeoutMs: number): Promise<InternalResponse> {
  const { origin, pathname, search } = new URL(signedUrl);
  return internalRequest(agent, { origin, path: pathname + search, method: 'GET', signal: AbortSignal.timeout(timeoutMs) });
}

/** Sends a request and collects the answer. Rejects when there is none: no connection, one that broke, or the signal. */
export function internalRequest(agent: Agent, { origin, path, method, headers, body, signal, onHeaders }: InternalRequest): Promise<InternalResponse> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
      return;
    }
    const chunks: Buffer[] = [];
    let status = 0;
    let abort: (() => void) | undefined;
    const done = (): void => {
      if (abort !== undefined) signal?.removeEventListener('abort', abort);
    };
    const handler: Dispatcher.DispatchHandler = {
      onRequestStart(controller) {
        abort = () => controller.abort(signal?.reason instanceof Error ? signal.reason : new Error('aborted'));
        signal?.addEventListener('abort', abort, { once: true });
        if (signal?.aborted === true) abort();
      },
      onResponseStart(_controller, statusCode) {
        status = statusCode;
        onHeaders?.(statusCode);
      },
      onResponseData(_controller, chunk) {
        chunks.push(chunk);
      },
      onResponseEnd() {
        done();
        resolve({ status, body: chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks) });
      },
      onResponseError(_controller, error) {
        done();
        reject(error);
      },
    };
    agent.dispatch({ origin, path, method, headers: headers ?? {}, ...(body === undefined ? {} : { body }) }, handler);
  });
}
