import { setTimeout as delay } from 'node:timers/promises';
import type { FunctionConfiguration, LambdaClient } from '@aws-sdk/client-lambda';
import { lambdaClient, type Connection } from '../client.ts';
import { printLine, type CommandContext } from '../context.ts';
import { CliError } from '../errors.ts';
import { formatBytes } from '../terminal/format.ts';
import { painter } from '../terminal/paint.ts';
import { showProgress } from '../terminal/progress.ts';
import { archiveOf } from './archive.ts';
import { configurationChange, configurationOf, hasArchitecture, type Configuration } from './configuration-change.ts';
import { missingDependencies } from './missing-dependencies.ts';
import type { ContainerImage, Deployed, FunctionPlan, FunctionSettings, ZipPackage } from './plan.ts';
import { uploadCode, type UploadedCode } from './upload.ts';

/** The `Code` of CreateFunction and the code members of UpdateFunctionCode. */
type Code = UploadedCode | { readonly ImageUri: string };

/** New functions become Active within milliseconds, unless a runtime has to be fetched first. */
const READY_TIMEOUT_MS = 300_000;
const FIRST_POLL_MS = 20;
const LAST_POLL_MS = 500;

/**
 * Makes the function be as planned: creates it, or updates its code and configuration where they differ, and waits until it can be
 * invoked. Deploying the same again changes nothing.
 */
export async function deployFunction(context: CommandContext, to: Connection, plan: FunctionPlan): Promise<Deployed> {
  const warning = plan.packageType === 'Zip' ? missingDependencies(plan.code) : undefined;
  if (warning !== undefined) printLine(context.stderr, `${painter(context.stderr, context.environment)('yellow', 'note')} ${warning}`);
  const client = await lambdaClient(to);
  const existing = await ready(client, plan.name);
  if (existing !== undefined) refuseOtherPackageType(plan, existing);
  const { UpdateFunctionConfigurationCommand } = await import('@aws-sdk/client-lambda');
  let change: Deployed['change'] = 'unchanged';

  const put = async (code: Code | 'unchanged'): Promise<void> => {
    if (code === 'unchanged') return;
    change = existing === undefined ? 'created' : 'updated';
    if (existing === undefined) await create(client, to, plan, code);
    else await updateCode(client, plan, code);
  };
  if (plan.packageType === 'Zip') await withPackage(context, to, client, plan, existing, put);
  else await put(await imageCode(client, plan, existing));
  let current = await ready(client, plan.name);
  if (existing !== undefined && current !== undefined) {
    const wanted = configurationChange(plan, current);
    if (wanted !== undefined) {
      await client.send(new UpdateFunctionConfigurationCommand({ FunctionName: plan.name, ...wanted }));
      change = 'updated';
      current = await ready(client, plan.name);
    }
    await tag(client, current?.FunctionArn, plan.tags);
  }
  if (current === undefined) throw new CliError(`${plan.name} was deleted by somebody else while it was deployed.`);
  return deployed(current, plan, change);
}

/** CloudFormation replaces such a function by a new one (AWS::Lambda::Function, "PackageType"); its versions and aliases would go with it, so that is left to a person. */
function refuseOtherPackageType({ name, packageType }: FunctionPlan, existing: FunctionConfiguration): void {
  const has = existing.PackageType ?? 'Zip';
  if (has !== packageType) throw new CliError(`${name} has the package type ${has}, and a function keeps its own: it cannot become ${packageType}. Delete it first with "npx sluice delete ${name}", or give the new one another name.`);
}

/** What to update with where the function does not have the plan's image. GetFunctionConfiguration does not tell which it has. */
async function imageCode(client: LambdaClient, plan: FunctionSettings & ContainerImage, existing: FunctionConfiguration | undefined): Promise<Code | 'unchanged'> {
  const { GetFunctionCommand } = await import('@aws-sdk/client-lambda');
  if (existing !== undefined && hasArchitecture(plan, existing)) {
    const { Code: current } = await client.send(new GetFunctionCommand({ FunctionName: plan.name }));
    if (current?.ImageUri === plan.imageUri) return 'unchanged';
  }
  return { ImageUri: plan.imageUri };
}

/** Packs and uploads the code where it differs from what is there, and lets `use` put it into the function. */
async function withPackage(
  context: CommandContext,
  to: Connection,
  client: LambdaClient,
  plan: FunctionSettings & ZipPackage,
  existing: FunctionConfiguration | undefined,
  use: (code: UploadedCode | 'unchanged') => Promise<void>,
): Promise<void> {
  if (plan.code.kind === 'object') return use({ S3Bucket: plan.code.bucket, S3Key: plan.code.key });
  const packing = showProgress(context, `packing ${plan.name}`);
  let archive;
  try {
    archive = await archiveOf(plan.code, (fraction) => packing.update(fraction));
  } catch (error) {
    packing.fail();
    throw error;
  }
  packing.done(formatBytes(archive.bytes.length));
  if (existing !== undefined && archive.sha256 === existing.CodeSha256 && hasArchitecture(plan, existing)) return use('unchanged');
  await uploadCode(context, to, client, plan.name, archive, use);
}

async function create(client: LambdaClient, to: Connection, plan: FunctionPlan, code: Code): Promise<void> {
  const { CreateFunctionCommand } = await import('@aws-sdk/client-lambda');
  const configuration: Configuration = configurationOf(plan);
  const command = new CreateFunctionCommand({
    ...configuration,
    FunctionName: plan.name,
    PackageType: plan.packageType,
    Role: plan.role ?? `arn:aws:iam::${to.account}:role/sluice-function`,
    Code: code,
    ...(plan.architecture === undefined ? {} : { Architectures: [plan.architecture] }),
    ...(Object.keys(plan.tags).length === 0 ? {} : { Tags: plan.tags }),
  });
  await client.send(command);
}

async function updateCode(client: LambdaClient, plan: FunctionPlan, code: Code): Promise<void> {
  const { UpdateFunctionCodeCommand } = await import('@aws-sdk/client-lambda');
  await client.send(new UpdateFunctionCodeCommand({ FunctionName: plan.name, ...code, ...(plan.architecture === undefined ? {} : { Architectures: [plan.architecture] }) }));
}

async function tag(client: LambdaClient, arn: string | undefined, tags: Readonly<Record<string, string>>): Promise<void> {
  if (arn === undefined || Object.keys(tags).length === 0) return;
  const { TagResourceCommand } = await import('@aws-sdk/client-lambda');
  await client.send(new TagResourceCommand({ Resource: arn, Tags: tags }));
}

/** The function once nothing is in progress; undefined where there is none. Rejects where it has failed. */
async function ready(client: LambdaClient, name: string): Promise<FunctionConfiguration | undefined> {
  const { GetFunctionConfigurationCommand } = await import('@aws-sdk/client-lambda');
  const deadline = Date.now() + READY_TIMEOUT_MS;
  for (let pollMs = FIRST_POLL_MS; ; pollMs = Math.min(pollMs * 2, LAST_POLL_MS)) {
    let found: FunctionConfiguration;
    try {
      found = await client.send(new GetFunctionConfigurationCommand({ FunctionName: name }));
    } catch (error) {
      if (error instanceof Error && error.name === 'ResourceNotFoundException') return undefined;
      throw error;
    }
    if (found.State === 'Failed') throw new CliError(`${name} cannot be used: ${found.StateReason ?? 'its state is Failed'}. Delete it with "npx sluice delete ${name}".`);
    if (found.LastUpdateStatus === 'Failed') throw new CliError(`The last update of ${name} failed: ${found.LastUpdateStatusReason ?? 'no reason given'}.`);
    if (found.State !== 'Pending' && found.LastUpdateStatus !== 'InProgress') return found;
    if (Date.now() > deadline) throw new CliError(`${name} is still ${found.State} (${found.LastUpdateStatus}) after ${READY_TIMEOUT_MS / 1000} s.`);
    await delay(pollMs);
  }
}

function deployed(current: FunctionConfiguration, plan: FunctionPlan, change: Deployed['change']): Deployed {
  return {
    name: current.FunctionName ?? '',
    arn: current.FunctionArn ?? '',
    change,
    packageType: plan.packageType,
    imageUri: plan.packageType === 'Image' ? plan.imageUri : undefined,
    runtime: current.Runtime ?? '',
    handler: current.Handler ?? '',
    memoryMiB: current.MemorySize ?? 0,
    timeoutSec: current.Timeout ?? 0,
    codeSha256: current.CodeSha256 ?? '',
    codeSizeBytes: current.CodeSize ?? 0,
    state: current.State ?? 'Active',
  };
}
