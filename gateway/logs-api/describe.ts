import { LogsApiError, invalidParameter } from './errors.ts';
import type { LogsOperation } from './operation.ts';
import { GROUP_NAME, STREAM_NAME, requiredGroup, violation, type LogsInput } from './input.ts';

/** CloudWatch Logs API reference, "DescribeLogGroups" and "DescribeLogStreams". */
const MAX_PAGE = 50;
const GROUP_PATTERN = { max: 512, pattern: '[\\.\\-_/#A-Za-z0-9]*' };

export const describeLogGroups: LogsOperation = async ({ functionLogs, arnOfGroup }, input) => {
  const prefix = input.text('logGroupNamePrefix', GROUP_NAME);
  const pattern = input.text('logGroupNamePattern', GROUP_PATTERN)?.toLowerCase();
  if (prefix !== undefined && pattern !== undefined) throw invalidParameter('LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.');
  const groups = (await functionLogs.listGroups(prefix ?? '')).filter((name) => pattern === undefined || name.toLowerCase().includes(pattern));
  const { page, nextToken } = pageOf(groups, input);
  return {
    logGroups: page.map((name) => ({ logGroupName: name, arn: `${arnOfGroup(name)}:*`, logGroupArn: arnOfGroup(name), logGroupClass: 'STANDARD', metricFilterCount: 0 })),
    ...nextToken,
  };
};

export const describeLogStreams: LogsOperation = async ({ functionLogs, arnOfGroup }, input) => {
  const group = requiredGroup(input);
  const prefix = input.text('logStreamNamePrefix', STREAM_NAME);
  const orderBy = input.text('orderBy', { max: 32 }) ?? 'LogStreamName';
  if (orderBy !== 'LogStreamName' && orderBy !== 'LastEventTime') throw violation('orderBy', orderBy, 'Member must satisfy enum value set: [LogStreamName, LastEventTime]');
  if (orderBy === 'LastEventTime' && prefix !== undefined) throw invalidParameter('Cannot order by LastEventTime with a logStreamNamePrefix.');
  const streams = [...(await functionLogs.listStreams(group, prefix ?? ''))];
  if (orderBy === 'LastEventTime') streams.sort((left, right) => left.lastEventMs - right.lastEventMs);
  if (input.flag('descending')) streams.reverse();
  const { page, nextToken } = pageOf(streams, input);
  return {
    logStreams: page.map(({ name, firstEventMs, lastEventMs }) => ({
      logStreamName: name,
      creationTime: firstEventMs,
      firstEventTimestamp: firstEventMs,
      lastEventTimestamp: lastEventMs,
      lastIngestionTime: lastEventMs,
      arn: `${arnOfGroup(group)}:log-stream:${name}`,
      storedBytes: 0, // Always 0 in CloudWatch Logs since 2019.
    })),
    ...nextToken,
  };
};

export const deleteLogGroup: LogsOperation = async ({ functionLogs }, input) => {
  const group = requiredGroup(input);
  if (!(await functionLogs.listGroups(group)).includes(group)) throw new LogsApiError('ResourceNotFoundException', 'The specified log group does not exist.');
  await functionLogs.deleteGroup(group);
  return undefined;
};

/** A page of what is in memory already. The token is the number of items before the next page. */
function pageOf<Item>(items: readonly Item[], input: LogsInput): { readonly page: readonly Item[]; readonly nextToken: { readonly nextToken?: string } } {
  const limit = input.integer('limit', { min: 1, max: MAX_PAGE }) ?? MAX_PAGE;
  const token = input.text('nextToken', { min: 1, max: 4_096 }) ?? '0';
  if (!/^\d{1,9}$/.test(token)) throw invalidParameter('The specified nextToken is invalid.');
  const start = Number(token);
  const end = start + limit;
  return { page: items.slice(start, end), nextToken: end < items.length ? { nextToken: String(end) } : {} };
}
