import type { DeleteFunctionRequest, DeleteFunctionResponse } from '@aws-sdk/client-lambda';
import { withoutQualifier, type FunctionRecord } from '../../../platform/model/function.ts';
import { functionArn } from '../../../platform/model/function-reference.ts';
import type { Handler } from '../context.ts';
import { functionNotFound, invalidParameter, LambdaApiError } from '../errors.ts';
import { isVersionNumber, targetOf } from '../target.ts';

/** Deletes a function, or with a version as qualifier that version alone. */
export const deleteFunction: Handler<DeleteFunctionRequest, DeleteFunctionResponse> = async (request, context) => {
  const { catalogue, settings } = context;
  const { name, qualifier } = targetOf(request.FunctionName, request.Qualifier, 'DeleteFunction', settings);
  if (qualifier === '$LATEST') throw invalidParameter('$LATEST version cannot be deleted without deleting the function.');
  if (qualifier !== undefined && !isVersionNumber(qualifier)) throw invalidParameter('Deletion of aliases is not currently supported.');
  const existed =
    qualifier === undefined
      ? await catalogue.delete(settings.account, name)
      : (await catalogue.update(settings.account, name, (record) => withoutVersion(record, qualifier))) !== undefined;
  if (!existed) throw functionNotFound(functionArn(settings, name));
  return { StatusCode: 204 };
};

/** A version that is not there is deleted already. */
function withoutVersion(record: FunctionRecord, version: string): FunctionRecord {
  if (!record.publishedVersions.some((published) => published.version === version)) return record;
  const pointing = record.aliases.filter((alias) => alias.functionVersion === version || Object.hasOwn(alias.additionalVersionWeights, version));
  if (pointing.length > 0) {
    const names = pointing.map((alias) => alias.name).join(', ');
    throw new LambdaApiError('ResourceConflictException', `Unable to delete version because the following aliases reference it: [${names}]`);
  }
  return withoutQualifier({ ...record, publishedVersions: record.publishedVersions.filter((published) => published.version !== version) }, version);
}
