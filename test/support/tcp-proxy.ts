import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A proxy on loopback that can be told to swallow what passes: connections stay open, and nothing comes through any more. */
export interface TcpProxy {
  readonly port: number;
  /** Connections that were made so far. */
  readonly connections: number;
  /** From now on every byte, of old connections and new ones, in both directions, disappears. */
  swallow(): void;
  /** New connections pass again; what was swallowed is lost, so the old ones stay as they are. */
  pass(): void;
  close(): Promise<void>;
}

export async function tcpProxy(target: { readonly host: string; readonly port: number }): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  let swallowing = false;
  let connections = 0;
  const server = createServer((client) => {
    connections++;
    const upstream = connect(target);
    const pair = { dead: swallowing };
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.on('data', (chunk) => {
        if (swallowing) pair.dead = true;
        if (!pair.dead) to.write(chunk);
      });
      from.on('error', () => to.destroy());
      from.on('close', () => {
        sockets.delete(from);
        if (!pair.dead) to.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return connections;
    },
    swallow: () => void (swallowing = true),
    pass: () => void (swallowing = false),
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
