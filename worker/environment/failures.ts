import type { ExitStatus } from '../process/runtime-process.ts';
import { errorBody, EXIT_ERROR_TYPE, exitMessage, OUT_OF_MEMORY_TYPE, TIMED_OUT_TYPE, timedOutMessage, type Report } from './report-lines.ts';

/** How init or an invocation failed. What is said about it names the invocation that it belongs to, which for an init is known only later. */
export interface Failure {
  /** As REPORT and INIT_REPORT have it. */
  readonly status: NonNullable<Report['status']>;
  /** Lambda's error object; without an id in words that belong to no invocation. */
  body(invocationId?: string): Buffer;
  /** The platform's own line about it in the log; undefined where the function has said it all. */
  line(invocationId: string, nowMs: number): string | undefined;
}

/** The time is over in which an answer was due. */
export function timedOut(timeoutSec: number): Failure {
  const words = `Task timed out after ${timeoutSec.toFixed(2)} seconds`;
  return {
    status: 'timeout',
    body: (invocationId) => errorBody(TIMED_OUT_TYPE, prefixed(words, invocationId)),
    line: (invocationId, nowMs) => timedOutMessage(invocationId, timeoutSec, nowMs),
  };
}

/** The process has ended. `outOfMemory`: it was killed for that. */
export function processEnded(exit: ExitStatus, { outOfMemory }: { readonly outOfMemory: boolean }): Failure {
  const words = exitMessage(exit);
  return {
    status: { errorType: outOfMemory ? OUT_OF_MEMORY_TYPE : EXIT_ERROR_TYPE },
    body: (invocationId) => errorBody(EXIT_ERROR_TYPE, prefixed(words, invocationId)),
    line: (invocationId) => `${prefixed(words, invocationId)}\n${EXIT_ERROR_TYPE}`,
  };
}

/** The runtime has reported it in its own words. */
export function reported(body: Buffer, errorType: string): Failure {
  const given = body.length > 0 ? body : errorBody(errorType, '');
  return { status: { errorType: errorType === '' ? EXIT_ERROR_TYPE : errorType }, body: () => given, line: () => undefined };
}

function prefixed(words: string, invocationId: string | undefined): string {
  return invocationId === undefined ? `Error: ${words}` : `RequestId: ${invocationId} Error: ${words}`;
}
