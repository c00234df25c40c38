#!/usr/bin/env node
/**
 * Usage: node cli/bin/spread.mjs PORT NAME:PORT
 *
 * Takes TCP connections and gives each to the next of all addresses that NAME has: one address for clients, however many gateways there are and whichever come and go.
 * An address that does not take a connection is passed over before a byte was sent, so nothing is sent twice. Plain JavaScript that loads nothing, for docker-compose.yml;
 * a cluster has load balancers of its own.
 */
import { lookup } from 'node:dns/promises';
import { connect, createServer } from 'node:net';
import { performance } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';

/** A container on the same network accepts at once or not at all. */
const CONNECT_TIMEOUT_MS = 1_000;
/** Names are looked up again after this long, and at once where no address took a connection. */
const ADDRESSES_FRESH_MS = 1_000;
/** A connection waits so long for an address that takes it: the restart of an only gateway is a pause for new connections, not a failure. */
const PATIENCE_MS = 10_000;
/** How often it is tried anew. */
const RETRY_MS = 100;
/** As many as two gateways take; further ones are refused by closing them. */
const CONNECTIONS_MAX = 40_000;
/** At a stop the gateways have ended before and closed their connections; what is left has so long. */
const STOP_PATIENCE_MS = 5_000;

/**
 * Spreads what comes in on `listen` over the addresses that `resolve` tells. Resolves when it listens; rejects when it cannot.
 */
export async function spread({ listen, port, resolve, patienceMs = PATIENCE_MS, log = () => undefined }) {
  const open = new Set();
  let addresses = [];
  let resolvedAt = -Infinity;
  let turn = 0;
  let stopping = false;

  const current = async (again) => {
    if (again || performance.now() - resolvedAt >= ADDRESSES_FRESH_MS) {
      try {
        addresses = await resolve();
        resolvedAt = performance.now();
      } catch (error) {
        addresses = [];
        log(`no address: ${error.message}`);
      }
    }
    return addresses;
  };

  /** A connection to the next address that takes one; undefined where none does in time, or nobody waits for it any more. */
  const reach = async (client) => {
    const startedAt = performance.now();
    for (let again = false; ; again = true) {
      const all = await current(again);
      const first = turn++;
      for (let offset = 0; offset < all.length; offset++) {
        const host = all[(first + offset) % all.length];
        try {
          return await connectTo(host, port);
        } catch (error) {
          log(`${host}:${port} does not take a connection: ${error.message}`);
        }
      }
      if (client.destroyed || stopping || performance.now() - startedAt >= patienceMs) return undefined;
      if (again) await delay(RETRY_MS);
    }
  };

  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (client) => {
    open.add(client);
    client.on('error', () => client.destroy());
    client.once('close', () => open.delete(client));
    void reach(client).then((upstream) => {
      if (upstream === undefined || client.destroyed) {
        upstream?.destroy();
        client.destroy();
        return;
      }
      // Either side's end is passed on as an end, either side's failure as a failure.
      for (const [from, to] of [[client, upstream], [upstream, client]]) {
        from.on('error', () => to.destroy());
        from.once('close', (failed) => failed && to.destroy());
        from.pipe(to);
      }
      client.once('close', () => upstream.destroy());
      upstream.once('close', () => client.destroySoon());
    });
  });
  server.maxConnections = CONNECTIONS_MAX;
  await new Promise((done, fail) => {
    server.once('error', fail);
    server.listen(listen.port, listen.host, done);
  });
  return {
    port: server.address().port,
    /** Takes no more connections, lets those that are open end. */
    async stop() {
      stopping = true;
      const closed = new Promise((done) => server.close(done));
      const force = setTimeout(() => open.forEach((client) => client.destroy()), STOP_PATIENCE_MS);
      await closed;
      clearTimeout(force);
    },
  };
}

function connectTo(host, port) {
  return new Promise((done, fail) => {
    const socket = connect({ host, port, noDelay: true, allowHalfOpen: true, timeout: CONNECT_TIMEOUT_MS });
    socket.once('connect', () => {
      socket.setTimeout(0);
      socket.removeListener('error', fail);
      done(socket);
    });
    socket.once('error', fail);
    socket.once('timeout', () => socket.destroy(new Error(`no answer within ${CONNECT_TIMEOUT_MS} ms`)));
  });
}

if (import.meta.main) {
  const [, , port, target = ''] = process.argv;
  const [, name, targetPort] = /^([^\s:]+):(\d+)$/.exec(target) ?? [];
  if (!/^\d+$/.test(port ?? '') || name === undefined) {
    process.stderr.write('usage: node cli/bin/spread.mjs PORT NAME:PORT\n');
    process.exit(2);
  }
  const running = spread({
    listen: { host: '0.0.0.0', port: Number(port) },
    port: Number(targetPort),
    resolve: async () => (await lookup(name, { all: true, family: 4 })).map(({ address }) => address).sort(),
    log: (line) => process.stderr.write(`${line}\n`),
  });
  for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => void running.then(({ stop }) => stop()));
  await running;
  process.stdout.write(`Connections to port ${port} go to all of ${target} in turn.\n`);
}
