/** Where an S3 server listens. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
  /** For messages: scheme, host and port, never what else a URL may hold. */
  readonly display: string;
}

/** The address is no URL of an S3 server; the message says what is wrong with it. */
export class InvalidEndpointError extends Error {
  override readonly name = 'InvalidEndpointError';
}

/** Throws {@link InvalidEndpointError}. Credentials in the URL are refused unseen: a URL is shown in messages, a secret never. */
export function parseEndpoint(url: string): Endpoint {
  const parsed = URL.parse(url);
  if (parsed === null || (parsed.protocol !== 'http:' && parsed.protocol !== 'https:') || parsed.hostname === '') {
    throw new InvalidEndpointError(`"${parsed === null || parsed.password !== '' ? '…' : url}" is no address of an S3 server; give a URL such as https://s3.example.com or http://minio:9000.`);
  }
  const tls = parsed.protocol === 'https:';
  const display = `${parsed.protocol}//${parsed.host}`;
  if (parsed.username !== '' || parsed.password !== '') throw new InvalidEndpointError(`The address ${display} carries credentials; give them in settings of their own.`);
  // A signature covers the path as the server sees it, so S3 cannot lie below one.
  if (parsed.pathname !== '/' || parsed.search !== '' || parsed.hash !== '') throw new InvalidEndpointError(`The address ${display} is followed by a path or query, and S3 cannot be served below one; give scheme, host and port only.`);
  return { host: parsed.hostname.replace(/^\[(.*)\]$/, '$1'), port: parsed.port === '' ? (tls ? 443 : 80) : Number(parsed.port), tls, display };
}
