import { isDeepStrictEqual } from 'node:util';
import type { FunctionConfiguration, UpdateFunctionConfigurationCommandInput } from '@aws-sdk/client-lambda';
import type { FunctionPlan, FunctionSettings, ImageConfigPlan, VpcPlan } from './plan.ts';

/** The part of a function that UpdateFunctionConfiguration changes. Runtime's type is a list of names that the SDK knew when it was made. */
export type Configuration = Omit<UpdateFunctionConfigurationCommandInput, 'FunctionName'>;

/** What the plan says of the configuration, in the API's words; without what it leaves open. */
export function configurationOf(plan: FunctionPlan): Configuration {
  return {
    ...packageConfigurationOf(plan),
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

function packageConfigurationOf(plan: FunctionPlan): Configuration {
  if (plan.packageType === 'Zip') return { Runtime: plan.runtime as NonNullable<Configuration['Runtime']>, Handler: plan.handler };
  const imageConfig = imageConfigOf(plan.imageConfig);
  // A new function has none: only from one that exists it may have to be taken.
  return Object.keys(imageConfig).length === 0 ? {} : { ImageConfig: imageConfig };
}

function imageConfigOf({ entryPoint, command, workingDirectory }: ImageConfigPlan): NonNullable<Configuration['ImageConfig']> {
  return {
    ...(entryPoint === undefined ? {} : { EntryPoint: [...entryPoint] }),
    ...(command === undefined ? {} : { Command: [...command] }),
    ...(workingDirectory === undefined ? {} : { WorkingDirectory: workingDirectory }),
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
  const { VpcConfig: _vpc, ImageConfig: _image, ...wanted } = configurationOf(plan);
  const different: [string, unknown][] = Object.entries(wanted).filter(([name, value]) => !isDeepStrictEqual(value, has[name]));
  const vpc = plan.vpc === undefined ? undefined : vpcConfigOf(plan.vpc);
  if (vpc !== undefined && !isDeepStrictEqual(vpcAsSets(vpc), vpcAsSets(current.VpcConfig))) different.push(['VpcConfig', vpc]);
  // Whatever it leaves out is given back to the image.
  const image = plan.packageType === 'Image' ? imageConfigOf(plan.imageConfig) : undefined;
  if (image !== undefined && !isDeepStrictEqual(image, current.ImageConfigResponse?.ImageConfig ?? {})) different.push(['ImageConfig', image]);
  return different.length === 0 ? undefined : Object.fromEntries(different);
}

/** Whether the function runs where the plan says. It is no part of the configuration: UpdateFunctionCode changes it. */
export function hasArchitecture({ architecture }: FunctionSettings, current: FunctionConfiguration): boolean {
  return architecture === undefined || current.Architectures?.includes(architecture) === true;
}
