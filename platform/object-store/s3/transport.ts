import http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import type { Endpoint } from './endpoint.ts';
import { S3BusyError, S3TimeoutError } from './failures.ts';
import { elementText } from './xml.ts';

export interface TransportOptions {
  readonly endpoint: Endpoint;
  /** Certificates (PEM) to trust instead of the machine's. */
  readonly ca?: string | undefined;
  /** Connections at once. */
  readonly maxSockets: number;
  /** See {@link S3Transport}. */
  readonly timeoutMs: number;
  /** Reading a body may rest so often for {@link timeoutMs} because its reader does not read on; then the connection is taken back. */
  readonly maxRests?: number;
}

/** What is kept of an answer that tells why the server cannot serve. */
const MAX_BUSY_ANSWER_BYTES = 64 * 1024;

/** With the usual time-out ten minutes: who reads so slowly does not read any more. */
const MAX_RESTS = 20;

/** 499 and 520 are what proxies before an S3 server say for it (they are on the client library's own list of what passes). */
const BUSY_STATUSES = new Set([408, 429, 499]);
/** A refusal for good. */
export const NOT_IMPLEMENTED = 501;

type OnResponse = (response: http.IncomingMessage) => void;

/**
 * The client library's way to the network. It adds what that lacks: bounded connections, and a time-out that starts anew with every byte, so that
 * a half-open connection fails and a long transfer does not. It holds in every state: waiting for a free connection, connecting, sending,
 * waiting for the answer, receiving.
 *
 * After an answer of 400 or above to a request with a body the connection is not used again: MinIO closes it without saying so (a 412
 * of a conditional put, for one), and the next request would be reset.
 */
export class S3Transport {
  readonly agent: http.Agent;
  readonly #options: TransportOptions;

  constructor(options: TransportOptions) {
    this.#options = options;
    const { endpoint, ca, maxSockets, timeoutMs } = options;
    // Of every connection: while it is made, used and kept for later.
    const agentOptions = { keepAlive: true, maxSockets, maxFreeSockets: maxSockets, timeout: timeoutMs };
    this.agent = endpoint.tls ? new https.Agent({ ...agentOptions, ...(ca === undefined ? {} : { ca }) }) : new http.Agent(agentOptions);
  }

  /** In the place of `http.request`, of which the client library uses this form only. */
  readonly request = (options: http.RequestOptions, onResponse: OnResponse): http.ClientRequest => {
    const { endpoint, timeoutMs, maxRests = MAX_RESTS } = this.#options;
    const request = (endpoint.tls ? https : http).request({ ...options, headers: utf8Headers(options.headers) });
    const patience = setTimeout(() => request.destroy(new S3TimeoutError(`no connection became free within ${timeoutMs} ms`)), timeoutMs);
    let response: http.IncomingMessage | undefined;
    let rests = 0;
    let restedAtBytes = -1;
    const onIdle = (socket: Socket): void => {
      if (response === undefined) {
        request.destroy(new S3TimeoutError(`it did not take or answer a request within ${timeoutMs} ms`));
        return;
      }
      rests = socket.bytesRead === restedAtBytes ? rests + 1 : 1;
      restedAtBytes = socket.bytesRead;
      // What came is not read yet: it is our reader that rests.
      if (response.readableLength > 0 && rests <= maxRests) socket.setTimeout(timeoutMs);
      else response.destroy(new S3TimeoutError(`it sent nothing for ${timeoutMs} ms in the middle of an answer`));
    };
    // The agent has set the socket's time-out. A request's own event of that name comes once only.
    request.once('socket', (socket) => {
      clearTimeout(patience);
      const listener = (): void => onIdle(socket);
      socket.on('timeout', listener);
      request.once('close', () => socket.off('timeout', listener));
    });
    request.once('close', () => clearTimeout(patience));
    request.once('response', (incoming) => {
      response = incoming;
      const status = incoming.statusCode ?? 0;
      if (status >= 400 && options.method !== 'GET' && options.method !== 'HEAD') request.shouldKeepAlive = false;
      // The library would throw such an answer away unread, and its connection with it.
      if ((status >= 500 && status !== NOT_IMPLEMENTED) || BUSY_STATUSES.has(status)) failBusy(request, incoming, status);
      else onResponse(incoming);
    });
    return request;
  };

  /** Ends all connections; requests under way fail. */
  close(): void {
    this.agent.destroy();
  }
}

function failBusy(request: http.ClientRequest, response: http.IncomingMessage, status: number): void {
  let text = '';
  response.setEncoding('utf8');
  response.on('data', (chunk: string) => {
    if (text.length < MAX_BUSY_ANSWER_BYTES) text += chunk;
  });
  response.once('error', (error) => request.emit('error', error));
  response.once('end', () => {
    const code = elementText(text, 'Code');
    const message = elementText(text, 'Message')?.replace(/\.$/, '');
    request.emit('error', new S3BusyError(`it answered ${status}${code === undefined ? '' : ` ${code}`}${message === undefined ? '' : ` (${message})`}`));
  });
}

/**
 * Signatures are made over UTF-8, and Node would send Latin-1: so each byte of the UTF-8 becomes one character. As a list, since of an object
 * Node sends a `content-disposition` in yet another encoding, but only with some bodies.
 */
function utf8Headers(headers: http.RequestOptions['headers']): string[] {
  return Object.entries((headers ?? {}) as Readonly<Record<string, string>>).flatMap(([name, value]) => [name, Buffer.from(value, 'utf8').toString('latin1')]);
}
