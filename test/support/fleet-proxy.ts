import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import type { TestContext } from 'node:test';

export type Direction = 'request' | 'answer';

/** A proxy on loopback that breaks connections in the middle of what passes. */
export interface CuttingProxy {
  readonly url: string;
  /** How often it has cut. */
  readonly cuts: number;
  /** Asked for every chunk: how many bytes of it still pass before the connection breaks, both ways; undefined: all, and it lives on. */
  cut: (chunk: Buffer, direction: Direction) => number | undefined;
}

export async function cuttingProxy(t: Pick<TestContext, 'after'>, port: number): Promise<CuttingProxy> {
  const sockets = new Set<Socket>();
  let cuts = 0;
  const pass = (from: Socket, to: Socket, direction: Direction): void => {
    sockets.add(from);
    from.on('data', (chunk) => {
      const passing = to.destroyed ? undefined : proxy.cut(chunk, direction);
      if (passing === undefined) {
        to.write(chunk);
        return;
      }
      cuts++;
      // Once what passes has been sent, both ends.
      to.write(chunk.subarray(0, passing), () => {
        to.destroy();
        from.destroy();
      });
      from.removeAllListeners('data');
    });
    from.on('error', () => to.destroy());
    from.on('close', () => {
      sockets.delete(from);
      to.destroy();
    });
  };
  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ host: '127.0.0.1', port, noDelay: true });
    pass(client, upstream, 'request');
    pass(upstream, client, 'answer');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const proxy: CuttingProxy = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get cuts() {
      return cuts;
    },
    cut: () => undefined,
  };
  t.after(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  return proxy;
}
