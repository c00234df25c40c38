/** The script of the init container, as Node runs it there: the text after --eval. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { test } from 'node:test';
import { mainContainer, podOf, readChart, render, VALUE_SETS, withoutHelm } from './rendering.ts';

const SCRIPT = readChart('files/wait-for.mjs');

interface Waiting {
  /** Resolves with the exit code once it has ended. */
  readonly ended: Promise<number | null>;
  readonly said: () => string;
  /** Resolves once it has said so. */
  readonly says: (text: string) => Promise<void>;
}

function waitFor(patienceMs: number, ...args: readonly string[]): Waiting {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', SCRIPT, ...args], { env: { WAIT_PATIENCE_MS: String(patienceMs) }, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  let look = (): void => undefined;
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      look();
    });
  }
  return {
    ended: new Promise((resolve) => child.once('close', resolve)),
    said: () => said,
    says: (text) => new Promise((resolve) => {
      look = () => {
        if (said.includes(text)) resolve();
      };
      look();
    }),
  };
}

async function listening(server: Server, port = 0): Promise<number> {
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}
const close = (server: Server): Promise<void> => new Promise((resolve) => server.close(() => resolve()));

/** Answers ApiVersions with its correlation id, no error and no versions. */
function broker(): Server {
  return createServer((socket: Socket) => {
    socket.on('error', () => undefined).once('data', (request) => {
      assert.deepEqual({ length: request.readInt32BE(0), key: request.readInt16BE(4), version: request.readInt16BE(6) }, { length: 10, key: 18, version: 0 });
      const answer = Buffer.alloc(14);
      answer.writeInt32BE(10, 0);
      answer.writeInt32BE(request.readInt32BE(8), 4);
      socket.end(answer);
    });
  });
}
const store = (answer: (response: ServerResponse) => void): Server => createHttpServer((_request: IncomingMessage, response) => answer(response));
const refuses = store((response) => response.writeHead(403).end('<Error/>'));
/** What stands in the way of some networks: it takes every connection, and answers something. */
const proxy = store((response) => response.writeHead(404).end());

test('ends once one broker and the S3 server answer', async () => {
  const kafka = broker();
  const [kafkaPort, storePort] = [await listening(kafka), await listening(refuses)];
  const { ended, said } = waitFor(10_000, `kafka://127.0.0.1:1,127.0.0.1:${kafkaPort}`, `http://127.0.0.1:${storePort}`);
  assert.equal(await ended, 0, said());
  assert.match(said(), /^kafka:\S+ is there\.\nhttp:\S+ is there\.\n$/);
  await Promise.all([close(kafka), close(refuses)]);
});

test('says what it waits for, and sees it come', async () => {
  const before = broker();
  const port = await listening(before);
  await close(before);
  const { ended, said, says } = waitFor(30_000, `kafka://127.0.0.1:${port}`);
  await says(`Waiting for kafka://127.0.0.1:${port}: ECONNREFUSED.`);
  const kafka = broker();
  await listening(kafka, port);
  assert.equal(await ended, 0, said());
  await close(kafka);
});

test('is not taken in by something that answers in their place, and gives up after its patience', async () => {
  const port = await listening(proxy);
  const [kafka, s3] = [waitFor(100, `kafka://127.0.0.1:${port}`), waitFor(100, `http://127.0.0.1:${port}`)];
  assert.deepEqual(await Promise.all([kafka.ended, s3.ended]), [1, 1]);
  assert.match(kafka.said(), /kafka:\S+ cannot be reached: what answers is not Kafka\. Gave up after 0\.1 s\./);
  assert.match(s3.said(), /http:\S+ cannot be reached: answers 404\. Gave up after 0\.1 s\./);
  await close(proxy);
});

test('a broker with TLS must speak TLS', async () => {
  const plain = createServer((socket) => socket.on('error', () => undefined).resume().end());
  const { ended, said } = waitFor(100, `kafkas://127.0.0.1:${await listening(plain)}`);
  assert.equal(await ended, 1, said());
  await close(plain);
});

test('gateways and controllers wait for what their settings name', { skip: withoutHelm }, () => {
  const waits = (name: string): readonly (readonly string[])[] => ['gateway', 'controller'].map((role) => podOf(render(VALUE_SETS[name] ?? {}), role).spec.initContainers?.[0]?.command?.slice(-3) ?? []);
  for (const command of waits('default')) assert.deepEqual(command, [SCRIPT, 'kafka://sluice-kafka.here.svc:9092', 'http://sluice-minio.here.svc:9000']);
  for (const command of waits('external')) assert.deepEqual(command, [SCRIPT, 'kafkas://a:9093,b:9094', 'https://s3.example.com']);
  assert.equal(mainContainer(podOf(render({}), 'gateway')).env?.find(({ name }) => name === 'SLUICE_LOG')?.value, 'kafka://sluice-kafka.here.svc:9092');
});
