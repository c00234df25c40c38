import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { connect } from 'node:net';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { spread } from '../../../cli/bin/spread.mjs';

/** Linux answers on all of 127.0.0.0/8: several "containers" with one port. */
const HOSTS = ['127.0.0.1', '127.0.0.2', '127.0.0.3'];

async function serve(host: string, port: number, answer: (request: IncomingMessage) => string): Promise<Server> {
  const server = createServer((request, response) => void response.end(answer(request)));
  server.listen(port, host);
  await once(server, 'listening');
  return server;
}

describe('spread', { skip: process.platform === 'linux' ? false : 'needs several loopback addresses' }, () => {
  let servers: Server[];
  let port: number;
  let running: Awaited<ReturnType<typeof spread>>;
  let addresses: readonly string[];
  let said: string[];
  let asked: number;

  beforeEach(async () => {
    const first = await serve(HOSTS[0] ?? '', 0, () => HOSTS[0] ?? '');
    ({ port } = first.address() as AddressInfo);
    servers = [first, ...(await Promise.all(HOSTS.slice(1).map((host) => serve(host, port, () => host))))];
    addresses = HOSTS;
    said = [];
    asked = 0;
    running = await spread({
      listen: { host: '127.0.0.1', port: 0 },
      port,
      resolve() {
        asked++;
        return Promise.resolve(addresses);
      },
      log: (line) => said.push(line),
    });
  });
  afterEach(async () => {
    for (const server of servers) {
      server.close();
      server.closeAllConnections();
    }
    await running.stop();
  });

  /** Each over a connection of its own. */
  const ask = async (): Promise<string> => (await fetch(`http://127.0.0.1:${running.port}/`, { headers: { Connection: 'close' } })).text();

  test('every address has its turn', async () => {
    const answers = [];
    for (let i = 0; i < 6; i++) answers.push(await ask());
    for (const host of HOSTS) assert.equal(answers.filter((answer) => answer === host).length, 2, host);
  });

  test('one that takes no connections is passed over, and no request fails', async () => {
    servers[1]?.close();
    servers[1]?.closeAllConnections();
    const answers = [];
    for (let i = 0; i < 6; i++) answers.push(await ask());
    assert.equal(answers.includes('127.0.0.2'), false);
    assert.equal(answers.length, 6);
    assert.match(said[0] ?? '', /^127\.0\.0\.2:\d+ does not take a connection: /);
  });

  test('where nobody is there a connection waits until somebody comes', async () => {
    addresses = [];
    const answer = ask();
    while (asked < 3) await new Promise(setImmediate);
    addresses = HOSTS;
    assert.ok(HOSTS.includes(await answer));
  });

  test('and is closed where nobody does', async () => {
    const alone = await spread({ listen: { host: '127.0.0.1', port: 0 }, port, resolve: () => Promise.reject(new Error('no such name')), patienceMs: 0, log: (line) => said.push(line) });
    await assert.rejects(fetch(`http://127.0.0.1:${alone.port}/`));
    assert.deepEqual(said, ['no address: no such name']);
    await alone.stop();
  });

  test('an answer that a client reads after its own end arrives whole', async () => {
    const socket = connect({ port: running.port, host: '127.0.0.1', allowHalfOpen: true });
    socket.end('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    let said = '';
    for await (const chunk of socket) said += String(chunk);
    assert.match(said, /^HTTP\/1\.1 200 OK\r\n/);
    assert.match(said, /127\.0\.0\.\d/);
  });

  test('a server that breaks off breaks the client\'s connection', async () => {
    const breaking = createServer((request) => request.socket.destroy());
    servers.push(breaking);
    breaking.listen(0, '127.0.0.1');
    await once(breaking, 'listening');
    const other = await spread({ listen: { host: '127.0.0.1', port: 0 }, port: (breaking.address() as AddressInfo).port, resolve: () => Promise.resolve(['127.0.0.1']) });
    await assert.rejects(fetch(`http://127.0.0.1:${other.port}/`));
    await other.stop();
  });

  test('a stop lets an open connection end', async () => {
    const socket = connect(running.port, '127.0.0.1');
    await once(socket, 'connect');
    const stopped = running.stop();
    socket.end('GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    let said = '';
    for await (const chunk of socket) said += String(chunk);
    assert.match(said, /^HTTP\/1\.1 200 OK\r\n/);
    await stopped;
  });
});
