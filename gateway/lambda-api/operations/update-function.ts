import { randomUUID } from 'node:crypto';
import type { FunctionConfiguration, PublishVersionRequest, UpdateFunctionCodeRequest, UpdateFunctionConfigurationRequest } from '@aws-sdk/client-lambda';
import { shownRevision, type FunctionRecord, type FunctionVersion, type VersionConfiguration } from '../../../platform/model/function.ts';
import { CREATING, isHalfWay, UPDATING } from '../activation.ts';
import { functionConfiguration } from '../configuration.ts';
import type { ApiContext, Handler } from '../context.ts';
import { imageCode, imageSource } from '../container-image.ts';
import { checkPackage, storePackage } from '../deployment-package.ts';
import { invalidParameter, LambdaApiError, revisionMismatch } from '../errors.ts';
import { changeFunction, settledFunction, unqualifiedTarget } from '../target.ts';
import { refuse, requestedArchitecture, withSettings } from './function-settings.ts';
import { publish } from './publishing.ts';

export const updateFunctionConfiguration: Handler<UpdateFunctionConfigurationRequest, FunctionConfiguration> = async (request, context) => {
  const name = unqualifiedTarget(request.FunctionName, 'UpdateFunctionConfiguration', context.settings);
  const updated = await changeFunction(name, context, isBusy, (record) => {
    checkRevision(shownRevision(record, record.latest), request.RevisionId);
    return { ...record, latest: changedLatest(record.latest, withSettings(record.latest.configuration, request), context) };
  });
  context.activation.begin(context.settings.account, name);
  return functionConfiguration(updated, updated.latest, context.settings, { qualifier: undefined });
};

export const updateFunctionCode: Handler<UpdateFunctionCodeRequest, FunctionConfiguration> = async (request, context) => {
  const { settings, store, catalogue, activation } = context;
  const name = unqualifiedTarget(request.FunctionName, 'UpdateFunctionCode', settings);
  refuse([['PublishTo', request.PublishTo !== undefined]]);
  const architecture = requestedArchitecture(request.Architectures);
  const settled = await settledFunction(name, context);
  const before = settled.latest;
  checkRevision(shownRevision(settled, before), request.RevisionId);
  // A function's package type never changes.
  const source = before.configuration.image === undefined ? { checked: await checkPackage(request, 'updating', store) } : { image: imageSource(request, 'updating') };
  const withCode = (record: FunctionRecord): FunctionRecord => {
    checkRevision(shownRevision(record, record.latest), request.RevisionId);
    const { configuration } = record.latest;
    const code = 'image' in source ? { image: { ...configuration.image, ...source.image }, code: imageCode(source.image) } : { code: source.checked.reference };
    const changed = { ...configuration, ...code, architecture: architecture ?? configuration.architecture };
    return { ...record, latest: changedLatest(record.latest, changed, context) };
  };
  if (request.DryRun === true) {
    const would = withCode(await settledFunction(name, context));
    return functionConfiguration(would, would.latest, settings, { qualifier: undefined });
  }
  if (source.checked !== undefined) await storePackage(source.checked, store);
  let published: FunctionVersion | undefined;
  const updated = await changeFunction(name, context, isBusy, async (record) => {
    const changed = withCode(record);
    if (request.Publish !== true) return changed;
    const publication = await publish(changed, undefined, catalogue);
    published = publication.version;
    return publication.record;
  });
  activation.begin(settings.account, name);
  if (published === undefined) return functionConfiguration(updated, updated.latest, settings, { qualifier: undefined });
  return functionConfiguration(updated, { ...published, ...CREATING }, settings, { qualifier: published.version });
};

export const publishVersion: Handler<PublishVersionRequest, FunctionConfiguration> = async (request, context) => {
  const { settings, catalogue } = context;
  const name = unqualifiedTarget(request.FunctionName, 'PublishVersion', settings);
  refuse([['PublishTo', request.PublishTo !== undefined]]);
  let published: FunctionVersion | undefined;
  const updated = await changeFunction(name, context, ({ latest }) => isHalfWay(latest), async (record) => {
    const { latest } = record;
    checkRevision(shownRevision(record, latest), request.RevisionId);
    checkCode(latest.configuration.code.sha256, request.CodeSha256);
    if (latest.state !== 'Active' || latest.lastUpdateStatus === 'Failed') {
      const state = latest.state === 'Active' ? 'its last update has failed' : `The function is currently in the following state: ${latest.state}`;
      throw new LambdaApiError('ResourceConflictException', `The operation cannot be performed at this time. ${state}`);
    }
    const publication = await publish(record, request.Description, catalogue);
    published = publication.version;
    return publication.record;
  });
  if (published === undefined) throw new Error(`Publishing a version of ${name} has stored no version.`);
  return functionConfiguration(updated, published, settings, { qualifier: published.version });
};

/** An update waits for the one before; a function whose create is half-way likewise. */
function isBusy({ latest }: FunctionRecord): boolean {
  return isHalfWay(latest);
}

function changedLatest(latest: FunctionVersion, configuration: VersionConfiguration, { clock }: ApiContext): FunctionVersion {
  // A function whose create has failed gets another chance with its first update.
  const state = latest.state === 'Failed' ? CREATING : UPDATING;
  const { lastUpdateStatusReason: _reason, lastUpdateStatusReasonCode: _code, ...rest } = latest;
  return { ...rest, ...state, configuration, revisionId: randomUUID(), lastModifiedMs: clock.now() };
}

/** Only where the caller has given one. */
export function checkRevision(latest: string, given: string | undefined): void {
  if (given !== undefined && given !== latest) throw revisionMismatch();
}

function checkCode(latest: string, given: string | undefined): void {
  if (given === undefined || given === latest) return;
  throw invalidParameter(`CodeSHA256 (${given.slice(0, 200)}) is different from current CodeSHA256 in $LATEST (${latest}). Please try again with the CodeSHA256 in $LATEST.`);
}
