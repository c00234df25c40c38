import { InvalidCursorError, type LogEvent, type StoredLogEvent } from '../function-logs.ts';

/**
 * A segment is a file of lines, each a JSON array: time of the event, time of its ingestion, stream, message. An event's id is
 * its position: eight digits for the segment, twelve for the byte at which its line begins; so ids sort as text, and an id is a cursor.
 */
const SEGMENT_DIGITS = 8;
const OFFSET_DIGITS = 12;
const ID = /^\d{20}$/;
const SEGMENT_FILE = /^(\d{8})\.log$/;

export interface Position {
  readonly segment: number;
  readonly offset: number;
}

export function segmentFile(segment: number): string {
  return `${String(segment).padStart(SEGMENT_DIGITS, '0')}.log`;
}

/** The number of a segment from its file's name; undefined for other files. */
export function segmentOf(file: string): number | undefined {
  const match = SEGMENT_FILE.exec(file);
  return match === null ? undefined : Number(match[1]);
}

export function encodeId(position: Position): string {
  return String(position.segment).padStart(SEGMENT_DIGITS, '0') + String(position.offset).padStart(OFFSET_DIGITS, '0');
}

/** Throws {@link InvalidCursorError}. */
export function decodeId(id: string): Position {
  if (!ID.test(id)) throw new InvalidCursorError(`${id.slice(0, 64)} is not a cursor of this log; give the one that the page before came with, or an event's id.`);
  return { segment: Number(id.slice(0, SEGMENT_DIGITS)), offset: Number(id.slice(SEGMENT_DIGITS)) };
}

/** `stream` is already JSON: it is the same for many events. */
export function encodeLine(event: LogEvent, ingestedMs: number, streamJson: string): string {
  return `[${event.timestampMs},${ingestedMs},${streamJson},${JSON.stringify(event.message)}]\n`;
}

/** undefined for a line that a crash cut short. */
export function decodeLine(line: string, position: Position): StoredLogEvent | undefined {
  try {
    const [timestampMs, ingestedMs, stream, message] = JSON.parse(line) as [number, number, string, string];
    return { timestampMs, ingestedMs, stream, message, id: encodeId(position) };
  } catch {
    return undefined;
  }
}
