import { Buffer } from 'node:buffer';
import { request, type IncomingHttpHeaders } from 'node:http';
import { connect } from 'node:net';
import { buffer } from 'node:stream/consumers';

/** What came back, without any client's interpretation. */
export interface RawAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly text: string;
}

export interface RawRequest {
  readonly method?: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer | string;
}

/** Sends exactly this; resolves with the answer even if the server answered before it had read everything. */
export function send(url: string, { method = 'POST', path, headers = {}, body }: RawRequest): Promise<RawAnswer> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const bytes = body === undefined ? undefined : Buffer.from(body);
    const outgoing = request(
      { hostname, port, method, path, agent: false, headers: { ...(bytes && { 'content-length': String(bytes.length) }), ...headers } },
      (response) => {
        buffer(response).then(
          (content) => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: content, text: content.toString('utf8') }),
          reject,
        );
      },
    );
    outgoing.on('error', reject);
    outgoing.end(bytes);
  });
}

/** Writes these bytes on a connection of their own and resolves with everything that comes until the server ends it. */
export async function sendBytes(url: string, bytes: string | Buffer, options: { readonly end?: boolean } = {}): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port) });
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  // A reset is an end as well: what matters is what was answered before.
  socket.on('error', () => undefined);
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.write(bytes);
  if (options.end === true) socket.end();
  await closed;
  return Buffer.concat(chunks).toString('latin1');
}
