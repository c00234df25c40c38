import { randomUUID } from 'node:crypto';
import express, { type Express, type NextFunction, type Request, type Response } from 'express';
import type { Logger } from '../../platform/telemetry/logger.ts';
import { sendError } from '../invoke/answers.ts';
import { bodyTooLarge, internalError, LambdaApiError, unknownOperation } from '../lambda-api/errors.ts';
import type { LambdaApi } from '../lambda-api/handle.ts';
import type { LogsApi } from '../logs-api/handle.ts';
import type { S3Api } from '../s3-api/handle.ts';
import { readBody } from './read-body.ts';

export interface ManagementOptions {
  readonly lambdaApi: LambdaApi;
  readonly s3Api: S3Api;
  readonly logsApi: LogsApi;
  readonly logger: Logger;
}

/** Requests of the CloudWatch Logs protocol are a few filters. */
const MAX_LOGS_REQUEST_BYTES = 64 * 1024;

/**
 * Everything but Invoke: the services of the API, told apart as AWS's own protocols allow at one endpoint. JSON-RPC services by
 * `X-Amz-Target`, Lambda by its dated paths, S3 by what is left.
 */
export function managementApp({ lambdaApi, s3Api, logsApi, logger }: ManagementOptions): Express {
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

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

async function answer(request: Request, response: Response, limitBytes: number, operation: string, handle: (body: Buffer, requestId: string) => Promise<Answer>): Promise<void> {
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
