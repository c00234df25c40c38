/**
 * Waits until each of its arguments, NAME=host:port,host:port, has an address that takes a connection; ends with 1 where one has none after five minutes.
 * Runs in an init container, as the text after "node --eval".
 */
import { connect } from 'node:net';

const PATIENCE_MS = Number(process.env.WAIT_PATIENCE_MS ?? 300_000);
const CONNECT_MS = 2_000;
const PAUSE_MS = 500;
const SAY_EVERY_MS = 10_000;

/** Undefined once connected, otherwise what was wrong. */
function refusal(address) {
  const [, host, port] = /^\[?([^\]]+)\]?:(\d+)$/.exec(address) ?? [];
  if (host === undefined) return Promise.resolve('is not host:port');
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(port), timeout: CONNECT_MS });
    const end = (reason) => {
      socket.destroy();
      resolve(reason);
    };
    socket.once('connect', () => end(undefined));
    socket.once('timeout', () => end(`no answer within ${CONNECT_MS} ms`));
    socket.once('error', (error) => end(error.code ?? error.message));
  });
}

const deadline = performance.now() + PATIENCE_MS;
for (const argument of process.argv.slice(1)) {
  const [name, addresses] = argument.split(/=(.*)/);
  let saidMs = -Infinity;
  for (;;) {
    const refusals = await Promise.all(addresses.split(',').map(refusal));
    if (refusals.includes(undefined)) break;
    const now = performance.now();
    if (now > deadline) {
      console.error(`${name} at ${addresses} cannot be reached: ${refusals.join(', ')}. Gave up after ${PATIENCE_MS / 1000} s.`);
      process.exit(1);
    }
    if (now - saidMs >= SAY_EVERY_MS) {
      console.log(`Waiting for ${name} at ${addresses}: ${refusals.join(', ')}.`);
      saidMs = now;
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  console.log(`${name} is there.`);
}
