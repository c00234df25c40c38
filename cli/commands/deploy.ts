import { existsSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { connection, type Connection } from '../client.ts';
import { printJson, printLine, type CommandContext, type InstanceOptions, type OutputOptions } from '../context.ts';
import { deployFunction } from '../deploy/deployer.ts';
import { detectFunction } from '../deploy/folder.ts';
import type { Deployed, FunctionPlan } from '../deploy/plan.ts';
import { CliError, EXIT } from '../errors.ts';
import { formatBytes, formatTable } from '../terminal/format.ts';
import { painter } from '../terminal/paint.ts';
import { assignment, wholeNumber, withInstanceOptions, withOutputOption } from './options.ts';

interface DeployOptions extends InstanceOptions, OutputOptions {
  readonly name?: string;
  readonly runtime?: string;
  readonly handler?: string;
  readonly memory?: number;
  readonly timeout?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly role?: string;
  readonly description?: string;
  readonly stack?: string;
  readonly parameter?: Readonly<Record<string, string>>;
}

const TEMPLATE_NAMES = ['template.yaml', 'template.yml', 'template.json'] as const;
/** Flags that describe one function; a template describes its own. */
const FOLDER_FLAGS = ['name', 'runtime', 'handler', 'memory', 'timeout', 'env', 'role', 'description'] as const;
const TEMPLATE_FLAGS = ['stack', 'parameter'] as const;

export function addDeployCommand(program: Command, context: CommandContext): void {
  withOutputOption(withInstanceOptions(program.command('deploy')))
    .description('create or update functions from a folder or a SAM template')
    .argument('<path>', 'a folder with a handler, or a SAM template (or its folder)')
    .option('--name <name>', 'name of the function (default: from package.json, else the folder)')
    .option('--runtime <runtime>', 'nodejs24.x, python3.13, … (default: from the files)')
    .option('--handler <file.export>', 'handler (default: from the files: index.handler, lambda_function.lambda_handler, …)')
    .option('--memory <megabytes>', 'memory size', wholeNumber(128, 10_240))
    .option('--timeout <seconds>', 'time limit of an invocation', wholeNumber(1, 900))
    .option('--env <NAME=VALUE>', 'environment variable; may be repeated; all together replace those that were set', assignment)
    .option('--role <arn>', 'execution role')
    .option('--description <text>', 'description')
    .option('--stack <name>', 'for a template: AWS::StackName and the first part of names (default: the folder)')
    .option('--parameter <NAME=VALUE>', 'for a template: value of a parameter; may be repeated', assignment)
    .addHelpText('after', `
What is as it should be is left alone, so deploying again is quick and changes nothing.
Of a SAM template, AWS::Serverless::Function and AWS::S3::Bucket are made; whatever else it has is named.

Examples:
  $ npx sluice deploy examples/hello-node
  $ npx sluice deploy ./api --name api --memory 512 --timeout 30 --env STAGE=test
  $ npx sluice deploy template.yaml --parameter Stage=prod`)
    .action((path: string, options: DeployOptions) => deploy(context, path, options));
}

async function deploy(context: CommandContext, path: string, options: DeployOptions): Promise<void> {
  const template = templateAt(path);
  refuseFlags(options, template === undefined ? TEMPLATE_FLAGS : FOLDER_FLAGS, template === undefined ? 'a template' : 'a folder');
  const folderPlan = template === undefined ? await planFolder(path, options) : undefined;
  const to = await connection(context, options);
  const deployed = folderPlan === undefined ? await deployFromTemplate(context, to, template ?? path, options) : [await deployFunction(context, to, folderPlan)];
  if (options.output === 'json') printJson(context, deployed);
  else sayDeployed(context, deployed);
}

async function deployFromTemplate(context: CommandContext, to: Connection, path: string, options: DeployOptions): Promise<Deployed[]> {
  const { readTemplate } = await import('../deploy/sam/template.ts');
  const { deployTemplate } = await import('../deploy/deploy-template.ts');
  const plan = await readTemplate(path, {
    account: to.account,
    region: to.region,
    ...(options.stack === undefined ? {} : { stack: options.stack }),
    ...(options.parameter === undefined ? {} : { parameters: options.parameter }),
  });
  const paint = painter(context.stderr, context.environment);
  for (const note of plan.notes) printLine(context.stderr, `${paint('yellow', 'note')} ${note}`);
  return deployTemplate(context, to, plan);
}

async function planFolder(path: string, options: DeployOptions): Promise<FunctionPlan> {
  const detected = await detectFunction(path, {
    ...(options.name === undefined ? {} : { name: options.name }),
    ...(options.runtime === undefined ? {} : { runtime: options.runtime }),
    ...(options.handler === undefined ? {} : { handler: options.handler }),
  });
  return {
    ...detected,
    role: options.role,
    description: options.description,
    memoryMiB: options.memory,
    timeoutSec: options.timeout,
    ephemeralStorageMiB: undefined,
    environment: options.env,
    tracingMode: undefined,
    architecture: undefined,
    vpc: undefined,
    tags: {},
    packageType: 'Zip',
    code: { kind: 'folder', path: resolve(path) },
  };
}

/** The template that `path` means; undefined where it means a folder of code. */
function templateAt(path: string): string | undefined {
  if (!existsSync(path)) throw new CliError(`${path}: no such file or folder.`, EXIT.usage);
  if (statSync(path).isDirectory()) return TEMPLATE_NAMES.map((name) => join(path, name)).find((file) => existsSync(file));
  if (/\.(ya?ml|json|template)$/.test(path)) return path;
  throw new CliError(`${path} is neither a folder nor a template (.yaml, .yml, .json, .template).`, EXIT.usage);
}

function refuseFlags(options: DeployOptions, flags: readonly (keyof DeployOptions)[], whose: string): void {
  const given = flags.find((flag) => options[flag] !== undefined);
  if (given !== undefined) throw new CliError(`--${given} is for ${whose === 'a folder' ? 'a folder; the template says it itself' : 'a template; this is a folder'}.`, EXIT.usage);
}

function sayDeployed(context: CommandContext, deployed: readonly Deployed[]): void {
  const paint = painter(context.stdout, context.environment);
  const rows = deployed.map(({ name, change, imageUri, runtime, handler, memoryMiB, timeoutSec, codeSizeBytes, state }) => {
    // An image's size is not known to whoever does not pull it.
    const [what, which, size] = imageUri === undefined ? [runtime, handler, formatBytes(codeSizeBytes)] : ['image', imageUri, ''];
    return [name, change, what, which, `${memoryMiB} MB`, `${timeoutSec} s`, size, state];
  });
  for (const line of formatTable(rows)) printLine(context.stdout, `${paint('green', '✓')} ${line}`);
  const [first] = deployed;
  if (first !== undefined) printLine(context.stderr, `Try it: npx sluice invoke ${first.name} --tail`);
}
