import { arch } from 'node:os';
import type { CreateFunctionRequest, UpdateFunctionConfigurationRequest } from '@aws-sdk/client-lambda';
import type { VersionConfiguration } from '../../../platform/model/function.ts';
import { findRuntime, RUNTIMES } from '../../../platform/model/runtimes.ts';
import { withImageConfig } from '../container-image.ts';
import { invalidParameter } from '../errors.ts';
import { MAX_ENVIRONMENT_BYTES, MAX_MEMORY_MIB } from '../limits.ts';
import { KNOWN_RUNTIMES } from '../model.ts';
import { vpcSettings } from '../vpc.ts';

/** What CreateFunction and UpdateFunctionConfiguration have in common, and what only the first has to be asked for in vain. */
export type RequestedSettings = Pick<UpdateFunctionConfigurationRequest, Extract<keyof CreateFunctionRequest, keyof UpdateFunctionConfigurationRequest>> &
  Partial<Pick<CreateFunctionRequest, 'CodeSigningConfigArn' | 'PublishTo' | 'TenancyConfig'>>;

/** Lambda guide, "Defined runtime environment variables": those that functions may not set. */
const RESERVED_VARIABLES: ReadonlySet<string> = new Set([
  '_HANDLER', '_X_AMZN_TRACE_ID', 'AWS_DEFAULT_REGION', 'AWS_REGION', 'AWS_EXECUTION_ENV', 'AWS_LAMBDA_FUNCTION_NAME', 'AWS_LAMBDA_FUNCTION_MEMORY_SIZE',
  'AWS_LAMBDA_FUNCTION_VERSION', 'AWS_LAMBDA_INITIALIZATION_TYPE', 'AWS_LAMBDA_LOG_GROUP_NAME', 'AWS_LAMBDA_LOG_STREAM_NAME', 'AWS_ACCESS_KEY',
  'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN', 'AWS_LAMBDA_RUNTIME_API', 'LAMBDA_TASK_ROOT', 'LAMBDA_RUNTIME_DIR',
]);

/**
 * A version's settings with those of a request laid over them. Throws `LambdaApiError` for what is wrong beyond the model, and for
 * everything that Sluice does not have yet: a setting is never silently ignored.
 */
export function withSettings(base: VersionConfiguration, request: RequestedSettings): VersionConfiguration {
  refuseUnsupported(request);
  checkPackageType(base, request);
  if (request.Runtime !== undefined) checkRuntime(request.Runtime);
  if (request.MemorySize !== undefined && request.MemorySize > MAX_MEMORY_MIB) {
    throw invalidParameter(`'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to ${MAX_MEMORY_MIB}`);
  }
  if (request.Environment !== undefined) checkEnvironment(request.Environment.Variables ?? {});
  return {
    ...base,
    ...(base.image !== undefined && request.ImageConfig !== undefined && { image: withImageConfig(base.image, request.ImageConfig) }),
    ...(request.VpcConfig !== undefined && { vpc: vpcSettings(base.vpc, request.VpcConfig) }),
    runtime: request.Runtime ?? base.runtime,
    handler: request.Handler ?? base.handler,
    role: request.Role ?? base.role,
    description: request.Description ?? base.description,
    timeoutSec: request.Timeout ?? base.timeoutSec,
    memoryMiB: request.MemorySize ?? base.memoryMiB,
    ephemeralStorageMiB: request.EphemeralStorage?.Size ?? base.ephemeralStorageMiB,
    environment: request.Environment === undefined ? base.environment : { ...request.Environment.Variables },
    tracingMode: request.TracingConfig?.Mode ?? base.tracingMode,
    logGroup: request.LoggingConfig?.LogGroup ?? base.logGroup,
  };
}

/** What belongs to one type of package only, in the service's words. */
function checkPackageType({ image }: VersionConfiguration, { Handler, Runtime, Layers, ImageConfig }: RequestedSettings): void {
  if (image !== undefined && (Handler !== undefined || Runtime !== undefined || isFilled(Layers))) {
    throw invalidParameter("Please don't provide Handler or Runtime or Layer when the intended function PackageType is Image.");
  }
  if (image === undefined && (isFilled(ImageConfig?.Command) || isFilled(ImageConfig?.EntryPoint) || !!ImageConfig?.WorkingDirectory)) {
    throw invalidParameter("Please don't provide ImageConfig when the intended function PackageType is Zip.");
  }
}

/** The architecture that a request asks for; undefined where it asks for none. */
export function requestedArchitecture(architectures: readonly string[] | undefined): VersionConfiguration['architecture'] | undefined {
  const architecture = architectures?.[0];
  if (architecture === 'arm64' && arch() !== 'arm64') {
    throw invalidParameter(`Architecture arm64 is not available: this Sluice runs on ${arch()}. Use x86_64.`);
  }
  return architecture === 'arm64' || architecture === 'x86_64' ? architecture : undefined;
}

function checkRuntime(runtime: string): void {
  if (findRuntime(runtime) !== undefined) return;
  const supported = RUNTIMES.map(({ name }) => name).join(', ');
  if (KNOWN_RUNTIMES.has(runtime)) throw invalidParameter(`The runtime ${runtime} is not supported by Sluice yet. Supported runtimes: ${supported}.`);
  // The service's words, which are not those of a validation error.
  throw invalidParameter(`Value ${runtime.slice(0, 200)} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [${supported}] or be a valid ARN`);
}

function checkEnvironment(variables: Readonly<Record<string, string>>): void {
  const reserved = Object.keys(variables).filter((name) => RESERVED_VARIABLES.has(name));
  if (reserved.length > 0) {
    throw invalidParameter(
      `Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys that are currently not supported for modification. Reserved keys used in this request: ${reserved.join(', ')}`,
    );
  }
  const bytes = Buffer.byteLength(JSON.stringify(variables));
  if (bytes > MAX_ENVIRONMENT_BYTES) {
    // The service repeats the variables after this; they are not repeated here, since they may be secrets.
    throw invalidParameter(
      `Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB limit. Bytes measured: ${bytes}`,
    );
  }
  const withNul = Object.keys(variables).find((name) => variables[name]?.includes('\0'));
  if (withNul !== undefined) throw invalidParameter(`The environment variable ${withNul} contains a NUL character, which no process can be given.`);
}

/** What a later release will have. Each is refused where it would change what the function does; empty values are the default. */
function refuseUnsupported(request: RequestedSettings): void {
  const asked: readonly (readonly [string, boolean])[] = [
    ['Layers', isFilled(request.Layers)],
    ['FileSystemConfigs', isFilled(request.FileSystemConfigs)],
    ['DeadLetterConfig', !!request.DeadLetterConfig?.TargetArn],
    ['KMSKeyArn', !!request.KMSKeyArn],
    ['SnapStart.ApplyOn PublishedVersions', request.SnapStart?.ApplyOn === 'PublishedVersions'],
    ['LoggingConfig.LogFormat JSON', request.LoggingConfig?.LogFormat === 'JSON'],
    ['CapacityProviderConfig', request.CapacityProviderConfig !== undefined],
    ['DurableConfig', request.DurableConfig !== undefined],
    ['CodeSigningConfigArn', !!request.CodeSigningConfigArn],
    ['PublishTo', request.PublishTo !== undefined],
    ['TenancyConfig', request.TenancyConfig !== undefined],
  ];
  refuse(asked);
  const { ApplicationLogLevel, SystemLogLevel } = request.LoggingConfig ?? {};
  if (ApplicationLogLevel !== undefined || SystemLogLevel !== undefined) {
    throw invalidParameter('LogLevel is not supported when LogFormat is set to "Text". Remove LogLevel from your request or change the LogFormat to "JSON" and try again.');
  }
}

/** Throws for the settings asked for that Sluice does not have. */
export function refuse(asked: readonly (readonly [name: string, isAsked: boolean])[]): void {
  const names = asked.filter(([, isAsked]) => isAsked).map(([name]) => name);
  if (names.length > 0) throw invalidParameter(`Not supported by Sluice yet: ${names.join(', ')}. Leave it out of the request.`);
}

function isFilled(list: readonly unknown[] | undefined): boolean {
  return list !== undefined && list.length > 0;
}
