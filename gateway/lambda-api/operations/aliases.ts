import { randomUUID } from 'node:crypto';
import type {
  AliasConfiguration, AliasRoutingConfiguration, CreateAliasRequest, DeleteAliasRequest, GetAliasRequest, ListAliasesRequest, ListAliasesResponse, UpdateAliasRequest,
} from '@aws-sdk/client-lambda';
import { findAlias, findVersion, withoutQualifier, type FunctionAlias, type FunctionRecord } from '../../../platform/model/function.ts';
import { functionArn, type Home } from '../../../platform/model/function-reference.ts';
import type { Handler } from '../context.ts';
import { functionNotFound, invalidParameter, LambdaApiError } from '../errors.ts';
import { MAX_ALIASES } from '../limits.ts';
import { pageByName } from '../paging.ts';
import { unqualifiedTarget } from '../target.ts';
import { checkRevision } from './update-function.ts';

export const createAlias: Handler<CreateAliasRequest, AliasConfiguration> = async (request, { catalogue, settings }) => {
  const functionName = unqualifiedTarget(request.FunctionName, 'CreateAlias', settings);
  const alias: FunctionAlias = {
    name: request.Name ?? '',
    functionVersion: request.FunctionVersion ?? '',
    description: request.Description ?? '',
    additionalVersionWeights: weightsOf(request.RoutingConfig),
    revisionId: randomUUID(),
  };
  const stored = await catalogue.update(settings.account, functionName, (record) => {
    checkVersions(record, alias, settings);
    if (findAlias(record, alias.name) !== undefined) {
      throw new LambdaApiError('ResourceConflictException', `Alias already exists: ${functionArn(settings, functionName, alias.name)}`);
    }
    if (record.aliases.length >= MAX_ALIASES) throw invalidParameter(`The function ${functionName} has ${MAX_ALIASES} aliases, which is the limit. Delete one first.`);
    return { ...record, aliases: [...record.aliases, alias] };
  });
  // The service names the version that it was looking for.
  if (stored === undefined) throw functionNotFound(functionArn(settings, functionName, alias.functionVersion));
  return aliasConfiguration(functionName, alias, settings);
};

export const getAlias: Handler<GetAliasRequest, AliasConfiguration> = async (request, { catalogue, settings }) => {
  const functionName = unqualifiedTarget(request.FunctionName, 'GetAlias', settings);
  const record = await catalogue.get(settings.account, functionName);
  const alias = record && findAlias(record, request.Name ?? '');
  if (alias === undefined) throw new LambdaApiError('ResourceNotFoundException', `Cannot find alias arn: ${functionArn(settings, functionName, request.Name)}`);
  return aliasConfiguration(functionName, alias, settings);
};

export const updateAlias: Handler<UpdateAliasRequest, AliasConfiguration> = async (request, { catalogue, settings }) => {
  const functionName = unqualifiedTarget(request.FunctionName, 'UpdateAlias', settings);
  const notFound = (): LambdaApiError => new LambdaApiError('ResourceNotFoundException', `Alias not found: ${functionArn(settings, functionName, request.Name)}`);
  let updated: FunctionAlias | undefined;
  await catalogue.update(settings.account, functionName, (record) => {
    const alias = findAlias(record, request.Name ?? '');
    if (alias === undefined) throw notFound();
    checkRevision(alias.revisionId, request.RevisionId);
    const changed: FunctionAlias = {
      name: alias.name,
      functionVersion: request.FunctionVersion ?? alias.functionVersion,
      description: request.Description ?? alias.description,
      additionalVersionWeights: request.RoutingConfig === undefined ? alias.additionalVersionWeights : weightsOf(request.RoutingConfig),
      revisionId: randomUUID(),
    };
    checkVersions(record, changed, settings);
    updated = changed;
    return { ...record, aliases: record.aliases.map((other) => (other === alias ? changed : other)) };
  });
  if (updated === undefined) throw notFound();
  return aliasConfiguration(functionName, updated, settings);
};

/** Deleting an alias that is not there is no error. */
export const deleteAlias: Handler<DeleteAliasRequest, object> = async (request, { catalogue, settings }) => {
  const functionName = unqualifiedTarget(request.FunctionName, 'DeleteAlias', settings);
  const stored = await catalogue.update(settings.account, functionName, (record) =>
    findAlias(record, request.Name ?? '') === undefined ? record : withoutQualifier({ ...record, aliases: record.aliases.filter((alias) => alias.name !== request.Name) }, request.Name ?? ''));
  if (stored === undefined) throw functionNotFound(functionArn(settings, functionName));
  return {};
};

export const listAliases: Handler<ListAliasesRequest, ListAliasesResponse> = async (request, { catalogue, settings }) => {
  const functionName = unqualifiedTarget(request.FunctionName, 'ListAliases', settings);
  const record = await catalogue.get(settings.account, functionName);
  // Before anything is said of the function, as for everything that is wrong with a request.
  const aliases = (record?.aliases ?? []).filter((alias) => request.FunctionVersion === undefined || alias.functionVersion === request.FunctionVersion);
  const { page, next } = pageByName(aliases, ({ name }) => name, request);
  if (record === undefined) throw functionNotFound(functionArn(settings, functionName));
  return { Aliases: page.map((alias) => aliasConfiguration(functionName, alias, settings)), ...next };
};

function weightsOf(routing: AliasRoutingConfiguration | undefined): Readonly<Record<string, number>> {
  return Object.fromEntries(Object.entries(routing?.AdditionalVersionWeights ?? {}));
}

/** Lambda guide, "Implement Lambda canary deployments using a weighted alias": at most two versions, both published. */
function checkVersions(record: FunctionRecord, alias: FunctionAlias, home: Home): void {
  const additional = Object.keys(alias.additionalVersionWeights);
  if (additional.length > 1) throw invalidParameter('Number of items in AdditionalVersionWeights cannot be greater than 1');
  if (additional.includes(alias.functionVersion)) {
    throw invalidParameter(`Invalid function version ${alias.functionVersion}. Function version ${alias.functionVersion} is already included in routing configuration.`);
  }
  for (const version of [alias.functionVersion, ...additional]) {
    if (findVersion(record, version) === undefined) throw functionNotFound(functionArn(home, record.name, version));
  }
  if (additional.length > 0 && alias.functionVersion === '$LATEST') throw invalidParameter('$LATEST is not supported for an alias pointing to more than 1 version');
}

function aliasConfiguration(functionName: string, alias: FunctionAlias, home: Home): AliasConfiguration {
  return {
    AliasArn: functionArn(home, functionName, alias.name),
    Name: alias.name,
    FunctionVersion: alias.functionVersion,
    Description: alias.description,
    ...(Object.keys(alias.additionalVersionWeights).length > 0 && { RoutingConfig: { AdditionalVersionWeights: { ...alias.additionalVersionWeights } } }),
    RevisionId: alias.revisionId,
  };
}
