import { setTimeout as delay } from 'node:timers/promises';
import type { CloudWatchLogsClient, FilteredLogEvent } from '@aws-sdk/client-cloudwatch-logs';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { connection, lambdaClient, logsClient, type Connection } from '../client.ts';
import { printLine, type CommandContext, type InstanceOptions, type OutputOptions } from '../context.ts';
import { painter } from '../terminal/paint.ts';
import { withInstanceOptions, withOutputOption } from './options.ts';

interface LogsOptions extends InstanceOptions, OutputOptions {
  readonly follow?: true;
  /** Milliseconds before now. */
  readonly since: number;
  readonly filter?: string;
}

/** Often enough to feel immediate, seldom enough to cost nothing. */
const POLL_INTERVAL_MS = 500;
/** An event may be stored a moment after one with a later time, so a poll looks back this far again. */
const OVERLAP_MS = 5_000;

const UNIT_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const DEFAULT_SINCE_MS = 3_600_000;

export function addLogsCommand(program: Command, context: CommandContext): void {
  withOutputOption(withInstanceOptions(program.command('logs')))
    .description('print what a function logged')
    .argument('<name>', 'name of the function')
    .option('-f, --follow', 'keep printing what comes, until Ctrl-C')
    .addOption(new Option('--since <age>', 'how far back: 30s, 10m, 6h, 2d').argParser(parseAge).default(DEFAULT_SINCE_MS, '1h'))
    .option('--filter <text>', 'only events that contain this text')
    .addHelpText('after', `
With --output json, one JSON object a line: timestamp, stream, message.

Examples:
  $ npx sluice logs hello-node
  $ npx sluice logs hello-node -f --filter ERROR`)
    .action((name: string, options: LogsOptions) => logs(context, name, options));
}

/** Milliseconds of `30s`, `10m`, `6h`, `2d`. */
export function parseAge(text: string): number {
  const [, count, unit = ''] = /^(\d{1,6})([smhd])$/.exec(text) ?? [];
  const unitMs = UNIT_MS[unit];
  if (count === undefined || unitMs === undefined) throw new InvalidArgumentError('Give a number with a unit: 30s, 10m, 6h or 2d.');
  return Number(count) * unitMs;
}

async function logs(context: CommandContext, name: string, options: LogsOptions): Promise<void> {
  const to = await connection(context, options);
  const group = await logGroup(to, name);
  const client = await logsClient(to);
  let startMs = Date.now() - options.since;
  let printed = new Map<string, number>();
  for (;;) {
    const askedAtMs = Date.now();
    for (const event of await events(client, group, startMs, options.filter)) {
      const id = event.eventId ?? `${event.logStreamName} ${event.timestamp} ${event.message}`;
      if (!printed.has(id)) printEvent(context, event, options);
      printed.set(id, event.timestamp ?? askedAtMs);
    }
    if (options.follow !== true) return;
    // What lies before the next poll's start cannot come again: forgetting it keeps the set as small as the overlap.
    startMs = Math.max(startMs, askedAtMs - OVERLAP_MS);
    printed = new Map([...printed].filter(([, timestampMs]) => timestampMs >= startMs));
    await delay(POLL_INTERVAL_MS);
  }
}

/** A function may log to a group of its own choice; asking also tells a misspelt name from a silent function. */
async function logGroup(to: Connection, name: string): Promise<string> {
  const { GetFunctionConfigurationCommand } = await import('@aws-sdk/client-lambda');
  const client = await lambdaClient(to);
  const configuration = await client.send(new GetFunctionConfigurationCommand({ FunctionName: name }));
  return configuration.LoggingConfig?.LogGroup ?? `/aws/lambda/${configuration.FunctionName ?? name}`;
}

async function events(client: CloudWatchLogsClient, group: string, startMs: number, filter: string | undefined): Promise<FilteredLogEvent[]> {
  const { FilterLogEventsCommand } = await import('@aws-sdk/client-cloudwatch-logs');
  const found: FilteredLogEvent[] = [];
  let nextToken: string | undefined;
  do {
    try {
      const page = await client.send(
        new FilterLogEventsCommand({
          logGroupName: group,
          startTime: startMs,
          ...(filter === undefined ? {} : { filterPattern: JSON.stringify(filter) }),
          ...(nextToken === undefined ? {} : { nextToken }),
        }),
      );
      found.push(...(page.events ?? []));
      nextToken = page.nextToken;
    } catch (error) {
      // The group appears with the first line that the function logs.
      if (error instanceof Error && error.name === 'ResourceNotFoundException') return [];
      throw error;
    }
  } while (nextToken !== undefined);
  return found;
}

function printEvent(context: CommandContext, event: FilteredLogEvent, options: LogsOptions): void {
  const time = new Date(event.timestamp ?? 0).toISOString();
  const message = (event.message ?? '').trimEnd();
  if (options.output === 'json') printLine(context.stdout, JSON.stringify({ timestamp: time, stream: event.logStreamName, message }));
  else printLine(context.stdout, `${painter(context.stdout, context.environment)('dim', time)} ${message}`);
}
