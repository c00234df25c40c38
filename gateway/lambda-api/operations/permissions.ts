import { randomUUID } from 'node:crypto';
import type { AddPermissionRequest, AddPermissionResponse, GetPolicyRequest, GetPolicyResponse, RemovePermissionRequest } from '@aws-sdk/client-lambda';
import { entryOf, findAlias, findVersion, shownRevision, type FunctionRecord, type PolicyStatement } from '../../../platform/model/function.ts';
import { functionArn, type Home } from '../../../platform/model/function-reference.ts';
import type { ApiContext, Handler } from '../context.ts';
import { functionNotFound, invalidParameter, LambdaApiError } from '../errors.ts';
import { MAX_POLICY_BYTES, policyDocument, statementOf } from '../resource-policy.ts';
import { targetOf, type Target } from '../target.ts';

export const addPermission: Handler<AddPermissionRequest, AddPermissionResponse> = async (request, context) => {
  const target = targetOf(request.FunctionName, request.Qualifier, 'AddPermission', context.settings);
  const statement = statementOf(request, functionArn(context.settings, target.name, target.qualifier));
  await changePolicy(target, context, request.RevisionId, (statements) => {
    if (statements.some(({ Sid }) => Sid === statement.Sid)) {
      throw new LambdaApiError('ResourceConflictException', `The statement id (${statement.Sid}) provided already exists. Please provide a new statement id, or remove the existing statement.`);
    }
    const changed = [...statements, statement];
    const sizeBytes = Buffer.byteLength(policyDocument(changed));
    if (sizeBytes > MAX_POLICY_BYTES) throw new LambdaApiError('PolicyLengthExceededException', `The final policy size (${sizeBytes}) is bigger than the limit (${MAX_POLICY_BYTES}).`);
    return changed;
  });
  return { Statement: JSON.stringify(statement) };
};

export const removePermission: Handler<RemovePermissionRequest, object> = async (request, context) => {
  const target = targetOf(request.FunctionName, request.Qualifier, 'RemovePermission', context.settings);
  const sid = request.StatementId ?? '';
  await changePolicy(target, context, request.RevisionId, (statements) => {
    if (statements.length === 0) throw new LambdaApiError('ResourceNotFoundException', 'No policy is associated with the given resource.');
    if (!statements.some(({ Sid }) => Sid === sid)) throw new LambdaApiError('ResourceNotFoundException', `Statement ${sid} is not found in resource policy.`);
    return statements.filter(({ Sid }) => Sid !== sid);
  });
  return {};
};

export const getPolicy: Handler<GetPolicyRequest, GetPolicyResponse> = async (request, { catalogue, settings }) => {
  const { name, qualifier } = targetOf(request.FunctionName, request.Qualifier, 'GetPolicy', settings);
  const record = await catalogue.get(settings.account, name);
  const revisionId = record && revisionOf(record, qualifier);
  if (record === undefined || revisionId === undefined) throw notFound(settings, name, qualifier);
  const statements = entryOf(record.policies, policyKey(qualifier))?.statements ?? [];
  if (statements.length === 0) throw new LambdaApiError('ResourceNotFoundException', 'The resource you requested does not exist.');
  return { Policy: policyDocument(statements), RevisionId: revisionId };
};

/** Policies are no part of a version, whose environments stay warm. But its `RevisionId` changes with them, or its alias's. */
async function changePolicy({ name, qualifier }: Target, { catalogue, settings }: ApiContext, given: string | undefined, change: (statements: readonly PolicyStatement[]) => readonly PolicyStatement[]): Promise<void> {
  if (qualifier === '$LATEST') throw invalidParameter('We currently do not support adding policies for $LATEST.');
  const stored = await catalogue.update(settings.account, name, (record) => {
    const present = revisionOf(record, qualifier);
    if (present === undefined) throw notFound(settings, name, qualifier);
    if (given !== undefined && given !== present) {
      throw new LambdaApiError('PreconditionFailedException', 'The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest Revision Id');
    }
    const key = policyKey(qualifier);
    const statements = change(entryOf(record.policies, key)?.statements ?? []);
    const alias = findAlias(record, key);
    const of = findVersion(record, key)?.revisionId;
    return {
      ...record,
      policies: { ...record.policies, [key]: { statements, ...(of !== undefined && { revision: { of, shown: randomUUID() } }) } },
      aliases: alias === undefined ? record.aliases : record.aliases.map((other) => (other === alias ? { ...alias, revisionId: randomUUID() } : other)),
    };
  });
  if (stored === undefined) throw notFound(settings, name, qualifier);
}

function notFound(home: Home, name: string, qualifier: string | undefined): LambdaApiError {
  return functionNotFound(functionArn(home, name, qualifier));
}

function policyKey(qualifier: string | undefined): string {
  return qualifier ?? '$LATEST';
}

/** Of the version or alias that a policy is of; undefined: there is none of that name. */
function revisionOf(record: FunctionRecord, qualifier: string | undefined): string | undefined {
  const key = policyKey(qualifier);
  const version = findVersion(record, key);
  return version === undefined ? findAlias(record, key)?.revisionId : shownRevision(record, version);
}
