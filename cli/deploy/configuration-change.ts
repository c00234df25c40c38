import { isDeepStrictEqual } from 'node:util';
import type { FunctionConfiguration, UpdateFunctionConfigurationCommandInput } from '@aws-sdk/client-lambda';
import type { FunctionPlan, VpcPlan } from './plan.ts';

/** The part of a function that UpdateFunctionConfiguration changes. Runtime's type is a list of names that the SDK knew when it was made. */
export type Configuration = Omit<UpdateFunctionConfigurationCommandInput, 'FunctionName'>;

/** What the plan says of the configuration, in the API's words; without what it leaves open. */
export function configurationOf(plan: FunctionPlan): Configuration {
  return {
    Runtime: plan.runtime as NonNullable<Configuration['Runtime']>,
    Handler: plan.handler,
    ...(plan.role === undefined ? {} : { Role: plan.role }),
    ...(plan.description === undefined ? {} : { Description: plan.description }),
    ...(plan.memoryMiB === undefined ? {} : { MemorySize: plan.memoryMiB }),
    ...(plan.timeoutSec === undefined ? {} : { Timeout: plan.timeoutSec }),
    ...(plan.ephemeralStorageMiB === undefined ? {} : { EphemeralStorage: { Size: plan.ephemeralStorageMiB } }),
    ...(plan.environment === undefined ? {} : { Environment: { Variables: plan.environment } }),
    ...(plan.tracingMode === undefined ? {} : { TracingConfig: { Mode: plan.tracingMode } }),
    // A new function is in none: only one that exists may have to be taken out.
    ...(plan.vpc === undefined || [...plan.vpc.subnetIds, ...plan.vpc.securityGroupIds].length === 0 ? {} : { VpcConfig: vpcConfigOf(plan.vpc) }),
  };
}

function vpcConfigOf({ subnetIds, securityGroupIds, ipv6AllowedForDualStack }: VpcPlan): NonNullable<Configuration['VpcConfig']> {
  return { SubnetIds: [...subnetIds], SecurityGroupIds: [...securityGroupIds], Ipv6AllowedForDualStack: ipv6AllowedForDualStack };
}

/** Both lists are sets; a function that was never in a VPC is in none. */
function vpcAsSets(vpc: Configuration['VpcConfig']): NonNullable<Configuration['VpcConfig']> {
  const asSet = (ids: readonly string[] | undefined): string[] => [...new Set(ids)].sort();
  return { SubnetIds: asSet(vpc?.SubnetIds), SecurityGroupIds: asSet(vpc?.SecurityGroupIds), Ipv6AllowedForDualStack: vpc?.Ipv6AllowedForDualStack ?? false };
}

/** The members that differ from what the function has; undefined where none does. */
export function configurationChange(plan: FunctionPlan, current: FunctionConfiguration): Configuration | undefined {
  const has: Readonly<Record<string, unknown>> = {
    ...current,
    Description: current.Description ?? '',
    Environment: { Variables: current.Environment?.Variables ?? {} },
    EphemeralStorage: { Size: current.EphemeralStorage?.Size },
    TracingConfig: { Mode: current.TracingConfig?.Mode },
  };
  const { VpcConfig: _vpc, ...wanted } = configurationOf(plan);
  const different: [string, unknown][] = Object.entries(wanted).filter(([name, value]) => !isDeepStrictEqual(value, has[name]));
  const vpc = plan.vpc === undefined ? undefined : vpcConfigOf(plan.vpc);
  if (vpc !== undefined && !isDeepStrictEqual(vpcAsSets(vpc), vpcAsSets(current.VpcConfig))) different.push(['VpcConfig', vpc]);
  return different.length === 0 ? undefined : Object.fromEntries(different);
}
