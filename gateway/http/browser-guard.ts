import type { IncomingMessage } from 'node:http';

/**
 * Whether a browser sent this on behalf of a web page of another origin. No AWS client does; a page that a developer happens to visit
 * must not be able to create functions on a gateway that listens on the developer's loopback.
 */
export function isCrossSite(request: IncomingMessage): boolean {
  const site = request.headers['sec-fetch-site'];
  if (site !== undefined) return site === 'cross-site' || site === 'same-site';
  const { origin, host } = request.headers;
  return origin !== undefined && host !== undefined && origin !== `http://${host}` && origin !== `https://${host}`;
}
