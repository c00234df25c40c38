import type { Command } from 'commander';
import { printJson, printLine, type CommandContext, type InstanceOptions, type OutputOptions } from '../context.ts';
import { ensureCredentials, findInstance } from '../instance.ts';
import { shellQuote } from '../terminal/format.ts';
import { withInstanceOptions, withOutputOption } from './options.ts';

export function addEnvCommand(program: Command, context: CommandContext): void {
  withOutputOption(withInstanceOptions(program.command('env')))
    .description('print the variables that point the AWS CLI and the AWS SDKs at the running Sluice')
    .addHelpText('after', `
Examples:
  $ eval "$(npx sluice env)"        # bash, zsh, sh: for the rest of this shell
  $ npx sluice env --output json    # for programs`)
    .action((options: InstanceOptions & OutputOptions) => env(context, options));
}

async function env(context: CommandContext, options: InstanceOptions & OutputOptions): Promise<void> {
  const instance = await findInstance(context.environment, options);
  const { accessKeyId, secretAccessKey } = await ensureCredentials(instance.dataDir);
  const variables = {
    AWS_ENDPOINT_URL: instance.url,
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_REGION: instance.region,
    // boto3 and version 1 of the AWS CLI read only this one.
    AWS_DEFAULT_REGION: instance.region,
  };
  if (options.output === 'json') printJson(context, variables);
  else printLine(context.stdout, exportLine(variables));
}

/** One line that a POSIX shell can evaluate, whatever is in the values. */
export function exportLine(variables: Readonly<Record<string, string>>): string {
  return `export ${Object.entries(variables).map(([name, value]) => `${name}=${shellQuote(value)}`).join(' ')}`;
}
