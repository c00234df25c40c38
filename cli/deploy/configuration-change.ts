import { isDeepStrictEqual } from 'node:util';
import type { FunctionConfiguration, UpdateFunctionConfigurationCommandInput } from '@aws-sdk/client-lambda';
import type { FunctionPlan } from './plan.ts';

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
  };
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
  const different = Object.entries(configurationOf(plan)).filter(([name, value]) => !isDeepStrictEqual(value, has[name]));
  return different.length === 0 ? undefined : Object.fromEntries(different);
}
