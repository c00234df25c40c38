import { crc32 } from 'node:zlib';

/**
 * Which of one partition's deliveries are settled, when they are settled in any order.
 *
 * Two things are committed: the *watermark*, the offset below which everything is settled, and *metadata*, a short text that
 * says what is settled above it, so that one slow record does not make a restart repeat its neighbours. The watermark alone is
 * binding. The metadata is advice: whatever is wrong with it, the answer is to replay from the watermark, never to skip.
 *
 * Only what is not settled is remembered, so a window's memory follows the deliveries in flight, not the distance to the watermark.
 */
export class AcknowledgementWindow {
  /** Delivered and not settled. Deliveries ascend and a Set keeps the order of insertion, so its first element is the lowest. */
  readonly #unsettled = new Set<number>();
  /** Settled and not yet reached: by an earlier owner, or {@link settleAhead}; ascending, apart, none of them ending below `#next`. */
  #ahead: OffsetRun[];
  #next: number;

  /** `watermark` and `restored` as committed; see {@link decodeSettled}. */
  constructor(watermark: number, restored: readonly OffsetRun[] = []) {
    this.#next = watermark;
    this.#ahead = restored.filter((run) => run.end > watermark);
  }

  /** The lowest offset that still has to be delivered to whoever comes next: everything below it is settled. */
  get watermark(): number {
    for (const lowest of this.#unsettled) return lowest;
    return this.#next;
  }

  /** One above the highest offset delivered. */
  get next(): number {
    return this.#next;
  }

  get unsettledCount(): number {
    return this.#unsettled.size;
  }

  /**
   * Takes the next record in. False: it is settled already, by an earlier owner or ahead, and is to be passed over. Offsets ascend and may leave
   * gaps; throws RangeError for one that does not ascend.
   */
  deliver(offset: number): boolean {
    if (!Number.isSafeInteger(offset) || offset < this.#next) {
      throw new RangeError(`Offset ${offset} was delivered after ${this.#next - 1}: the offsets of a partition ascend.`);
    }
    this.#next = offset + 1;
    let run = this.#ahead[0];
    while (run !== undefined && run.end <= offset) {
      this.#ahead.shift();
      run = this.#ahead[0];
    }
    if (run !== undefined && run.start <= offset) return false;
    this.#unsettled.add(offset);
    return true;
  }

  /** True the first time for an offset that was delivered; otherwise nothing happens. */
  settle(offset: number): boolean {
    return this.#unsettled.delete(offset);
  }

  /**
   * Settles a record that is not delivered yet, and never will be then: one whose offset is known before it is met, to whoever wrote it. True the first time;
   * false also where so many lie apart already that no more are remembered, and the record comes after all.
   */
  settleAhead(offset: number): boolean {
    if (!Number.isSafeInteger(offset) || offset < this.#next) return false;
    let at = this.#ahead.length;
    while (at > 0 && (this.#ahead[at - 1]?.start ?? 0) > offset) at--;
    const before = this.#ahead[at - 1];
    const after = this.#ahead[at];
    if (before !== undefined && offset < before.end) return false;
    const joinsBefore = before?.end === offset;
    const joinsAfter = after?.start === offset + 1;
    if (!joinsBefore && !joinsAfter && this.#ahead.length >= RUNS_AHEAD_MAX) return false;
    const run = { start: joinsBefore ? before.start : offset, end: joinsAfter ? after.end : offset + 1 };
    this.#ahead.splice(joinsBefore ? at - 1 : at, Number(joinsBefore) + Number(joinsAfter), run);
    return true;
  }

  /** What is settled above the watermark, ascending. Offsets that were never given to `deliver` between two that were count as settled. */
  *settledRuns(): Generator<OffsetRun> {
    let start: number | undefined;
    for (const offset of this.#unsettled) {
      if (start !== undefined && start < offset) yield { start, end: offset };
      start = offset + 1;
    }
    start ??= this.#next;
    let end = this.#next;
    for (const run of this.#ahead) {
      if (run.start > end) {
        if (start < end) yield { start, end };
        start = run.start;
      }
      end = run.end;
    }
    if (start < end) yield { start, end };
  }

  /**
   * The metadata to commit with {@link watermark}: ASCII, at most `maxBytes` long, empty when there is nothing to say. Where not
   * all fits, the lowest runs are in it. `scope` names the log and partition: metadata decodes only under the same.
   */
  encode(scope: string, maxBytes: number = METADATA_BYTES_MAX): string {
    const watermark = this.watermark;
    const bytes: number[] = [];
    writeVarint(bytes, watermark);
    const empty = bytes.length;
    let position = watermark;
    for (const run of this.settledRuns()) {
      const before = bytes.length;
      writeVarint(bytes, run.start - position);
      writeVarint(bytes, run.end - run.start);
      if (textLength(bytes.length) > maxBytes) {
        bytes.length = before;
        break;
      }
      position = run.end;
    }
    if (bytes.length === empty) return '';
    const body = Buffer.from(bytes);
    return FORMAT + checksum(scope, body) + body.toString('base64url');
  }

  /** The share of `maxBytes` that all of the metadata would take; above 1 where it does not fit. */
  fill(maxBytes: number = METADATA_BYTES_MAX): number {
    let position = this.watermark;
    const base = varintLength(position);
    let length = base;
    for (const run of this.settledRuns()) {
      length += varintLength(run.start - position) + varintLength(run.end - run.start);
      position = run.end;
    }
    return length === base ? 0 : textLength(length) / maxBytes;
  }
}

/** Offsets from `start` up to, not including, `end`. */
export interface OffsetRun {
  readonly start: number;
  readonly end: number;
}

/** Far more runs than a note has room for; what is settled ahead beyond them comes again. */
const RUNS_AHEAD_MAX = 10_000;

/** Kafka's `offset.metadata.max.bytes` as it is set unless someone changes it. */
export const METADATA_BYTES_MAX = 4_096;

/** From this {@link AcknowledgementWindow.fill} on an owner makes room: what does not fit would be delivered twice after a crash. */
export const METADATA_FILL_LIMIT = 0.75;

export interface DecodeContext {
  readonly scope: string;
  /** The watermark that the metadata was committed with. */
  readonly watermark: number;
  /** One above the partition's last record: what claims more speaks of another log, and records to come would be skipped. */
  readonly end: number;
}

export interface DecodedMetadata {
  /** What is settled above the watermark; empty where the metadata cannot be trusted. */
  readonly settled: readonly OffsetRun[];
  /** Set where the metadata was not used. `foreign`: not ours or damaged; `stale`: ours, but of another state of the log. */
  readonly ignored?: 'foreign' | 'stale';
}

/** Reads what {@link AcknowledgementWindow.encode} wrote. Never throws; when in doubt nothing is settled. */
export function decodeSettled(text: string, context: DecodeContext): DecodedMetadata {
  if (text === '') return { settled: [] };
  if (text.length > METADATA_BYTES_MAX || !text.startsWith(FORMAT)) return { settled: [], ignored: 'foreign' };
  const body = Buffer.from(text.slice(HEADER_LENGTH), 'base64url');
  if (text.slice(FORMAT.length, HEADER_LENGTH) !== checksum(context.scope, body)) return { settled: [], ignored: 'foreign' };
  const numbers = readVarints(body);
  if (numbers?.[0] === undefined || numbers.length % 2 === 0) return { settled: [], ignored: 'foreign' };
  if (numbers[0] !== context.watermark) return { settled: [], ignored: 'stale' };
  const settled: OffsetRun[] = [];
  let position = context.watermark;
  for (let i = 1; i < numbers.length; i += 2) {
    const start = position + (numbers[i] ?? 0);
    const end = start + (numbers[i + 1] ?? 0);
    if (end <= start) return { settled: [], ignored: 'foreign' };
    if (end > context.end) return { settled: [], ignored: 'stale' };
    settled.push({ start, end });
    position = end;
  }
  return { settled };
}

/** First character of the text. Another format gets another one, and an older release replays instead of misreading it. */
const FORMAT = '1';
const CHECKSUM_LENGTH = 8;
const HEADER_LENGTH = FORMAT.length + CHECKSUM_LENGTH;

function checksum(scope: string, body: Buffer): string {
  return crc32(body, crc32(`${scope}\0`)).toString(16).padStart(CHECKSUM_LENGTH, '0');
}

function textLength(bodyBytes: number): number {
  return HEADER_LENGTH + Math.ceil((bodyBytes * 4) / 3);
}

/** LEB128, by division: offsets go beyond 32 bits. */
function writeVarint(bytes: number[], value: number): void {
  let rest = value;
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) + 0x80);
    rest = Math.floor(rest / 0x80);
  }
  bytes.push(rest);
}

function varintLength(value: number): number {
  let length = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) length++;
  return length;
}

/** Undefined where a number is cut short or too large. */
function readVarints(bytes: Buffer): readonly number[] | undefined {
  const numbers: number[] = [];
  let value = 0;
  let weight = 1;
  for (const byte of bytes) {
    value += (byte % 0x80) * weight;
    if (!Number.isSafeInteger(value)) return undefined;
    if (byte >= 0x80) {
      weight *= 0x80;
    } else {
      numbers.push(value);
      value = 0;
      weight = 1;
    }
  }
  return weight === 1 ? numbers : undefined;
}
