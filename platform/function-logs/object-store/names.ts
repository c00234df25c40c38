import { orderedName, orderedPrefix } from '../../object-store/ordered-names.ts';
import { InvalidCursorError } from '../function-logs.ts';

/**
 * Where things lie in the bucket of the logs.
 *
 * Terms: a *group* has a *head*, which says that it exists and which *generation* of it: one that is deleted and begins anew has another.
 * A generation's events lie in *segments* with consecutive numbers, the first of which is the generation's own. An event's id is its
 * segment's number and its place in it, so ids grow with the order of events and are cursors.
 */
export const HEADS = 'groups/';
export const SEGMENTS = 'segments/';
export const STREAMS = 'streams/';
export const ODD_SEGMENTS = 'odd/';

/** Two names fit one key. */
const NAME_CHARACTERS = 400;
/** Milliseconds since the epoch until the year 2286: a generation's number is the time of its beginning. */
const NUMBER_DIGITS = 13;
const INDEX_DIGITS = 6;
const ID = new RegExp(`^\\d{${NUMBER_DIGITS + INDEX_DIGITS}}$`);

/** Beyond the place of every event. */
const LAST_INDEX = 10 ** INDEX_DIGITS - 1;
export const MAX_SEGMENT_EVENTS = LAST_INDEX;

export interface Generation {
  readonly group: string;
  readonly number: number;
}

export function headKey(group: string): string {
  return HEADS + orderedName(group, NAME_CHARACTERS).name;
}

export function headsPrefix(groupPrefix: string): string {
  return HEADS + orderedPrefix(groupPrefix, NAME_CHARACTERS);
}

/** With what the keys of all generations of a group begin, in one of the places. */
export function groupPrefix(place: string, group: string): string {
  return `${place}${orderedName(group, NAME_CHARACTERS).name}/`;
}

export function generationPrefix(place: string, { group, number }: Generation): string {
  return `${groupPrefix(place, group)}${digits(number)}/`;
}

/** Which generation a key of {@link groupPrefix} belongs to. */
export function generationOfKey(place: string, group: string, key: string): number {
  const start = groupPrefix(place, group).length;
  return Number(key.slice(start, start + NUMBER_DIGITS));
}

export function segmentKey(generation: Generation, segment: number, place: typeof SEGMENTS | typeof ODD_SEGMENTS = SEGMENTS): string {
  return generationPrefix(place, generation) + digits(segment);
}

/** The number of a segment from its key. */
export function segmentOfKey(key: string): number {
  return Number(key.slice(-NUMBER_DIGITS));
}

export function streamKey(generation: Generation, stream: string): string {
  return generationPrefix(STREAMS, generation) + orderedName(stream, NAME_CHARACTERS).name;
}

export function streamsPrefix(generation: Generation, streamPrefix: string): string {
  return generationPrefix(STREAMS, generation) + orderedPrefix(streamPrefix, NAME_CHARACTERS);
}

export interface Position {
  readonly segment: number;
  readonly index: number;
}

export function encodeId({ segment, index }: Position): string {
  return digits(segment) + String(index).padStart(INDEX_DIGITS, '0');
}

/** A cursor between segments: behind all events of one, or before all of them. */
export function edgeOf(segment: number, edge: 'end' | 'beginning'): string {
  return edge === 'end' ? encodeId({ segment, index: LAST_INDEX }) : encodeId({ segment, index: 0 });
}

/** Throws {@link InvalidCursorError}. */
export function decodeId(id: string): Position {
  if (!ID.test(id)) throw new InvalidCursorError(`${id.slice(0, 64)} is not a cursor of this log; give the one that the page before came with, or an event's id.`);
  return { segment: Number(id.slice(0, NUMBER_DIGITS)), index: Number(id.slice(NUMBER_DIGITS)) };
}

function digits(number: number): string {
  return String(number).padStart(NUMBER_DIGITS, '0');
}
