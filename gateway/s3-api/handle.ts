import { randomBytes } from 'node:crypto';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { isInternalBucket } from '../../platform/model/internal-buckets.ts';
import { InvalidObjectKeyError, NoSuchBucketError, type ObjectStore } from '../../platform/object-store/object-store.ts';
import { PRESIGNED_PATH_PREFIX } from '../../platform/object-store/presigned-url.ts';
import type { Logger } from '../../platform/telemetry/logger.ts';
import { endEarly } from '../http/end-early.ts';
import { createBucket, getBucketLocation, headBucket, listBuckets } from './buckets.ts';
import { copyObject } from './copy-object.ts';
import { deleteObjects } from './delete-objects.ts';
import { serveDownload } from './downloads.ts';
import { S3Error } from './errors.ts';
import { listObjects, listObjectsV2 } from './list-objects.ts';
import { deleteObject, getObject, putObject } from './objects.ts';
import { operationName } from './operations.ts';
import { checkBucket, checkKey, parseRequest, type S3Context, type S3Operation, type S3Request } from './request.ts';
import { XML_DECLARATION, group, leaf } from './xml-writer.ts';

export interface S3ApiOptions {
  readonly store: ObjectStore;
  readonly logger: Logger;
  readonly region: string;
  /** The one with which the store signs its presigned URLs. */
  readonly signingSecret: Buffer;
  /** Milliseconds since the epoch; the system's by default. */
  readonly now?: () => number;
}

export interface S3Api {
  /** Whether a request is meant for S3, or for a presigned download. `path` may have a query. */
  matches(method: string | undefined, path: string, headers: IncomingHttpHeaders): boolean;
  /** Answers a request. Never rejects: what goes wrong is an answer, or the end of the connection where one has begun. */
  handle(incoming: IncomingMessage, response: ServerResponse): Promise<void>;
}

/** The operations that work; every other one is answered with 501 and its name. */
export const S3_OPERATIONS: Readonly<Record<string, S3Operation>> = {
  CopyObject: copyObject,
  CreateBucket: createBucket,
  DeleteObject: deleteObject,
  DeleteObjects: deleteObjects,
  GetBucketLocation: getBucketLocation,
  GetObject: getObject,
  HeadBucket: headBucket,
  HeadObject: getObject,
  ListBuckets: listBuckets,
  ListObjects: listObjects,
  ListObjectsV2: listObjectsV2,
  PutObject: putObject,
};

/** Paths of the other services: Lambda's begin with the date of an API version. */
const FOREIGN_PATH = /^\/(\d{4}-\d{2}-\d{2}(\/|$)|_sluice(\/|$))/;

/** S3's REST API, path style, over the object store. */
export function createS3Api(options: S3ApiOptions): S3Api {
  const context = { ...options, now: options.now ?? Date.now };
  return {
    matches(_method, path, headers) {
      const bare = path.replace(/\?.*$/s, '');
      if (bare.startsWith(PRESIGNED_PATH_PREFIX)) return true;
      if (FOREIGN_PATH.test(bare) || headers['x-amz-target'] !== undefined) return false;
      const service = /Credential=[^,\s]*\/([a-z0-9-]+)\/aws4_request/.exec(headers.authorization ?? '')?.[1];
      if (service !== undefined) return service === 's3';
      // At the root, unsigned: other services post there, and browsers look there. S3 itself answers nobody without a signature.
      return bare !== '/' && bare !== '' && bare !== '/favicon.ico';
    },
    async handle(incoming, response) {
      const id = randomBytes(8).toString('hex').toUpperCase();
      response.setHeader('x-amz-request-id', id);
      try {
        if (incoming.url?.startsWith(PRESIGNED_PATH_PREFIX) === true) await serveDownload(context, incoming, response);
        else await serve(context, parseRequest(incoming, id), response);
      } catch (error) {
        sendError(context, error, id, incoming, response);
      } finally {
        // What was not read of a refused body is thrown away, so that the next request on this connection can be read.
        if (!incoming.readableEnded && !incoming.destroyed) incoming.resume();
      }
    },
  };
}

async function serve(context: S3Context, request: S3Request, response: ServerResponse): Promise<void> {
  const { method, bucket, key, query, incoming } = request;
  if (method === 'OPTIONS') throw new S3Error('AccessForbidden', { details: { Method: method } });
  const name = bucket === '' ? rootOperation(request) : operationName(method, key === '' ? 'bucket' : 'object', query, incoming.headers);
  if (name === undefined) throw new S3Error('MethodNotAllowed', { details: { Method: method, ResourceType: key === '' ? 'BUCKET' : 'OBJECT' } });
  const operation = S3_OPERATIONS[name];
  if (operation === undefined) {
    throw new S3Error('NotImplemented', { message: `Sluice does not implement the S3 operation ${name}.`, details: { Operation: name } });
  }
  if (name !== 'ListBuckets') checkBucket(bucket);
  if (key !== '') checkKey(key);
  if (isInternalBucket(bucket) && name !== 'CreateBucket') throw new S3Error('NoSuchBucket', { details: { BucketName: bucket } });
  await operation(context, request, response);
}

function rootOperation({ method, key }: S3Request): string | undefined {
  if (key !== '') throw new S3Error('InvalidBucketName', { details: { BucketName: '' } });
  return method === 'GET' ? 'ListBuckets' : undefined;
}

function sendError({ logger }: S3Context, error: unknown, id: string, incoming: IncomingMessage, response: ServerResponse): void {
  if (response.destroyed || (incoming.destroyed && !incoming.complete)) {
    response.destroy(); // The client is gone, in the middle of its body or of our answer.
    return;
  }
  const known = asS3Error(error);
  if (known.code === 'InternalError') logger.error({ err: error, requestId: id }, 'an S3 request failed');
  if (response.headersSent) {
    response.destroy(); // A broken connection is the only way left to say that the body is not whole.
    return;
  }
  for (const name of response.getHeaderNames()) if (name !== 'x-amz-request-id') response.removeHeader(name);
  const xml = XML_DECLARATION + group('Error', [
    leaf('Code', known.code),
    leaf('Message', known.message),
    ...Object.entries(known.details).map(([name, value]) => leaf(name, value)),
    leaf('Resource', (incoming.url ?? '').replace(/\?.*$/s, '')),
    leaf('RequestId', id),
  ]);
  // Nobody waits for gigabytes that are refused already.
  if (known.code === 'EntityTooLarge') response.shouldKeepAlive = false;
  response.writeHead(known.status, { 'Content-Type': 'application/xml', ...(incoming.method === 'HEAD' ? {} : { 'Content-Length': Buffer.byteLength(xml) }) });
  if (incoming.method === 'HEAD') response.end();
  else if (known.code === 'EntityTooLarge') endEarly(response, Buffer.from(xml));
  else response.end(xml);
}

function asS3Error(error: unknown): S3Error {
  if (error instanceof S3Error) return error;
  if (error instanceof NoSuchBucketError) return new S3Error('NoSuchBucket');
  if (error instanceof InvalidObjectKeyError) return new S3Error('InvalidRequest', { message: error.message });
  return new S3Error('InternalError');
}
