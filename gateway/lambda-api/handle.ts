import type { IncomingHttpHeaders } from 'node:http';
import type { HttpAnswer } from '../http/http-answer.ts';
import { Activation } from './activation.ts';
import type { FunctionRecord } from '../../platform/model/function.ts';
import type { ApiContext } from './context.ts';
import { internalError, LambdaApiError, notImplemented, unknownOperation, validationErrors } from './errors.ts';
import { bodyLimitBytes } from './limits.ts';
import { OPERATIONS } from './model.ts';
import { OPERATION_HANDLERS } from './operations/index.ts';
import { parseInput } from './rest-json/parse-input.ts';
import { errorResponse, outputResponse } from './rest-json/response.ts';
import { Router } from './rest-json/router.ts';
import { violationsOf } from './rest-json/violations.ts';
import { SerialQueue } from './serial-queue.ts';

export type LambdaApiOptions = Omit<ApiContext, 'activation' | 'reservations'>;

export interface ApiRequest {
  readonly method: string;
  /** As received, still percent-encoded, without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** The whole body; its limit is `bodyLimitBytes`. */
  readonly body: Buffer;
  readonly requestId: string;
}

export interface MatchedOperation {
  readonly name: string;
  /** How large the request's body may be. */
  readonly bodyLimitBytes: number;
}

export interface LambdaApi {
  /** The operation that a request is for, if any. `path` as in {@link ApiRequest}. */
  match(method: string, path: string, query?: URLSearchParams): MatchedOperation | undefined;
  /** Answers a request. Never rejects: whatever goes wrong becomes an answer. */
  handle(request: ApiRequest): Promise<HttpAnswer>;
  /** Brings a function that was found half-way through a create or an update to its end, in the background. Idempotent. */
  heal(record: FunctionRecord): void;
  /** Resolves when no function is half-way between being changed and being active. */
  idle(): Promise<void>;
}

/** Have a way of their own past this API (gateway/invoke); what arrives here all the same was written in no way that it knows. */
export const SERVED_ELSEWHERE: ReadonlySet<string> = new Set(['Invoke', 'InvokeAsync', 'InvokeWithResponseStream']);

const NO_QUERY = new URLSearchParams();

/** The Lambda REST API but for invocations, independent of the HTTP server. */
export function createLambdaApi(options: LambdaApiOptions): LambdaApi {
  const context: ApiContext = { ...options, activation: new Activation(options), reservations: new SerialQueue() };
  const router = new Router(OPERATIONS.values());
  return {
    match(method, path, query = NO_QUERY) {
      const operation = router.match(method, path, query)?.operation;
      return operation && { name: operation.name, bodyLimitBytes: bodyLimitBytes(operation) };
    },
    heal: ({ account, name }) => context.activation.begin(account, name),
    idle: () => context.activation.idle(),
    async handle(request) {
      try {
        return await answer(router, request, context);
      } catch (error) {
        return errorResponse(asApiError(error, request, context), request.requestId);
      }
    },
  };
}

async function answer(router: Router, request: ApiRequest, context: ApiContext): Promise<HttpAnswer> {
  const match = router.match(request.method, request.path, request.query);
  if (match === undefined) throw unknownOperation(request.method, request.path);
  const { operation, segments } = match;
  const input = parseInput(operation, { ...request, segments });
  const handler = OPERATION_HANDLERS.get(operation.name);
  if (handler === undefined) throw SERVED_ELSEWHERE.has(operation.name) ? unknownOperation(request.method, request.path) : notImplemented(operation.name);
  const violations = operation.input === undefined ? [] : violationsOf(operation.input, input);
  if (violations.length > 0) throw validationErrors(violations);
  return outputResponse(operation, await handler(input, context), request.requestId);
}

function asApiError(error: unknown, request: ApiRequest, { logger }: ApiContext): LambdaApiError {
  if (error instanceof LambdaApiError) return error;
  logger.error({ err: error, method: request.method, path: request.path, requestId: request.requestId }, 'a Lambda API request failed for a reason that is not the caller\'s');
  return internalError(error);
}
