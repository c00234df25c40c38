import type { IncomingHttpHeaders } from 'node:http';
import type { InvokeOperation } from '../http/invoke-route.ts';
import { MAX_CLIENT_CONTEXT_BYTES } from './limits.ts';

export type InvocationType = 'RequestResponse' | 'Event' | 'DryRun';

export interface InvokeParameters {
  readonly type: InvocationType;
  readonly logTail: boolean;
  /** Base64 JSON. */
  readonly clientContext: string | undefined;
  readonly traceId: string;
}

/** What is wrong with an Invoke request's headers, in the words of the service. */
export type ParameterFault =
  | { readonly kind: 'enum'; readonly member: 'invocationType' | 'logType'; readonly value: string; readonly allowed: readonly string[] }
  | { readonly kind: 'clientContext'; readonly message: string };

const INVOCATION_TYPES: readonly InvocationType[] = ['RequestResponse', 'Event', 'DryRun'];
/** Lambda API reference, "InvokeWithResponseStream": there is no stream without somebody who takes it. */
const STREAMING_INVOCATION_TYPES: readonly InvocationType[] = ['RequestResponse', 'DryRun'];
const LOG_TYPES: readonly string[] = ['None', 'Tail'];

/** Reads the headers of an invocation (Lambda API reference, request parameters of each operation; InvokeAsync has none). */
export function readParameters(headers: IncomingHttpHeaders, operation: InvokeOperation, newTraceId: () => string): InvokeParameters | { readonly fault: ParameterFault } {
  if (operation === 'InvokeAsync') return { type: 'Event', logTail: false, clientContext: undefined, traceId: single(headers['x-amzn-trace-id']) ?? newTraceId() };
  const types = operation === 'InvokeWithResponseStream' ? STREAMING_INVOCATION_TYPES : INVOCATION_TYPES;
  const typeText = single(headers['x-amz-invocation-type']);
  const type = typeText === undefined ? 'RequestResponse' : types.find((candidate) => candidate === typeText);
  if (type === undefined) return { fault: { kind: 'enum', member: 'invocationType', value: typeText ?? '', allowed: types } };
  const logType = single(headers['x-amz-log-type']);
  if (logType !== undefined && !LOG_TYPES.includes(logType)) return { fault: { kind: 'enum', member: 'logType', value: logType, allowed: LOG_TYPES } };
  const clientContext = single(headers['x-amz-client-context']);
  if (clientContext !== undefined) {
    const fault = clientContextFault(clientContext);
    if (fault !== undefined) return { fault };
  }
  return { type, logTail: logType === 'Tail', clientContext, traceId: single(headers['x-amzn-trace-id']) ?? newTraceId() };
}

function clientContextFault(value: string): ParameterFault | undefined {
  if (value.length > MAX_CLIENT_CONTEXT_BYTES) {
    return { kind: 'clientContext', message: `Client context must be no more than ${MAX_CLIENT_CONTEXT_BYTES} bytes when base64-encoded.` };
  }
  try {
    JSON.parse(Buffer.from(value, 'base64').toString('utf8'));
    return undefined;
  } catch {
    return { kind: 'clientContext', message: 'Client context must be a valid Base64-encoded JSON object.' };
  }
}

function single(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === 'string' ? value : value?.[0];
}
