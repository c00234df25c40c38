import { MAX_PATTERN_LENGTH, parseFilterPattern } from './filter-pattern.ts';
import { STREAM_NAME, requiredGroup, violation } from './input.ts';
import { invalidParameter, LogsApiError } from './errors.ts';
import type { LogsContext, LogsOperation } from './operation.ts';
import { MAX_EVENTS, readEvents } from './read-events.ts';
import type { StoredLogEvent } from '../../platform/function-logs/function-logs.ts';

/** CloudWatch Logs API reference, "FilterLogEvents". */
const MAX_STREAM_NAMES = 100;
const TOKEN = { min: 1, max: 4_096 };

export const filterLogEvents: LogsOperation = async (context, input) => {
  const group = requiredGroup(input);
  const streams = input.texts('logStreamNames', { max: MAX_STREAM_NAMES }, STREAM_NAME);
  const streamPrefix = input.text('logStreamNamePrefix', STREAM_NAME);
  if (streams !== undefined && streamPrefix !== undefined) throw invalidParameter('logStreamNames and logStreamNamePrefix are mutually exclusive parameters.');
  const startMs = input.time('startTime');
  const endMs = input.time('endTime');
  const terms = parseFilterPattern(input.text('filterPattern', { max: MAX_PATTERN_LENGTH }) ?? '');
  const limit = input.integer('limit', { min: 1, max: MAX_EVENTS }) ?? MAX_EVENTS;
  const cursor = input.text('nextToken', TOKEN);
  if (streams !== undefined) await Promise.all(streams.map((stream) => requireStream(context, group, stream)));
  const found = await readEvents(context.functionLogs, {
    query: {
      group,
      ...(streams === undefined ? {} : { streams }),
      ...(streamPrefix === undefined ? {} : { streamPrefix }),
      ...(startMs === undefined ? {} : { startMs }),
      // Here, unlike in GetLogEvents, an event of just this time is returned.
      ...(endMs === undefined ? {} : { endMs: endMs + 1 }),
      ...(cursor === undefined ? {} : { cursor }),
    },
    terms,
    limit,
  });
  return {
    events: found.events.map((event) => ({ logStreamName: event.stream, timestamp: event.timestampMs, message: event.message, ingestionTime: event.ingestedMs, eventId: event.id })),
    searchedLogStreams: [],
    ...(found.cursor === undefined ? {} : { nextToken: found.cursor }),
  };
};

/**
 * Pages of one stream in both directions. A token is `f/` or `b/` and the id of the event behind or before which its page lies; at the
 * end of the stream the caller gets back the token that it gave, as from CloudWatch Logs.
 */
export const getLogEvents: LogsOperation = async (context, input) => {
  const group = requiredGroup(input);
  const stream = input.text('logStreamName', STREAM_NAME);
  if (stream === undefined) throw violation('logStreamName', 'null', 'Member must not be null');
  const startMs = input.time('startTime');
  const endMs = input.time('endTime');
  const limit = input.integer('limit', { min: 1, max: MAX_EVENTS }) ?? MAX_EVENTS;
  const isFromHead = input.flag('startFromHead');
  const token = parseToken(input.text('nextToken', TOKEN));
  await requireStream(context, group, stream);
  const isForward = token === undefined ? isFromHead : token.isForward;
  const { events } = await readEvents(context.functionLogs, {
    query: {
      group,
      streams: [stream],
      order: isForward ? 'oldestFirst' : 'newestFirst',
      ...(startMs === undefined ? {} : { startMs }),
      ...(endMs === undefined ? {} : { endMs }),
      ...(token === undefined || token.eventId === '' ? {} : { cursor: token.eventId }),
    },
    terms: [],
    limit,
  });
  const inOrder = isForward ? events : events.toReversed();
  return {
    events: inOrder.map((event) => ({ timestamp: event.timestampMs, message: event.message, ingestionTime: event.ingestedMs })),
    nextForwardToken: `f/${edge(inOrder.at(-1), token)}`,
    nextBackwardToken: `b/${edge(inOrder[0], token)}`,
  };
};

/** Throws `ResourceNotFoundException`. */
async function requireStream({ functionLogs }: LogsContext, group: string, stream: string): Promise<void> {
  const streams = await functionLogs.listStreams(group, stream);
  if (!streams.some(({ name }) => name === stream)) throw new LogsApiError('ResourceNotFoundException', 'The specified log stream does not exist.');
}

interface PageToken {
  readonly isForward: boolean;
  /** Empty where there was no event yet. */
  readonly eventId: string;
}

function parseToken(token: string | undefined): PageToken | undefined {
  if (token === undefined) return undefined;
  const match = /^([fb])\/(.*)$/s.exec(token);
  if (match === null) throw invalidParameter('The specified nextToken is invalid.');
  return { isForward: match[1] === 'f', eventId: match[2] ?? '' };
}

function edge(event: StoredLogEvent | undefined, token: PageToken | undefined): string {
  return event?.id ?? token?.eventId ?? '';
}
