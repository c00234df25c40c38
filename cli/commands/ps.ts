import type { Command } from 'commander';
import { printJson, printLine, type CommandContext, type InstanceOptions, type OutputOptions } from '../context.ts';
import { CliError, EXIT } from '../errors.ts';
import { settingsWith } from '../instance.ts';
import { readProcessTable, type ProcessEntry } from '../supervisor/process-table.ts';
import { formatTable } from '../terminal/format.ts';
import { painter } from '../terminal/paint.ts';
import { withInstanceOptions, withOutputOption } from './options.ts';

export function addPsCommand(program: Command, context: CommandContext): void {
  withOutputOption(withInstanceOptions(program.command('ps')))
    .description('list the processes of "sluice up --processes"')
    .addHelpText('after', `
Examples:
  $ npx sluice ps
  $ npx sluice ps --output json | jq -r '.[] | select(.role == "worker") | .pid'`)
    .action((options: InstanceOptions & OutputOptions) => ps(context, options));
}

async function ps(context: CommandContext, options: InstanceOptions & OutputOptions): Promise<void> {
  const { dataDir } = settingsWith(context.environment, options);
  const entries = await readProcessTable(dataDir);
  if (entries === undefined) throw new CliError(`No "sluice up --processes" runs with data in ${dataDir}. Say which with --data or SLUICE_DATA.`, EXIT.noInstance);
  if (options.output === 'json') {
    printJson(context, entries);
    return;
  }
  const [head = '', ...rows] = formatTable([['NAME', 'STATE', 'PID', 'ADDRESS', 'INTERNAL', 'RESTARTS', 'SINCE'], ...entries.map(row)]);
  printLine(context.stdout, painter(context.stdout, context.environment)('bold', head));
  for (const line of rows) printLine(context.stdout, line);
}

function row({ name, state, pid, url, internalUrl, restarts, startedAtMs }: ProcessEntry): string[] {
  return [name, state, String(pid ?? ''), url ?? '', internalUrl ?? '', String(restarts), new Date(startedAtMs).toISOString().slice(0, 'YYYY-MM-DDTHH:MM:SS'.length).replace('T', ' ')];
}
