import { randomBytes } from 'node:crypto';
import { delimiter } from 'node:path';
import type { ExecutionSpec } from '../../platform/model/execution-spec.ts';
import type { RuntimeInstallation } from '../runtimes/runtime.ts';

export interface VariableSource {
  readonly spec: ExecutionSpec;
  readonly installation: RuntimeInstallation;
  readonly taskRoot: string;
  readonly logStream: string;
  readonly region: string;
  readonly endpointUrl: string;
  /** `127.0.0.1:port`. */
  readonly runtimeApi: string;
  /** Where /tmp is not the environment's own. */
  readonly temporaryDir: string | undefined;
}

/** Only what a process needs before it knows its function: nothing of the platform's own environment. */
export function bareVariables(installation: RuntimeInstallation): Record<string, string> {
  return {
    PATH: [installation.interpreterDir, '/usr/local/bin', '/usr/bin', '/bin', '/opt/bin'].join(delimiter),
    LANG: 'en_US.UTF-8',
    TZ: ':UTC',
  };
}

/** Everything that a function finds in its environment (Lambda guide, "Defined runtime environment variables"). */
export function functionVariables(source: VariableSource): Record<string, string> {
  const { spec, installation } = source;
  const { configuration } = spec;
  return {
    ...bareVariables(installation),
    ...(source.temporaryDir === undefined ? {} : { TMPDIR: source.temporaryDir }),
    LD_LIBRARY_PATH: `${source.taskRoot}:${source.taskRoot}/lib:/opt/lib`,
    ...temporaryCredentials(),
    AWS_ENDPOINT_URL: source.endpointUrl,
    ...configuration.environment,
    AWS_LAMBDA_FUNCTION_NAME: spec.functionName,
    AWS_LAMBDA_FUNCTION_VERSION: spec.version,
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(configuration.memoryMiB),
    AWS_LAMBDA_LOG_GROUP_NAME: configuration.logGroup,
    AWS_LAMBDA_LOG_STREAM_NAME: source.logStream,
    AWS_LAMBDA_INITIALIZATION_TYPE: 'on-demand',
    AWS_LAMBDA_RUNTIME_API: source.runtimeApi,
    AWS_EXECUTION_ENV: `AWS_Lambda_${configuration.runtime}`,
    AWS_REGION: source.region,
    AWS_DEFAULT_REGION: source.region,
    _HANDLER: configuration.handler,
    LAMBDA_TASK_ROOT: source.taskRoot,
    LAMBDA_RUNTIME_DIR: installation.runtimeDir,
  };
}

/** Credentials of the form that SDKs expect, random per environment: there is nothing yet that would check them. */
function temporaryCredentials(): Record<string, string> {
  return {
    AWS_ACCESS_KEY_ID: `ASIA${randomBytes(10).toString('hex').toUpperCase().slice(0, 16)}`,
    AWS_SECRET_ACCESS_KEY: randomBytes(30).toString('base64'),
    AWS_SESSION_TOKEN: randomBytes(96).toString('base64'),
  };
}

/** `2024/05/03/[$LATEST]8f0c…`: one stream per environment (Lambda guide, "Sending Lambda function logs to CloudWatch Logs"). */
export function newLogStream(version: string, nowMs: number): string {
  return `${new Date(nowMs).toISOString().slice(0, 10).replaceAll('-', '/')}/[${version}]${randomBytes(16).toString('hex')}`;
}
