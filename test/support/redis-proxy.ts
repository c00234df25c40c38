import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A way to a server that can be disturbed; on loopback itself. */
export interface RedisProxy {
  readonly port: number;
  /**
   * Lets everything vanish that comes from now on, from the server only or from both sides; connections stay open, and new ones are accepted.
   * Connections that were disturbed once never work again.
   */
  swallow(what: 'answers' | 'everything'): void;
  /** Lets new connections through again. */
  pass(): void;
  /** Breaks all connections. */
  cut(): void;
  stop(): Promise<void>;
}

export async function startRedisProxy(targetPort: number, targetHost = '127.0.0.1'): Promise<RedisProxy> {
  const links = new Set<{ readonly sockets: readonly Socket[]; swallowed: 'nothing' | 'answers' | 'everything' }>();
  let swallowed: 'nothing' | 'answers' | 'everything' = 'nothing';
  const server = createServer({ noDelay: true }, (near) => {
    const far = connect({ port: targetPort, host: targetHost, noDelay: true });
    const link = { sockets: [near, far], swallowed };
    links.add(link);
    near.on('data', (bytes) => void (link.swallowed !== 'everything' && far.write(bytes)));
    far.on('data', (bytes) => void (link.swallowed === 'nothing' && near.write(bytes)));
    for (const socket of link.sockets) socket.on('error', () => undefined);
    near.on('close', () => {
      links.delete(link);
      far.destroy();
    });
    // Whoever is at the near end of a disturbed connection does not even learn that it is over.
    far.on('close', () => void (link.swallowed === 'nothing' && near.destroy()));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = (): void => {
    for (const { sockets } of links) for (const socket of sockets) socket.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    swallow(what) {
      swallowed = what;
      for (const link of links) link.swallowed = what;
    },
    pass: () => void (swallowed = 'nothing'),
    cut,
    async stop() {
      server.close();
      cut();
      await once(server, 'close');
    },
  };
}
