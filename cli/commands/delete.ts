import type { Command } from 'commander';
import { connection, lambdaClient } from '../client.ts';
import { printJson, printLine, type CommandContext, type InstanceOptions, type OutputOptions } from '../context.ts';
import { painter } from '../terminal/paint.ts';
import { withInstanceOptions, withOutputOption } from './options.ts';

interface DeleteOptions extends InstanceOptions, OutputOptions {
  readonly qualifier?: string;
}

export function addDeleteCommand(program: Command, context: CommandContext): void {
  withOutputOption(withInstanceOptions(program.command('delete').alias('rm')))
    .description('delete a function with all its versions and aliases')
    .argument('<name>', 'name or ARN of the function')
    .option('--qualifier <version>', 'delete only this published version')
    .addHelpText('after', `
Examples:
  $ npx sluice delete hello-node
  $ npx sluice delete hello-node --qualifier 3`)
    .action((name: string, options: DeleteOptions) => deleteFunction(context, name, options));
}

async function deleteFunction(context: CommandContext, name: string, options: DeleteOptions): Promise<void> {
  const client = await lambdaClient(await connection(context, options));
  const { DeleteFunctionCommand } = await import('@aws-sdk/client-lambda');
  await client.send(new DeleteFunctionCommand({ FunctionName: name, ...(options.qualifier === undefined ? {} : { Qualifier: options.qualifier }) }));
  const what = options.qualifier === undefined ? name : `${name}:${options.qualifier}`;
  if (options.output === 'json') printJson(context, { deleted: what });
  else printLine(context.stdout, `${painter(context.stdout, context.environment)('green', '✓')} deleted ${what}`);
}
