import { Option, type Command } from 'commander';
import { joinToken } from '../../platform/protocol/wire/tokens.ts';
import { printLine, type CommandContext } from '../context.ts';
import { settingsWith } from '../instance.ts';
import { sharedSecret } from '../roles/context.ts';
import { wholeNumber } from './options.ts';

const DAY_MS = 86_400_000;
const DAYS_MAX = 3_650;

export function addTokenCommand(program: Command, context: CommandContext): void {
  program
    .command('token')
    .description('print a join token for a worker, so that it need not know SLUICE_SECRET')
    .requiredOption('--worker <name>', 'the worker that may use it (its SLUICE_WORKER_NAME)')
    .addOption(new Option('--days <number>', 'how long it may').argParser(wholeNumber(1, DAYS_MAX)).default(365))
    .addHelpText('after', `
Example:
  $ SLUICE_JOIN_TOKEN=$(SLUICE_SECRET=… npx sluice token --worker worker-1) npx sluice worker`)
    .action(({ worker, days }: { worker: string; days: number }) => {
      printLine(context.stdout, joinToken(sharedSecret(settingsWith(context.environment, {})), { worker, expiresAtMs: Date.now() + days * DAY_MS }));
    });
}
