import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { endEarly } from '../../../gateway/http/end-early.ts';

const MIB = 1024 * 1024;
const REASON = Buffer.from(JSON.stringify({ Message: 'too large'.repeat(1_000) }));

/** A server that refuses every request as soon as it has its headers. */
async function refusing(t: TestContext): Promise<{ readonly port: number; readonly connections: Set<Socket> }> {
  const server = createServer((_request, response: ServerResponse) => {
    response.shouldKeepAlive = false;
    response.writeHead(413, { 'Content-Type': 'application/json', 'Content-Length': REASON.length });
    endEarly(response, REASON);
  });
  const connections = new Set<Socket>();
  server.on('connection', (socket) => {
    connections.add(socket);
    socket.on('close', () => connections.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, connections };
}

function request(contentLength: number): string {
  return `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${contentLength}\r\n\r\n`;
}

/** A connection, what has come over it, and its end. */
function client(port: number): { readonly socket: Socket; readonly received: () => string; readonly closed: Promise<void>; readonly answered: Promise<void> } {
  const socket = connect({ host: '127.0.0.1', port });
  let text = '';
  const { promise: answered, resolve } = Promise.withResolvers<undefined>();
  socket.setEncoding('latin1').on('data', (chunk: string) => {
    text += chunk;
    if (isWhole(text)) resolve(undefined);
  });
  // A reset is an end as well: what counts is what came before it.
  socket.on('error', () => undefined);
  return { socket, received: () => text, closed: new Promise((done) => socket.once('close', () => done())), answered };
}

function isWhole(text: string): boolean {
  const [head = '', body = ''] = text.split('\r\n\r\n');
  return head.startsWith('HTTP/1.1 413 ') && /\r\nconnection: close/i.test(head) && body === REASON.toString();
}

test('a client that is still sending 20 MiB has the whole answer, and then the connection ends', async (t) => {
  const { port, connections } = await refusing(t);
  const { socket, received, closed } = client(port);
  socket.write(request(20 * MIB));
  socket.write(Buffer.alloc(20 * MIB));
  await closed;
  assert.ok(isWhole(received()), received().slice(0, 200));
  assert.equal(socket.errored, null, 'no reset');
  assert.equal(connections.size, 0);
});

test('one that sends without reading has it as well, when it looks', async (t) => {
  const { port } = await refusing(t);
  const { socket, received, closed } = client(port);
  socket.pause();
  socket.write(request(20 * MIB));
  socket.write(Buffer.alloc(20 * MIB), () => socket.resume());
  await closed;
  assert.ok(isWhole(received()), received().slice(0, 200));
});

test('one that stops in the middle is listened to for a while, and not longer', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { port, connections } = await refusing(t);
  const { socket, answered, closed } = client(port);
  socket.write(request(20 * MIB));
  socket.write('a beginning');
  await answered;
  t.mock.timers.tick(1_999);
  assert.equal(connections.size, 1);
  t.mock.timers.tick(1);
  await closed;
  assert.equal(connections.size, 0);
});

test('one that goes on and on is not listened to for ever', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { port } = await refusing(t);
  const { socket, received, closed } = client(port);
  const chunk = Buffer.alloc(MIB);
  let sentMiB = 0;
  const pump = (error?: Error | null): void => {
    if (error instanceof Error || sentMiB >= 1_000) return;
    sentMiB++;
    socket.write(chunk, pump);
  };
  socket.write(request(1_000 * MIB), pump);
  await closed;
  assert.ok(isWhole(received()), received().slice(0, 200));
  assert.ok(sentMiB >= 64 && sentMiB < 1_000, `${sentMiB} MiB were sent`);
});

test('one whose request has come to its end is answered as ever', async (t) => {
  const server = createServer((incoming, response) => {
    incoming.resume().once('end', () => {
      response.writeHead(200, { 'Content-Length': 2 });
      endEarly(response, Buffer.from('ok'));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  for (let i = 0; i < 2; i++) {
    const response = await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body: 'x' });
    assert.deepEqual([response.status, response.headers.get('connection'), await response.text()], [200, 'keep-alive', 'ok']);
  }
});
