import { s3Client, type Connection } from '../client.ts';
import type { CommandContext } from '../context.ts';
import { CliError, EXIT, toCliError } from '../errors.ts';
import { deployFunction } from './deployer.ts';
import type { Deployed } from './plan.ts';
import type { PlannedFunction, TemplatePlan } from './sam/template.ts';

/**
 * Makes the buckets and functions of a template, in its order. Those made before one that fails stay; deploying again goes on from there. Rejects with a {@link CliError} that names the resource, or
 * with what says that no Sluice is there.
 */
export async function deployTemplate(context: CommandContext, to: Connection, plan: TemplatePlan): Promise<Deployed[]> {
  await makeBuckets(to, plan.buckets);
  const deployed: Deployed[] = [];
  for (const functionPlan of plan.functions) deployed.push(await deployResource(context, to, functionPlan));
  return deployed;
}

async function deployResource(context: CommandContext, to: Connection, plan: PlannedFunction): Promise<Deployed> {
  try {
    return await deployFunction(context, to, plan);
  } catch (error) {
    const { message, exitCode } = toCliError(error);
    // That nothing answers is not the resource's fault.
    throw exitCode === EXIT.noInstance ? error : new CliError(`${plan.logicalId}: ${message}`, exitCode);
  }
}

async function makeBuckets(to: Connection, buckets: readonly string[]): Promise<void> {
  if (buckets.length === 0) return;
  const { CreateBucketCommand } = await import('@aws-sdk/client-s3');
  const client = await s3Client(to);
  for (const bucket of buckets) {
    try {
      await client.send(new CreateBucketCommand({ Bucket: bucket }));
    } catch (error) {
      if (!(error instanceof Error) || error.name !== 'BucketAlreadyOwnedByYou') throw error;
    }
  }
}
