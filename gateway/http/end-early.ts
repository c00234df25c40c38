import type { ServerResponse } from 'node:http';

/** How long, and for how many bytes, a client that is still sending is listened to after its answer. */
const LINGER_MS = 2_000;
const LINGER_BYTES_MAX = 64 * 1024 * 1024;

/**
 * Ends a response whose request has not been read to its end, and with it the connection, since the rest of the body must not be taken for the next
 * request. A connection that is closed while bytes come in is reset, and a reset can overtake the answer: the client would see a broken connection in place of
 * the reason. So what still comes is read and dropped for a while; the client has its whole answer meanwhile. The headers must be written, with a Content-Length.
 */
export function endEarly(response: ServerResponse, body: Buffer): void {
  const { req: request } = response;
  if (request.complete || request.destroyed) {
    response.end(body);
    return;
  }
  response.write(body);
  let bytes = 0;
  const end = (): void => {
    clearTimeout(patience);
    request.removeListener('data', onData);
    response.end();
  };
  const onData = (chunk: Buffer): void => {
    bytes += chunk.length;
    if (bytes > LINGER_BYTES_MAX) end();
  };
  const patience = setTimeout(end, LINGER_MS);
  request.on('data', onData);
  request.once('end', end);
  request.once('close', end);
  request.on('error', () => undefined);
  request.resume();
}
