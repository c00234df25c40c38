import { connect, createServer, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';

/** A way to a service that can turn into a black hole: connections stay open, and nothing comes through any more. */
export interface SwallowingProxy {
  readonly port: number;
  /** From now on bytes in both directions vanish, and new connections are taken and left alone. */
  swallow(): void;
  /** Lets go of what was swallowed by closing its connections, and serves again. */
  heal(): void;
  close(): Promise<void>;
}

export async function swallowingProxy(target: { readonly host: string; readonly port: number }): Promise<SwallowingProxy> {
  let swallowing = false;
  const sockets = new Set<Socket>();
  const keep = (socket: Socket): void => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
  };
  const server = createServer((client) => {
    keep(client);
    const upstream = connect(target);
    keep(upstream);
    const pass = (from: Socket, to: Socket): void => {
      from.on('data', (chunk: Buffer) => {
        if (!swallowing) to.write(chunk);
      });
      from.on('close', () => {
        if (!swallowing) to.destroy();
      });
    };
    pass(client, upstream);
    pass(upstream, client);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    swallow: () => {
      swallowing = true;
    },
    heal: () => {
      swallowing = false;
      for (const socket of sockets) socket.destroy();
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
