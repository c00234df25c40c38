import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLambdaApi, type LambdaApi } from '../../../../gateway/lambda-api/handle.ts';
import type { FunctionCatalogue } from '../../../../platform/functions/function-catalogue.ts';
import { functionCatalogue } from '../../../../platform/functions/registry-catalogue.ts';
import { fileObjectStore } from '../../../../platform/object-store/file-system.ts';
import type { ObjectStore } from '../../../../platform/object-store/object-store.ts';
import { openSqliteRegistry } from '../../../../platform/registry/sqlite.ts';
import { createLogger } from '../../../../platform/telemetry/logger.ts';
import { zip } from '../../../support/packages.ts';

export const ACCOUNT = '000000000000';
export const REGION = 'us-east-1';
export const ARN = `arn:aws:lambda:${REGION}:${ACCOUNT}:function`;
export const ROLE = `arn:aws:iam::${ACCOUNT}:role/test`;
export const ACCOUNT_CONCURRENCY = 1_000;

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Readonly<Record<string, unknown>>;
}

/** The Lambda API over the embedded drivers in a folder of its own, without an HTTP server. */
export interface ApiUnderTest {
  readonly api: LambdaApi;
  readonly catalogue: FunctionCatalogue;
  readonly store: ObjectStore;
  /** Milliseconds since the epoch, as the API sees them; advances by a second with every request. */
  readonly now: () => number;
  call(method: string, pathAndQuery: string, body?: unknown): Promise<Answer>;
  /** Creates a function that can be run, with these members of the request on top. */
  create(name: string, change?: Readonly<Record<string, unknown>>): Promise<Answer>;
  close(): Promise<void>;
}

export interface Wrapped {
  readonly catalogue?: (catalogue: FunctionCatalogue) => FunctionCatalogue;
  readonly store?: (store: ObjectStore) => ObjectStore;
  readonly runsContainerImages?: boolean;
}

export async function openApi(wrapped: Wrapped = {}): Promise<ApiUnderTest> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-lambda-api-'));
  const registry = openSqliteRegistry({ dataDir });
  const realCatalogue = functionCatalogue({ registry, region: REGION });
  const catalogue = wrapped.catalogue?.(realCatalogue) ?? realCatalogue;
  const realStore = await fileObjectStore({ dataDir, baseUrl: () => 'http://127.0.0.1:9400', signingSecret: Buffer.alloc(32, 1) });
  const store = wrapped.store?.(realStore) ?? realStore;
  let now = Date.UTC(2024, 0, 31, 12, 34, 56, 789);
  const clock = { now: () => now, at: () => ({ cancel: () => undefined }) };
  const settings = { account: ACCOUNT, region: REGION, accountConcurrency: ACCOUNT_CONCURRENCY, runsContainerImages: wrapped.runsContainerImages ?? true };
  const api = createLambdaApi({ catalogue, store, settings, clock, logger: createLogger('silent') });
  const code = (await zip({ 'index.js': 'exports.handler = async () => 1;' })).toString('base64');

  const call = async (method: string, pathAndQuery: string, body?: unknown): Promise<Answer> => {
    now += 1_000;
    const [path = '', query = ''] = pathAndQuery.split('?');
    const bytes = Buffer.isBuffer(body) ? body : Buffer.from(body === undefined ? '' : JSON.stringify(body));
    const response = await api.handle({ method, path, query: new URLSearchParams(query), headers: {}, body: bytes, requestId: randomUUID() });
    return { status: response.status, headers: response.headers, body: response.body.length === 0 ? {} : (JSON.parse(response.body.toString('utf8')) as Answer['body']) };
  };
  return {
    api,
    catalogue,
    store,
    now: () => now,
    call,
    create: (name, change) =>
      call('POST', '/2015-03-31/functions', { FunctionName: name, Runtime: 'nodejs22.x', Handler: 'index.handler', Role: ROLE, Code: { ZipFile: code }, ...change }),
    async close() {
      await api.idle();
      await registry.close();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** The text of an error's body, whichever way the service spells it. */
export function messageOf({ body }: Answer): string {
  return String(body['message'] ?? body['Message']);
}

export function errorOf(answer: Answer): string {
  return `${answer.status} ${answer.headers['x-amzn-ErrorType']}: ${messageOf(answer)}`;
}
