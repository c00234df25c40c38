import type { Clock, Timer } from '../../platform/clock.ts';
import type { FunctionLogs, LogEvent } from '../../platform/function-logs/function-logs.ts';
import type { WireLog } from '../../platform/protocol/wire/messages.ts';

/** Events wait this long for others to be sent with. */
const SEND_INTERVAL_MS = 100;
/** One request carries so much at most. */
export const SEND_BYTES_MAX = 1024 * 1024;
/** What may wait to be sent, in bytes of text: some seconds of what a controller takes. */
export const WAITING_BYTES_MAX = 16 * 1024 * 1024;
/** What an event costs beside its text. */
const EVENT_BYTES = 64;
const RETRY_MS = 500;
/** What no controller has taken for so long is nobody's: the one whose function it was is gone, and so is the environment. */
export const GIVE_UP_MS = 60_000;
/** How long a stop tries to get rid of what waits. */
const FLUSH_PATIENCE_MS = 5_000;

interface Waiting {
  readonly group: string;
  readonly stream: string;
  /** When the first of them was printed; on the clock. */
  readonly sinceMs: number;
  events: LogEvent[];
  dropped: number;
}

export type LogSink = Pick<FunctionLogs, 'append'>;

export interface SessionLogsOptions {
  /** Brings logs to a controller that takes them; resolves to those that none takes now. Never rejects. */
  readonly send: (logs: readonly WireLog[]) => Promise<readonly WireLog[]>;
  readonly clock: Clock;
}

/**
 * What functions print, on its way from a worker to a controller, which has it written. In the order in which it was printed; what does not fit the bound is dropped, and a
 * line in its place says how much.
 */
export class SessionLogs implements LogSink {
  readonly #options: SessionLogsOptions;
  /** By group and stream. */
  #waiting = new Map<string, Waiting>();
  #bytes = 0;
  #timer: Timer | undefined;
  #sending: Promise<void> | undefined;

  constructor(options: SessionLogsOptions) {
    this.#options = options;
  }

  append(group: string, stream: string, events: readonly LogEvent[]): void {
    const name = `${group}\n${stream}`;
    let log = this.#waiting.get(name);
    if (log === undefined) this.#waiting.set(name, (log = { group, stream, sinceMs: this.#options.clock.now(), events: [], dropped: 0 }));
    for (const event of events) {
      const bytes = sizeOf(event);
      if (this.#bytes + bytes > WAITING_BYTES_MAX) {
        log.dropped++;
        continue;
      }
      this.#bytes += bytes;
      log.events.push(event);
    }
    if (this.#bytes >= SEND_BYTES_MAX) this.#send();
    else this.#sendLater(SEND_INTERVAL_MS);
  }

  /** Resolves when nothing waits any more, or has waited too long. */
  async flush(): Promise<void> {
    const { clock } = this.#options;
    const endMs = clock.now() + FLUSH_PATIENCE_MS;
    while (this.#waiting.size > 0 && clock.now() < endMs) {
      this.#send();
      await this.#sending;
      if (this.#waiting.size > 0) await new Promise<void>((resolve) => void clock.at(clock.now() + SEND_INTERVAL_MS, resolve));
    }
    this.#timer?.cancel();
  }

  #sendLater(inMs: number): void {
    const { clock } = this.#options;
    this.#timer ??= clock.at(clock.now() + inMs, () => {
      this.#timer = undefined;
      this.#send();
    });
  }

  #send(): void {
    if (this.#sending !== undefined || this.#waiting.size === 0) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    const taken = this.#take();
    this.#sending = this.#options.send([...taken.keys()]).then((left) => {
      this.#sending = undefined;
      this.#putBack(taken, left);
      if (this.#waiting.size > 0) this.#sendLater(left.length > 0 ? RETRY_MS : 0);
    });
  }

  /** As much as one request carries, at least one event; with the time since when each waits. */
  #take(): ReadonlyMap<WireLog, number> {
    const { clock } = this.#options;
    const taken = new Map<WireLog, number>();
    let room = SEND_BYTES_MAX;
    for (const [name, log] of this.#waiting) {
      let count = 0;
      for (let event = log.events[count]; event !== undefined && room > 0; event = log.events[++count]) room -= sizeOf(event);
      const whole = count === log.events.length;
      const events = log.events.slice(0, count);
      if (whole && log.dropped > 0) events.push({ timestampMs: clock.now(), message: `[${log.dropped} lines were dropped here: they came faster than they could be written.]` });
      taken.set({ group: log.group, stream: log.stream, events }, log.sinceMs);
      if (!whole) {
        log.events = log.events.slice(count);
        break;
      }
      this.#waiting.delete(name);
    }
    return taken;
  }

  #putBack(taken: ReadonlyMap<WireLog, number>, left: readonly WireLog[]): void {
    const nowMs = this.#options.clock.now();
    const kept = new Set(left.filter((log) => nowMs - (taken.get(log) ?? nowMs) < GIVE_UP_MS));
    for (const log of taken.keys()) if (!kept.has(log)) this.#bytes -= log.events.reduce((sum, event) => sum + sizeOf(event), 0);
    this.#bytes = Math.max(0, this.#bytes);
    if (kept.size === 0) return;
    const later = this.#waiting;
    this.#waiting = new Map();
    for (const log of kept) this.#waiting.set(`${log.group}\n${log.stream}`, { group: log.group, stream: log.stream, sinceMs: taken.get(log) ?? nowMs, events: [...log.events], dropped: 0 });
    for (const [name, log] of later) {
      const earlier = this.#waiting.get(name);
      if (earlier === undefined) this.#waiting.set(name, log);
      else this.#waiting.set(name, { ...earlier, events: [...earlier.events, ...log.events], dropped: log.dropped });
    }
  }
}

function sizeOf({ message }: LogEvent): number {
  return message.length + EVENT_BYTES;
}
