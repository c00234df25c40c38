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

export interface PageRequest {
  readonly Marker?: string | undefined;
  readonly MaxItems?: number | undefined;
}

/** A page of what is at hand as a whole, by name. Throws as {@link decodeMarker}. */
export function pageByName<Item>(items: readonly Item[], nameOf: (item: Item) => string, { Marker, MaxItems }: PageRequest): { readonly page: readonly Item[]; readonly next: { readonly NextMarker?: string } } {
  const [after] = decodeMarker(Marker, 1) ?? [];
  const matching = items.filter((item) => after === undefined || nameOf(item) > after).sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  const page = matching.slice(0, pageSize(MaxItems));
  const last = page.at(-1);
  return { page, next: matching.length > page.length && last !== undefined ? { NextMarker: encodeMarker([nameOf(last)]) } : {} };
}

/** A function, version or alias name: anything else would reach the registry as a key that nobody has checked. */
function isMarkerPart(part: unknown): part is string {
  return typeof part === 'string' && /^[a-zA-Z0-9-_$]{1,140}$/.test(part);
}
