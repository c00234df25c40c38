import { percentDecoded } from '../../platform/percent-encoding.ts';

/** A request for the operation Invoke or InvokeWithResponseStream, taken out of its path without a router. */
export interface InvokeRoute {
  /** The function reference, decoded. */
  readonly reference: string;
  readonly qualifier: string | undefined;
  /** InvokeWithResponseStream. */
  readonly stream: boolean;
}

const INVOKE = { prefix: '/2015-03-31/functions/', suffix: '/invocations', stream: false };
const INVOKE_WITH_RESPONSE_STREAM = { prefix: '/2021-11-15/functions/', suffix: '/response-streaming-invocations', stream: true };

/** The route if `url` is one of theirs, otherwise undefined; also for a path that cannot be decoded, which the API's router then refuses. */
export function matchInvoke(url: string): InvokeRoute | undefined {
  const { prefix, suffix, stream } = url.startsWith(INVOKE.prefix) ? INVOKE : INVOKE_WITH_RESPONSE_STREAM;
  if (!url.startsWith(prefix)) return undefined;
  const queryAt = url.indexOf('?', prefix.length);
  const path = queryAt === -1 ? url : url.slice(0, queryAt);
  const end = path.endsWith('/') ? path.length - 1 : path.length;
  if (!path.endsWith(suffix, end)) return undefined;
  const encoded = path.slice(prefix.length, end - suffix.length);
  if (encoded === '' || encoded.includes('/')) return undefined;
  const reference = percentDecoded(encoded);
  if (reference === undefined) return undefined;
  const qualifier = queryAt === -1 ? undefined : (new URLSearchParams(url.slice(queryAt + 1)).get('Qualifier') ?? undefined);
  return { reference, qualifier, stream };
}
