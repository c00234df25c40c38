import type { IncomingHttpHeaders } from 'node:http';
import type { ObjectSummary } from '../../platform/object-store/object-store.ts';
import { unquote } from './object-headers.ts';

export type ConditionOutcome = { readonly kind: 'met' } | { readonly kind: 'notModified' } | { readonly kind: 'failed'; readonly condition: string };

/**
 * Whether an object may be read under the conditions of a request (S3 API reference, "GetObject"): of a pair, the ETag's condition
 * decides over the time's. `prefix` is `x-amz-copy-source-` for the source of a copy.
 */
export function conditionOutcome(headers: IncomingHttpHeaders, prefix: string, object: ObjectSummary): ConditionOutcome {
  const read = (name: string): string | undefined => {
    const value = headers[`${prefix}${name}`];
    return typeof value === 'string' ? value : undefined;
  };
  const modifiedSec = Math.floor(object.lastModifiedMs / 1_000);
  const seconds = (value: string | undefined): number => Date.parse(value ?? '') / 1_000;
  const ifMatch = read('if-match');
  if (ifMatch !== undefined) {
    if (!matches(ifMatch, object.etag)) return { kind: 'failed', condition: 'If-Match' };
  } else if (modifiedSec > seconds(read('if-unmodified-since'))) return { kind: 'failed', condition: 'If-Unmodified-Since' };
  const ifNoneMatch = read('if-none-match');
  if (ifNoneMatch !== undefined) return matches(ifNoneMatch, object.etag) ? { kind: 'notModified' } : { kind: 'met' };
  return modifiedSec <= seconds(read('if-modified-since')) ? { kind: 'notModified' } : { kind: 'met' };
}

function matches(list: string, etag: string): boolean {
  return list.split(',').some((item) => item.trim() === '*' || unquote(item.replace(/^\s*W\//, '')) === etag);
}
