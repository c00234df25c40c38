import type { ServerResponse } from 'node:http';
import type { Home } from '../../platform/model/function-reference.ts';
import type { InvocationRecord } from '../../platform/model/invocation.ts';
import type { Reply } from '../../platform/protocol/reply.ts';
import type { LambdaApiError } from '../lambda-api/errors.ts';
import { errorResponse } from '../lambda-api/rest-json/response.ts';
import * as faults from './faults.ts';

/** The last 4 KB of the log, as `LogType=Tail` promises ("Invoke", X-Amz-Log-Result). */
const MAX_LOG_TAIL_BYTES = 4_096;

/** Sends a reply to its caller. A caller that has gone away meanwhile is not an error. */
export function sendReply(response: ServerResponse, invocation: InvocationRecord, reply: Reply, home: Home): void {
  if (reply.kind === 'rejected') {
    sendError(response, invocation.id, faults.rejected(reply.rejection, home, invocation.functionName));
    return;
  }
  if (!writable(response)) return;
  const headers = [
    'Content-Type', (reply.kind === 'success' ? reply.contentType : undefined) ?? 'application/json',
    'Content-Length', String(reply.body.length),
    'x-amzn-RequestId', invocation.id,
    'X-Amz-Executed-Version', invocation.version,
    'X-Amzn-Trace-Id', invocation.traceId,
  ];
  if (reply.kind === 'functionError') headers.push('X-Amz-Function-Error', reply.functionError);
  if (reply.logTail !== undefined) headers.push('X-Amz-Log-Result', reply.logTail.subarray(-MAX_LOG_TAIL_BYTES).toString('base64'));
  response.writeHead(200, headers);
  response.end(reply.body);
}

/** 202 for an accepted event, 204 for a dry run. */
export function sendStatus(response: ServerResponse, status: 202 | 204, requestId: string, executedVersion: string | undefined): void {
  if (!writable(response)) return;
  const headers = ['x-amzn-RequestId', requestId];
  if (executedVersion !== undefined) headers.push('X-Amz-Executed-Version', executedVersion);
  if (status === 202) headers.push('Content-Length', '0');
  response.writeHead(status, headers).end();
}

export function sendError(response: ServerResponse, requestId: string, error: LambdaApiError): void {
  if (!writable(response)) return;
  const { status, headers, body } = errorResponse(error, requestId);
  // Where the body was refused before its end, the rest of it must not be taken for the next request.
  if (!response.req.complete) response.shouldKeepAlive = false;
  response.writeHead(status, { ...headers, 'Content-Length': body.length }).end(body);
}

function writable(response: ServerResponse): boolean {
  return !response.headersSent && !response.destroyed;
}
