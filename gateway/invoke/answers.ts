import type { ServerResponse } from 'node:http';
import { pipeline } from 'node:stream';
import { LOG_TAIL_BYTES_MAX } from '../../platform/model/limits.ts';
import type { Home } from '../../platform/model/function-reference.ts';
import type { InvocationRecord } from '../../platform/model/invocation.ts';
import type { IncomingReply } from '../replies/incoming-reply.ts';
import { endEarly } from '../http/end-early.ts';
import type { LambdaApiError } from '../lambda-api/errors.ts';
import { errorResponse } from '../lambda-api/rest-json/response.ts';
import * as faults from './faults.ts';

/** Sends a reply to its caller. A caller that has gone away meanwhile is not an error. */
export function sendReply(response: ServerResponse, invocation: InvocationRecord, reply: IncomingReply, home: Home): void {
  if (reply.kind === 'rejected') {
    sendError(response, invocation.id, faults.rejected(reply.rejection, home, invocation.functionName));
    return;
  }
  const { body } = reply;
  if (!isWritable(response)) {
    if ('stream' in body) body.stream.resume();
    return;
  }
  const headers = [
    'Content-Type', (reply.kind === 'success' ? reply.contentType : undefined) ?? 'application/json',
    'Content-Length', String('stream' in body ? body.bytes : body.length),
    'x-amzn-RequestId', invocation.id,
    'X-Amz-Executed-Version', invocation.version,
    'X-Amzn-Trace-Id', invocation.traceId,
  ];
  if (reply.kind === 'functionError') headers.push('X-Amz-Function-Error', reply.functionError);
  if (reply.logTail !== undefined) headers.push('X-Amz-Log-Result', reply.logTail.subarray(-LOG_TAIL_BYTES_MAX).toString('base64'));
  response.writeHead(200, headers);
  // A worker that dies in the middle leaves a response that is too short for its length, which no client takes for a whole one.
  if ('stream' in body) pipeline(body.stream, response, () => undefined);
  else response.end(body);
}

/** 202 for an accepted event, 204 for a dry run. */
export function sendStatus(response: ServerResponse, status: 202 | 204, requestId: string, executedVersion: string | undefined): void {
  if (!isWritable(response)) return;
  const headers = ['x-amzn-RequestId', requestId];
  if (executedVersion !== undefined) headers.push('X-Amz-Executed-Version', executedVersion);
  if (status === 202) headers.push('Content-Length', '0');
  response.writeHead(status, headers).end();
}

export function sendError(response: ServerResponse, requestId: string, error: LambdaApiError): void {
  if (!isWritable(response)) return;
  const { status, headers, body } = errorResponse(error, requestId);
  // Where the body was refused before its end, the rest of it must not be taken for the next request.
  if (!response.req.complete) response.shouldKeepAlive = false;
  response.writeHead(status, { ...headers, 'Content-Length': body.length });
  endEarly(response, body);
}

/** Whether an answer can still be begun: the client is there and has none. */
export function isWritable(response: ServerResponse): boolean {
  return !response.headersSent && !response.destroyed;
}
