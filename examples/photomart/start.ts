/**
 * `npm start`: Sluice in this process, PhotoMart deployed on it through the public Lambda API, one photograph sent through, and the
 * server left running. With `--once` it ends after the demonstration.
 */
import { join } from 'node:path';
import { BootstrapError, install } from '../../cli/bin/bootstrap.mjs';
import { lambdaClient, s3Client, type Connection } from '../../cli/client.ts';
import { printLine, type CommandContext } from '../../cli/context.ts';
import { deployTemplate } from '../../cli/deploy/deploy-template.ts';
import { readTemplate } from '../../cli/deploy/sam/template.ts';
import { CliError, EXIT, toCliError } from '../../cli/errors.ts';
import { ensureCredentials, refuseSecondInstance, settingsWith } from '../../cli/instance.ts';
import { serveHere } from '../../cli/start-here.ts';
import { shellQuote } from '../../cli/terminal/format.ts';
import { painter } from '../../cli/terminal/paint.ts';
import type { Settings } from '../../platform/configuration/settings.ts';
import { bundleDependencies } from './bundle.ts';
import { demonstrate } from './demonstration.ts';
import { printDemonstration, printNextSteps } from './report.ts';

const FOLDER = import.meta.dirname;
const FUNCTIONS_WITH_DEPENDENCIES = ['thumbnails', 'metadata', 'moderation'];
const PHOTO = join(FOLDER, 'photos', 'seeding.jpg');

const context: CommandContext = { stdout: process.stdout, stderr: process.stderr, stdin: process.stdin, environment: process.env };

try {
  await main(process.argv.slice(2));
} catch (error) {
  const { message, exitCode } = error instanceof BootstrapError ? new CliError(error.message) : toCliError(error);
  printLine(context.stderr, `${painter(context.stderr, context.environment)('red', 'photomart:')} ${message}`);
  process.exitCode = exitCode;
}

async function main(args: readonly string[]): Promise<void> {
  const unknown = args.find((arg) => arg !== '--once');
  if (unknown !== undefined) throw new CliError(`${unknown} is not an option; there is only --once, which ends after the demonstration.`, EXIT.usage);
  const settings = settingsWith(context.environment, {});
  // Before the installation, which a refusal would make a waste of time.
  await refuseSecondInstance(settings);
  await install(FOLDER, { label: "Installing PhotoMart's dependencies" });
  for (const name of FUNCTIONS_WITH_DEPENDENCIES) await bundleDependencies(FOLDER, join(FOLDER, 'functions', name));

  await serveHere(settings, context, async ({ sluice, stopRequested }) => {
    sayStarted(sluice, settings);
    // Ctrl-C works at any moment, not only once everything is shown.
    const shown = showPhotomart(settings, sluice.url).then(() => 'shown' as const);
    if ((await Promise.race([shown, stopRequested])) !== 'shown' || args.includes('--once')) return;
    printNextSteps(context, sluice.url, envCommand(settings));
    await stopRequested;
  });
}

function sayStarted(sluice: { readonly url: string; readonly notes: readonly string[] }, settings: Settings): void {
  const paint = painter(context.stdout, context.environment);
  printLine(context.stdout, `${paint('green', '✓')} Sluice serves the Lambda API at ${paint('bold', sluice.url)} (data in ${settings.dataDir})`);
  for (const note of sluice.notes) printLine(context.stdout, `  ${paint('yellow', 'note')} ${note}`);
}

async function showPhotomart(settings: Settings, url: string): Promise<void> {
  const to: Connection = { endpoint: url, region: settings.region, account: settings.account, credentials: await ensureCredentials(settings.dataDir) };
  await deployTemplate(context, to, await readTemplate(join(FOLDER, 'template.yaml'), to));
  const [s3, lambda] = [await s3Client(to), await lambdaClient(to)];
  printDemonstration(context, await demonstrate(s3, lambda, PHOTO, join(settings.dataDir, 'photomart')));
}

/** Says the data folder where it is not the one that `sluice env` looks in by itself. */
function envCommand(settings: Settings): string {
  return settings.dataDir === settingsWith({}, {}).dataDir ? 'npx sluice env' : `npx sluice env --data ${shellQuote(settings.dataDir)}`;
}
