import type { FunctionLogs } from '../../platform/function-logs/function-logs.ts';
import type { LogsInput } from './input.ts';

/** What an operation of CloudWatch Logs works with. */
export interface LogsContext {
  readonly functionLogs: FunctionLogs;
  readonly arnOfGroup: (group: string) => string;
}

/** Resolves to the output, or undefined for an operation without one. */
export type LogsOperation = (context: LogsContext, input: LogsInput) => Promise<object | undefined>;
