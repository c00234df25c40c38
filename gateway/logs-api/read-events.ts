import type { FunctionLogs, LogQuery, StoredLogEvent } from '../../platform/function-logs/function-logs.ts';

/** CloudWatch Logs API reference: events of one answer, and their size together. */
export const MAX_EVENTS = 10_000;
const MAX_ANSWER_BYTES = 1024 * 1024;
/** CloudWatch Logs quotas, "PutLogEvents": what an event counts beside its text. */
const EVENT_OVERHEAD_BYTES = 26;

/** Events read at a time: an event may have 256 KiB, so the bound on an answer is looked at often. */
const STEP_EVENTS = 100;
/** Steps without a match after which an empty answer with a token goes out, so that no request searches for minutes. */
const MAX_STEPS = 500;

export interface EventSearch {
  readonly query: Omit<LogQuery, 'limit' | 'contains'>;
  /** All must be in an event. */
  readonly terms: readonly string[];
  /** 1 to {@link MAX_EVENTS}. */
  readonly limit: number;
}

/** Collects events until the limit, the size of an answer or the effort of a search is reached; `cursor` goes on from there. */
export async function readEvents(functionLogs: FunctionLogs, { query, terms, limit }: EventSearch): Promise<{ readonly events: readonly StoredLogEvent[]; readonly cursor: string | undefined }> {
  const events: StoredLogEvent[] = [];
  const [longest] = [...terms].sort((left, right) => right.length - left.length);
  let cursor = query.cursor;
  let bytes = 0;
  for (let step = 0; step < MAX_STEPS; step += 1) {
    const page = await functionLogs.filter({
      ...query,
      limit: Math.min(STEP_EVENTS, limit - events.length),
      ...(longest === undefined ? {} : { contains: longest }),
      ...(cursor === undefined ? {} : { cursor }),
    });
    for (const event of page.events) {
      if (!terms.every((term) => event.message.includes(term))) continue;
      events.push(event);
      bytes += Buffer.byteLength(event.message) + EVENT_OVERHEAD_BYTES;
    }
    cursor = page.cursor;
    if (cursor === undefined || events.length >= limit || bytes >= MAX_ANSWER_BYTES) break;
  }
  return { events, cursor };
}
