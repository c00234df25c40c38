import type {
  FunctionConfiguration, GetFunctionConfigurationRequest, GetFunctionRequest, GetFunctionResponse, ListFunctionsRequest, ListFunctionsResponse,
  ListVersionsByFunctionRequest, ListVersionsByFunctionResponse,
} from '@aws-sdk/client-lambda';
import { CODE_BUCKET, type FunctionRecord, type FunctionVersion } from '../../../platform/model/function.ts';
import { functionArn } from '../../../platform/model/function-reference.ts';
import { functionConfiguration } from '../configuration.ts';
import type { ApiContext, Handler } from '../context.ts';
import { invalidParameter } from '../errors.ts';
import { CODE_LOCATION_VALID_SEC } from '../limits.ts';
import { decodeMarker, encodeMarker, pageSize } from '../paging.ts';
import { qualifiedVersion, settledFunction, targetOf } from '../target.ts';

export const getFunction: Handler<GetFunctionRequest, GetFunctionResponse> = async (request, context) => {
  const { record, version, qualifier } = await readVersion(request, 'GetFunction', context);
  const { code, image } = version.configuration;
  return {
    Configuration: functionConfiguration(record, version, context.settings, { qualifier }),
    Code: image === undefined
      ? { RepositoryType: 'S3', Location: await context.store.presignGet({ bucket: CODE_BUCKET, key: code.objectKey }, CODE_LOCATION_VALID_SEC) }
      : { RepositoryType: 'ECR', ImageUri: image.uri, ResolvedImageUri: image.uri },
    ...(Object.keys(record.tags).length > 0 && { Tags: { ...record.tags } }),
    ...(record.reservedConcurrency !== undefined && { Concurrency: { ReservedConcurrentExecutions: record.reservedConcurrency } }),
  };
};

export const getFunctionConfiguration: Handler<GetFunctionConfigurationRequest, FunctionConfiguration> = async (request, context) => {
  const { record, version, qualifier } = await readVersion(request, 'GetFunctionConfiguration', context);
  return functionConfiguration(record, version, context.settings, { qualifier });
};

interface VersionRead {
  readonly record: FunctionRecord;
  readonly version: FunctionVersion;
  readonly qualifier: string | undefined;
}

async function readVersion(request: GetFunctionRequest, operation: string, context: ApiContext): Promise<VersionRead> {
  const { name, qualifier } = targetOf(request.FunctionName, request.Qualifier, operation, context.settings);
  const record = await settledFunction(name, context, functionArn(context.settings, name, qualifier));
  return { record, version: await qualifiedVersion(record, qualifier, context), qualifier };
}

/** Functions by name; with `FunctionVersion=ALL` every version of each. A marker names the last function and version shown. */
export const listFunctions: Handler<ListFunctionsRequest, ListFunctionsResponse> = async (request, context) => {
  const size = pageSize(request.MaxItems);
  const [after, version] = decodeMarker(request.Marker, 2) ?? [];
  if (request.MasterRegion !== undefined) {
    if (request.FunctionVersion !== 'ALL') throw invalidParameter('FunctionVersion must be set to ALL when MasterRegion is specified.');
    // It asks for replicas of Lambda@Edge functions; there are none.
    return { Functions: [] };
  }
  return request.FunctionVersion === 'ALL' ? listAllVersions(after, version, size, context) : listLatest(after, size, context);
};

async function listLatest(after: string | undefined, size: number, context: ApiContext): Promise<ListFunctionsResponse> {
  const { records, next } = await context.catalogue.list(context.settings.account, after, size);
  const last = records.at(-1);
  return {
    Functions: records.map((record) => functionConfiguration(record, record.latest, context.settings, { qualifier: undefined, inList: true })),
    ...(next !== undefined && last !== undefined && { NextMarker: encodeMarker([last.name, '$LATEST']) }),
  };
}

async function listAllVersions(after: string | undefined, afterVersion: string | undefined, size: number, context: ApiContext): Promise<ListFunctionsResponse> {
  const { catalogue, settings } = context;
  const found: FunctionConfiguration[] = [];
  let marker: string | undefined;
  // One more than fits tells whether there is a next page.
  const take = async (record: FunctionRecord, versions: readonly string[]): Promise<boolean> => {
    for (const number of versions) {
      if (found.length === size) return false;
      const version = await catalogue.getVersion(record, number);
      if (version !== undefined) found.push(functionConfiguration(record, version, settings, { qualifier: number, inList: true }));
      marker = encodeMarker([record.name, number]);
    }
    return true;
  };
  const started = after === undefined ? undefined : await catalogue.get(settings.account, after);
  let complete = started === undefined || (await take(started, versionsAfter(started, afterVersion)));
  let next = after;
  while (complete) {
    const page = await catalogue.list(settings.account, next, size);
    for (const record of page.records) {
      complete = await take(record, versionsAfter(record, undefined));
      if (!complete) break;
    }
    next = page.records.at(-1)?.name;
    if (page.next === undefined || next === undefined) break;
  }
  return { Functions: found, ...(!complete && marker !== undefined && { NextMarker: marker }) };
}

/** `$LATEST`, then the published ones by number; those after a given one. */
function versionsAfter(record: FunctionRecord, after: string | undefined): string[] {
  const published = record.publishedVersions.map(({ version }) => version);
  if (after === undefined) return ['$LATEST', ...published];
  return after === '$LATEST' ? published : published.filter((version) => Number(version) > Number(after));
}

export const listVersionsByFunction: Handler<ListVersionsByFunctionRequest, ListVersionsByFunctionResponse> = async (request, context) => {
  const { name } = targetOf(request.FunctionName, undefined, 'ListVersionsByFunction', context.settings);
  const size = pageSize(request.MaxItems);
  const [after] = decodeMarker(request.Marker, 1) ?? [];
  const record = await settledFunction(name, context);
  const left = versionsAfter(record, after);
  const page = left.slice(0, size);
  const versions = await Promise.all(page.map((number) => context.catalogue.getVersion(record, number)));
  const last = page.at(-1);
  return {
    Versions: versions
      .filter((version) => version !== undefined)
      .map((version) => functionConfiguration(record, version, context.settings, { qualifier: version.version, inList: true })),
    ...(left.length > page.length && last !== undefined && { NextMarker: encodeMarker([last]) }),
  };
};
