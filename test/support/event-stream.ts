import { EventStreamCodec } from '@smithy/core/event-streams';
import type { InvokeComplete } from '../../gateway/invoke/event-framing.ts';

/** One event of a response stream, as it stands on the wire. */
export interface WireEvent {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

const codec = new EventStreamCodec(
  (bytes) => Buffer.from(bytes as Uint8Array).toString('utf8'),
  (text) => Buffer.from(text, 'utf8'),
);

/** All events in `bytes`, their checksums checked. Throws for what is no whole event. */
export function wireEvents(bytes: Buffer): WireEvent[] {
  const events: WireEvent[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at);
    const { headers, body } = codec.decode(bytes.subarray(at, at + length));
    events.push({ headers: Object.fromEntries(Object.entries(headers).map(([name, { value }]) => [name, String(value)])), body: Buffer.from(body) });
    at += length;
  }
  return events;
}

/** What a whole response stream says: its payload, and how it ended. Throws where it has no end or goes on after it. */
export function responseOf(bytes: Buffer): { readonly payload: Buffer; readonly complete: InvokeComplete } {
  const events = wireEvents(bytes);
  const last = events.pop();
  if (last?.headers[':event-type'] !== 'InvokeComplete') throw new Error(`The stream ends with ${last?.headers[':event-type'] ?? 'nothing'}.`);
  if (events.some(({ headers }) => headers[':event-type'] !== 'PayloadChunk')) throw new Error('Something but payload stands before the end.');
  return { payload: Buffer.concat(events.map(({ body }) => body)), complete: JSON.parse(last.body.toString()) as InvokeComplete };
}
