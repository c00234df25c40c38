import { s3Client, type Connection } from '../client.ts';
import type { CommandContext } from '../context.ts';
import { deployFunction } from './deployer.ts';
import type { Deployed } from './plan.ts';
import type { TemplatePlan } from './sam/template.ts';

/** Makes the buckets and functions of a template, in its order. Those made before one that fails stay; deploying again goes on from there. */
export async function deployTemplate(context: CommandContext, to: Connection, plan: TemplatePlan): Promise<Deployed[]> {
  await makeBuckets(to, plan.buckets);
  const deployed: Deployed[] = [];
  for (const functionPlan of plan.functions) deployed.push(await deployFunction(context, to, functionPlan));
  return deployed;
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
