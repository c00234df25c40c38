'use strict';
/*
 * Event after event: builds the context object, calls the handler in its style (async, callback, streaming) and posts the end.
 *
 * One invocation is open at a time; `#open` is its token. Whatever arrives for a token that is no longer open (a second callback, a
 * promise that settles after the callback) is ignored.
 */
const { errorObject, logError, RuntimeError } = require('./errors.cjs');
const { current, writeLine } = require('./console.cjs');
const { ResponseStream } = require('./streaming.cjs');

const INVOCATION = '/2018-06-01/runtime/invocation/';
/** Exit codes of Lambda's own Node.js runtime. */
const EXIT_UNHANDLED_REJECTION = 128;
const EXIT_UNCAUGHT_EXCEPTION = 129;
const EXIT_NO_EVENT = 1;

class Loop {
  #connection;
  #address;
  #handler;
  #fixed;
  #open;
  #onEvent = (headers, body) => this.#begin(headers, body);

  constructor(connection, address) {
    this.#connection = connection;
    this.#address = address;
  }

  run(handler) {
    this.#handler = handler;
    const env = process.env;
    this.#fixed = {
      functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
      functionName: env.AWS_LAMBDA_FUNCTION_NAME,
      memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
      logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
      logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
    };
    process.on('beforeExit', () => this.#loopEmpty());
    this.#connection.next(this.#onEvent);
  }

  /** Failures outside the handler's promise end the process, with the invocation or the init they hit. */
  guardProcess() {
    process.on('uncaughtException', (error) => {
      logError('Uncaught Exception', error);
      this.#die(error, EXIT_UNCAUGHT_EXCEPTION);
    });
    process.on('unhandledRejection', (reason) => {
      const error = new RuntimeError('Runtime.UnhandledPromiseRejection', String(reason instanceof Error ? reason.toString() : reason));
      error.reason = reason;
      logError('Unhandled Promise Rejection', error);
      this.#die(error, EXIT_UNHANDLED_REJECTION);
    });
  }

  #die(error, exitCode) {
    const invocation = this.#open;
    this.#open = undefined;
    const path = invocation === undefined ? '/2018-06-01/runtime/init/error' : `${INVOCATION}${invocation.requestId}/error`;
    if (invocation === undefined && this.#handler !== undefined) process.exit(exitCode);
    this.#connection.post(path, errorObject(error), () => process.exit(exitCode));
  }

  #begin(headers, body) {
    if (headers.status !== '200') {
      writeLine(`The Runtime API refused to give an event: ${headers.status} ${body}`);
      process.exit(EXIT_NO_EVENT);
    }
    const requestId = headers['lambda-runtime-aws-request-id'];
    const invocation = { requestId, result: undefined, waits: true };
    this.#open = invocation;
    current.requestId = requestId;
    const traceId = headers['lambda-runtime-trace-id'];
    if (traceId) process.env._X_AMZN_TRACE_ID = traceId;
    else delete process.env._X_AMZN_TRACE_ID;
    this.#connection.unref();
    let event;
    let context;
    try {
      context = this.#context(invocation, headers);
      event = JSON.parse(body);
    } catch (error) {
      this.#fail(invocation, error);
      return;
    }
    if (this.#handler.streaming) void this.#stream(invocation, event, context);
    else this.#call(invocation, event, context);
  }

  #context(invocation, headers) {
    const deadlineMs = Number(headers['lambda-runtime-deadline-ms']);
    const clientContext = headers['lambda-runtime-client-context'];
    const identity = headers['lambda-runtime-cognito-identity'];
    const context = {
      ...this.#fixed,
      clientContext: clientContext ? JSON.parse(Buffer.from(clientContext, 'latin1').toString()) : undefined,
      identity: identity ? JSON.parse(identity) : undefined,
      invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
      awsRequestId: invocation.requestId,
      getRemainingTimeInMillis: () => deadlineMs - Date.now(),
    };
    if (!this.#handler.callbacks) return context;
    const done = (error, result) => this.#called(invocation, error, result, false);
    context.done = done;
    context.succeed = (result) => done(null, result);
    context.fail = (error) => done(error === undefined || error === null ? 'handled' : error);
    Object.defineProperty(context, 'callbackWaitsForEmptyEventLoop', {
      enumerable: true,
      get: () => invocation.waits,
      set: (waits) => (invocation.waits = waits),
    });
    return context;
  }

  #call(invocation, event, context) {
    try {
      const returned = this.#handler.callbacks
        ? this.#handler.call(event, context, (error, result) => this.#called(invocation, error, result, invocation.waits))
        : this.#handler.call(event, context);
      if (typeof returned?.then === 'function') {
        returned.then((result) => this.#succeed(invocation, result), (error) => this.#fail(invocation, error));
      } else if (!this.#handler.callbacks) {
        this.#succeed(invocation, returned);
      }
    } catch (error) {
      this.#fail(invocation, error);
    }
  }

  /** A callback or a method of the context: at once, or when the event loop is empty. */
  #called(invocation, error, result, waits) {
    if (this.#open !== invocation || invocation.result !== undefined) return;
    if (error !== undefined && error !== null) this.#fail(invocation, error);
    else if (waits) invocation.result = { value: result };
    else this.#succeed(invocation, result);
  }

  /** Nothing is left that could still call back: what was called back before counts, otherwise the answer is null. */
  #loopEmpty() {
    const invocation = this.#open;
    if (invocation === undefined) return;
    if (!this.#handler.callbacks) process.exit(0);
    this.#succeed(invocation, invocation.result === undefined ? null : invocation.result.value);
  }

  #succeed(invocation, result) {
    if (this.#open !== invocation) return;
    let body;
    try {
      body = JSON.stringify(result === undefined ? null : result) ?? 'null';
    } catch {
      this.#fail(invocation, new RuntimeError('Runtime.JSONStringifyError', 'Unable to stringify response body'));
      return;
    }
    this.#open = undefined;
    this.#connection.endAndNext(`${INVOCATION}${invocation.requestId}/response`, body, undefined, this.#onEvent);
  }

  #fail(invocation, thrown) {
    if (this.#open !== invocation) return;
    this.#open = undefined;
    logError('Invoke Error', thrown);
    const error = errorObject(thrown);
    this.#connection.endAndNext(`${INVOCATION}${invocation.requestId}/error`, JSON.stringify(error), error.errorType, this.#onEvent);
  }

  async #stream(invocation, event, context) {
    const stream = new ResponseStream(this.#address, invocation.requestId, this.#handler.highWaterMark);
    try {
      const returned = this.#handler.call(event, stream, context);
      if (typeof returned?.then !== 'function') throw new Error('Streaming does not support non-async handlers.');
      await returned;
      if (!stream.writableEnded) throw new Error('Response stream is not finished.');
      await stream.done;
    } catch (error) {
      if (this.#open !== invocation) return;
      if (!stream.begun) {
        this.#fail(invocation, error);
        return;
      }
      logError('Invoke Error', error);
      await stream.fail(error);
    }
    if (this.#open !== invocation) return;
    this.#open = undefined;
    this.#connection.next(this.#onEvent);
  }
}

module.exports = { Loop };
