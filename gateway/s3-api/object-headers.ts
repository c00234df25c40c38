import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http';
import type { ObjectSummary, PutOptions, StoredHttpHeaders } from '../../platform/object-store/object-store.ts';
import { S3Error } from './errors.ts';
import { header } from './request.ts';

/** S3 user guide, "Working with object metadata": names and values of user metadata together. */
const MAX_METADATA_BYTES = 2_048;

const METADATA_PREFIX = 'x-amz-meta-';

const STORED_HEADERS = ['cache-control', 'content-disposition', 'content-encoding', 'content-language', 'expires'] as const;

/** Headers that would change how an object is kept or seen in a way that Sluice cannot: refused rather than ignored. */
const REFUSED_HEADERS = [
  'x-amz-tagging',
  'x-amz-website-redirect-location',
  'x-amz-write-offset-bytes',
  'x-amz-object-lock-mode',
  'x-amz-object-lock-retain-until-date',
  'x-amz-object-lock-legal-hold',
  'x-amz-server-side-encryption-customer-algorithm',
  'x-amz-server-side-encryption-aws-kms-key-id',
  'x-amz-copy-source-server-side-encryption-customer-algorithm',
];

/** ACLs that a bucket without ACLs, as S3 makes them since 2023, still takes. */
const HARMLESS_ACLS = ['private', 'bucket-owner-full-control'];

/** What a put says about its object. Throws {@link S3Error}. */
export function describedObject(incoming: IncomingMessage): Omit<PutOptions, 'condition'> {
  const contentType = header(incoming, 'content-type');
  return { ...(contentType === undefined ? {} : { contentType }), metadata: userMetadata(incoming), httpHeaders: storedHeaders(incoming) };
}

/** Throws {@link S3Error} for what cannot be kept. */
export function refuseUnsupportedHeaders(incoming: IncomingMessage): void {
  const refused = REFUSED_HEADERS.find((name) => incoming.headers[name] !== undefined);
  if (refused !== undefined) throw notImplemented(refused);
  const encryption = header(incoming, 'x-amz-server-side-encryption');
  if (encryption !== undefined && encryption !== 'AES256') throw notImplemented('x-amz-server-side-encryption');
  const acl = header(incoming, 'x-amz-acl');
  const grants = Object.keys(incoming.headers).some((name) => name.startsWith('x-amz-grant-'));
  if (grants || (acl !== undefined && !HARMLESS_ACLS.includes(acl))) throw new S3Error('AccessControlListNotSupported');
}

export function notImplemented(name: string): S3Error {
  return new S3Error('NotImplemented', { details: { Header: name } });
}

/** The condition of a put. Throws {@link S3Error} for those that S3 does not know. */
export function putCondition(incoming: IncomingMessage): Pick<PutOptions, 'condition'> {
  const ifNoneMatch = header(incoming, 'if-none-match');
  const ifMatch = header(incoming, 'if-match');
  if (ifNoneMatch !== undefined) {
    if (ifNoneMatch !== '*' || ifMatch !== undefined) throw notImplemented('If-None-Match');
    return { condition: { kind: 'absent' } };
  }
  return ifMatch === undefined ? {} : { condition: { kind: 'etag', etag: unquote(ifMatch) } };
}

/** Headers that describe an object in an answer. */
export function objectHeaders(summary: ObjectSummary): OutgoingHttpHeaders {
  const metadata = Object.entries(summary.metadata).map(([name, value]) => [METADATA_PREFIX + name, headerSafe(value)]);
  return {
    'Accept-Ranges': 'bytes',
    'Content-Type': headerSafe(summary.contentType),
    ETag: quote(summary.etag),
    'Last-Modified': new Date(summary.lastModifiedMs).toUTCString(),
    ...Object.fromEntries(Object.entries(summary.httpHeaders ?? {}).map(([name, value]) => [name, headerSafe(value)])),
    ...(Object.fromEntries(metadata) as Record<string, string>),
  };
}

export function quote(etag: string): string {
  return `"${etag}"`;
}

export function unquote(etag: string): string {
  return etag.trim().replace(/^"(.*)"$/, '$1');
}

function userMetadata(incoming: IncomingMessage): Readonly<Record<string, string>> {
  const metadata: Record<string, string> = {};
  let bytes = 0;
  for (const [name, value] of Object.entries(incoming.headers)) {
    if (!name.startsWith(METADATA_PREFIX) || typeof value !== 'string') continue;
    const short = name.slice(METADATA_PREFIX.length);
    bytes += short.length + value.length;
    Object.defineProperty(metadata, short, { value, enumerable: true });
  }
  if (bytes > MAX_METADATA_BYTES) throw new S3Error('MetadataTooLarge', { details: { Size: bytes, MaxSizeAllowed: MAX_METADATA_BYTES } });
  return metadata;
}

function storedHeaders(incoming: IncomingMessage): StoredHttpHeaders {
  const stored: Partial<Record<(typeof STORED_HEADERS)[number], string>> = {};
  for (const name of STORED_HEADERS) {
    const value = header(incoming, name);
    // `aws-chunked` is how this request is framed, not how its object is encoded.
    const kept = name === 'content-encoding' ? value?.split(',').map((part) => part.trim()).filter((part) => part !== '' && part !== 'aws-chunked').join(',') : value;
    if (kept !== undefined && kept !== '') stored[name] = kept;
  }
  return stored;
}

/** Header values travel as bytes: those that came in by HTTP pass as they are, other text as its UTF-8. Line ends can end no header early. */
function headerSafe(value: string): string {
  const bytes = /[\u0100-\uffff]/.test(value) ? Buffer.from(value).toString('latin1') : value;
  return bytes.replaceAll(/[\p{Cc}]/gu, (character) => (character >= '\u0080' ? character : ' '));
}
