import type { Command } from 'commander';
import { printJson, printLine, type CommandContext, type InstanceOptions, type OutputOptions } from '../context.ts';
import { settingsWith } from '../instance.ts';
import { painter } from '../terminal/paint.ts';
import { serveHere } from '../start-here.ts';
import { withInstanceOptions, withOutputOption } from './options.ts';

export function addUpCommand(program: Command, context: CommandContext): void {
  withOutputOption(withInstanceOptions(program.command('up')))
    .description('start Sluice in this process and serve until Ctrl-C')
    .addHelpText('after', `
Everything is in one process and one data folder; nothing else need be installed.
All settings are variables named SLUICE_…; a wrong one stops the start with a message that names it.

Examples:
  $ npx sluice up
  $ npx sluice up --port 9500 --data ./data
  $ SLUICE_LOG_LEVEL=info npx sluice up`)
    .action((options: InstanceOptions & OutputOptions) => up(context, options));
}

/** Resolves once it was asked to stop and everything has. */
async function up(context: CommandContext, options: InstanceOptions & OutputOptions): Promise<void> {
  const settings = settingsWith(context.environment, options);
  await serveHere(settings, context, async ({ sluice, instance, stopRequested }) => {
    if (options.output === 'json') printJson(context, { ...instance, runtimes: sluice.runtimes, notes: sluice.notes });
    else sayReady(context, sluice, settings.dataDir);
    await stopRequested;
  });
}

function sayReady(context: CommandContext, sluice: { url: string; runtimes: readonly string[]; notes: readonly string[] }, dataDir: string): void {
  const paint = painter(context.stdout, context.environment);
  printLine(context.stdout, `${paint('green', '✓')} Sluice serves the Lambda API at ${paint('bold', sluice.url)}`);
  printLine(context.stdout, `  data      ${dataDir}`);
  sluice.runtimes.forEach((runtime, index) => printLine(context.stdout, `  ${index === 0 ? 'runtimes' : '        '}  ${runtime}`));
  for (const note of sluice.notes) printLine(context.stdout, `  ${paint('yellow', 'note')}      ${note}`);
  printLine(context.stdout, `  In another terminal: ${paint('cyan', 'eval "$(npx sluice env)"')} and then, for example, ${paint('cyan', 'aws lambda list-functions')}`);
  printLine(context.stdout, '  Ctrl-C stops it.');
}
