'use strict';
/*
 * A client of the Runtime API over one kept-alive socket, written for one peer: the worker's server, which always answers
 * with Content-Length. An answer and the request for the next event go out in one write, so an invocation costs the runtime one
 * write and two reads.
 */
const { connect } = require('node:net');

const NEXT_PATH = '/2018-06-01/runtime/invocation/next';
const HEAD_END = Buffer.from('\r\n\r\n');

class RuntimeConnection {
  #socket;
  #host;
  #next;
  /** Callbacks of the requests under way, oldest first. */
  #waiting = [];
  #received;

  constructor(address) {
    const colon = address.lastIndexOf(':');
    this.#host = address;
    this.#next = `GET ${NEXT_PATH} HTTP/1.1\r\nHost: ${address}\r\n\r\n`;
    this.#socket = connect({ host: address.slice(0, colon), port: Number(address.slice(colon + 1)), noDelay: true });
    this.#socket.on('data', (chunk) => this.#read(chunk));
    // Without its Runtime API a runtime has no purpose: the worker is gone or has closed the environment.
    this.#socket.on('error', () => process.exit(0));
    this.#socket.on('close', () => process.exit(0));
  }

  /** Asks for the next event. */
  next(onEvent) {
    this.#socket.ref();
    this.#waiting.push(onEvent);
    this.#socket.write(this.#next);
  }

  /** Posts the end of an invocation and asks for the next event in the same write. */
  endAndNext(path, body, errorType, onEvent) {
    this.#socket.ref();
    this.#waiting.push(ignore, onEvent);
    this.#socket.write(this.#head(path, body, errorType) + body + this.#next);
  }

  /** Posts an error object and calls back when the worker has it. */
  post(path, error, onDone) {
    this.#socket.ref();
    const body = JSON.stringify(error);
    this.#waiting.push(onDone);
    this.#socket.write(this.#head(path, body, error.errorType) + body);
  }

  /** Lets the process end when nothing but this connection is left: that is how an empty event loop is noticed. */
  unref() {
    this.#socket.unref();
  }

  #head(path, body, errorType) {
    const type = errorType === undefined ? '' : `Lambda-Runtime-Function-Error-Type: ${errorType.replace(/[^\x20-\x7e]/g, '?')}\r\n`;
    return `POST ${path} HTTP/1.1\r\nHost: ${this.#host}\r\nContent-Type: application/json\r\n${type}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n`;
  }

  #read(chunk) {
    let buffer = this.#received === undefined ? chunk : Buffer.concat([this.#received, chunk]);
    for (;;) {
      const headEnd = buffer.indexOf(HEAD_END);
      if (headEnd < 0) break;
      const headers = parseHead(buffer.latin1Slice(0, headEnd));
      const bodyStart = headEnd + HEAD_END.length;
      const bodyEnd = bodyStart + Number(headers['content-length'] ?? 0);
      if (buffer.length < bodyEnd) {
        buffer = this.#grow(buffer, bodyEnd);
        break;
      }
      const body = buffer.utf8Slice(bodyStart, bodyEnd);
      buffer = buffer.subarray(bodyEnd);
      this.#waiting.shift()?.(headers, body);
    }
    this.#received = buffer.length === 0 ? undefined : buffer;
  }

  /** A large event arrives in many chunks: they are gathered once and not joined anew with each. */
  #grow(buffer, wholeBytes) {
    const whole = Buffer.allocUnsafe(wholeBytes);
    let filled = buffer.copy(whole);
    const gather = (chunk) => {
      const taken = chunk.copy(whole, filled, 0, Math.min(chunk.length, wholeBytes - filled));
      filled += taken;
      if (filled < wholeBytes) return;
      this.#socket.removeListener('data', gather);
      this.#socket.on('data', (later) => this.#read(later));
      this.#read(taken < chunk.length ? Buffer.concat([whole, chunk.subarray(taken)]) : whole);
    };
    this.#socket.removeAllListeners('data');
    this.#socket.on('data', gather);
    return Buffer.alloc(0);
  }
}

function ignore() {}

/** Header fields by lower-case name, and `status`. */
function parseHead(text) {
  const headers = { status: text.slice(9, 12) };
  let start = text.indexOf('\r\n') + 2;
  while (start > 1 && start < text.length) {
    let end = text.indexOf('\r\n', start);
    if (end < 0) end = text.length;
    const colon = text.indexOf(':', start);
    headers[text.slice(start, colon).toLowerCase()] = text.slice(colon + 2, end);
    start = end + 2;
  }
  return headers;
}

module.exports = { RuntimeConnection };
