import { randomUUID } from 'node:crypto';
import type { CreateFunctionRequest, FunctionConfiguration } from '@aws-sdk/client-lambda';
import { FunctionExistsError } from '../../../platform/functions/function-catalogue.ts';
import type { CodeReference, FunctionRecord, VersionConfiguration } from '../../../platform/model/function.ts';
import type { ObjectStore } from '../../../platform/object-store/object-store.ts';
import { CREATING } from '../activation.ts';
import { functionConfiguration } from '../configuration.ts';
import { imageCode, imageSource } from '../container-image.ts';
import type { ApiContext, Handler } from '../context.ts';
import { checkPackage, storePackage, type CodeSource } from '../deployment-package.ts';
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
  const image = request.PackageType === 'Image' ? imageSource(request.Code ?? {}, 'creating') : undefined;
  if (image === undefined && (request.Runtime === undefined || !request.Handler)) {
    throw invalidParameter('Runtime and Handler are mandatory parameters for functions created with deployment packages.');
  }
  if (image !== undefined && !settings.runsContainerImages) {
    throw invalidParameter('PackageType Image needs workers that are pods of Kubernetes (SLUICE_POOL=kubernetes:…), which this installation does not have: give the code as a zip file.');
  }
  const architecture = requestedArchitecture(request.Architectures) ?? 'x86_64';
  const draft = withSettings({ ...defaults(name, architecture), ...(image === undefined ? {} : { image }) }, request);
  const tags = withTags({}, request.Tags ?? {});
  if ((await catalogue.get(settings.account, name)) !== undefined) throw alreadyExists(name);
  const code = image === undefined ? await storedPackage(request.Code ?? {}, store) : imageCode(image);
  const empty: FunctionRecord = {
    account: settings.account,
    name,
    uid: randomUUID(),
    latest: {
      version: '$LATEST',
      configuration: { ...draft, code },
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

async function storedPackage(source: CodeSource, store: ObjectStore): Promise<CodeReference> {
  const checked = await checkPackage(source, 'creating', store);
  await storePackage(checked, store);
  return checked.reference;
}

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
