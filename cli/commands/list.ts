import type { FunctionConfiguration } from '@aws-sdk/client-lambda';
import type { Command } from 'commander';
import { connection, lambdaClient } from '../client.ts';
import { printJson, printLine, type CommandContext, type InstanceOptions, type OutputOptions } from '../context.ts';
import { formatBytes, formatTable } from '../terminal/format.ts';
import { painter } from '../terminal/paint.ts';
import { withInstanceOptions, withOutputOption } from './options.ts';

export function addListCommand(program: Command, context: CommandContext): void {
  withOutputOption(withInstanceOptions(program.command('list').alias('ls')))
    .description('list the functions')
    .addHelpText('after', `
Examples:
  $ npx sluice list
  $ npx sluice list --output json | jq -r '.[].FunctionName'`)
    .action((options: InstanceOptions & OutputOptions) => list(context, options));
}

async function list(context: CommandContext, options: InstanceOptions & OutputOptions): Promise<void> {
  const client = await lambdaClient(await connection(context, options));
  const { paginateListFunctions } = await import('@aws-sdk/client-lambda');
  const functions: FunctionConfiguration[] = [];
  for await (const page of paginateListFunctions({ client }, {})) functions.push(...(page.Functions ?? []));
  if (options.output === 'json') {
    printJson(context, functions);
  } else if (functions.length === 0) {
    printLine(context.stderr, 'There are no functions yet. Deploy one: npx sluice deploy examples/hello-node');
  } else {
    const [head = '', ...rows] = formatTable([['NAME', 'RUNTIME', 'HANDLER', 'MEMORY', 'TIMEOUT', 'CODE', 'MODIFIED'], ...functions.map(row)]);
    printLine(context.stdout, painter(context.stdout, context.environment)('bold', head));
    for (const line of rows) printLine(context.stdout, line);
  }
}

function row(configuration: FunctionConfiguration): string[] {
  const isImage = configuration.PackageType === 'Image';
  return [
    configuration.FunctionName ?? '',
    isImage ? 'image' : (configuration.Runtime ?? ''),
    configuration.Handler ?? '',
    `${configuration.MemorySize ?? 0} MB`,
    `${configuration.Timeout ?? 0} s`,
    isImage ? '' : formatBytes(configuration.CodeSize ?? 0),
    (configuration.LastModified ?? '').slice(0, 'YYYY-MM-DDTHH:MM'.length).replace('T', ' '),
  ];
}
