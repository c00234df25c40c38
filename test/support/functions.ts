import { Buffer } from 'node:buffer';
import { CreateFunctionCommand, InvokeCommand, waitUntilFunctionActiveV2, waitUntilFunctionUpdatedV2 } from '@aws-sdk/client-lambda';
import type { CreateFunctionCommandInput, FunctionConfiguration, InvokeCommandInput, InvokeCommandOutput, LambdaClient, Runtime } from '@aws-sdk/client-lambda';
import { zip } from './packages.ts';

export const ROLE = 'arn:aws:iam::000000000000:role/test';
/** Ends a test that hangs; no test depends on how long anything takes. */
export const PATIENCE_SEC = 60;

export interface Deployment extends Partial<Omit<CreateFunctionCommandInput, 'FunctionName' | 'Code' | 'Environment'>> {
  readonly name: string;
  /** Sources by path. */
  readonly files: Readonly<Record<string, string>>;
  readonly variables?: Readonly<Record<string, string>>;
}

/** Creates a function (Node, `index.handler`, where nothing else is said) and waits until it is active. */
export async function deploy(lambda: LambdaClient, deployment: Deployment): Promise<FunctionConfiguration> {
  const { name, files, variables, ...rest } = deployment;
  const runtime: Runtime = 'nodejs22.x';
  const configuration = await lambda.send(
    new CreateFunctionCommand({
      FunctionName: name,
      Runtime: runtime,
      Handler: 'index.handler',
      Role: ROLE,
      Code: { ZipFile: await zip(files) },
      ...(variables && { Environment: { Variables: { ...variables } } }),
      ...rest,
    }),
  );
  await active(lambda, name);
  return configuration;
}

/** Waits with the SDK's own waiter until a new function can be invoked. */
export async function active(lambda: LambdaClient, name: string): Promise<void> {
  await waitUntilFunctionActiveV2({ client: lambda, maxWaitTime: PATIENCE_SEC, minDelay: 0.05, maxDelay: 1 }, { FunctionName: name });
}

/** Waits with the SDK's own waiter until an update has taken effect. */
export async function updated(lambda: LambdaClient, name: string): Promise<void> {
  await waitUntilFunctionUpdatedV2({ client: lambda, maxWaitTime: PATIENCE_SEC, minDelay: 0.05, maxDelay: 1 }, { FunctionName: name });
}

export interface Invoked {
  readonly output: InvokeCommandOutput;
  /** The payload as text; empty where there is none. */
  readonly text: string;
  /** The decoded log tail; empty where none was asked for. */
  readonly tail: string;
}

/** Invokes with a JSON event. */
export async function invoke(lambda: LambdaClient, name: string, event: unknown = {}, options: Partial<InvokeCommandInput> = {}): Promise<Invoked> {
  const output = await lambda.send(new InvokeCommand({ FunctionName: name, Payload: Buffer.from(JSON.stringify(event)), ...options }));
  return {
    output,
    // The SDK gives undefined, null or no bytes where the answer has no body.
    text: Buffer.from(output.Payload ?? []).toString('utf8'),
    tail: output.LogResult === undefined ? '' : Buffer.from(output.LogResult, 'base64').toString('utf8'),
  };
}

/** The result of an invocation that must have succeeded. */
export async function result<Result = unknown>(lambda: LambdaClient, name: string, event: unknown = {}, options: Partial<InvokeCommandInput> = {}): Promise<Result> {
  const { output, text } = await invoke(lambda, name, event, options);
  if (output.FunctionError !== undefined) throw new Error(`${name} failed (${output.FunctionError}): ${text}`);
  return JSON.parse(text) as Result;
}

export interface FunctionFailure {
  readonly errorType?: string;
  readonly errorMessage: string;
  readonly trace?: readonly string[];
  readonly stackTrace?: readonly string[];
  readonly requestId?: string;
}

/** The error object of an invocation whose function must have failed. */
export async function failure(lambda: LambdaClient, name: string, event: unknown = {}, options: Partial<InvokeCommandInput> = {}): Promise<FunctionFailure & { readonly tail: string }> {
  const { output, text, tail } = await invoke(lambda, name, event, { LogType: 'Tail', ...options });
  if (output.FunctionError !== 'Unhandled') throw new Error(`${name} should have failed, but answered ${output.StatusCode}: ${text}`);
  return { ...(JSON.parse(text) as FunctionFailure), tail };
}
