import type { LogEvent, StoredLogEvent } from '../function-logs.ts';
import { encodeId, MAX_SEGMENT_EVENTS } from './names.ts';

/**
 * A segment is an object of lines: a head, then one JSON array for each event, in order of time: its time, the place of its stream in the head's
 * list, its message.
 */
export interface SegmentHead {
  readonly v: 1;
  /** Differs for every segment that was ever made: by it a writer knows its own again. */
  readonly id: string;
  readonly ingestedMs: number;
  readonly streams: readonly string[];
}

/** A segment on its way to the store. */
export interface Segment {
  readonly id: string;
  readonly body: Buffer;
  /** Times of its oldest and newest event. */
  readonly fromMs: number;
  readonly toMs: number;
  /** The same for each of its streams. */
  readonly streams: ReadonlyMap<string, { readonly firstEventMs: number; readonly lastEventMs: number }>;
  readonly events: number;
}

/** Events of one `append`, waiting to be written. */
export interface PendingEvents {
  readonly stream: string;
  readonly events: readonly LogEvent[];
}

interface OneEvent extends LogEvent {
  readonly stream: string;
}

/** Makes segments of about `maxBytes` of what waits; an event alone may be longer. */
export function makeSegments(pending: readonly PendingEvents[], options: { readonly ingestedMs: number; readonly maxBytes: number; readonly newId: () => string }): Segment[] {
  const events: OneEvent[] = pending.flatMap((each) => each.events.map(({ timestampMs, message }) => ({ stream: each.stream, timestampMs, message })));
  events.sort((left, right) => left.timestampMs - right.timestampMs);
  const segments: Segment[] = [];
  for (let start = 0; start < events.length; ) {
    const streams = new Map<string, { readonly place: number; readonly firstEventMs: number; lastEventMs: number }>();
    const lines: string[] = [];
    const first = events[start]?.timestampMs ?? 0;
    let last = first;
    for (let bytes = 0; start < events.length && (lines.length === 0 || (bytes < options.maxBytes && lines.length < MAX_SEGMENT_EVENTS)); start += 1) {
      const { stream, timestampMs, message } = events[start] as OneEvent;
      let known = streams.get(stream);
      if (known === undefined) streams.set(stream, (known = { place: streams.size, firstEventMs: timestampMs, lastEventMs: timestampMs }));
      known.lastEventMs = last = timestampMs;
      const line = `[${timestampMs},${known.place},${JSON.stringify(message)}]\n`;
      bytes += line.length;
      lines.push(line);
    }
    const id = options.newId();
    const head: SegmentHead = { v: 1, id, ingestedMs: options.ingestedMs, streams: [...streams.keys()] };
    segments.push({ id, body: Buffer.from(`${JSON.stringify(head)}\n${lines.join('')}`), fromMs: first, toMs: last, streams, events: lines.length });
  }
  return segments;
}

export function readSegmentHead(text: string): SegmentHead {
  return JSON.parse(text.slice(0, text.indexOf('\n'))) as SegmentHead;
}

/** The events of a segment, in its order. */
export function readSegment(text: string, segment: number): StoredLogEvent[] {
  const { streams, ingestedMs } = readSegmentHead(text);
  const events: StoredLogEvent[] = [];
  for (let start = text.indexOf('\n') + 1; start < text.length; ) {
    const end = text.indexOf('\n', start);
    const [timestampMs, place, message] = JSON.parse(text.slice(start, end)) as [number, number, string];
    events.push({ timestampMs, message, stream: streams[place] ?? '', ingestedMs, id: encodeId({ segment, index: events.length }) });
    start = end + 1;
  }
  return events;
}
