import { appendFile, mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { LogEvent } from '../function-logs.ts';
import { encodeLine, segmentFile } from './event-format.ts';
import { groupFolder, NAME_FILE } from './group-folder.ts';
import { listSegments } from './read-group.ts';

export interface SegmentLimits {
  /** A segment that has reached this is followed by another. */
  readonly segmentBytes: number;
  /** The oldest segments of a group go when all together have more. */
  readonly groupBytes: number;
  /** And when there are more than this: every start of Sluice begins one. */
  readonly groupSegments: number;
}

/** Events of one `append`, waiting to be written. */
export interface PendingEvents {
  readonly stream: string;
  readonly events: readonly LogEvent[];
}

/** Writes one group's segments. Calls must not overlap. */
export class GroupWriter {
  readonly #folder: string;
  readonly #group: string;
  readonly #limits: SegmentLimits;
  /** Sizes of the segments by number, oldest first; undefined until the folder was looked at. */
  #segments: Map<number, number> | undefined;
  #current = 0;

  constructor(logsDir: string, group: string, limits: SegmentLimits) {
    this.#folder = join(logsDir, groupFolder(group).folder);
    this.#group = group;
    this.#limits = limits;
  }

  async write(pending: readonly PendingEvents[], ingestedMs: number): Promise<void> {
    const segments = (this.#segments ??= await this.#open());
    const text = encode(pending, ingestedMs);
    await appendFile(join(this.#folder, segmentFile(this.#current)), text);
    const sizeBytes = (segments.get(this.#current) ?? 0) + Buffer.byteLength(text);
    segments.set(this.#current, sizeBytes);
    if (sizeBytes >= this.#limits.segmentBytes) this.#current++;
    await this.#trim(segments);
  }

  /** A new segment after the ones that are there: the last of them may end in the middle of a line, where a crash cut it. */
  async #open(): Promise<Map<number, number>> {
    await mkdir(this.#folder, { recursive: true });
    if (groupFolder(this.#group).hashed) await writeFile(join(this.#folder, NAME_FILE), this.#group);
    const segments = new Map<number, number>();
    for (const segment of await listSegments(this.#folder)) segments.set(segment, (await stat(join(this.#folder, segmentFile(segment)))).size);
    this.#current = Math.max(0, ...segments.keys()) + 1;
    return segments;
  }

  async #trim(segments: Map<number, number>): Promise<void> {
    let bytes = [...segments.values()].reduce((sum, size) => sum + size, 0);
    for (const [segment, size] of [...segments]) {
      if (segment === this.#current || (bytes <= this.#limits.groupBytes && segments.size <= this.#limits.groupSegments)) return;
      await rm(join(this.#folder, segmentFile(segment)), { force: true });
      segments.delete(segment);
      bytes -= size;
    }
  }
}

/** In order of time: streams of one group arrive in any order between them. */
function encode(pending: readonly PendingEvents[], ingestedMs: number): string {
  const lines: { readonly timestampMs: number; readonly text: string }[] = [];
  for (const { stream, events } of pending) {
    const streamJson = JSON.stringify(stream);
    for (const event of events) lines.push({ timestampMs: event.timestampMs, text: encodeLine(event, ingestedMs, streamJson) });
  }
  lines.sort((a, b) => a.timestampMs - b.timestampMs);
  return lines.map(({ text }) => text).join('');
}
