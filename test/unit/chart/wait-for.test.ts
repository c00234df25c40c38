/** The script of the init container, as Node runs it there: the text after --eval. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { test } from 'node:test';
import { readChart } from './rendering.ts';

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

async function listen(port = 0): Promise<{ readonly server: Server; readonly port: number }> {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return { server, port: (server.address() as AddressInfo).port };
}
const close = (server: Server): Promise<void> => new Promise((resolve) => server.close(() => resolve()));

test('ends once one address of each is there', async () => {
  const { server, port } = await listen();
  const { ended, said } = waitFor(10_000, `Kafka=127.0.0.1:1,127.0.0.1:${port}`, `S3=127.0.0.1:${port}`);
  assert.equal(await ended, 0, said());
  assert.match(said(), /Kafka is there\.\nS3 is there\./);
  await close(server);
});

test('says what it waits for, and sees it come', async () => {
  const { server, port } = await listen();
  await close(server);
  const { ended, said, says } = waitFor(30_000, `S3=127.0.0.1:${port}`);
  await says(`Waiting for S3 at 127.0.0.1:${port}: ECONNREFUSED.`);
  const again = await listen(port);
  assert.equal(await ended, 0, said());
  await close(again.server);
});

test('gives up after its patience, and names what is missing', async () => {
  const { ended, said } = waitFor(100, 'Kafka=127.0.0.1:1');
  assert.equal(await ended, 1);
  assert.match(said(), /Kafka at 127\.0\.0\.1:1 cannot be reached: ECONNREFUSED\. Gave up after 0\.1 s\./);
});
