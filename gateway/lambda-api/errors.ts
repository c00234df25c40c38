/**
 * The Lambda API's error catalogue: every error that this gateway answers, once.
 *
 * Codes, statuses and member names are those of the service model; codes that are not in it are common to all AWS services ("Common
 * errors" of the API reference) or this project's own. Messages are the service's words wherever they are known.
 */
export interface ErrorRow {
  readonly status: number;
  /** Whose fault it is, as the body's `Type` says; undefined where Lambda's answer has none. */
  readonly type: 'User' | 'Service' | undefined;
  /** What the service model calls the body's text. */
  readonly messageMember: 'message' | 'Message';
  /** Whether the same request may succeed when sent again. */
  readonly retryable: boolean;
}

const USER = { type: 'User', messageMember: 'message', retryable: false } as const;
const COMMON = { type: undefined, messageMember: 'message', retryable: false } as const;

export const ERRORS = {
  AccessDeniedException: { ...COMMON, status: 403, messageMember: 'Message' },
  CodeStorageExceededException: { ...USER, status: 400 },
  InvalidParameterValueException: { ...USER, status: 400 },
  InvalidRequestContentException: { ...USER, status: 400 },
  /** This project's own: an operation of the service model that it does not have yet. */
  NotImplementedException: { status: 501, type: 'Service', messageMember: 'message', retryable: false },
  PolicyLengthExceededException: { ...USER, status: 400 },
  PreconditionFailedException: { ...USER, status: 412 },
  RequestEntityTooLargeException: { ...COMMON, status: 413, messageMember: 'Message' },
  RequestTimeoutException: { ...COMMON, status: 408, retryable: true },
  RequestTooLargeException: { ...USER, status: 413 },
  ResourceConflictException: { ...USER, status: 409 },
  ResourceNotFoundException: { ...USER, status: 404, messageMember: 'Message' },
  SerializationException: { ...COMMON, status: 400 },
  ServiceException: { status: 500, type: 'Service', messageMember: 'Message', retryable: true },
  ServiceUnavailableException: { status: 503, type: 'Service', messageMember: 'Message', retryable: true },
  TooManyRequestsException: { ...USER, status: 429, retryable: true },
  UnknownOperationException: { ...COMMON, status: 404 },
  UnsupportedMediaTypeException: { ...USER, status: 415 },
  ValidationException: { ...COMMON, status: 400 },
} as const satisfies Readonly<Record<string, ErrorRow>>;

export type ErrorCode = keyof typeof ERRORS;

export interface ErrorDetails {
  /** Further members of the body, such as a throttle's `Reason`. */
  readonly members?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  /** Kept for the log, never answered. */
  readonly cause?: unknown;
}

/** An answer of the catalogue. Thrown by handlers, turned into a response at one place. */
export class LambdaApiError extends Error {
  override readonly name = 'LambdaApiError';
  readonly code: ErrorCode;
  readonly members: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, { cause: details.cause });
    this.code = code;
    this.members = details.members ?? {};
    this.headers = details.headers ?? {};
  }

  get row(): ErrorRow {
    return ERRORS[this.code];
  }
}

export function invalidParameter(message: string): LambdaApiError {
  return new LambdaApiError('InvalidParameterValueException', message);
}

/** Several violations of the service model in one answer, in AWS's form. There is at least one. */
export function validationErrors(violations: readonly string[], code: 'ValidationException' | 'InvalidParameterValueException' = 'ValidationException'): LambdaApiError {
  return new LambdaApiError(code, `${violations.length} validation error${violations.length === 1 ? '' : 's'} detected: ${violations.join('; ')}`);
}

export function functionNotFound(arn: string): LambdaApiError {
  return new LambdaApiError('ResourceNotFoundException', `Function not found: ${arn}`);
}

export function qualifierMismatch(): LambdaApiError {
  return invalidParameter('The derived qualifier from the function name does not match the specified qualifier.');
}

export function otherRegion(region: string, here: string): LambdaApiError {
  return new LambdaApiError('ResourceNotFoundException', `Functions from '${region}' are not reachable in this region ('${here}')`);
}

export function otherAccount(caller: string, operation: string, arn: string): LambdaApiError {
  const action = `lambda:${operation === 'Invoke' ? 'InvokeFunction' : operation}`;
  return new LambdaApiError(
    'AccessDeniedException',
    `User: arn:aws:iam::${caller}:root is not authorized to perform: ${action} on resource: ${arn} because no resource-based policy allows the ${action} action`,
  );
}

export type ThrottleReason =
  | 'ConcurrentInvocationLimitExceeded'
  | 'ReservedFunctionConcurrentInvocationLimitExceeded'
  | 'CallerRateLimitExceeded'
  | 'FunctionInvocationRateLimitExceeded'
  | 'ReservedFunctionInvocationRateLimitExceeded';

export function throttled(reason: ThrottleReason, retryAfterSec?: number): LambdaApiError {
  return new LambdaApiError('TooManyRequestsException', 'Rate Exceeded.', { members: { Reason: reason }, ...(retryAfterSec === undefined ? {} : { headers: { 'Retry-After': String(retryAfterSec) } }) });
}

/**
 * An invocation's payload is too large: 6 MiB when synchronous, 1 MiB when asynchronous (Lambda quotas). With the invocation type and
 * the payload's size, where they are known, in the service's present words; else in those that it has for any body, where the operation
 * is called InvokeFunction.
 */
export function payloadTooLarge(limitBytes: number, refused?: { readonly type: 'RequestResponse' | 'Event'; readonly bytes: number }): LambdaApiError {
  if (refused === undefined) return bodyTooLarge(limitBytes, 'InvokeFunction');
  const message = `${refused.bytes} byte payload is too large for the ${refused.type} invocation type (limit ${limitBytes} bytes)`;
  return new LambdaApiError('RequestEntityTooLargeException', message);
}

/** A control request's body is too large. */
export function bodyTooLarge(limitBytes: number, operation: string): LambdaApiError {
  return new LambdaApiError('RequestEntityTooLargeException', `Request must be smaller than ${limitBytes} bytes for the ${operation} operation`);
}

export function notJson(reason: string): LambdaApiError {
  return new LambdaApiError('InvalidRequestContentException', `Could not parse request body into json: ${reason}`);
}

export function revisionMismatch(): LambdaApiError {
  return new LambdaApiError(
    'PreconditionFailedException',
    'The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id',
  );
}

export function notImplemented(operation: string): LambdaApiError {
  return new LambdaApiError(
    'NotImplementedException',
    `Sluice does not have the operation ${operation} yet. docs/lambda-compatibility.md lists the operations that it has.`,
  );
}

export function unknownOperation(method: string, path: string): LambdaApiError {
  return new LambdaApiError('UnknownOperationException', `The Lambda API has no operation ${method} ${path.slice(0, 200)}`);
}

/** The platform's own failure. Says nothing about what happened: that is in the log, under the request id. */
export function internalError(cause: unknown): LambdaApiError {
  return new LambdaApiError('ServiceException', 'The service encountered an internal error. Please try again later.', { cause });
}
