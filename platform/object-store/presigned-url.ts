import { createHmac, timingSafeEqual } from 'node:crypto';
import { percentDecoded } from '../percent-encoding.ts';
import type { ObjectLocation } from './object-store.ts';

/** Where the gateway serves presigned downloads. */
export const PRESIGNED_PATH_PREFIX = '/_sluice/objects/';

/** As S3's own presigned URLs: seven days (S3 user guide, "Download and upload objects with presigned URLs"). */
export const MAX_PRESIGNED_LIFETIME_SEC = 7 * 24 * 3_600;

/** Bytes of the secret below which a signature could be guessed. */
const MIN_SECRET_BYTES = 32;

export interface PresignedUrlRequest extends ObjectLocation {
  /** 1 to {@link MAX_PRESIGNED_LIFETIME_SEC}. */
  readonly expiresInSec: number;
  readonly nowMs: number;
  readonly secret: Buffer;
}

/**
 * Path and query of a URL that {@link verifyPresignedPath} accepts until it expires. URL parsers drop `.` and `..` segments even when
 * they are percent-encoded, so a key with such segments travels in the query instead of the path. Throws RangeError for a lifetime
 * out of bounds or a secret that is too short.
 */
export function presignedPath(request: PresignedUrlRequest): string {
  const { bucket, key, expiresInSec, nowMs, secret } = request;
  if (!Number.isInteger(expiresInSec) || expiresInSec < 1 || expiresInSec > MAX_PRESIGNED_LIFETIME_SEC) {
    throw new RangeError(`A presigned URL cannot live ${expiresInSec} seconds; give a whole number from 1 to ${MAX_PRESIGNED_LIFETIME_SEC}.`);
  }
  const expires = Math.floor(nowMs / 1_000) + expiresInSec;
  const query = new URLSearchParams();
  const segments = key.split('/');
  const inQuery = segments.some((segment) => segment === '.' || segment === '..');
  if (inQuery) query.set('key', key);
  query.set('expires', String(expires));
  query.set('signature', sign(secret, { bucket, key }, expires));
  return `${PRESIGNED_PATH_PREFIX}${bucket}/${inQuery ? '' : segments.map(encodeURIComponent).join('/')}?${query.toString()}`;
}

export type PresignedVerdict = { readonly kind: 'valid'; readonly location: ObjectLocation } | { readonly kind: 'expired' } | { readonly kind: 'forged' };

/** Whether a request's path and query were made by {@link presignedPath} with this secret and are not yet expired. Never throws. */
export function verifyPresignedPath(pathAndQuery: string, secret: Buffer, nowMs: number): PresignedVerdict {
  const [path = '', queryText = ''] = splitOnce(pathAndQuery, '?');
  const query = new URLSearchParams(queryText);
  const [bucket = '', keyInPath = ''] = splitOnce(path.slice(PRESIGNED_PATH_PREFIX.length), '/');
  const key = keyInPath === '' ? (query.get('key') ?? undefined) : percentDecoded(keyInPath);
  const expiresText = query.get('expires') ?? '';
  if (!path.startsWith(PRESIGNED_PATH_PREFIX) || key === undefined || !/^\d{1,15}$/.test(expiresText)) return { kind: 'forged' };
  const expires = Number(expiresText);
  const given = Buffer.from(query.get('signature') ?? '');
  const expected = Buffer.from(sign(secret, { bucket, key }, expires));
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return { kind: 'forged' };
  return nowMs < expires * 1_000 ? { kind: 'valid', location: { bucket, key } } : { kind: 'expired' };
}

function sign(secret: Buffer, location: ObjectLocation, expires: number): string {
  if (secret.length < MIN_SECRET_BYTES) throw new RangeError(`The secret that signs object URLs has ${secret.length} bytes; give at least ${MIN_SECRET_BYTES}.`);
  return createHmac('sha256', secret).update(JSON.stringify(['GET', location.bucket, location.key, expires])).digest('hex');
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at === -1 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}
