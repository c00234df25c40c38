import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createS3Api } from '../../gateway/s3-api/handle.ts';
import type { ObjectStore } from '../../platform/object-store/object-store.ts';
import { fileObjectStore } from '../../platform/object-store/file-system.ts';
import { createLogger } from '../../platform/telemetry/logger.ts';

export interface S3Server {
  readonly url: string;
  readonly store: ObjectStore;
  readonly server: Server;
  readonly objectsDir: string;
  /** Turns the clock of the presigned URLs on. */
  advance(ms: number): void;
  stop(): Promise<void>;
}

/** The S3 API alone, over a store in a temporary folder. */
export async function startS3Server(options: { readonly region?: string } = {}): Promise<S3Server> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-s3-'));
  const signingSecret = Buffer.alloc(32, 3);
  let url = '';
  let aheadMs = 0;
  const store = await fileObjectStore({ dataDir, baseUrl: () => url, signingSecret });
  const api = createS3Api({ store, logger: createLogger('silent'), region: options.region ?? 'us-east-1', signingSecret, now: () => Date.now() + aheadMs });
  const server = createServer((request, response) => {
    if (api.matches(request.method, request.url ?? '', request.headers)) void api.handle(request, response);
    else response.writeHead(418).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    store,
    server,
    objectsDir: join(dataDir, 'objects'),
    advance: (ms) => void (aheadMs += ms),
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
      await rm(dataDir, { recursive: true });
    },
  };
}
