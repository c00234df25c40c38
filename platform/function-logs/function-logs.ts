/**
 * Port: what functions print, by log group and log stream as in CloudWatch Logs.
 *
 * All but `append` and `close` reject, where a driver's store cannot be used now, with what that store rejects with.
 */
export interface FunctionLogs {
  /**
   * Takes events of one stream, oldest first. Never blocks and never throws: events are written in the background, and what does not
   * fit the bound of the buffer is dropped and counted in a line that says so.
   */
  append(group: string, stream: string, events: readonly LogEvent[]): void;
  /** Events of a group in order of time. Rejects with {@link NoSuchLogGroupError} and {@link InvalidCursorError}. */
  filter(query: LogQuery): Promise<LogPage>;
  /** Groups whose names begin with `prefix`, by name. */
  listGroups(prefix: string): Promise<readonly string[]>;
  /** Streams of a group whose names begin with `prefix`, by name. Rejects with {@link NoSuchLogGroupError}. */
  listStreams(group: string, prefix: string): Promise<readonly LogStreamSummary[]>;
  /** Removes a group with its events; one that is not there is no error. */
  deleteGroup(group: string): Promise<void>;
  /** Resolves when all events taken so far can be read. Where it rejects they still wait, and are written as soon as that is possible. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

export interface LogEvent {
  readonly timestampMs: number;
  /** One line or record, without its final newline. */
  readonly message: string;
}

export interface LogQuery {
  readonly group: string;
  /** Inclusive. */
  readonly startMs?: number;
  /** Exclusive. */
  readonly endMs?: number;
  /** Only events that contain this text. */
  readonly contains?: string;
  readonly streamPrefix?: string;
  /** Only events of the streams with exactly these names (at most 100). */
  readonly streams?: readonly string[];
  /** `newestFirst` turns the order of the events, and of the pages. `oldestFirst` by default. */
  readonly order?: 'oldestFirst' | 'newestFirst';
  /** 1 to 10,000. */
  readonly limit: number;
  /** From the page before; or the id of an event, to go on after it: so one follows a log. */
  readonly cursor?: string;
}

export interface LogPage {
  readonly events: readonly StoredLogEvent[];
  /** There exactly if there may be more. */
  readonly cursor?: string;
}

export interface LogStreamSummary {
  readonly name: string;
  readonly firstEventMs: number;
  readonly lastEventMs: number;
}

export interface StoredLogEvent extends LogEvent {
  readonly stream: string;
  /** Unique within the group, growing with the order of events. */
  readonly id: string;
  readonly ingestedMs: number;
}

/** A cursor that no page and no event has given. */
export class InvalidCursorError extends Error {
  override readonly name = 'InvalidCursorError';
}

export class NoSuchLogGroupError extends Error {
  override readonly name = 'NoSuchLogGroupError';
}
