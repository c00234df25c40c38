/**
 * The lines that Lambda itself writes into a function's log, and the error objects that it gives where the function can give none
 * (Lambda guide, "Viewing CloudWatch logs for Lambda functions" and "Troubleshoot invocation issues in Lambda").
 */

export interface Report {
  readonly invocationId: string;
  readonly durationMs: number;
  readonly memoryMiB: number;
  /** Absent where it cannot be seen. */
  readonly maxMemoryUsedMiB?: number;
  /** Of the environment's first invocation. */
  readonly initDurationMs?: number;
  readonly status?: 'timeout' | { readonly errorType: string };
}

export function initStartLine(runtime: string, runtimeVersion: string): string {
  return `INIT_START Runtime Version: ${runtime} on ${runtimeVersion}`;
}

/** `phase`: `invoke` where init goes on in the time of the invocation that waits for it. */
export function initReportLine(durationMs: number, phase: 'init' | 'invoke', status: Report['status']): string {
  return `INIT_REPORT Init Duration: ${durationMs.toFixed(2)} ms\tPhase: ${phase}${statusText(status)}`;
}

export function startLine(invocationId: string, version: string): string {
  return `START RequestId: ${invocationId} Version: ${version}`;
}

export function endLine(invocationId: string): string {
  return `END RequestId: ${invocationId}`;
}

export function reportLine(report: Report): string {
  const init = report.initDurationMs === undefined ? '' : `Init Duration: ${report.initDurationMs.toFixed(2)} ms\t`;
  const used = report.maxMemoryUsedMiB === undefined ? '' : `Max Memory Used: ${report.maxMemoryUsedMiB} MB\t`;
  const status = statusText(report.status).slice(1);
  return `REPORT RequestId: ${report.invocationId}\tDuration: ${report.durationMs.toFixed(2)} ms\tBilled Duration: ${Math.ceil(report.durationMs)} ms\tMemory Size: ${report.memoryMiB} MB\t${used}${init}${status}`;
}

function statusText(status: Report['status']): string {
  if (status === undefined) return '';
  return status === 'timeout' ? '\tStatus: timeout' : `\tStatus: error\tError Type: ${status.errorType}`;
}

/** The line and the message of a time-out: `2024-05-03T10:00:03.004Z 6bf2… Task timed out after 3.00 seconds`. */
export function timedOutMessage(invocationId: string, timeoutSec: number, nowMs: number): string {
  return `${new Date(nowMs).toISOString()} ${invocationId} Task timed out after ${timeoutSec.toFixed(2)} seconds`;
}

export const TIMED_OUT_TYPE = 'Sandbox.Timedout';
export const EXIT_ERROR_TYPE = 'Runtime.ExitError';
export const OUT_OF_MEMORY_TYPE = 'Runtime.OutOfMemory';
/** The platform ended it. */
export const SANDBOX_FAILURE_TYPE = 'Sandbox.Failure';
/** A response that was streamed and broke off with its process. */
export const TRUNCATED_RESPONSE_TYPE = 'Runtime.TruncatedResponse';
export const RESPONSE_TOO_LARGE_TYPE = 'Function.ResponseSizeTooLarge';

/** `Runtime exited with error: exit status 1`, as Lambda words the end of a process. */
export function exitMessage(exit: { readonly code: number | null; readonly signal: NodeJS.Signals | null }): string {
  if (exit.signal !== null) return `Runtime exited with error: signal: ${SIGNAL_WORDS[exit.signal] ?? exit.signal.slice(3).toLowerCase()}`;
  if (exit.code === 0 || exit.code === null) return 'Runtime exited without providing a reason';
  return `Runtime exited with error: exit status ${exit.code}`;
}

/** As Go's `syscall.Signal` prints them, since Lambda's own words come from there. */
const SIGNAL_WORDS: Partial<Record<NodeJS.Signals, string>> = {
  SIGKILL: 'killed',
  SIGTERM: 'terminated',
  SIGSEGV: 'segmentation fault',
  SIGABRT: 'aborted',
  SIGBUS: 'bus error',
  SIGFPE: 'floating point exception',
  SIGILL: 'illegal instruction',
  SIGINT: 'interrupt',
  SIGHUP: 'hangup',
  SIGPIPE: 'broken pipe',
  SIGTRAP: 'trace/breakpoint trap',
};

export function errorBody(errorType: string, errorMessage: string): Buffer {
  return Buffer.from(JSON.stringify({ errorType, errorMessage }));
}
