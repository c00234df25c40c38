import type { IncomingMessage, ServerResponse } from 'node:http';
import { verifyPresignedPath } from '../../platform/object-store/presigned-url.ts';
import { S3Error } from './errors.ts';
import { objectHeaders } from './object-headers.ts';
import { openObject, parseRange, rangeHeaders, sendBody } from './objects.ts';
import { header, type S3Context } from './request.ts';

/** Serves a presigned URL of the object store: the only way in which anyone reaches a deployment package. Throws {@link S3Error}. */
export async function serveDownload(context: S3Context & { readonly signingSecret: Buffer; readonly now: () => number }, incoming: IncomingMessage, response: ServerResponse): Promise<void> {
  if (incoming.method !== 'GET' && incoming.method !== 'HEAD') throw new S3Error('MethodNotAllowed', { details: { Method: incoming.method ?? '' } });
  const verdict = verifyPresignedPath(incoming.url ?? '', context.signingSecret, context.now());
  if (verdict.kind === 'expired') throw new S3Error('AccessDenied', { message: 'Request has expired' });
  if (verdict.kind === 'forged') throw new S3Error('AccessDenied');
  const requested = header(incoming, 'range');
  const range = parseRange(requested);
  const object = await openObject(context, verdict.location, range, requested);
  try {
    // What a browser makes of someone's upload must not run with this gateway's origin.
    const harmless = { 'Content-Security-Policy': 'sandbox', 'X-Content-Type-Options': 'nosniff' };
    response.writeHead(range === undefined ? 200 : 206, { ...objectHeaders(object.summary), ...rangeHeaders(object, range !== undefined), ...harmless });
    if (incoming.method === 'HEAD') response.end();
    else await sendBody(response, object);
  } finally {
    object.body.destroy();
  }
}
