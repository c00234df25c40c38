import { createSecretKey, type KeyObject } from 'node:crypto';
import { equal, sign } from '../../platform/protocol/wire/tokens.ts';

/** Path of a caller's reply on the gateway's internal listener. */
export const REPLIES_PATH = '/v1/replies';

/**
 * URLs to which a caller's reply may be sent, by whoever was given the invocation and until the caller's deadline. The secret lives as long as the gateway's process, as
 * its callers do. A URL is good once: the caller that it names waits no more after its reply.
 */
export class ReplyUrls {
  readonly #secret: KeyObject;
  readonly #baseUrl: () => string;

  /** `baseUrl`: of the internal listener, `http://host:port`. */
  constructor(secret: Buffer, baseUrl: () => string) {
    this.#secret = createSecretKey(secret);
    this.#baseUrl = baseUrl;
  }

  readonly of = (invocationId: string, deadlineMs: number): string => `${this.#baseUrl()}${REPLIES_PATH}/${invocationId}?expires=${deadlineMs}&signature=${this.#sign(invocationId, deadlineMs)}`;

  verify(invocationId: string, query: URLSearchParams, nowMs: number): boolean {
    const expires = Number(query.get('expires'));
    return Number.isSafeInteger(expires) && nowMs <= expires && equal(query.get('signature') ?? '', this.#sign(invocationId, expires));
  }

  #sign(invocationId: string, expiresMs: number): string {
    return sign(this.#secret, `reply ${invocationId} ${expiresMs}`);
  }
}
