import { findAlias, type FunctionRecord, type FunctionVersion } from '../../platform/model/function.ts';
import { functionArn, resolveFunctionReference } from '../../platform/model/function-reference.ts';
import type { ApiContext, ApiSettings } from './context.ts';
import { functionNotFound, invalidParameter, LambdaApiError, otherAccount, otherRegion, qualifierMismatch } from './errors.ts';

/** The function that a request is about. */
export interface Target {
  readonly name: string;
  readonly qualifier: string | undefined;
}

/** The words for an operation that concerns whole functions only. */
const UNQUALIFIED_ONLY =
  'This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. Please specify either a function name or an unqualified function ARN.';

/** Resolves FunctionName and Qualifier as every operation does. Throws `LambdaApiError` in the service's words. */
export function targetOf(functionName: string | undefined, qualifier: string | undefined, operation: string, settings: ApiSettings): Target {
  const resolution = resolveFunctionReference(functionName ?? '', qualifier, settings);
  switch (resolution.kind) {
    case 'here':
      return { name: resolution.name, qualifier: resolution.qualifier };
    case 'qualifierMismatch':
      throw qualifierMismatch();
    case 'otherRegion':
      throw otherRegion(resolution.region, settings.region);
    case 'otherAccount':
      throw otherAccount(settings.account, operation, functionArn({ ...settings, account: resolution.account }, resolution.name));
    case 'malformed':
      // The model's pattern for function names lets through a few texts that are no reference.
      throw invalidParameter(`'${functionName ?? ''}' is neither a function name nor a function ARN.`);
  }
}

/** As {@link targetOf}, for operations that take no version or alias; `$LATEST` is the function itself. */
export function unqualifiedTarget(functionName: string | undefined, operation: string, settings: ApiSettings): string {
  const { name, qualifier } = targetOf(functionName, undefined, operation, settings);
  if (qualifier !== undefined && qualifier !== '$LATEST') throw invalidParameter(UNQUALIFIED_ONLY);
  return name;
}

/** Reads a function after its activation has ended. Throws that it was not found, under `arn` where one is given. */
export async function settledFunction(name: string, context: ApiContext, arn?: string): Promise<FunctionRecord> {
  const { catalogue, settings, activation } = context;
  const record = await catalogue.get(settings.account, name);
  const settled = record && (await activation.settle(record));
  if (settled === undefined) throw functionNotFound(arn ?? functionArn(settings, name));
  return settled;
}

/** A version of a function by qualifier, through its alias where it names one. Throws that it was not found. */
export async function qualifiedVersion(record: FunctionRecord, qualifier: string | undefined, context: ApiContext): Promise<FunctionVersion> {
  if (qualifier === undefined || qualifier === '$LATEST') return record.latest;
  const version = isVersionNumber(qualifier) ? qualifier : findAlias(record, qualifier)?.functionVersion;
  const found = version === undefined ? undefined : await context.catalogue.getVersion(record, version);
  if (found === undefined) throw functionNotFound(functionArn(context.settings, record.name, qualifier));
  return found;
}

export function isVersionNumber(qualifier: string): boolean {
  return /^\d+$/.test(qualifier);
}

/** How often an update waits for another one's activation before it reports the conflict. */
const MAX_WAITS_FOR_ACTIVATION = 3;

/**
 * Changes a function by compare-and-swap, once it is not half-way through another change: that is waited for, since it takes
 * milliseconds here; Lambda itself answers the conflict at once. Throws `LambdaApiError` for a missing function and an endless conflict.
 */
export async function changeFunction(
  name: string,
  context: ApiContext,
  isBlocked: (record: FunctionRecord) => boolean,
  change: (record: FunctionRecord) => FunctionRecord | Promise<FunctionRecord>,
): Promise<FunctionRecord> {
  const { catalogue, settings, activation } = context;
  const arn = functionArn(settings, name);
  for (let waits = 0; ; waits++) {
    let blocked: FunctionRecord | undefined;
    const stored = await catalogue.update(settings.account, name, (record) => {
      blocked = isBlocked(record) ? record : undefined;
      return blocked ?? change(record);
    });
    if (stored === undefined) throw functionNotFound(arn);
    if (blocked === undefined) return stored;
    if (waits === MAX_WAITS_FOR_ACTIVATION) throw inProgress(blocked, arn);
    await activation.settle(blocked);
  }
}

function inProgress({ latest }: FunctionRecord, arn: string): LambdaApiError {
  const reason = latest.state === 'Pending' ? 'The function is currently in the following state: Pending' : `An update is in progress for resource: ${arn}`;
  return new LambdaApiError('ResourceConflictException', `The operation cannot be performed at this time. ${reason}`);
}
