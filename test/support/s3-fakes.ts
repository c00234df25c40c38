import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect, createServer as createNetServer, type AddressInfo, type Server as NetServer, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { Certificate } from './redis-server.ts';

/** A server that answers as a test wants, where no real one would at will. */
export interface FakeServer {
  readonly url: string;
  readonly server: Server;
  /** Requests that it was sent. */
  readonly requests: IncomingMessage[];
  stop(): Promise<void>;
}

export async function startFakeServer(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<FakeServer> {
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    requests.push(request);
    answer(request, response);
  });
  const port = await listening(server);
  return {
    url: `http://127.0.0.1:${port}`,
    server,
    requests,
    async stop() {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

/** A way to a server that loses answers. */
export interface LossyProxy {
  readonly url: string;
  /** Answers lost so far. */
  readonly lost: number;
  /** Breaks a connection instead of passing the next answer on: what was asked has happened then. */
  loseNextAnswers(count: number): void;
  stop(): Promise<void>;
}

export async function startLossyProxy(target: string): Promise<LossyProxy> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  let toLose = 0;
  let lost = 0;
  const server = createNetServer((near) => {
    const far = connect(Number(port), hostname);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        near.destroy();
        far.destroy();
        sockets.delete(socket);
      });
    }
    near.on('data', (bytes) => far.write(bytes));
    far.on('data', (bytes) => {
      if (near.destroyed) return;
      if (toLose === 0) near.write(bytes);
      else {
        toLose -= 1;
        lost += 1;
        near.resetAndDestroy();
      }
    });
  });
  const ownPort = await listening(server);
  return {
    url: `http://127.0.0.1:${ownPort}`,
    get lost() {
      return lost;
    },
    loseNextAnswers(count) {
      toLose = count;
    },
    async stop() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, 'close');
    },
  };
}

/** TLS before a server that has none. */
export async function startTlsProxy(target: string, certificate: Certificate): Promise<{ readonly url: string; stop(): Promise<void> }> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<{ destroy(): void }>();
  const server = createTlsServer({ cert: certificate.pem, key: await readFile(certificate.keyFile) }, (near) => {
    const far = connect(Number(port), hostname);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        near.destroy();
        far.destroy();
        sockets.delete(socket);
      });
    }
    near.pipe(far).pipe(near);
  });
  server.on('tlsClientError', () => undefined);
  const ownPort = await listening(server);
  return {
    url: `https://127.0.0.1:${ownPort}`,
    async stop() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, 'close');
    },
  };
}

async function listening(server: NetServer): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}
