import { Command, CommanderError } from 'commander';
import { addDeleteCommand } from './commands/delete.ts';
import { addDeployCommand } from './commands/deploy.ts';
import { addEnvCommand } from './commands/env.ts';
import { addInvokeCommand } from './commands/invoke.ts';
import { addListCommand } from './commands/list.ts';
import { addPsCommand } from './commands/ps.ts';
import { addTokenCommand } from './commands/token.ts';
import { addTopicsCommand } from './commands/topics.ts';
import { addRoleCommands } from './commands/role.ts';
import { addLogsCommand } from './commands/logs.ts';
import { addUpCommand } from './commands/up.ts';
import type { CommandContext, Outcome } from './context.ts';
import { EXIT, toCliError, type ExitCode } from './errors.ts';
import { painter } from './terminal/paint.ts';
import { version } from './version.ts';

const EXIT_CODES_HELP = `
Exit codes:
  0  done
  1  failed
  2  wrong usage: an unknown command or option, a value out of bounds
  3  no running Sluice was found, or it does not answer
  4  the function ran and returned an error
  5  no such function

Sluice speaks the AWS Lambda API, so the AWS CLI and the AWS SDKs work as well:
  $ eval "$(npx sluice env)"
  $ aws lambda list-functions
`;

/** Runs one command line; resolves to the process's exit code. Whatever goes wrong is one line on standard error. */
export async function runCli(args: readonly string[], context: CommandContext): Promise<ExitCode> {
  const outcome: Outcome = { exitCode: EXIT.ok };
  const program = createProgram(context, outcome);
  try {
    if (args.length === 0) {
      program.outputHelp({ error: true });
      return EXIT.usage;
    }
    await program.parseAsync(args, { from: 'user' });
    return outcome.exitCode;
  } catch (error) {
    // Commander has said by now what is wrong with the command line, or printed the help that was asked for.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    const { message, exitCode } = toCliError(error);
    context.stderr.write(`${painter(context.stderr, context.environment)('red', 'sluice:')} ${message}\n`);
    return exitCode;
  }
}

export function createProgram(context: CommandContext, outcome: Outcome): Command {
  const program = new Command('sluice')
    .description('AWS Lambda, on your own machine: the same API, the same tools.')
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help for a command')
    .showSuggestionAfterError()
    .showHelpAfterError('(see --help)')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void context.stdout.write(text),
      writeErr: (text) => void context.stderr.write(text),
    })
    .addHelpText('after', EXIT_CODES_HELP);
  for (const add of [addUpCommand, addPsCommand, addRoleCommands, addTopicsCommand, addTokenCommand, addEnvCommand, addDeployCommand, addInvokeCommand, addLogsCommand, addListCommand, addDeleteCommand]) {
    add(program, context, outcome);
  }
  return program;
}
