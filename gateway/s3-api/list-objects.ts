import type { ServerResponse } from 'node:http';
import type { ObjectStore, ObjectSummary } from '../../platform/object-store/object-store.ts';
import { S3Error } from './errors.ts';
import { quote } from './object-headers.ts';
import { sendXml, type S3Context, type S3Request } from './request.ts';
import { group, leaf, xmlDocument, xmlTime } from './xml-writer.ts';

/** S3 API reference, "ListObjectsV2": keys and common prefixes of one answer. */
const MAX_KEYS = 1_000;

/** With a delimiter all keys of a step may be rolled up into one line: the less it asks of the store, the less was for nothing. */
const STEP_WITH_DELIMITER = 50;

/** Behind every key that begins with the text before it. */
const LAST_CHARACTER = '\u{10ffff}';

interface Listing {
  readonly objects: readonly ObjectSummary[];
  readonly commonPrefixes: readonly string[];
  /** Where the next answer begins, and the last line of this one; there exactly if there are more. */
  readonly next?: { readonly after: string; readonly lastLine: string };
}

interface ListingQuery {
  readonly bucket: string;
  readonly prefix: string;
  readonly delimiter: string;
  readonly after: string | undefined;
  readonly maxKeys: number;
}

export async function listObjectsV2({ store }: S3Context, { bucket, query }: S3Request, response: ServerResponse): Promise<void> {
  const common = readCommon(bucket, query);
  const token = query.get('continuation-token');
  const startAfter = query.get('start-after') ?? '';
  const listing = await listLines(store, { ...common, after: token === null ? startAfter || undefined : decodeToken(token) });
  const { encode, prefix, delimiter, maxKeys } = common;
  const owner = query.get('fetch-owner') === 'true';
  sendXml(
    response,
    xmlDocument('ListBucketResult', [
      leaf('Name', bucket),
      leaf('Prefix', encode(prefix)),
      ...(token === null ? [] : [leaf('ContinuationToken', token)]),
      ...(startAfter === '' ? [] : [leaf('StartAfter', encode(startAfter))]),
      ...(listing.next === undefined ? [] : [leaf('NextContinuationToken', encodeToken(listing.next.after))]),
      leaf('KeyCount', listing.objects.length + listing.commonPrefixes.length),
      leaf('MaxKeys', maxKeys),
      ...(delimiter === '' ? [] : [leaf('Delimiter', encode(delimiter))]),
      ...encodingLeaf(query),
      leaf('IsTruncated', listing.next !== undefined),
      ...lines(listing, encode, owner),
    ]),
  );
}

export async function listObjects({ store }: S3Context, { bucket, query }: S3Request, response: ServerResponse): Promise<void> {
  const common = readCommon(bucket, query);
  const marker = query.get('marker') ?? '';
  const { encode, prefix, delimiter, maxKeys } = common;
  // A marker that is a common prefix stands for all keys rolled up in it.
  const isRolled = rolledUp(marker, common) === marker;
  const listing = await listLines(store, { ...common, after: isRolled ? marker + LAST_CHARACTER : marker || undefined });
  sendXml(
    response,
    xmlDocument('ListBucketResult', [
      leaf('Name', bucket),
      leaf('Prefix', encode(prefix)),
      leaf('Marker', encode(marker)),
      ...(listing.next === undefined || delimiter === '' ? [] : [leaf('NextMarker', encode(listing.next.lastLine))]),
      leaf('MaxKeys', maxKeys),
      ...(delimiter === '' ? [] : [leaf('Delimiter', encode(delimiter))]),
      ...encodingLeaf(query),
      leaf('IsTruncated', listing.next !== undefined),
      ...lines(listing, encode, true),
    ]),
  );
}

async function listLines(store: ObjectStore, query: ListingQuery): Promise<Listing> {
  const { bucket, prefix, delimiter, maxKeys } = query;
  const objects: ObjectSummary[] = [];
  const commonPrefixes: string[] = [];
  let after = query.after;
  let next: Listing['next'];
  for (let more = true; more; ) {
    const limit = delimiter === '' ? Math.max(1, maxKeys) : Math.min(STEP_WITH_DELIMITER, maxKeys + 1);
    const page = await store.list({ bucket, prefix, limit, ...(after === undefined ? {} : { after }) });
    for (const object of page.objects) {
      const rolled = rolledUp(object.key, query);
      if (rolled !== undefined && rolled === commonPrefixes.at(-1)) continue;
      if (objects.length + commonPrefixes.length === maxKeys) return next === undefined ? { objects, commonPrefixes } : { objects, commonPrefixes, next };
      if (rolled === undefined) objects.push(object);
      else commonPrefixes.push(rolled);
      next = rolled === undefined ? { after: object.key, lastLine: object.key } : { after: rolled + LAST_CHARACTER, lastLine: rolled };
    }
    more = page.next !== undefined;
    // Keys rolled up in the last line need not be looked at one by one.
    after = page.next !== undefined && next !== undefined && page.next.startsWith(next.lastLine) ? next.after : page.next;
    if (more && delimiter === '' && objects.length === maxKeys) return next === undefined ? { objects, commonPrefixes } : { objects, commonPrefixes, next };
  }
  return { objects, commonPrefixes };
}

/** The common prefix in which a key is rolled up. */
function rolledUp(key: string, { prefix, delimiter }: { readonly prefix: string; readonly delimiter: string }): string | undefined {
  if (delimiter === '' || !key.startsWith(prefix)) return undefined;
  const at = key.indexOf(delimiter, prefix.length);
  return at === -1 ? undefined : key.slice(0, at + delimiter.length);
}

function readCommon(bucket: string, query: URLSearchParams): Omit<ListingQuery, 'after'> & { readonly encode: (text: string) => string } {
  const encoding = query.get('encoding-type');
  if (encoding !== null && encoding !== 'url') throw new S3Error('InvalidArgument', { message: 'Invalid Encoding Method specified in Request', details: { ArgumentName: 'encoding-type', ArgumentValue: encoding } });
  const maxKeys = query.get('max-keys') ?? String(MAX_KEYS);
  if (!/^\d{1,10}$/.test(maxKeys) || Number(maxKeys) >= 2 ** 31) {
    throw new S3Error('InvalidArgument', { message: 'Provided max-keys not an integer or within integer range', details: { ArgumentName: 'max-keys', ArgumentValue: maxKeys } });
  }
  return {
    bucket,
    prefix: query.get('prefix') ?? '',
    delimiter: query.get('delimiter') ?? '',
    maxKeys: Math.min(MAX_KEYS, Number(maxKeys)),
    encode: encoding === 'url' ? (text) => encodeURIComponent(text).replaceAll('%2F', '/').replaceAll('%20', '+') : (text) => text,
  };
}

function lines({ objects, commonPrefixes }: Listing, encode: (text: string) => string, withOwner: boolean): readonly string[] {
  return [
    ...objects.map(({ key, lastModifiedMs, etag, sizeBytes }) =>
      group('Contents', [
        leaf('Key', encode(key)),
        leaf('LastModified', xmlTime(lastModifiedMs)),
        leaf('ETag', quote(etag)),
        leaf('Size', sizeBytes),
        ...(withOwner ? [group('Owner', [leaf('ID', 'sluice')])] : []),
        leaf('StorageClass', 'STANDARD'),
      ]),
    ),
    ...commonPrefixes.map((prefix) => group('CommonPrefixes', [leaf('Prefix', encode(prefix))])),
  ];
}

function encodingLeaf(query: URLSearchParams): readonly string[] {
  return query.get('encoding-type') === 'url' ? [leaf('EncodingType', 'url')] : [];
}

function encodeToken(after: string): string {
  return Buffer.from(after).toString('base64url');
}

function decodeToken(token: string): string {
  const after = Buffer.from(token, 'base64url').toString();
  if (after === '' || encodeToken(after) !== token) throw new S3Error('InvalidArgument', { message: 'The continuation token provided is incorrect', details: { ArgumentName: 'continuation-token', ArgumentValue: token } });
  return after;
}
