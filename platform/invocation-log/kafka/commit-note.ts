import { decodeSettled, METADATA_BYTES_MAX, type AcknowledgementWindow, type DecodeContext, type DecodedMetadata } from '../acknowledgement-window.ts';

/**
 * The text beside a committed offset: the epoch of the assignment that committed it, and what is settled above the offset.
 *
 * The epoch is a fencing token kept where ownership itself is decided. A new owner reads the one that its predecessor left, and commits a
 * greater one before it is given anything; Kafka takes that commit only from a member of the group's present generation, so two owners
 * can never have taken the same one, and one who was passed over can never take one any more. Nothing else has to be compared: a partition whose committed
 * epoch is still one's own has had no other owner, through however many generations, member ids and connections. The time is in it, so that
 * epochs keep growing if the group's offsets are lost altogether (deleted, or expired while nobody consumed).
 */
export function nextEpoch(committed: readonly (number | undefined)[], nowMs: number): number {
  return Math.max(nowMs, ...committed.map((epoch) => (epoch ?? 0) + 1));
}

/** Reads back as `epoch` and what {@link AcknowledgementWindow.encode} has written; at most {@link METADATA_BYTES_MAX} long. */
export function encodeNote(epoch: number, window: AcknowledgementWindow, scope: string): string {
  const prefix = epochPrefix(epoch);
  return prefix + window.encode(scope, METADATA_BYTES_MAX - prefix.length);
}

/** A note that claims nothing but its epoch. */
export function epochPrefix(epoch: number): string {
  return `e${epoch.toString(36)};`;
}

/** What of the metadata's room a window would fill. */
export function noteFill(epoch: number, window: AcknowledgementWindow): number {
  return window.fill(METADATA_BYTES_MAX - epochPrefix(epoch).length);
}

export interface CommitNote extends DecodedMetadata {
  /** Undefined where the text is not ours. */
  readonly epoch: number | undefined;
}

const PREFIX = /^e([0-9a-z]{1,11});/;

/** Never throws; when in doubt nothing is settled. */
export function decodeNote(text: string, context: DecodeContext): CommitNote {
  if (text === '') return { epoch: undefined, settled: [] };
  const match = PREFIX.exec(text);
  const epoch = match?.[1] === undefined ? NaN : parseInt(match[1], 36);
  if (match === null || !Number.isSafeInteger(epoch)) return { epoch: undefined, settled: [], ignored: 'foreign' };
  return { epoch, ...decodeSettled(text.slice(match[0].length), context) };
}
