/**
 * Waits until each of its arguments answers as what it is, and ends with 1 where one does not within five minutes: kafka://host:port,host:port (kafkas:// with TLS; one broker
 * is enough), or the http:// or https:// URL of an S3 server. A connection alone says little: proxies, and networks that do not know a new Service yet, take any.
 * Nothing secret is sent. Runs in an init container, as the text after "node --eval".
 */
import { get as httpGet } from 'node:http';
import { get as httpsGet } from 'node:https';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';

const PATIENCE_MS = Number(process.env.WAIT_PATIENCE_MS ?? 300_000);
const ANSWER_MS = 3_000;
const PAUSE_MS = 500;
const SAY_EVERY_MS = 10_000;
const BODY_MAX = 4_096;

/** Kafka's ApiVersions request, version 0 (Apache Kafka, "Protocol guide"): length, key 18, version, correlation id, no client id. */
const CORRELATION_ID = 20_251;
const API_VERSIONS = Buffer.alloc(14);
API_VERSIONS.writeInt32BE(10, 0);
API_VERSIONS.writeInt16BE(18, 4);
API_VERSIONS.writeInt32BE(CORRELATION_ID, 8);
API_VERSIONS.writeInt16BE(-1, 12);

/** Undefined where a broker answers, otherwise what was wrong. */
function brokerFault(address, tls) {
  const [, host, port] = /^\[?([^\]]+)\]?:(\d+)$/.exec(address) ?? [];
  if (host === undefined) return Promise.resolve('is not host:port');
  return new Promise((resolve) => {
    const socket = tls ? connectTls({ host, port: Number(port), servername: host, rejectUnauthorized: false }) : connect({ host, port: Number(port) });
    let heard = Buffer.alloc(0);
    const end = (fault) => {
      socket.destroy();
      resolve(fault);
    };
    socket.setTimeout(ANSWER_MS, () => end(`no answer within ${ANSWER_MS} ms`));
    // One that asks for a client's certificate says no more to somebody who shows none, but it does speak TLS.
    socket.once(tls ? 'secureConnect' : 'connect', () => (tls ? end(undefined) : socket.write(API_VERSIONS)));
    socket.on('data', (chunk) => {
      heard = Buffer.concat([heard, chunk]);
      if (heard.length >= 8) end(heard.readInt32BE(4) === CORRELATION_ID ? undefined : 'what answers is not Kafka');
    });
    socket.once('close', () => end('closed the connection'));
    socket.once('error', (error) => end(tls && String(error.code).startsWith('ERR_SSL_TLS') ? undefined : error.code ?? error.message));
  });
}

/** The same for an S3 server, which answers a stranger with a list, a redirect, a refusal, or an error in XML. */
function storeFault(url) {
  return new Promise((resolve) => {
    const get = url.startsWith('https:') ? httpsGet : httpGet;
    const request = get(url, { agent: false, timeout: ANSWER_MS, rejectUnauthorized: false }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text) => {
        body = (body + text).slice(0, BODY_MAX);
      });
      const { statusCode: status } = response;
      response.on('end', () => resolve(status < 400 || status === 401 || status === 403 || (status < 500 && body.includes('<Error')) ? undefined : `answers ${status}`));
      response.on('error', (error) => resolve(error.code ?? error.message));
    });
    request.on('timeout', () => request.destroy(new Error(`no answer within ${ANSWER_MS} ms`)));
    request.on('error', (error) => resolve(error.code ?? error.message));
  });
}

/** What is wrong with each address; one that is undefined is enough. */
function faults(what) {
  const [, scheme, addresses] = /^(kafkas?):\/\/(.*)$/.exec(what) ?? [];
  return Promise.all(scheme === undefined ? [storeFault(what)] : addresses.split(',').map((address) => brokerFault(address, scheme === 'kafkas')));
}

const deadline = performance.now() + PATIENCE_MS;
for (const what of process.argv.slice(1)) {
  let saidMs = -Infinity;
  for (;;) {
    const found = await faults(what);
    if (found.includes(undefined)) break;
    const now = performance.now();
    if (now > deadline) {
      console.error(`${what} cannot be reached: ${found.join(', ')}. Gave up after ${PATIENCE_MS / 1_000} s.`);
      process.exit(1);
    }
    if (now - saidMs >= SAY_EVERY_MS) {
      console.log(`Waiting for ${what}: ${found.join(', ')}.`);
      saidMs = now;
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  console.log(`${what} is there.`);
}
