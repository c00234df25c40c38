import { InvalidCursorError, NoSuchLogGroupError, type FunctionLogs } from '../../platform/function-logs/function-logs.ts';
import type { Logger } from '../../platform/telemetry/logger.ts';
import type { HttpAnswer } from '../http/http-answer.ts';
import { deleteLogGroup, describeLogGroups, describeLogStreams } from './describe.ts';
import { LogsApiError, invalidParameter } from './errors.ts';
import { filterLogEvents, getLogEvents } from './events.ts';
import { LogsInput } from './input.ts';
import type { LogsContext, LogsOperation } from './operation.ts';

export interface LogsApiOptions {
  readonly functionLogs: FunctionLogs;
  readonly account: string;
  readonly region: string;
  readonly logger: Logger;
}

export interface LogsApi {
  /** Answers one request of the JSON 1.1 protocol; `target` is its `X-Amz-Target`. Never rejects. */
  handle(target: string, body: Buffer, requestId: string): Promise<HttpAnswer>;
}

const TARGET_PREFIX = 'Logs_20140328.';

const OPERATIONS: Readonly<Record<string, LogsOperation>> = {
  DeleteLogGroup: deleteLogGroup,
  DescribeLogGroups: describeLogGroups,
  DescribeLogStreams: describeLogStreams,
  FilterLogEvents: filterLogEvents,
  GetLogEvents: getLogEvents,
};

/** The part of CloudWatch Logs by which people read what their functions print. */
export function createLogsApi({ functionLogs, account, region, logger }: LogsApiOptions): LogsApi {
  const context: LogsContext = { functionLogs, arnOfGroup: (group) => `arn:aws:logs:${region}:${account}:log-group:${group}` };
  return {
    async handle(target, body, requestId) {
      try {
        const output = await operationOf(target)(context, LogsInput.parse(body));
        return answer(200, requestId, output === undefined ? '' : JSON.stringify(output));
      } catch (error) {
        const known = asLogsError(error);
        if (known.type === 'InternalFailure') logger.error({ err: error, requestId, target }, 'a CloudWatch Logs request failed');
        return answer(known.status, requestId, JSON.stringify({ __type: known.type, message: known.message }));
      }
    },
  };
}

function operationOf(target: string): LogsOperation {
  const name = target.startsWith(TARGET_PREFIX) ? target.slice(TARGET_PREFIX.length) : undefined;
  if (name === undefined || !/^[A-Z][A-Za-z]+$/.test(name)) throw new LogsApiError('UnknownOperationException', `Sluice knows no operation ${JSON.stringify(target.slice(0, 100))}.`);
  const operation = Object.hasOwn(OPERATIONS, name) ? OPERATIONS[name] : undefined;
  if (operation === undefined) throw new LogsApiError('NotImplementedException', `Sluice does not implement the CloudWatch Logs operation ${name}.`);
  return operation;
}

function answer(status: number, requestId: string, text: string): HttpAnswer {
  return { status, headers: { 'Content-Type': 'application/x-amz-json-1.1', 'x-amzn-RequestId': requestId }, body: Buffer.from(text) };
}

function asLogsError(error: unknown): LogsApiError {
  if (error instanceof LogsApiError) return error;
  if (error instanceof NoSuchLogGroupError) return new LogsApiError('ResourceNotFoundException', 'The specified log group does not exist.');
  if (error instanceof InvalidCursorError) return invalidParameter('The specified nextToken is invalid.');
  return new LogsApiError('InternalFailure', 'The request processing has failed because of an unknown error, exception or failure.');
}
