import type { IHeaders, KafkaMessage, Message } from 'kafkajs';
import { functionKey, type FunctionKey } from '../../model/execution-spec.ts';
import type { InvocationRecord } from '../../model/invocation.ts';
import type { InvocationHead } from '../invocation-log.ts';
import { headOf, parseHead } from '../record-head.ts';

/**
 * How an invocation lies in a topic: the key is its function, the value its payload as the caller sent it, and headers hold the rest, so that
 * Kafka's own tools show an operator what is in a topic.
 *
 * Header `v` is the format's version. Members that are added to the head need none: an older release ignores what it does not know. A release
 * that cannot be read by the one before it gets a greater `v`; the older one then leaves its records alone (see {@link ReadRecord}).
 */
const FORMAT_VERSION = 1;

const HEADER = { version: 'v', head: 'head', delay: 'delay', passed: 'passed', spilled: 'spilled', reason: 'reason', source: 'source' } as const;

/** Of a record that is durable, and nobody has told where. Below every offset, as Kafka says it. */
export const OFFSET_UNKNOWN = -1;

/** What a record has been through, besides what its head says. */
export interface RecordMarks {
  /** It was handed from topic to topic, and an earlier owner may have given it out. */
  readonly passed?: boolean;
  /** It was moved to the overflow topic already: it stays there until it is settled. */
  readonly spilled?: boolean;
  /** In a delay topic. */
  readonly delay?: RecordDelay;
}

export interface RecordDelay {
  readonly notBeforeMs: number;
  readonly leaveMs: number;
}

/** A message for a topic, its partition still to be chosen. */
export interface EncodedRecord {
  readonly key: FunctionKey;
  readonly value: Buffer;
  readonly headers: IHeaders;
  /** About what it takes in a request. */
  readonly bytes: number;
}

export function encodeRecord(record: InvocationRecord, marks: RecordMarks = {}): EncodedRecord {
  return encodeHead(headOf(record), record.payload, marks);
}

/** Per record in a batch, and per header: lengths, deltas. Rather too much: it only bounds requests. */
const FRAMING_BYTES = 96;

export function encodeHead(head: InvocationHead, payload: Buffer, marks: RecordMarks = {}): EncodedRecord {
  const key = functionKey(head.account, head.functionName);
  const text = JSON.stringify(head);
  const headers: IHeaders = { [HEADER.version]: String(FORMAT_VERSION), [HEADER.head]: text };
  if (marks.passed === true) headers[HEADER.passed] = '1';
  if (marks.spilled === true) headers[HEADER.spilled] = '1';
  if (marks.delay !== undefined) headers[HEADER.delay] = JSON.stringify(marks.delay);
  return { key, value: payload, headers, bytes: payload.length + Buffer.byteLength(text) + key.length + FRAMING_BYTES };
}

/** An unreadable message as it goes to the dead topic: as it was, with the reason and where it came from. */
export function encodeDead(message: Pick<KafkaMessage, 'key' | 'value' | 'headers'>, reason: string, source: string): EncodedRecord {
  const value = message.value ?? Buffer.alloc(0);
  const headers: IHeaders = { ...message.headers, [HEADER.reason]: reason, [HEADER.source]: source };
  return { key: message.key?.toString() ?? '', value, headers, bytes: value.length + FRAMING_BYTES };
}

export function toMessage(record: EncodedRecord, partition: number): Message {
  return { key: record.key, value: record.value, headers: record.headers, partition };
}

export type ReadRecord =
  | { readonly kind: 'record'; readonly key: FunctionKey; readonly head: InvocationHead; readonly payload: Buffer; readonly marks: RecordMarks }
  /** Of a release that is newer than this one, which left a note that we cannot read it. It is not ours to judge: it stays unsettled for an owner that can. */
  | { readonly kind: 'newer'; readonly version: number }
  /** No release of ours has written this. */
  | { readonly kind: 'poison'; readonly reason: string };

export function readRecord(message: Pick<KafkaMessage, 'key' | 'value' | 'headers'>): ReadRecord {
  const version = Number(headerText(message.headers, HEADER.version) ?? NaN);
  if (!Number.isInteger(version) || version < 1) return { kind: 'poison', reason: `header "${HEADER.version}" is missing or no version` };
  if (version > FORMAT_VERSION) return { kind: 'newer', version };
  const text = headerText(message.headers, HEADER.head);
  if (text === undefined) return { kind: 'poison', reason: `header "${HEADER.head}" is missing` };
  const head = parseHead(text);
  if (head === undefined) return { kind: 'poison', reason: `header "${HEADER.head}" is not the head of an invocation` };
  const key = functionKey(head.account, head.functionName);
  if (message.key?.toString() !== key) return { kind: 'poison', reason: `the key is not the function's, ${key}` };
  const delay = readDelay(message.headers);
  if (delay === 'unreadable') return { kind: 'poison', reason: `header "${HEADER.delay}" is unreadable` };
  return {
    kind: 'record',
    key,
    head,
    // A copy: the original is a view of the whole answer, which one small record would otherwise keep in memory.
    payload: Buffer.from(message.value ?? Buffer.alloc(0)),
    marks: {
      ...(message.headers?.[HEADER.passed] === undefined ? {} : { passed: true }),
      ...(message.headers?.[HEADER.spilled] === undefined ? {} : { spilled: true }),
      ...(delay === undefined ? {} : { delay }),
    },
  };
}

function headerText(headers: IHeaders | undefined, name: string): string | undefined {
  const value = headers?.[name];
  return Buffer.isBuffer(value) || typeof value === 'string' ? value.toString() : undefined;
}

function readDelay(headers: IHeaders | undefined): RecordDelay | undefined | 'unreadable' {
  const text = headerText(headers, HEADER.delay);
  if (text === undefined) return undefined;
  try {
    const { notBeforeMs, leaveMs } = JSON.parse(text) as Partial<RecordDelay>;
    return Number.isFinite(notBeforeMs) && Number.isFinite(leaveMs) ? { notBeforeMs: Number(notBeforeMs), leaveMs: Number(leaveMs) } : 'unreadable';
  } catch {
    return 'unreadable';
  }
}
