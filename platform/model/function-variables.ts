import { randomBytes } from 'node:crypto';
import type { ExecutionSpec } from './execution-spec.ts';

export interface FunctionVariablesSource {
  readonly spec: ExecutionSpec;
  readonly logStream: string;
  readonly region: string;
  /** The gateway. */
  readonly endpointUrl: string;
  /** `127.0.0.1:port`. */
  readonly runtimeApi: string;
}

/** What a function finds in its environment whoever brings its runtime, its own variables included (Lambda guide, "Defined runtime environment variables"). */
export function functionVariables({ spec, logStream, region, endpointUrl, runtimeApi }: FunctionVariablesSource): Record<string, string> {
  const { configuration } = spec;
  return {
    ...temporaryCredentials(),
    AWS_ENDPOINT_URL: endpointUrl,
    ...configuration.environment,
    AWS_LAMBDA_FUNCTION_NAME: spec.functionName,
    AWS_LAMBDA_FUNCTION_VERSION: spec.version,
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE: String(configuration.memoryMiB),
    AWS_LAMBDA_LOG_GROUP_NAME: configuration.logGroup,
    AWS_LAMBDA_LOG_STREAM_NAME: logStream,
    AWS_LAMBDA_INITIALIZATION_TYPE: 'on-demand',
    AWS_LAMBDA_RUNTIME_API: runtimeApi,
    AWS_REGION: region,
    AWS_DEFAULT_REGION: region,
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
