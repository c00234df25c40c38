import { Option, type Command } from 'commander';
import { createLogger } from '../../platform/telemetry/logger.ts';
import { printJson, printLine, type CommandContext, type Outcome, type OutputOptions } from '../context.ts';
import { CliError, EXIT } from '../errors.ts';
import { settingsWith } from '../instance.ts';
import { withOutputOption } from './options.ts';

interface TopicsOptions extends OutputOptions {
  readonly check: boolean;
}

export function addTopicsCommand(program: Command, context: CommandContext, outcome: Outcome): void {
  withOutputOption(program.command('topics'))
    .description('create the Kafka topics that are missing and report where others differ from the settings')
    .addOption(new Option('--check', 'only look, create nothing').default(false))
    .addHelpText('after', `
Roles do the same when they start; run it before, where they may not create topics. What exists is never changed.
Ends with 1 where something is missing or differs.

Examples:
  $ SLUICE_LOG=kafka://127.0.0.1:9092 npx sluice topics
  $ SLUICE_LOG=kafka://127.0.0.1:9092 SLUICE_TOPIC_REPLICATION=3 npx sluice topics --check --output json`)
    .action((options: TopicsOptions) => topics(context, options, outcome));
}

async function topics(context: CommandContext, { check, output }: TopicsOptions, outcome: Outcome): Promise<void> {
  const settings = settingsWith(context.environment, {});
  // Only here: no other command speaks to Kafka, and its client is large.
  const [{ describeMismatch, LogSetupError, setUpTopics }, { kafkaConnection, topicPlan }] = await Promise.all([import('../../platform/invocation-log/kafka.ts'), import('../roles/drivers.ts')]);
  const connection = await kafkaConnection(settings, 'sluice-topics');
  try {
    const report = await setUpTopics({ connection, logger: createLogger(settings.logLevel === 'warn' ? 'error' : settings.logLevel), topicPrefix: settings.topicPrefix, topics: topicPlan(settings) }, check ? 'check' : 'create');
    if (report.mismatches.length > 0 || report.missing.length > 0) outcome.exitCode = EXIT.failure;
    if (output === 'json') {
      printJson(context, report);
      return;
    }
    for (const topic of report.created) printLine(context.stdout, `created ${topic}`);
    for (const topic of report.missing) printLine(context.stdout, `missing ${topic}`);
    for (const mismatch of report.mismatches) printLine(context.stdout, describeMismatch(mismatch));
    if (outcome.exitCode === EXIT.ok) printLine(context.stdout, `All topics of ${settings.topicPrefix} are there and as set.`);
  } catch (error) {
    if (error instanceof LogSetupError) throw new CliError(error.message);
    throw error;
  }
}
