import type { LogEvent } from '../../function-logs/function-logs.ts';

/** One event of CloudWatch Logs holds at most 256 KB (CloudWatch Logs quotas, "Event size"); a longer line is cut into several. */
const MAX_LINE_BYTES = 256 * 1024;
const NEWLINE = 10;

export interface ContainerLine extends LogEvent {
  /** When the line was printed, as Kubernetes wrote it, to the nanosecond: later lines have greater ones. */
  readonly timestamp: string;
}

/** The lines of a container's log, each with the time that Kubernetes puts before it (kubelet, "timestamps"). What does not begin with a time belongs to the line before it. */
export async function* containerLines(log: AsyncIterable<Uint8Array>): AsyncGenerator<ContainerLine> {
  let rest = Buffer.alloc(0);
  let timestamp = '';
  const line = (bytes: Buffer): ContainerLine | undefined => {
    const text = bytes.toString();
    const begin = /^(?<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*) /.exec(text)?.groups?.['at'];
    timestamp = begin ?? timestamp;
    const timestampMs = Date.parse(timestamp);
    return Number.isNaN(timestampMs) ? undefined : { timestamp, timestampMs, message: begin === undefined ? text : text.slice(begin.length + 1) };
  };
  for await (const chunk of log) {
    rest = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk]);
    for (let end = rest.indexOf(NEWLINE); end >= 0 || rest.length >= MAX_LINE_BYTES; end = rest.indexOf(NEWLINE)) {
      const cut = end >= 0 && end < MAX_LINE_BYTES ? end : MAX_LINE_BYTES;
      const one = line(rest.subarray(0, cut));
      rest = rest.subarray(cut === end ? cut + 1 : cut);
      if (one !== undefined) yield one;
    }
  }
  const last = rest.length === 0 ? undefined : line(rest);
  if (last !== undefined) yield last;
}
