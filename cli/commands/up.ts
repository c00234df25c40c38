import { Option, type Command } from 'commander';
import { printJson, printLine, type CommandContext, type InstanceOptions, type OutputOptions } from '../context.ts';
import { announceInstance, refuseSecondInstance, settingsWith } from '../instance.ts';
import { parseProcessPlan, type ProcessPlan } from '../supervisor/process-plan.ts';
import { Supervisor } from '../supervisor/supervisor.ts';
import { untilStopRequested } from '../stop-request.ts';
import { painter } from '../terminal/paint.ts';
import { serveHere } from '../start-here.ts';
import { withInstanceOptions, withOutputOption } from './options.ts';

export function addUpCommand(program: Command, context: CommandContext): void {
  withOutputOption(withInstanceOptions(program.command('up')))
    .description('start Sluice on this machine and serve until Ctrl-C')
    .addOption(new Option('--processes <plan>', 'processes of each role instead of one for everything: gateway=2,controller=2,worker=3').argParser(parseProcessPlan))
    .addHelpText('after', `
Everything is in one process and one data folder; nothing else need be installed. With --processes each role is in processes of its own, which are
started again when they die, against the services that SLUICE_LOG, SLUICE_STORE and SLUICE_CACHE name; "sluice ps" lists them.
All settings are variables named SLUICE_…; a wrong one stops the start with a message that names it.

Examples:
  $ npx sluice up
  $ npx sluice up --port 9500 --data ./data
  $ SLUICE_LOG_LEVEL=info npx sluice up
  $ npx sluice up --processes gateway=2,controller=2,worker=3`)
    .action((options: UpOptions) => (options.processes === undefined ? up(context, options) : upProcesses(context, options, options.processes)));
}

interface UpOptions extends InstanceOptions, OutputOptions {
  readonly processes?: ProcessPlan;
}

/** As {@link up}, with the roles in processes of their own. */
async function upProcesses(context: CommandContext, options: UpOptions, plan: ProcessPlan): Promise<void> {
  const settings = settingsWith(context.environment, options);
  await refuseSecondInstance(settings);
  const { makePrivateFolder, needShared, sharedSecret } = await import('../roles/context.ts');
  // As every gateway would, but once.
  sharedSecret(settings);
  needShared(settings, ['log', 'store', 'cache']);
  await makePrivateFolder(settings.dataDir);
  const supervisor = new Supervisor({ plan, settings, environment: context.environment, stderr: context.stderr });
  // A signal during the start must not leave processes behind.
  const stopRequested = untilStopRequested();
  try {
    if (!(await Promise.race([supervisor.start().then(() => true), stopRequested.then(() => false)]))) return;
    const { instance, withdraw } = await announceInstance(settings, supervisor.url);
    if (options.output === 'json') printJson(context, { ...instance, processes: supervisor.entries });
    else {
      const paint = painter(context.stdout, context.environment);
      printLine(context.stdout, `${paint('green', '✓')} Sluice serves the Lambda API at ${paint('bold', supervisor.url)} in ${supervisor.entries.length} processes: ${paint('cyan', 'npx sluice ps')} lists them.`);
      printLine(context.stdout, '  Ctrl-C stops all of them.');
    }
    await stopRequested;
    printLine(context.stderr, 'Stopping …');
    await withdraw();
  } finally {
    await supervisor.stop();
  }
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
