'use strict';
/*
 * awslambda.streamifyResponse and the stream that such a handler writes to (Lambda guide, "Writing response streaming-enabled Lambda
 * functions"): a chunked POST whose trailers say if the handler failed midway.
 */
const { Writable } = require('node:stream');
const { STREAMING, HIGH_WATER_MARK } = require('./handler.cjs');
const { RuntimeError, errorObject } = require('./errors.cjs');

const PRELUDE_TYPE = 'application/vnd.awslambda.http-integration-response';
const PRELUDE_END = Buffer.alloc(8);
const ERROR_TYPE = 'Lambda-Runtime-Function-Error-Type';
const ERROR_BODY = 'Lambda-Runtime-Function-Error-Body';

class ResponseStream extends Writable {
  /** Settles when the worker has taken the whole response. */
  done;
  #request;
  #contentType = 'application/octet-stream';
  #prelude;
  #open;

  constructor(address, requestId, highWaterMark) {
    super({ decodeStrings: true, ...(highWaterMark === undefined ? {} : { highWaterMark }) });
    let settle;
    this.done = new Promise((resolve) => (settle = resolve));
    this.#open = () => {
      const http = require('node:http');
      const [host, port] = address.split(':');
      this.#request = http.request(
        { host, port, method: 'POST', agent: false, path: `/2018-06-01/runtime/invocation/${requestId}/response`, headers: { 'Lambda-Runtime-Function-Response-Mode': 'streaming', 'Content-Type': this.#contentType, 'Transfer-Encoding': 'chunked', Trailer: [ERROR_TYPE, ERROR_BODY] } },
        (response) => response.resume().on('end', settle),
      );
      this.#request.on('error', settle);
      if (this.#prelude !== undefined) {
        this.#request.write(this.#prelude);
        this.#request.write(PRELUDE_END);
      }
      return this.#request;
    };
  }

  setContentType(contentType) {
    if (this.#request !== undefined) throw new RuntimeError('Runtime.InvalidStreamingOperation', 'Cannot set content-type, too late.');
    this.#contentType = contentType;
  }

  set prelude(value) {
    this.setContentType(PRELUDE_TYPE);
    this.#prelude = JSON.stringify(value);
  }

  /** Whether anything of the response is on its way. */
  get begun() {
    return this.#request !== undefined;
  }

  write(chunk, ...rest) {
    return super.write(typeof chunk === 'string' || ArrayBuffer.isView(chunk) ? chunk : JSON.stringify(chunk), ...rest);
  }

  _write(chunk, _encoding, callback) {
    const request = this.#request ?? this.#open();
    if (request.write(chunk)) callback();
    else request.once('drain', callback);
  }

  _final(callback) {
    (this.#request ?? this.#open()).end(() => callback());
  }

  /** Ends a response that has begun with the error that cut it short. */
  fail(thrown) {
    const error = errorObject(thrown);
    const request = this.#request ?? this.#open();
    request.addTrailers({ [ERROR_TYPE]: error.errorType, [ERROR_BODY]: Buffer.from(JSON.stringify(error)).toString('base64') });
    request.end();
    return this.done;
  }
}

function installGlobals() {
  globalThis.awslambda = {
    ...globalThis.awslambda,
    streamifyResponse(handler, options) {
      handler[STREAMING] = 'response';
      if (typeof options?.highWaterMark === 'number') handler[HIGH_WATER_MARK] = Math.trunc(options.highWaterMark);
      return handler;
    },
    HttpResponseStream: {
      from(stream, prelude) {
        stream.prelude = prelude;
        return stream;
      },
    },
  };
}

module.exports = { ResponseStream, installGlobals };
