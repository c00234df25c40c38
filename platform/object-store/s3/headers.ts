import type { IncomingHttpHeaders } from 'node:http';
import type { ObjectLocation, ObjectSummary, PutOptions, StoredHttpHeaders } from '../object-store.ts';

export const DEFAULT_CONTENT_TYPE = 'binary/octet-stream';

const METADATA_PREFIX = 'x-amz-meta-';
const STORED = ['cache-control', 'content-disposition', 'content-encoding', 'content-language', 'expires'] as const satisfies readonly (keyof StoredHttpHeaders)[];

/** Headers of a PUT. */
export function putHeaders({ contentType, metadata = {}, httpHeaders = {}, condition }: PutOptions): Record<string, string> {
  const headers: Record<string, string> = { 'content-type': contentType ?? DEFAULT_CONTENT_TYPE };
  for (const name of STORED) {
    const value = httpHeaders[name];
    if (value !== undefined) headers[name] = value;
  }
  for (const [name, value] of Object.entries(metadata)) headers[METADATA_PREFIX + name] = encodeMetadata(value);
  if (condition?.kind === 'absent') headers['if-none-match'] = '*';
  if (condition?.kind === 'etag') headers['if-match'] = `"${condition.etag}"`;
  return headers;
}

/** An object's summary from the headers of a GET or HEAD. */
export function summaryOf({ bucket, key }: ObjectLocation, headers: IncomingHttpHeaders, sizeBytes: number): ObjectSummary {
  const metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith(METADATA_PREFIX) && typeof value === 'string') metadata[name.slice(METADATA_PREFIX.length)] = decodeMetadata(utf8(value));
  }
  const stored: Partial<Record<(typeof STORED)[number], string>> = {};
  for (const name of STORED) {
    const value = headers[name];
    if (typeof value === 'string' && value !== '') stored[name] = utf8(value);
  }
  return {
    bucket,
    key,
    sizeBytes,
    etag: bareEtag(headers.etag ?? ''),
    lastModifiedMs: timeOf(headers['last-modified']),
    contentType: utf8(headers['content-type'] ?? DEFAULT_CONTENT_TYPE),
    metadata,
    ...(Object.keys(stored).length === 0 ? {} : { httpHeaders: stored }),
  };
}

/** An ETag without quotes. */
export function bareEtag(etag: string): string {
  return etag.replace(/^"(.*)"$/, '$1');
}

/** 0 for a time that is none. */
export function timeOf(text: string | undefined): number {
  const ms = text === undefined ? NaN : Date.parse(text);
  return Number.isNaN(ms) ? 0 : ms;
}

/** Node reads headers as Latin-1; S3 means UTF-8. */
function utf8(value: string): string {
  return Buffer.from(value, 'latin1').toString('utf8');
}

/** What passes through a header unchanged: printable ASCII without spaces at the ends or in a row, and nothing that looks encoded. */
const PLAIN = /^(?!=\?)(?:[\x21-\x7e]+(?: [\x21-\x7e]+)*)?$/;

/** Amazon S3 user guide, "Working with object metadata": what is not US-ASCII travels as RFC 2047 has it for mail. */
function encodeMetadata(value: string): string {
  return PLAIN.test(value) ? value : `=?UTF-8?B?${Buffer.from(value).toString('base64')}?=`;
}

function decodeMetadata(value: string): string {
  const match = /^=\?utf-8\?([bq])\?([^?]*)\?=$/i.exec(value);
  if (match === null) return value;
  const [, encoding = '', text = ''] = match;
  if (encoding.toLowerCase() === 'b') return Buffer.from(text, 'base64').toString('utf8');
  const bytes = text.replaceAll('_', ' ').replace(/=([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
  return utf8(bytes);
}
