import type { ServerResponse, OutgoingHttpHeaders } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { InvalidRangeError, NoSuchObjectError, PreconditionFailedError, type ByteRange, type StoredObject } from '../../platform/object-store/object-store.ts';
import { conditionOutcome } from './conditions.ts';
import { S3Error } from './errors.ts';
import { describedObject, notImplemented, objectHeaders, putCondition, quote, refuseUnsupportedHeaders } from './object-headers.ts';
import { header, type S3Context, type S3Request } from './request.ts';
import { openUpload } from './upload.ts';

/** Query parameters by which a download's client chooses headers of the answer. */
const OVERRIDES: Readonly<Record<string, string>> = {
  'response-content-type': 'Content-Type',
  'response-content-language': 'content-language',
  'response-expires': 'expires',
  'response-cache-control': 'cache-control',
  'response-content-disposition': 'content-disposition',
  'response-content-encoding': 'content-encoding',
};

export async function putObject({ store }: S3Context, request: S3Request, response: ServerResponse): Promise<void> {
  const { bucket, key, incoming } = request;
  refuseUnsupportedHeaders(incoming);
  const options = { ...describedObject(incoming), ...putCondition(incoming) };
  const { body, verified } = openUpload(incoming);
  try {
    const summary = await store.put({ bucket, key }, body, options);
    const checksums = [...verified].filter(([name]) => name.startsWith('x-amz-checksum-'));
    response.writeHead(200, { ETag: quote(summary.etag), 'Content-Length': 0, ...Object.fromEntries(checksums), ...(checksums.length > 0 ? { 'x-amz-checksum-type': 'FULL_OBJECT' } : {}) }).end();
  } catch (error) {
    if (!(error instanceof PreconditionFailedError)) throw error;
    const isGone = options.condition?.kind === 'etag' && (await store.head({ bucket, key })) === undefined;
    throw isGone ? new S3Error('NoSuchKey', { details: { Key: key } }) : new S3Error('PreconditionFailed', { details: { Condition: options.condition?.kind === 'etag' ? 'If-Match' : 'If-None-Match' } });
  }
}

/** GetObject, and HeadObject, which is the same without the bytes. */
export async function getObject(context: S3Context, request: S3Request, response: ServerResponse): Promise<void> {
  const { bucket, key, query, incoming } = request;
  refuseVersions(query);
  const range = parseRange(header(incoming, 'range'));
  const object = await openObject(context, { bucket, key }, range, header(incoming, 'range'));
  const { summary, body } = object;
  try {
    const outcome = conditionOutcome(incoming.headers, '', summary);
    if (outcome.kind === 'notModified') {
      response.writeHead(304, { ETag: quote(summary.etag), 'Last-Modified': new Date(summary.lastModifiedMs).toUTCString() }).end();
      return;
    }
    if (outcome.kind === 'failed') throw new S3Error('PreconditionFailed', { details: { Condition: outcome.condition } });
    response.writeHead(range === undefined ? 200 : 206, { ...objectHeaders(summary), ...rangeHeaders(object, range !== undefined), ...overrides(query) });
    if (request.method === 'HEAD') response.end();
    else await sendBody(response, object);
  } finally {
    body.destroy();
  }
}

export async function deleteObject({ store }: S3Context, { bucket, key, query, incoming }: S3Request, response: ServerResponse): Promise<void> {
  refuseVersions(query);
  if (incoming.headers['if-match'] !== undefined) throw notImplemented('If-Match');
  await requireBucket(store, bucket);
  await store.delete({ bucket, key });
  response.writeHead(204).end();
}

/** Throws {@link S3Error} `NoSuchBucket`. */
export async function requireBucket(store: S3Context['store'], bucket: string): Promise<void> {
  const buckets = await store.listBuckets();
  if (!buckets.some(({ name }) => name === bucket)) throw new S3Error('NoSuchBucket', { details: { BucketName: bucket } });
}

/** Opens an object; what is missing or out of range becomes S3's own error. */
export async function openObject({ store }: S3Context, location: { bucket: string; key: string }, range: ByteRange | undefined, requested: string | undefined): Promise<StoredObject> {
  try {
    return await store.get(location, range);
  } catch (error) {
    if (error instanceof InvalidRangeError) {
      const actual = (await store.head(location))?.sizeBytes ?? 0;
      throw new S3Error('InvalidRange', { details: { RangeRequested: requested ?? '', ActualObjectSize: actual } });
    }
    if (!(error instanceof NoSuchObjectError)) throw error;
    await requireBucket(store, location.bucket);
    throw new S3Error('NoSuchKey', { details: { Key: location.key } });
  }
}

/** Streams an object's bytes. A client that goes away in the middle is no error. */
export async function sendBody(response: ServerResponse, { body }: StoredObject): Promise<void> {
  try {
    await pipeline(body, response);
  } catch (error) {
    if (!response.destroyed) throw error;
  }
}

/** Headers of length and place. */
export function rangeHeaders({ range, summary }: StoredObject, isPartial: boolean): OutgoingHttpHeaders {
  const length = { 'Content-Length': range.endExclusive - range.start };
  return isPartial ? { ...length, 'Content-Range': `bytes ${range.start}-${range.endExclusive - 1}/${summary.sizeBytes}` } : length;
}

/** A `Range` header of one range; S3 ignores one that it cannot read, or of several (RFC 9110, section 14.2). */
export function parseRange(value: string | undefined): ByteRange | undefined {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec((value ?? '').replaceAll(' ', ''));
  if (match === null) return undefined;
  const [, start = '', end = ''] = match;
  if (start === '') return end === '' ? undefined : { end: Number(end) };
  if (end === '') return { start: Number(start) };
  return Number(end) < Number(start) ? undefined : { start: Number(start), end: Number(end) };
}

/** Buckets have no versions, so only the one called `null` exists. */
export function refuseVersions(query: URLSearchParams): void {
  const version = query.get('versionId') ?? 'null';
  if (version !== 'null') throw new S3Error('InvalidArgument', { message: 'Invalid version id specified', details: { ArgumentName: 'versionId', ArgumentValue: version } });
}

function overrides(query: URLSearchParams): OutgoingHttpHeaders {
  const chosen = Object.entries(OVERRIDES).flatMap(([parameter, name]) => {
    const value = query.get(parameter);
    return value === null ? [] : [[name, value.replaceAll(/[^\u0020-\u007e\u00a0-\u00ff]/g, ' ')]];
  });
  return Object.fromEntries(chosen) as OutgoingHttpHeaders;
}

