import type {
  DeleteFunctionEventInvokeConfigRequest, FunctionEventInvokeConfig, GetFunctionEventInvokeConfigRequest, ListFunctionEventInvokeConfigsRequest, ListFunctionEventInvokeConfigsResponse,
  PutFunctionEventInvokeConfigRequest, UpdateFunctionEventInvokeConfigRequest,
} from '@aws-sdk/client-lambda';
import { entryOf, findAlias, findVersion, withoutKey, type EventInvokeConfig, type FunctionRecord } from '../../../platform/model/function.ts';
import { functionArn, type Home } from '../../../platform/model/function-reference.ts';
import type { ApiContext, Handler } from '../context.ts';
import { invalidParameter, LambdaApiError } from '../errors.ts';
import { pageByName } from '../paging.ts';
import { targetOf, unqualifiedTarget, type Target } from '../target.ts';
import { refuse } from './function-settings.ts';

/** Takes the place of whatever there was. */
export const putFunctionEventInvokeConfig: Handler<PutFunctionEventInvokeConfigRequest, FunctionEventInvokeConfig> = (request, context) =>
  change('PutFunctionEventInvokeConfig', request, context, () => ({}));

/** What is not given stays. */
export const updateFunctionEventInvokeConfig: Handler<UpdateFunctionEventInvokeConfigRequest, FunctionEventInvokeConfig> = (request, context) =>
  change('UpdateFunctionEventInvokeConfig', request, context, (record, qualifier) => configOf(record, qualifier, context.settings));

async function change(
  operation: string,
  request: PutFunctionEventInvokeConfigRequest,
  context: ApiContext,
  before: (record: FunctionRecord, qualifier: string) => Partial<EventInvokeConfig>,
): Promise<FunctionEventInvokeConfig> {
  const { settings, catalogue, clock } = context;
  const { MaximumRetryAttempts: attempts, MaximumEventAgeInSeconds: ageSec, DestinationConfig: destinations } = request;
  if (attempts === undefined && ageSec === undefined && destinations === undefined) throw invalidParameter('You must specify at least one of error handling or destination setting.');
  refuse([
    ['DestinationConfig.OnSuccess.Destination', isNamed(destinations?.OnSuccess?.Destination)],
    ['DestinationConfig.OnFailure.Destination', isNamed(destinations?.OnFailure?.Destination)],
  ]);
  const { name, qualifier } = configured(request, operation, context);
  let config: EventInvokeConfig | undefined;
  await catalogue.update(settings.account, name, (record) => {
    if (!hasQualifier(record, qualifier)) throw noFunction();
    config = {
      ...before(record, qualifier),
      ...(attempts !== undefined && { maximumRetryAttempts: attempts }),
      ...(ageSec !== undefined && { maximumEventAgeSec: ageSec }),
      lastModifiedMs: clock.now(),
    };
    return { ...record, eventInvokeConfigs: { ...record.eventInvokeConfigs, [qualifier]: config } };
  });
  if (config === undefined) throw noFunction();
  return shown(name, qualifier, config, settings);
}

export const getFunctionEventInvokeConfig: Handler<GetFunctionEventInvokeConfigRequest, FunctionEventInvokeConfig> = async (request, context) => {
  const { catalogue, settings } = context;
  const { name, qualifier } = configured(request, 'GetFunctionEventInvokeConfig', context);
  const record = await catalogue.get(settings.account, name);
  if (record === undefined) throw noConfig(name, qualifier, settings);
  return shown(name, qualifier, configOf(record, qualifier, settings), settings);
};

export const deleteFunctionEventInvokeConfig: Handler<DeleteFunctionEventInvokeConfigRequest, object> = async (request, context) => {
  const { catalogue, settings } = context;
  const { name, qualifier } = configured(request, 'DeleteFunctionEventInvokeConfig', context);
  const stored = await catalogue.update(settings.account, name, (record) => {
    configOf(record, qualifier, settings);
    return { ...record, eventInvokeConfigs: withoutKey(record.eventInvokeConfigs ?? {}, qualifier) };
  });
  if (stored === undefined) throw noConfig(name, qualifier, settings);
  return {};
};

export const listFunctionEventInvokeConfigs: Handler<ListFunctionEventInvokeConfigsRequest, ListFunctionEventInvokeConfigsResponse> = async (request, { catalogue, settings }) => {
  const name = unqualifiedTarget(request.FunctionName, 'ListFunctionEventInvokeConfigs', settings);
  const record = await catalogue.get(settings.account, name);
  const { page, next } = pageByName(Object.entries(record?.eventInvokeConfigs ?? {}), ([qualifier]) => qualifier, request);
  if (record === undefined) throw noFunction();
  return { FunctionEventInvokeConfigs: page.map(([qualifier, config]) => shown(name, qualifier, config, settings)), ...next };
};

function configured(request: { readonly FunctionName?: string | undefined; readonly Qualifier?: string | undefined }, operation: string, { settings }: ApiContext): Target & { readonly qualifier: string } {
  const { name, qualifier = '$LATEST' } = targetOf(request.FunctionName, request.Qualifier, operation, settings);
  return { name, qualifier };
}

function configOf(record: FunctionRecord, qualifier: string, home: Home): EventInvokeConfig {
  const config = entryOf(record.eventInvokeConfigs, qualifier);
  if (config === undefined) throw noConfig(record.name, qualifier, home);
  return config;
}

function shown(name: string, qualifier: string, { maximumRetryAttempts, maximumEventAgeSec, lastModifiedMs }: EventInvokeConfig, home: Home): FunctionEventInvokeConfig {
  return {
    LastModified: new Date(lastModifiedMs),
    FunctionArn: functionArn(home, name, qualifier),
    MaximumRetryAttempts: maximumRetryAttempts,
    MaximumEventAgeInSeconds: maximumEventAgeSec,
    DestinationConfig: { OnSuccess: {}, OnFailure: {} },
  };
}

function hasQualifier(record: FunctionRecord, qualifier: string): boolean {
  return findVersion(record, qualifier) !== undefined || findAlias(record, qualifier) !== undefined;
}

/** Destinations may be given as empty, for none. */
function isNamed(destination: string | undefined): boolean {
  return destination !== undefined && destination !== '';
}

function noFunction(): LambdaApiError {
  return new LambdaApiError('ResourceNotFoundException', "The function doesn't exist.");
}

function noConfig(name: string, qualifier: string, home: Home): LambdaApiError {
  return new LambdaApiError('ResourceNotFoundException', `The function ${functionArn(home, name, qualifier)} doesn't have an EventInvokeConfig`);
}
