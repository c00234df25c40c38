import type { MidstreamError } from '../runtime-api/runtime-calls.ts';
import { errorBody, RESPONSE_TOO_LARGE_TYPE, SANDBOX_FAILURE_TYPE, type Report } from './report-lines.ts';

/** How an invocation ended, for its caller and for its log. */
export interface Outcome {
  readonly kind: 'success' | 'functionError';
  /** What the handler returned, or Lambda's error object. Of a streamed response the end is nothing but its error. */
  readonly body: Buffer;
  readonly contentType?: string;
  /** What the runtime calls the error, where it says so. */
  readonly errorType?: string;
  readonly status?: Report['status'];
}

/** The runtime has posted an error, with an error object or without one. */
export function postedError(body: Buffer, errorType: string): Outcome {
  return { kind: 'functionError', body: body.length > 0 ? body : errorBody(errorType, ''), ...(errorType === '' ? {} : { errorType }) };
}

/** What a runtime has streamed, or what of it has been collected; with the error that broke it off. */
export function streamedOutcome(failure: MidstreamError | undefined, collected: Pick<Outcome, 'body' | 'contentType'> = { body: Buffer.alloc(0) }): Outcome {
  return failure === undefined ? { kind: 'success', ...collected } : postedError(failure.body, failure.type);
}

export function responseTooLarge(maxBytes: number): Outcome {
  return { kind: 'functionError', body: errorBody(RESPONSE_TOO_LARGE_TYPE, `Response payload size exceeded maximum allowed payload size (${maxBytes} bytes).`), status: { errorType: RESPONSE_TOO_LARGE_TYPE } };
}

/** The platform has ended the environment in the middle of a response. */
export function stoppedMidway(): Outcome {
  return { kind: 'functionError', body: errorBody(SANDBOX_FAILURE_TYPE, 'The execution environment was stopped while it ran the invocation.'), status: { errorType: SANDBOX_FAILURE_TYPE } };
}
