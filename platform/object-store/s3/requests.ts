import type { IncomingMessage } from 'node:http';
import type http from 'node:http';
import { Client } from 'minio';
import { StoreUnavailableError } from '../object-store.ts';
import type { Endpoint } from './endpoint.ts';
import { isReset, parseRefusal, toUnavailable, type S3RefusedError } from './failures.ts';
import { bodyOf, type Body } from './spool.ts';
import { NOT_IMPLEMENTED, S3Transport } from './transport.ts';

export interface S3Credentials {
  readonly accessKey: string;
  readonly secretKey: string;
  /** Of temporary credentials. */
  readonly sessionToken?: string;
}

/** The credentials alone, of options that hold more. */
export function credentialsOf({ accessKey, secretKey, sessionToken }: S3Credentials): S3Credentials {
  return { accessKey, secretKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
}

export interface S3RequestsOptions {
  readonly endpoint: Endpoint;
  readonly credentials: S3Credentials;
  readonly region: string;
  readonly ca?: string | undefined;
  readonly maxSockets: number;
  readonly timeoutMs: number;
}

export interface S3Request {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'DELETE';
  /** Begins messages about its failure: what was tried and with which bucket and key. */
  readonly what: string;
  /** The name on the server. */
  readonly bucket?: string;
  readonly key?: string;
  /** Without `?`, its values percent-encoded. */
  readonly query?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Body;
  /** Whether a second time changes nothing that the first did not: then it is sent again, once, when its connection is reset. */
  readonly idempotent: boolean;
}

/** An answer that was read to its end. */
export interface S3Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
}

/** Requests that wait for an answer or for a connection, each with its body. */
const MAX_IN_FLIGHT = 4_096;

/** A page of 1,000 keys of 1,024 bytes, each byte percent-encoded, is below. */
const MAX_ANSWER_BYTES = 8 * 1024 * 1024;

/** All that are answers to us; the others are the transport's. */
const ANSWERS = [...Array.from({ length: 300 }, (_, offset) => 200 + offset), NOT_IMPLEMENTED];

const EMPTY = bodyOf(Buffer.alloc(0));

/**
 * Signed requests to one S3 server. The client library signs, and sends through {@link S3Transport}; what an answer means is decided by
 * its status and S3's own error codes here and above, since the library's methods lose both. Its general request is marked internal though it
 * is public and typed: the library's version is pinned.
 */
export class S3Requests {
  readonly #endpoint: Endpoint;
  readonly #region: string;
  readonly #transport: S3Transport;
  readonly #client: Client;
  #inFlight = 0;

  constructor({ endpoint, credentials, region, ca, maxSockets, timeoutMs }: S3RequestsOptions) {
    this.#endpoint = endpoint;
    this.#region = region;
    this.#transport = new S3Transport({ endpoint, ca, maxSockets, timeoutMs });
    this.#client = signingClient({ endpoint, credentials, region }, this.#transport);
  }

  /**
   * Resolves to any answer that was meant for us, its body unread. Rejects with {@link StoreUnavailableError} where there is none.
   */
  async send(request: S3Request): Promise<IncomingMessage> {
    if (this.#inFlight >= MAX_IN_FLIGHT) throw new StoreUnavailableError(`${request.what}: ${MAX_IN_FLIGHT} requests to the S3 server at ${this.#endpoint.display} wait already.`);
    this.#inFlight += 1;
    try {
      return await this.#attempt(request).catch((error: unknown) => {
        if (request.idempotent && isReset(error)) return this.#attempt(request);
        throw error;
      });
    } catch (error) {
      throw toUnavailable(request.what, this.#endpoint.display, error);
    } finally {
      this.#inFlight -= 1;
    }
  }

  /** Sends, and reads the answer. */
  async ask(request: S3Request): Promise<S3Answer> {
    const response = await this.send(request);
    return { status: response.statusCode ?? 0, headers: response.headers, text: await this.read(request.what, response) };
  }

  /** As {@link ask}. Rejects with {@link S3RefusedError} for a status that is none of those expected. */
  async expect(request: S3Request, statuses: readonly number[]): Promise<S3Answer> {
    const answer = await this.ask(request);
    if (statuses.includes(answer.status)) return answer;
    throw parseRefusal(request.what, answer);
  }

  /** Why an answer that was not read yet is none of success. */
  async refusal(what: string, response: IncomingMessage): Promise<S3RefusedError> {
    return parseRefusal(what, { status: response.statusCode ?? 0, headers: response.headers, text: await this.read(what, response) });
  }

  /** The text of an answer. */
  async read(what: string, response: IncomingMessage): Promise<string> {
    const chunks: Buffer[] = [];
    let bytes = 0;
    try {
      for await (const chunk of response as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        if (bytes > MAX_ANSWER_BYTES) throw new StoreUnavailableError(`${what}: the S3 server at ${this.#endpoint.display} sends an answer of more than ${MAX_ANSWER_BYTES} bytes.`);
        chunks.push(chunk);
      }
    } catch (error) {
      throw toUnavailable(what, this.#endpoint.display, error);
    }
    return Buffer.concat(chunks).toString('utf8');
  }

  /** What breaks a body halfway, as the port's error. */
  broken(what: string, error: Error): Error {
    return toUnavailable(what, this.#endpoint.display, error);
  }

  #attempt({ method, bucket, key, query, headers, body = EMPTY }: S3Request): Promise<IncomingMessage> {
    const carriesBody = method === 'PUT';
    const all: Record<string, string> = { ...headers, ...(carriesBody ? { 'content-length': String(body.sizeBytes) } : {}) };
    // Over TLS the library signs no hash of the body, so this guards it on its way; some requests demand it.
    if (carriesBody) all['content-md5'] = body.md5.toString('base64');
    const target = { method, headers: all, query: query ?? '', ...(bucket === undefined ? {} : { bucketName: bucket }), ...(key === undefined ? {} : { objectName: key }) };
    return this.#client.makeRequestStreamAsync(target, body.open(), this.#endpoint.tls ? '' : body.sha256, ANSWERS, this.#region);
  }

  close(): void {
    this.#transport.close();
  }
}

/** Signs URLs for an address at which others reach the server. Connects nowhere. */
export function signingClient({ endpoint, credentials, region }: Pick<S3RequestsOptions, 'endpoint' | 'credentials' | 'region'>, transport?: S3Transport): Client {
  return new Client({
    endPoint: endpoint.host,
    port: endpoint.port,
    useSSL: endpoint.tls,
    region,
    ...credentials,
    // The library's own retries throw the answer away, connection and all, and write to the console.
    retryOptions: { disableRetry: true },
    ...(transport === undefined ? {} : { transport: { request: transport.request as unknown as typeof http.request }, transportAgent: transport.agent }),
  });
}
