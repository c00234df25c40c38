import { invalidParameter } from './errors.ts';
import { MAX_PAGE_ITEMS } from './limits.ts';

/** How many items a page may have. */
export function pageSize(maxItems: number | undefined): number {
  return Math.min(maxItems ?? MAX_PAGE_ITEMS, MAX_PAGE_ITEMS);
}

/** A marker: where the next page begins, as text that nobody takes for more than that. */
export function encodeMarker(parts: readonly string[]): string {
  return Buffer.from(JSON.stringify(parts)).toString('base64url');
}

/** The parts of a marker; undefined for the first page. Throws `LambdaApiError` for what no page has given. */
export function decodeMarker(marker: string | undefined, length: number): readonly string[] | undefined {
  if (marker === undefined || marker === '') return undefined;
  try {
    const parts: unknown = JSON.parse(Buffer.from(marker, 'base64url').toString('utf8'));
    if (Array.isArray(parts) && parts.length === length && parts.every(isMarkerPart)) return parts;
  } catch {
    // Not one of ours either.
  }
  throw invalidParameter('Invalid Marker: give the NextMarker of the page before, unchanged.');
}

/** A function, version or alias name: anything else would reach the registry as a key that nobody has checked. */
function isMarkerPart(part: unknown): part is string {
  return typeof part === 'string' && /^[a-zA-Z0-9-_$]{1,140}$/.test(part);
}
