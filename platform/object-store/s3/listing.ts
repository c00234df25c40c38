import type { BucketSummary, ObjectSummary } from '../object-store.ts';
import { bareEtag, DEFAULT_CONTENT_TYPE, timeOf } from './headers.ts';
import { elements, elementText } from './xml.ts';

export interface ListingQuery {
  readonly prefix: string;
  readonly after: string | undefined;
  /** Of the page before; it stands for `after` then. */
  readonly token: string | undefined;
  /** 1 to 1,000. */
  readonly limit: number;
}

export interface Listing {
  readonly objects: readonly ObjectSummary[];
  /** There exactly if the server has more to list. */
  readonly token: string | undefined;
}

/** The query of a list request. `url` encoding, because XML cannot hold every key. */
export function listingQuery({ prefix, after, token, limit }: ListingQuery): string {
  const parameters = [
    ['encoding-type', 'url'],
    ['list-type', '2'],
    ['max-keys', String(limit)],
    ...(prefix === '' ? [] : [['prefix', prefix]]),
    ...(token === undefined ? [] : [['continuation-token', token]]),
    ...(after === undefined || token !== undefined ? [] : [['start-after', after]]),
  ];
  return parameters.map(([name = '', value = '']) => `${name}=${encodeQueryValue(value)}`).join('&');
}

/** As the signature has it: RFC 3986, which leaves fewer characters as they are than `encodeURIComponent`. */
function encodeQueryValue(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** Summaries with what a list tells: key, size, ETag and time. */
export function parseListing(bucket: string, xml: string): Listing {
  const objects = elements(xml, 'Contents').map((content) => ({
    bucket,
    key: decodeKey(elementText(content, 'Key') ?? ''),
    sizeBytes: Number(elementText(content, 'Size') ?? 0),
    etag: unshared(bareEtag(elementText(content, 'ETag') ?? '')),
    // Whole seconds, as every other answer has it.
    lastModifiedMs: Math.floor(timeOf(elementText(content, 'LastModified')) / 1_000) * 1_000,
    contentType: DEFAULT_CONTENT_TYPE,
    metadata: {},
  }));
  const token = elementText(xml, 'IsTruncated') === 'true' ? elementText(xml, 'NextContinuationToken') : undefined;
  return { objects, token };
}

export function parseBuckets(xml: string): BucketSummary[] {
  return elements(xml, 'Bucket').map((bucket) => ({ name: elementText(bucket, 'Name') ?? '', createdMs: timeOf(elementText(bucket, 'CreationDate')) }));
}

/** Undoes `url` encoding: some servers write a space as `+`, others as `%20`. A key that is no UTF-8 (others can make such) becomes readable, never an error. */
function decodeKey(text: string): string {
  const bytes = Buffer.from(text.replaceAll('+', ' ')).toString('latin1');
  return Buffer.from(bytes.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16))), 'latin1').toString('utf8');
}

/** A part of a text keeps the whole text in memory; ETags are kept for long. */
function unshared(text: string): string {
  return Buffer.from(text).toString();
}
