/**
 * Port: what functions print, by log group and log stream as in CloudWatch Logs.
 */
export interface FunctionLogs {
  /**
   * Takes events of one stream, oldest first. Never blocks and never throws: events are written in the background, and what does not
   * fit the bound of the buffer is dropped and counted in a line that says so.
   */
  append(group: string, stream: string, events: readonly LogEvent[]): void;
  /** Events of a group in order of time. Rejects with {@link NoSuchLogGroupError}. */
  filter(query: LogQuery): Promise<LogPage>;
  /** Groups whose names begin with `prefix`, by name. */
  listGroups(prefix: string): Promise<readonly string[]>;
  deleteGroup(group: string): Promise<void>;
  /** Resolves when all events taken so far can be read. */
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
  /** 1 to 10,000. */
  readonly limit: number;
  /** From the page before. */
  readonly cursor?: string;
}

export interface LogPage {
  readonly events: readonly StoredLogEvent[];
  /** There exactly if there may be more. */
  readonly cursor?: string;
}

export interface StoredLogEvent extends LogEvent {
  readonly stream: string;
  /** Unique within the group, growing with the order of events. */
  readonly id: string;
  readonly ingestedMs: number;
}

export class NoSuchLogGroupError extends Error {
  override readonly name = 'NoSuchLogGroupError';
}
