import type { CloudWatchLogsClient } from '@aws-sdk/client-cloudwatch-logs';
import type { LambdaClient } from '@aws-sdk/client-lambda';
import type { S3Client } from '@aws-sdk/client-s3';
import type { CommandContext, InstanceOptions } from './context.ts';
import { ensureCredentials, findInstance, type Credentials } from './instance.ts';

/** Where the AWS SDK goes, and as whom. */
export interface Connection {
  readonly endpoint: string;
  readonly region: string;
  readonly account: string;
  /** Undefined: the SDK's own chain of providers. */
  readonly credentials: Credentials | undefined;
}

const DEFAULT_REGION = 'us-east-1';
const DEFAULT_ACCOUNT = '000000000000';

/**
 * The Sluice to talk to: what --port or --data name, else what AWS_ENDPOINT_URL names, else the instance of the settings.
 * Rejects with a CliError (exit code 3) where none runs.
 */
export async function connection(context: CommandContext, options: InstanceOptions): Promise<Connection> {
  const { environment } = context;
  const endpoint = environment.AWS_ENDPOINT_URL_LAMBDA ?? environment.AWS_ENDPOINT_URL;
  if (endpoint !== undefined && endpoint !== '' && options.port === undefined && options.data === undefined) {
    const region = environment.AWS_REGION ?? environment.AWS_DEFAULT_REGION ?? DEFAULT_REGION;
    return { endpoint, region, account: environment.SLUICE_ACCOUNT ?? DEFAULT_ACCOUNT, credentials: undefined };
  }
  const instance = await findInstance(environment, options);
  return { endpoint: instance.url, region: instance.region, account: instance.account, credentials: await ensureCredentials(instance.dataDir) };
}

// The SDKs are imported where they are used: `sluice up` and `--help` do without, and start the quicker.

/** `attempts`: an invocation is tried once only, since a second try could run the function twice. */
export async function lambdaClient(to: Connection, options: { readonly attempts?: number } = {}): Promise<LambdaClient> {
  const { LambdaClient } = await import('@aws-sdk/client-lambda');
  return new LambdaClient({ ...clientSettings(to), ...(options.attempts === undefined ? {} : { maxAttempts: options.attempts }) });
}

export async function s3Client(to: Connection): Promise<S3Client> {
  const { S3Client } = await import('@aws-sdk/client-s3');
  return new S3Client({ ...clientSettings(to), forcePathStyle: true, requestChecksumCalculation: 'WHEN_REQUIRED', responseChecksumValidation: 'WHEN_REQUIRED' });
}

export async function logsClient(to: Connection): Promise<CloudWatchLogsClient> {
  const { CloudWatchLogsClient } = await import('@aws-sdk/client-cloudwatch-logs');
  return new CloudWatchLogsClient(clientSettings(to));
}

function clientSettings(to: Connection): { endpoint: string; region: string; credentials?: Credentials } {
  return { endpoint: to.endpoint, region: to.region, ...(to.credentials === undefined ? {} : { credentials: to.credentials }) };
}
