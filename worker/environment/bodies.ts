import { MAX_ERROR_BODY_BYTES } from '../runtime-api/limits.ts';

/** How much of an error message survives where the whole error object is too large to be kept. */
const KEPT_MESSAGE_CHARACTERS = 16 * 1024;

/** An error object small enough to be kept for retries and destinations: itself, or its type and the beginning of its message. */
export function boundedErrorBody(body: Buffer): Buffer {
  if (body.length <= MAX_ERROR_BODY_BYTES) return body;
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString());
  } catch {
    parsed = undefined;
  }
  const { errorType, errorMessage } = (typeof parsed === 'object' && parsed !== null ? parsed : {}) as { errorType?: unknown; errorMessage?: unknown };
  return Buffer.from(
    JSON.stringify({
      errorType: typeof errorType === 'string' ? errorType.slice(0, 1024) : 'Unknown',
      errorMessage: typeof errorMessage === 'string' ? errorMessage.slice(0, KEPT_MESSAGE_CHARACTERS) : 'The error object is too large to be kept.',
    }),
  );
}

/**
 * The caller's client context as a header of the Runtime API: the JSON's UTF-8 bytes, one character each, as HTTP carries them. undefined for what is not JSON: the
 * runtime could not read it either.
 */
export function clientContextHeader(base64: string): string | undefined {
  const bytes = Buffer.from(base64, 'base64');
  try {
    // Written anew, because line ends between its members may not stand in a header.
    return Buffer.from(JSON.stringify(JSON.parse(bytes.toString()))).toString('latin1');
  } catch {
    return undefined;
  }
}
