import { randomUUID } from 'node:crypto';
import type { CreateFunctionRequest, FunctionConfiguration } from '@aws-sdk/client-lambda';
import { FunctionExistsError } from '../../../platform/functions/function-catalogue.ts';
import type { FunctionRecord, VersionConfiguration } from '../../../platform/model/function.ts';
import { CREATING } from '../activation.ts';
import { functionConfiguration } from '../configuration.ts';
import type { ApiContext, Handler } from '../context.ts';
import { checkPackage, storePackage } from '../deployment-package.ts';
import { invalidParameter, LambdaApiError, validationErrors } from '../errors.ts';
import { MAX_FUNCTION_NAME_CHARS } from '../limits.ts';
import { unqualifiedTarget } from '../target.ts';
import { requestedArchitecture, withSettings } from './function-settings.ts';
import { publish } from './publishing.ts';
import { withTags } from './tag-rules.ts';

/**
 * The package is stored before the function's entry, so that an entry always has its code. A create that fails in between leaves nothing
 * that anyone sees: packages lie under their hash and are used again when the same one comes.
 */
export const createFunction: Handler<CreateFunctionRequest, FunctionConfiguration> = async (request, context) => {
  const { catalogue, settings, store, activation } = context;
  const name = newName(request, context);
  if (request.PackageType === 'Image') throw invalidParameter('PackageType Image is not supported by Sluice yet: give the code as a zip file.');
  if (request.Runtime === undefined || !request.Handler) {
    throw invalidParameter('Runtime and Handler are mandatory parameters for functions created with deployment packages.');
  }
  const architecture = requestedArchitecture(request.Architectures) ?? 'x86_64';
  const draft = withSettings(defaults(name, architecture), request);
  const tags = withTags({}, request.Tags ?? {});
  if ((await catalogue.get(settings.account, name)) !== undefined) throw alreadyExists(name);
  const checked = await checkPackage(request.Code ?? {}, 'creating', store);
  await storePackage(checked, store);
  const empty: FunctionRecord = {
    account: settings.account,
    name,
    uid: randomUUID(),
    latest: {
      version: '$LATEST',
      configuration: { ...draft, code: checked.reference },
      revisionId: randomUUID(),
      lastModifiedMs: context.clock.now(),
      ...CREATING,
    },
    publishedVersions: [],
    nextVersion: 1,
    aliases: [],
    tags,
  };
  const { record, version } = request.Publish === true ? await publish(empty, undefined, catalogue) : { record: empty, version: empty.latest };
  try {
    await catalogue.create(record);
  } catch (error) {
    throw error instanceof FunctionExistsError ? alreadyExists(name) : error;
  }
  activation.begin(settings.account, name);
  // The service shows a version published in the same step as being created, under the function's own ARN.
  return functionConfiguration(record, { ...version, ...CREATING }, settings, { qualifier: undefined });
};

function newName(request: CreateFunctionRequest, context: ApiContext): string {
  const name = unqualifiedTarget(request.FunctionName, 'CreateFunction', context.settings);
  if (name.length > MAX_FUNCTION_NAME_CHARS) {
    const violation = `Value '${name}' at 'functionName' failed to satisfy constraint: Member must have length less than or equal to ${MAX_FUNCTION_NAME_CHARS}`;
    throw validationErrors([violation], 'InvalidParameterValueException');
  }
  return name;
}

/** CreateFunction API: what a setting is when it is not given. */
function defaults(name: string, architecture: VersionConfiguration['architecture']): VersionConfiguration {
  return {
    runtime: '',
    handler: '',
    role: '',
    description: '',
    timeoutSec: 3,
    memoryMiB: 128,
    ephemeralStorageMiB: 512,
    environment: undefined,
    architecture,
    tracingMode: 'PassThrough',
    logGroup: `/aws/lambda/${name}`,
    code: { sha256: '', sizeBytes: 0, objectKey: '' },
  };
}

function alreadyExists(name: string): LambdaApiError {
  return new LambdaApiError('ResourceConflictException', `Function already exist: ${name}`);
}
