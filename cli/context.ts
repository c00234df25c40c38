import type { Readable, Writable } from 'node:stream';
import type { ExitCode } from './errors.ts';

/** What a command may touch of the process it runs in; a test gives another. */
export interface CommandContext {
  /** Results, for people and programs. */
  readonly stdout: Output;
  /** Progress, hints and errors. */
  readonly stderr: Output;
  readonly stdin: Readable;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

export type Output = Writable & { readonly isTTY?: boolean; readonly columns?: number };

/** Options that every client command has. */
export interface InstanceOptions {
  readonly port?: number;
  readonly data?: string;
}

export type OutputFormat = 'text' | 'json';

export interface OutputOptions {
  readonly output: OutputFormat;
}

/** One JSON document with a final newline: what `--output json` prints. */
export function printJson(context: CommandContext, value: unknown): void {
  context.stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
}

export function printLine(output: Output, line: string): void {
  output.write(`${line}\n`);
}

/** What an action reports of itself, where not everything went well but nothing failed. */
export interface Outcome {
  exitCode: ExitCode;
}
