import type {
  Concurrency, DeleteFunctionConcurrencyRequest, GetAccountSettingsRequest, GetAccountSettingsResponse, GetFunctionConcurrencyRequest,
  GetFunctionConcurrencyResponse, PutFunctionConcurrencyRequest,
} from '@aws-sdk/client-lambda';
import type { FunctionRecord } from '../../../platform/model/function.ts';
import { functionArn } from '../../../platform/model/function-reference.ts';
import { MAX_UNPACKED_BYTES } from '../../../platform/code-archive/limits.ts';
import type { ApiContext, Handler } from '../context.ts';
import { functionNotFound, invalidParameter } from '../errors.ts';
import { MAX_TOTAL_CODE_BYTES, MAX_UPLOAD_BYTES, MIN_UNRESERVED_CONCURRENCY } from '../limits.ts';
import { unqualifiedTarget } from '../target.ts';

/** Functions read at once while the account is summed up. */
const SUM_PAGE = 500;

export const putFunctionConcurrency: Handler<PutFunctionConcurrencyRequest, Concurrency> = (request, context) => context.reservations.run(() => reserve(request, context));

async function reserve(request: PutFunctionConcurrencyRequest, context: ApiContext): Promise<Concurrency> {
  const { catalogue, settings } = context;
  const name = unqualifiedTarget(request.FunctionName, 'PutFunctionConcurrency', settings);
  const wanted = request.ReservedConcurrentExecutions ?? 0;
  const notFound = (): Error => functionNotFound(functionArn(settings, name, '$LATEST'));
  const before = await catalogue.get(settings.account, name);
  if (before === undefined) throw notFound();
  // A reservation that shrinks takes from nobody, whatever the others have.
  if (wanted > (before.reservedConcurrency ?? 0)) {
    let others = 0;
    for await (const record of everyFunction(context)) if (record.name !== name) others += record.reservedConcurrency ?? 0;
    if (settings.accountConcurrency - others - wanted < MIN_UNRESERVED_CONCURRENCY) {
      throw invalidParameter(
        `Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [${MIN_UNRESERVED_CONCURRENCY}].`,
      );
    }
  }
  if ((await catalogue.update(settings.account, name, (record) => ({ ...record, reservedConcurrency: wanted }))) === undefined) throw notFound();
  return { ReservedConcurrentExecutions: wanted };
}

export const getFunctionConcurrency: Handler<GetFunctionConcurrencyRequest, GetFunctionConcurrencyResponse> = async (request, { catalogue, settings }) => {
  const name = unqualifiedTarget(request.FunctionName, 'GetFunctionConcurrency', settings);
  const record = await catalogue.get(settings.account, name);
  if (record === undefined) throw functionNotFound(functionArn(settings, name));
  return { ReservedConcurrentExecutions: record.reservedConcurrency };
};

export const deleteFunctionConcurrency: Handler<DeleteFunctionConcurrencyRequest, object> = async (request, { catalogue, settings }) => {
  const name = unqualifiedTarget(request.FunctionName, 'DeleteFunctionConcurrency', settings);
  const stored = await catalogue.update(settings.account, name, (record) => {
    const { reservedConcurrency, ...rest } = record;
    return reservedConcurrency === undefined ? record : rest;
  });
  if (stored === undefined) throw functionNotFound(functionArn(settings, name));
  return {};
};

export const getAccountSettings: Handler<GetAccountSettingsRequest, GetAccountSettingsResponse> = async (_request, context) => {
  const { catalogue, settings } = context;
  let functionCount = 0;
  let totalCodeBytes = 0;
  let reserved = 0;
  for await (const record of everyFunction(context)) {
    functionCount++;
    reserved += record.reservedConcurrency ?? 0;
    totalCodeBytes += record.latest.configuration.code.sizeBytes;
    for (const { version } of record.publishedVersions) totalCodeBytes += (await catalogue.getVersion(record, version))?.configuration.code.sizeBytes ?? 0;
  }
  return {
    AccountLimit: {
      TotalCodeSize: MAX_TOTAL_CODE_BYTES,
      CodeSizeUnzipped: MAX_UNPACKED_BYTES,
      CodeSizeZipped: MAX_UPLOAD_BYTES,
      ConcurrentExecutions: settings.accountConcurrency,
      UnreservedConcurrentExecutions: settings.accountConcurrency - reserved,
    },
    AccountUsage: { TotalCodeSize: totalCodeBytes, FunctionCount: functionCount },
  };
};

async function* everyFunction({ catalogue, settings }: ApiContext): AsyncGenerator<FunctionRecord> {
  for (let after: string | undefined; ; ) {
    const { records, next } = await catalogue.list(settings.account, after, SUM_PAGE);
    yield* records;
    after = records.at(-1)?.name;
    if (next === undefined || after === undefined) return;
  }
}
