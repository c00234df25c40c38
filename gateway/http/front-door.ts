import { randomUUID } from 'node:crypto';
import type { RequestListener } from 'node:http';
import express, { type Express, type NextFunction, type Request, type Response } from 'express';
import type { Logger } from '../../platform/telemetry/logger.ts';
import { sendError } from '../invoke/answers.ts';
import type { InvokeHandler } from '../invoke/invoke-handler.ts';
import { bodyTooLarge, internalError, LambdaApiError, unknownOperation } from '../lambda-api/errors.ts';
import type { LambdaApi } from '../lambda-api/handle.ts';
import type { LogsApi } from '../logs-api/handle.ts';
import type { S3Api } from '../s3-api/handle.ts';
import { isCrossSite } from './browser-guard.ts';
import type { HttpAnswer } from './http-answer.ts';
import { matchInvoke } from './invoke-route.ts';
import { readBody } from './read-body.ts';

export interface FrontDoorOptions {
  readonly invoke: InvokeHandler;
  readonly lambdaApi: LambdaApi;
  readonly s3Api: S3Api;
  readonly logsApi: LogsApi;
  readonly logger: Logger;
}

/** Requests of the CloudWatch Logs protocol are a few filters. */
const MAX_LOGS_REQUEST_BYTES = 64 * 1024;

/**
 * The one way in: refuses what a foreign web page sends, then tells the services apart as AWS's own protocols allow at one endpoint.
 *
 * Invoke, which is nearly all that comes, is matched before express: that would cost a tenth of the latency and of the throughput at 32 connections
 * (docs/performance.md), and has nothing to add to it.
 */
export function frontDoor(options: FrontDoorOptions): RequestListener {
  const { invoke } = options;
  const app = servicesApp(options);
  return (request, response) => {
    if (isCrossSite(request)) {
      sendError(response, randomUUID(), new LambdaApiError('AccessDeniedException', 'A web page of another origin may not call this gateway.'));
      return;
    }
    const route = request.method === 'POST' ? matchInvoke(request.url ?? '') : undefined;
    if (route === undefined) app(request, response);
    else void invoke.handle(request, response, route);
  };
}

/** Everything but invocations: JSON-RPC services by `X-Amz-Target`, Lambda by its dated paths, S3 by what is left. */
function servicesApp({ lambdaApi, s3Api, logsApi, logger }: FrontDoorOptions): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.get('/_sluice/health', (_request, response) => {
    response.json({ status: 'ok' });
  });
  app.use(async (request: Request, response: Response, next: NextFunction) => {
    const target = request.headers['x-amz-target'];
    if (request.method !== 'POST' || typeof target !== 'string') return next();
    await answer(request, response, MAX_LOGS_REQUEST_BYTES, 'CloudWatch Logs', (body, requestId) => logsApi.handle(target, body, requestId));
  });
  app.use(async (request: Request, response: Response, next: NextFunction) => {
    if (!s3Api.matches(request.method, request.url, request.headers)) return next();
    await s3Api.handle(request, response);
  });
  app.use(async (request: Request, response: Response) => {
    const [path = '', query = ''] = splitOnce(request.url, '?');
    const parameters = new URLSearchParams(query);
    const operation = lambdaApi.match(request.method, path, parameters);
    if (operation === undefined) {
      sendError(response, randomUUID(), unknownOperation(request.method, path));
      return;
    }
    await answer(request, response, operation.bodyLimitBytes, operation.name, (body, requestId) =>
      lambdaApi.handle({ method: request.method, path, query: parameters, headers: request.headers, body, requestId }),
    );
  });
  app.use((error: unknown, _request: Request, response: Response, _next: NextFunction) => {
    const requestId = randomUUID();
    logger.error({ err: error, requestId }, 'request failed');
    sendError(response, requestId, internalError(error));
  });
  return app;
}

async function answer(request: Request, response: Response, limitBytes: number, operation: string, handle: (body: Buffer, requestId: string) => Promise<HttpAnswer>): Promise<void> {
  const requestId = randomUUID();
  const outcome = await readBody(request, limitBytes);
  switch (outcome.kind) {
    case 'cutShort':
      return;
    case 'tooLarge':
      return sendError(response, requestId, bodyTooLarge(limitBytes, operation));
    case 'tooSlow':
      return sendError(response, requestId, new LambdaApiError('RequestTimeoutException', 'The body of the request did not arrive in time.'));
    case 'complete': {
      const { status, headers, body } = await handle(outcome.body, requestId);
      response.writeHead(status, { ...headers, 'Content-Length': body.length }).end(body);
    }
  }
}

function splitOnce(text: string, separator: string): readonly string[] {
  const at = text.indexOf(separator);
  return at === -1 ? [text] : [text.slice(0, at), text.slice(at + separator.length)];
}
