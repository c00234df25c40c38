import type { InvocationRecord, PayloadClaim } from '../model/invocation.ts';
import type { InvocationHead } from './invocation-log.ts';

/** A record without its payload. Written out member by member: it stands on the hot path of every invocation. */
export function headOf(record: InvocationRecord): InvocationHead {
  const head: { -readonly [Member in keyof InvocationHead]: InvocationHead[Member] } = {
    v: 1,
    id: record.id,
    kind: record.kind,
    account: record.account,
    functionName: record.functionName,
    functionUid: record.functionUid,
    version: record.version,
    invokedArn: record.invokedArn,
    acceptedAtMs: record.acceptedAtMs,
    expiresAtMs: record.expiresAtMs,
    attempt: record.attempt,
    throttles: record.throttles,
    traceId: record.traceId,
    logTail: record.logTail,
    payloadBytes: record.claim?.bytes ?? record.payload.length,
  };
  if (record.maxRetries !== undefined) head.maxRetries = record.maxRetries;
  if (record.clientContext !== undefined) head.clientContext = record.clientContext;
  if (record.responseStream === true) head.responseStream = true;
  if (record.replyTo !== undefined) head.replyTo = record.replyTo;
  if (record.claim !== undefined) head.claim = record.claim;
  return head;
}

export function recordOf(head: InvocationHead, payload: Buffer): InvocationRecord {
  const { payloadBytes: _, ...rest } = head;
  return { ...rest, payload };
}

/** The members that every release has written, and of which type. */
const REQUIRED: Readonly<Record<Exclude<keyof InvocationHead, 'maxRetries' | 'clientContext' | 'responseStream' | 'replyTo' | 'claim' | 'v'>, 'string' | 'number' | 'boolean'>> = {
  id: 'string',
  kind: 'string',
  account: 'string',
  functionName: 'string',
  functionUid: 'string',
  version: 'string',
  invokedArn: 'string',
  acceptedAtMs: 'number',
  expiresAtMs: 'number',
  attempt: 'number',
  throttles: 'number',
  traceId: 'string',
  logTail: 'boolean',
  payloadBytes: 'number',
};

/** Reads a head that this or a neighbouring release has stored; members that it does not know are dropped. Undefined: unreadable. */
export function parseHead(json: string): InvocationHead | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch {
    return undefined;
  }
  if (typeof parsed !== 'object' || parsed === null) return undefined;
  const members = parsed as Record<string, unknown>;
  const head: Record<string, unknown> = { v: 1 };
  for (const [name, type] of Object.entries(REQUIRED)) {
    if (typeof members[name] !== type) return undefined;
    head[name] = members[name];
  }
  if (head.kind !== 'sync' && head.kind !== 'async') return undefined;
  if (typeof members.maxRetries === 'number') head.maxRetries = members.maxRetries;
  if (typeof members.clientContext === 'string') head.clientContext = members.clientContext;
  if (members.responseStream === true) head.responseStream = true;
  if (typeof members.replyTo === 'string') head.replyTo = members.replyTo;
  if (members.claim !== undefined) {
    const claim = parseClaim(members.claim);
    if (claim === undefined) return undefined;
    head.claim = claim;
  }
  return head as unknown as InvocationHead;
}

function parseClaim(value: unknown): PayloadClaim | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { kind, key, bytes } = value as Record<string, unknown>;
  if (typeof bytes !== 'number') return undefined;
  if (kind === 'gateway') return { kind, bytes };
  return kind === 'object' && typeof key === 'string' ? { kind, key, bytes } : undefined;
}
