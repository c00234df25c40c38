import type { IncomingMessage } from 'node:http';

/** How long a client may take to send a body of the Lambda API once its headers have arrived: slower ones hold a connection for nothing. */
export const BODY_TIMEOUT_MS = 30_000;

export type BodyOutcome =
  | { readonly kind: 'complete'; readonly body: Buffer }
  /** More than `limitBytes`; the rest was not read. */
  | { readonly kind: 'tooLarge' }
  /** The client was slower than {@link BODY_TIMEOUT_MS}. */
  | { readonly kind: 'tooSlow' }
  /** The connection ended before the body did: nobody is there to be answered. */
  | { readonly kind: 'cutShort' };

const EMPTY = Buffer.alloc(0);

/** Collects a request's body up to a limit. Never rejects, and never keeps more than the limit in memory. */
export function readBody(request: IncomingMessage, limitBytes: number, timeoutMs = BODY_TIMEOUT_MS): Promise<BodyOutcome> {
  const declared = request.headers['content-length'];
  if (declared === '0') {
    request.resume();
    return Promise.resolve({ kind: 'complete', body: EMPTY });
  }
  if (declared !== undefined && Number(declared) > limitBytes) return Promise.resolve({ kind: 'tooLarge' });
  return new Promise((resolve) => {
    let first: Buffer | undefined;
    let rest: Buffer[] | undefined;
    let received = 0;
    const finish = (outcome: BodyOutcome): void => {
      clearTimeout(timer);
      request.removeListener('data', onData);
      request.removeListener('end', onEnd);
      request.removeListener('close', onClose);
      // The error listener stays: a connection reset after this point is nobody's concern, and must not end the process.
      resolve(outcome);
    };
    const onData = (chunk: Buffer): void => {
      received += chunk.length;
      if (received > limitBytes) {
        request.pause();
        finish({ kind: 'tooLarge' });
      } else if (first === undefined) first = chunk;
      else (rest ??= []).push(chunk);
    };
    const onEnd = (): void => {
      finish({ kind: 'complete', body: first === undefined ? EMPTY : rest === undefined ? first : Buffer.concat([first, ...rest]) });
    };
    const onClose = (): void => finish({ kind: 'cutShort' });
    const timer = setTimeout(() => finish({ kind: 'tooSlow' }), timeoutMs);
    request.on('data', onData);
    request.on('end', onEnd);
    request.on('close', onClose);
    request.on('error', onClose);
  });
}
