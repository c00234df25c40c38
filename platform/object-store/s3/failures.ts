import { StoreUnavailableError } from '../object-store.ts';
import { elementText } from './xml.ts';

/** The server understood a request and refused it. `code` is S3's own (Amazon S3 API reference, "Error responses"); empty where the answer had none. */
export class S3RefusedError extends Error {
  override readonly name = 'S3RefusedError';
  readonly status: number;
  readonly code: string;

  constructor(what: string, status: number, code: string, reason: string) {
    super(`${what}: the S3 server answered ${status}${code === '' ? '' : ` ${code}`}${reason === '' ? '' : ` (${reason})`}.`);
    this.status = status;
    this.code = code;
  }
}

/** What an answer says that is no success. */
export function parseRefusal(what: string, answer: { readonly status: number; readonly text: string; readonly headers: Readonly<Record<string, string | string[] | undefined>> }): S3RefusedError {
  const header = answer.headers['x-minio-error-code'];
  const code = elementText(answer.text, 'Code') ?? (typeof header === 'string' ? header : '');
  return new S3RefusedError(what, answer.status, code, (elementText(answer.text, 'Message') ?? '').replace(/\.$/, ''));
}

/** A request has waited too long: for a connection, for the server to take it or for its answer. */
export class S3TimeoutError extends Error {
  override readonly name = 'S3TimeoutError';
}

/** An answer that says that the server cannot serve now. */
export class S3BusyError extends Error {
  override readonly name = 'S3BusyError';
}

/** System error code of a failure or of what caused it; undefined where there is none. */
export function failureCode(error: unknown): string | undefined {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (typeof code === 'string') return code;
    // Several addresses of one name, each with its own failure; they rarely differ.
    if (cause instanceof AggregateError && cause.errors.length > 0) return failureCode(cause.errors[0]);
  }
  return undefined;
}

/** Whether a connection broke, as one kept alive does when the server has closed it in the same moment in which we used it. */
export function isReset(error: unknown): boolean {
  const code = failureCode(error);
  return code === 'ECONNRESET' || code === 'EPIPE';
}

/** Codes of Node's own refusals (a header with a line break in it); those that begin like them and come from the network stay out. */
const OWN_MISTAKE = /^ERR_(?!TLS_|SSL_|STREAM_PREMATURE_CLOSE)/;

/** What the callers of the port see of a request that got no usable answer. */
export function toUnavailable(what: string, endpoint: string, error: unknown): Error {
  if (error instanceof StoreUnavailableError) return error;
  const code = failureCode(error);
  if (!(error instanceof S3TimeoutError || error instanceof S3BusyError || (code !== undefined && !OWN_MISTAKE.test(code)))) return error instanceof Error ? error : new Error(String(error));
  const reason = error instanceof AggregateError ? String((error.errors[0] as Error | undefined)?.message ?? code) : (error as Error).message;
  return new StoreUnavailableError(`${what}: the S3 server at ${endpoint} cannot be used now: ${reason}${code === undefined || reason.includes(code) ? '' : ` (${code})`}.`, { cause: error });
}
