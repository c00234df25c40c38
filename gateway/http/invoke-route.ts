import { percentDecoded } from '../../platform/percent-encoding.ts';

/** A request for the Invoke operation, taken out of its path without a router. */
export interface InvokeRoute {
  /** The function reference, decoded. */
  readonly reference: string;
  readonly qualifier: string | undefined;
}

const PREFIX = '/2015-03-31/functions/';
const SUFFIX = '/invocations';

/** The route if `url` is Invoke's, otherwise undefined; also for a path that cannot be decoded, which the API's router then refuses. */
export function matchInvoke(url: string): InvokeRoute | undefined {
  if (!url.startsWith(PREFIX)) return undefined;
  const queryAt = url.indexOf('?', PREFIX.length);
  const path = queryAt === -1 ? url : url.slice(0, queryAt);
  const end = path.endsWith('/') ? path.length - 1 : path.length;
  if (!path.endsWith(SUFFIX, end)) return undefined;
  const encoded = path.slice(PREFIX.length, end - SUFFIX.length);
  if (encoded === '' || encoded.includes('/')) return undefined;
  const reference = percentDecoded(encoded);
  if (reference === undefined) return undefined;
  const qualifier = queryAt === -1 ? undefined : (new URLSearchParams(url.slice(queryAt + 1)).get('Qualifier') ?? undefined);
  return { reference, qualifier };
}
