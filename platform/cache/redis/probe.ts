import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { RedisAddress } from './settings.ts';

/** What is at an address, as far as two bytes of it tell. */
export type Finding =
  /** It answers a PING as Redis does, in plain text, be it with an error. */
  | 'redis'
  /** It completes a TLS handshake, whoever's certificate it has. */
  | 'tls'
  /** It answers, and as neither. */
  | 'other'
  /** It cannot be reached, says nothing in time, or closes without a word. */
  | 'nothing';

/** How a Redis begins an answer to a PING: a status or an error. */
const REDIS_ANSWER = /^(\+PONG|-[A-Z]+ )/;
const ANSWER_BYTES_MAX = 64;

/** Looks what is at an address: once in plain text, and if that says nothing, once with TLS. Takes `patienceMs` at most for each. */
export async function probe(address: RedisAddress, patienceMs: number): Promise<Finding> {
  const plain = await probePlain(address, patienceMs);
  return plain === 'nothing' ? probeTls(address, patienceMs) : plain;
}

function probePlain({ host, port }: RedisAddress, patienceMs: number): Promise<Finding> {
  return ask(connectTcp({ host, port }), patienceMs, (socket, found) => {
    let answer = '';
    socket.once('connect', () => socket.write('*1\r\n$4\r\nPING\r\n'));
    socket.on('data', (bytes) => {
      answer += bytes.toString('latin1');
      if (REDIS_ANSWER.test(answer)) found('redis');
      else if (answer.length >= ANSWER_BYTES_MAX || answer.includes('\n')) found(looksLikeTls(answer) ? 'tls' : 'other');
    });
    socket.once('end', () => found(answer === '' ? 'nothing' : looksLikeTls(answer) ? 'tls' : 'other'));
  });
}

/** A TLS server answers what is no handshake with an alert record (RFC 8446, 5.1): type 21, version 3.x. */
function looksLikeTls(answer: string): boolean {
  return answer.startsWith('\x15\x03');
}

function probeTls({ host, port }: RedisAddress, patienceMs: number): Promise<Finding> {
  // Nothing is said over it, so it does not matter who it is.
  const socket = connectTls({ host, port, rejectUnauthorized: false, ...(isIP(host) === 0 ? { servername: host } : {}) });
  return ask(socket, patienceMs, (_, found) => socket.once('secureConnect', () => found('tls')));
}

function ask(socket: Socket, patienceMs: number, watch: (socket: Socket, found: (finding: Finding) => void) => void): Promise<Finding> {
  return new Promise((resolve) => {
    const found = (finding: Finding): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(finding);
    };
    const timer = setTimeout(() => found('nothing'), patienceMs);
    socket.on('error', () => found('nothing'));
    socket.once('close', () => found('nothing'));
    watch(socket, found);
  });
}
