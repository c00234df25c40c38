import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from '../../platform/telemetry/logger.ts';
import { InvalidObjectKeyError, type ObjectStore } from '../../platform/object-store/object-store.ts';
import { MAX_KEY_BYTES, checkObjectKey, isBucketName } from '../../platform/object-store/names.ts';
import { percentDecoded } from '../../platform/percent-encoding.ts';
import { S3Error } from './errors.ts';

/** What every operation works with. */
export interface S3Context {
  readonly store: ObjectStore;
  readonly region: string;
  readonly logger: Logger;
}

/** One request, its target taken apart. */
export interface S3Request {
  readonly id: string;
  readonly method: string;
  /** As the client wrote it, without the query. */
  readonly path: string;
  /** Empty at the root. */
  readonly bucket: string;
  /** Empty where the path ends with the bucket. */
  readonly key: string;
  readonly query: URLSearchParams;
  readonly incoming: IncomingMessage;
}

export type S3Operation = (context: S3Context, request: S3Request, response: ServerResponse) => Promise<void>;

/** Takes apart a path in path style. Throws {@link S3Error} `InvalidURI`. */
export function parseRequest(incoming: IncomingMessage, id: string): S3Request {
  const [path = '/', query = ''] = splitOnce(incoming.url ?? '/', '?');
  const [bucket = '', key = ''] = splitOnce(path.slice(1), '/');
  return { id, method: incoming.method ?? 'GET', path, bucket: decodePath(bucket), key: decodePath(key), query: new URLSearchParams(query), incoming };
}

/** Throws {@link S3Error} `InvalidBucketName`. */
export function checkBucket(bucket: string): void {
  if (!isBucketName(bucket)) throw new S3Error('InvalidBucketName', { details: { BucketName: bucket } });
}

/** Throws {@link S3Error} `KeyTooLongError` or `InvalidURI`. */
export function checkKey(key: string): void {
  const bytes = Buffer.byteLength(key);
  if (bytes > MAX_KEY_BYTES) throw new S3Error('KeyTooLongError', { details: { Size: bytes, MaxSizeAllowed: MAX_KEY_BYTES } });
  try {
    checkObjectKey(key);
  } catch (error) {
    if (error instanceof InvalidObjectKeyError) throw new S3Error('InvalidURI');
    throw error;
  }
}

/** A header's only value. */
export function header(incoming: IncomingMessage, name: string): string | undefined {
  const value = incoming.headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
}

export function decodePath(text: string): string {
  const path = percentDecoded(text);
  if (path === undefined) throw new S3Error('InvalidURI', { details: { URI: text } });
  return path;
}

export function splitOnce(text: string, separator: string): readonly string[] {
  const at = text.indexOf(separator);
  return at === -1 ? [text] : [text.slice(0, at), text.slice(at + separator.length)];
}

/** Answers with a whole XML document. */
export function sendXml(response: ServerResponse, xml: string): void {
  response.writeHead(200, { 'Content-Type': 'application/xml', 'Content-Length': Buffer.byteLength(xml) });
  response.end(xml);
}
