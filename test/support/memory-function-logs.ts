import { InvalidCursorError, NoSuchLogGroupError, type FunctionLogs, type LogEvent, type LogPage, type LogQuery, type LogStreamSummary, type StoredLogEvent } from '../../platform/function-logs/function-logs.ts';

/** Function logs in memory, for tests of those who read them. Ids grow in the order of arrival. */
export class MemoryFunctionLogs implements FunctionLogs {
  readonly #groups = new Map<string, StoredLogEvent[]>();
  #lastId = 0;

  append(group: string, stream: string, events: readonly LogEvent[]): void {
    const stored = this.#groups.get(group) ?? [];
    this.#groups.set(group, stored);
    for (const event of events) stored.push({ ...event, stream, ingestedMs: event.timestampMs, id: String((this.#lastId += 1)).padStart(8, '0') });
  }

  async filter(query: LogQuery): Promise<LogPage> {
    const { cursor, contains = '', streamPrefix = '', streams, startMs = 0, endMs = Infinity, limit } = query;
    const all = await this.#events(query.group);
    const direction = query.order === 'newestFirst' ? -1 : 1;
    if (cursor !== undefined && !/^\d{8}$/.test(cursor)) throw new InvalidCursorError(`${cursor} is no cursor.`);
    const sorted = [...all].sort((left, right) => direction * (left.timestampMs - right.timestampMs || left.id.localeCompare(right.id)));
    const start = cursor === undefined ? 0 : sorted.findIndex(({ id }) => id === cursor) + 1;
    const matching = sorted.slice(start).filter((event) => event.message.includes(contains) && event.stream.startsWith(streamPrefix) && (streams?.includes(event.stream) ?? true) && event.timestampMs >= startMs && event.timestampMs < endMs);
    const events = matching.slice(0, limit);
    const last = events.at(-1);
    return matching.length > limit && last !== undefined ? { events, cursor: last.id } : { events };
  }

  listGroups(prefix: string): Promise<readonly string[]> {
    return Promise.resolve([...this.#groups.keys()].filter((group) => group.startsWith(prefix)).sort());
  }

  async listStreams(group: string, prefix: string): Promise<readonly LogStreamSummary[]> {
    const streams = new Map<string, number[]>();
    for (const { stream, timestampMs } of await this.#events(group)) streams.set(stream, [...(streams.get(stream) ?? []), timestampMs]);
    return [...streams]
      .filter(([name]) => name.startsWith(prefix))
      .sort(([left], [right]) => (left < right ? -1 : 1))
      .map(([name, times]) => ({ name, firstEventMs: Math.min(...times), lastEventMs: Math.max(...times) }));
  }

  deleteGroup(group: string): Promise<void> {
    this.#groups.delete(group);
    return Promise.resolve();
  }

  flush(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #events(group: string): Promise<readonly StoredLogEvent[]> {
    const events = this.#groups.get(group);
    return events === undefined ? Promise.reject(new NoSuchLogGroupError(`There is no log group ${group}.`)) : Promise.resolve(events);
  }
}
