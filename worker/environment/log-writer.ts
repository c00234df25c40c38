import type { FunctionLogs, LogEvent } from '../../platform/function-logs/function-logs.ts';

/** `LogType=Tail` returns the last 4 KB of the log (Lambda API reference, "Invoke"). */
const TAIL_BYTES = 4 * 1024;
/** One event of CloudWatch Logs holds at most 256 KB (CloudWatch Logs quotas, "Event size"); a longer line is cut into several. */
const MAX_EVENT_BYTES = 256 * 1024;

const NEWLINE = 10;

/**
 * One environment's log stream: makes events of the bytes that its process prints, adds the platform's own lines, and keeps the tail of init, since
 * that is part of the invocation that a failed init belongs to, and of each invocation that asks for it.
 */
export class LogWriter {
  readonly #logs: Pick<FunctionLogs, 'append'>;
  readonly #group: string;
  readonly #stream: string;
  readonly #now: () => number;
  readonly #partial: { stdout: Buffer; stderr: Buffer } = { stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) };
  #tail: string[] | undefined = [];
  #tailBytes = 0;

  constructor(logs: Pick<FunctionLogs, 'append'>, group: string, stream: string, now: () => number) {
    this.#logs = logs;
    this.#group = group;
    this.#stream = stream;
    this.#now = now;
  }

  /** Begins an invocation, and what was kept before is forgotten; `tail`: keep its last 4 KiB. */
  begin(line: string, options: { readonly tail: boolean }): void {
    this.#tail = options.tail ? [] : undefined;
    this.#tailBytes = 0;
    this.lines([line]);
  }

  /** Lines of the platform's own. */
  lines(messages: readonly string[]): void {
    const timestampMs = this.#now();
    this.#write(messages.map((message) => ({ timestampMs, message })));
  }

  output(source: 'stdout' | 'stderr', chunk: Buffer): void {
    const timestampMs = this.#now();
    const events: LogEvent[] = [];
    let rest = this.#partial[source].length === 0 ? chunk : Buffer.concat([this.#partial[source], chunk]);
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      events.push({ timestampMs, message: message(rest.subarray(0, end)) });
      rest = rest.subarray(end + 1);
    }
    while (rest.length >= MAX_EVENT_BYTES) {
      events.push({ timestampMs, message: message(rest.subarray(0, MAX_EVENT_BYTES)) });
      rest = rest.subarray(MAX_EVENT_BYTES);
    }
    this.#partial[source] = rest;
    if (events.length > 0) this.#write(events);
  }

  /** Writes what stands without a final newline: nothing more comes, or what comes belongs to another invocation. */
  endPartialLines(): void {
    for (const source of ['stdout', 'stderr'] as const) {
      const rest = this.#partial[source];
      if (rest.length === 0) continue;
      this.#partial[source] = Buffer.alloc(0);
      this.#write([{ timestampMs: this.#now(), message: message(rest) }]);
    }
  }

  /** Ends the invocation, or init where none has begun; its tail if it was kept. */
  end(): Buffer | undefined {
    const tail = this.#tail;
    this.#tail = undefined;
    if (tail === undefined) return undefined;
    const whole = Buffer.from(tail.join(''));
    return whole.length <= TAIL_BYTES ? whole : whole.subarray(whole.length - TAIL_BYTES);
  }

  #write(events: readonly LogEvent[]): void {
    this.#logs.append(this.#group, this.#stream, events);
    if (this.#tail !== undefined) for (const event of events) this.#keep(event.message);
  }

  #keep(text: string): void {
    const tail = this.#tail as string[];
    tail.push(`${text}\n`);
    this.#tailBytes += text.length + 1;
    while (tail.length > 1 && this.#tailBytes - (tail[0] as string).length >= TAIL_BYTES) {
      this.#tailBytes -= (tail.shift() as string).length;
    }
  }
}

/** Runtimes write a record of several lines as one, with carriage returns for its inner line ends. */
function message(line: Buffer): string {
  const end = line.length > 0 && line[line.length - 1] === 13 ? line.length - 1 : line.length;
  const text = line.toString('utf8', 0, end);
  return text.includes('\r') ? text.replaceAll('\r', '\n') : text;
}
