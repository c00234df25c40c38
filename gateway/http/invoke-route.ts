import { percentDecoded } from '../../platform/percent-encoding.ts';

/** `InvokeAsync` is Invoke of type Event as it was before there were types; deprecated, and still called. */
export type InvokeOperation = 'Invoke' | 'InvokeWithResponseStream' | 'InvokeAsync';

/** A request for an invocation, taken out of its path without a router. */
export interface InvokeRoute {
  /** The function reference, decoded. */
  readonly reference: string;
  readonly qualifier: string | undefined;
  readonly operation: InvokeOperation;
}

/** The one that nearly all requests are for first. */
const OPERATIONS = [
  { prefix: '/2015-03-31/functions/', suffix: '/invocations', operation: 'Invoke' },
  { prefix: '/2021-11-15/functions/', suffix: '/response-streaming-invocations', operation: 'InvokeWithResponseStream' },
  { prefix: '/2014-11-13/functions/', suffix: '/invoke-async', operation: 'InvokeAsync' },
] as const;

/** The route if `url` is one of theirs, otherwise undefined; also for a path that cannot be decoded, which the API's router then refuses. */
export function matchInvoke(url: string): InvokeRoute | undefined {
  const form = OPERATIONS.find((candidate) => url.startsWith(candidate.prefix));
  if (form === undefined) return undefined;
  const { prefix, suffix, operation } = form;
  const queryAt = url.indexOf('?', prefix.length);
  const path = queryAt === -1 ? url : url.slice(0, queryAt);
  const end = path.endsWith('/') ? path.length - 1 : path.length;
  if (!path.endsWith(suffix, end)) return undefined;
  const encoded = path.slice(prefix.length, end - suffix.length);
  if (encoded === '' || encoded.includes('/')) return undefined;
  const reference = percentDecoded(encoded);
  if (reference === undefined) return undefined;
  const qualifier = queryAt === -1 ? undefined : (new URLSearchParams(url.slice(queryAt + 1)).get('Qualifier') ?? undefined);
  return { reference, qualifier, operation };
}
