import type { Command } from 'commander';
import { printLine, type CommandContext, type InstanceOptions, type OutputOptions } from '../context.ts';
import { settingsWith } from '../instance.ts';
import type { RoleName, RunningRole, StartRole } from '../roles/role.ts';
import { untilStopRequested } from '../stop-request.ts';
import { painter } from '../terminal/paint.ts';
import { withInstanceOptions, withOutputOption } from './options.ts';

const WHAT: Readonly<Record<RoleName, string>> = {
  gateway: 'the Lambda API, function callers and S3 calls: any number side by side',
  controller: 'schedules invocations and leads workers: as many as share the partitions of the invocation log',
  worker: 'runs functions: any number, each with the room of its machine',
};

/** `sluice gateway`, `sluice controller`, `sluice worker`: one role in this process, against the services of the settings. */
export function addRoleCommands(program: Command, context: CommandContext): void {
  for (const role of Object.keys(WHAT) as RoleName[]) {
    withOutputOption(withInstanceOptions(program.command(role)))
      .description(`start one ${role}: ${WHAT[role]}`)
      .addHelpText('after', `
It needs SLUICE_LOG=kafka://…, SLUICE_STORE=s3://…, SLUICE_CACHE=redis://… and SLUICE_SECRET; SIGTERM stops it without a failed request.

Example:
  $ SLUICE_LOG=kafka://127.0.0.1:9092 SLUICE_STORE=s3://127.0.0.1:9000 SLUICE_CACHE=redis://127.0.0.1:6379 npx sluice ${role}`)
      .action((options: InstanceOptions & OutputOptions) => serve(role, context, options));
  }
}

/** What a role says on standard output once it is ready, for whoever started it. */
export interface RoleReady {
  readonly role: RoleName;
  readonly pid: number;
  readonly url?: string;
  readonly internalUrl: string;
}

async function serve(role: RoleName, context: CommandContext, options: InstanceOptions & OutputOptions): Promise<void> {
  const settings = settingsWith(context.environment, options);
  // Before the start: a stop under way is not an end in the middle.
  const stopRequested = untilStopRequested();
  const running = await (await starter(role))(settings);
  const { url, internalUrl, notes } = running;
  if (options.output === 'json') context.stdout.write(`${JSON.stringify({ role, pid: process.pid, ...(url === undefined ? {} : { url }), internalUrl } satisfies RoleReady)}\n`);
  else sayReady(context, running, notes);
  await stopRequested;
  if (options.output === 'text') printLine(context.stderr, 'Stopping …');
  await running.stop();
}

async function starter(role: RoleName): Promise<StartRole> {
  switch (role) {
    case 'gateway':
      return (await import('../roles/gateway.ts')).startGatewayRole;
    case 'controller':
      return (await import('../roles/controller.ts')).startControllerRole;
    case 'worker':
      return (await import('../roles/worker.ts')).startWorkerRole;
  }
}

function sayReady(context: CommandContext, { role, url, internalUrl }: RunningRole, notes: readonly string[]): void {
  const paint = painter(context.stdout, context.environment);
  printLine(context.stdout, `${paint('green', '✓')} The ${role} is ready${url === undefined ? '' : ` and serves the Lambda API at ${paint('bold', url)}`}; health and metrics at ${internalUrl}`);
  for (const note of notes) printLine(context.stdout, `  ${paint('yellow', 'note')}      ${note}`);
}
