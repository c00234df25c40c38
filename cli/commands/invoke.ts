import { readFile } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import type { InvocationResponse } from '@aws-sdk/client-lambda';
import type { Command } from 'commander';
import { MAX_ASYNC_PAYLOAD_BYTES, MAX_SYNC_PAYLOAD_BYTES } from '../../gateway/invoke/limits.ts';
import { connection, lambdaClient } from '../client.ts';
import { printJson, printLine, type CommandContext, type InstanceOptions, type OutputOptions, type Outcome } from '../context.ts';
import { CliError, EXIT, toCliError } from '../errors.ts';
import { painter } from '../terminal/paint.ts';
import { withInstanceOptions, withOutputOption } from './options.ts';

interface InvokeOptions extends InstanceOptions, OutputOptions {
  readonly payload?: string;
  readonly async?: true;
  readonly tail?: true;
  readonly qualifier?: string;
}

export function addInvokeCommand(program: Command, context: CommandContext, outcome: Outcome): void {
  withOutputOption(withInstanceOptions(program.command('invoke')))
    .description('run a function and print what it returns')
    .argument('<name>', 'name or ARN of the function')
    .option('-p, --payload <json>', 'the event: JSON, @FILE, or - for standard input (default: {})')
    .option('--async', 'hand the event over and do not wait for the result')
    .option('--tail', 'print the end of the log on standard error')
    .option('--qualifier <qualifier>', 'version or alias')
    .addHelpText('after', `
The result goes to standard output. Where the function returned an error, so does that error, and the exit code is ${EXIT.functionError}.

Examples:
  $ npx sluice invoke hello-node -p '{"name":"Ada"}'
  $ npx sluice invoke hello-node -p @event.json --tail
  $ echo '{}' | npx sluice invoke hello-python -p - --async`)
    .action((name: string, options: InvokeOptions) => invoke(context, outcome, name, options));
}

async function invoke(context: CommandContext, outcome: Outcome, name: string, options: InvokeOptions): Promise<void> {
  const payload = await readPayload(options.payload ?? '{}', context.stdin);
  refuseOversize(payload, options.async === true);
  const client = await lambdaClient(await connection(context, options), { attempts: 1 });
  const { InvokeCommand } = await import('@aws-sdk/client-lambda');
  const response = await client.send(
    new InvokeCommand({
      FunctionName: name,
      InvocationType: options.async === true ? 'Event' : 'RequestResponse',
      Payload: payload,
      ...(options.tail === true && options.async !== true ? { LogType: 'Tail' as const } : {}),
      ...(options.qualifier === undefined ? {} : { Qualifier: options.qualifier }),
    }),
  );
  if (response.FunctionError !== undefined) outcome.exitCode = EXIT.functionError;
  if (options.output === 'json') printResponse(context, response);
  else sayResult(context, name, response, options);
}

function sayResult(context: CommandContext, name: string, response: InvocationResponse, options: InvokeOptions): void {
  const paint = painter(context.stderr, context.environment);
  if (response.LogResult !== undefined) {
    for (const line of logTail(response).trimEnd().split('\n')) printLine(context.stderr, paint('dim', line));
  }
  if (options.async === true) {
    printLine(context.stderr, `${paint('green', '✓')} ${name} accepted the event; its log will show what came of it: npx sluice logs ${name}`);
    return;
  }
  printLine(context.stdout, payloadText(response));
  if (response.FunctionError !== undefined) printLine(context.stderr, `${paint('red', 'sluice:')} ${name} returned an error (${response.FunctionError}).`);
}

function printResponse(context: CommandContext, response: InvocationResponse): void {
  printJson(context, {
    StatusCode: response.StatusCode,
    ExecutedVersion: response.ExecutedVersion,
    FunctionError: response.FunctionError,
    Payload: parsed(payloadText(response)),
    LogResult: response.LogResult === undefined ? undefined : logTail(response),
  });
}

/** JSON given as such, in a file or on standard input. Throws a {@link CliError} where it cannot be read or is not JSON, as Lambda would refuse it. */
export async function readPayload(source: string, stdin: Readable): Promise<Buffer> {
  const bytes = source === '-' ? await readAll(stdin) : source.startsWith('@') ? await readEventFile(source.slice(1)) : Buffer.from(source, 'utf8');
  try {
    JSON.parse(bytes.toString('utf8'));
  } catch (error) {
    const where = source === '-' ? 'standard input' : source.startsWith('@') ? source.slice(1) : 'the value of --payload';
    throw new CliError(`The event in ${where} is not JSON: ${(error as Error).message}. Text needs quotes of its own: -p '"text"'.`, EXIT.usage);
  }
  return bytes;
}

async function readEventFile(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new CliError(toCliError(error).message, EXIT.usage);
  }
}

async function readAll(stdin: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stdin) {
    const bytes = Buffer.from(chunk as Buffer | string);
    chunks.push(bytes);
    size += bytes.length;
    if (size > MAX_SYNC_PAYLOAD_BYTES) break; // refuseOversize tells
  }
  return Buffer.concat(chunks);
}

function refuseOversize(payload: Buffer, isAsync: boolean): void {
  const maxBytes = isAsync ? MAX_ASYNC_PAYLOAD_BYTES : MAX_SYNC_PAYLOAD_BYTES;
  if (payload.length > maxBytes) throw new CliError(`The event has ${payload.length} bytes; Lambda takes at most ${maxBytes}. Put it into S3 and pass its key.`, EXIT.usage);
}

function payloadText(response: InvocationResponse): string {
  return Buffer.from(response.Payload ?? new Uint8Array()).toString('utf8');
}

function logTail(response: InvocationResponse): string {
  return Buffer.from(response.LogResult ?? '', 'base64').toString('utf8');
}

function parsed(text: string): unknown {
  if (text === '') return null;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
