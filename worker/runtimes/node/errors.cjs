'use strict';
/* Lambda's error objects and how they are logged. */
const { writeLine, current } = require('./console.cjs');

/** An error with a name of Lambda's own: `Runtime.…`. */
class RuntimeError extends Error {
  constructor(name, message, stack) {
    super(message);
    this.name = name;
    if (stack !== undefined) this.stack = stack;
  }
}

/** `{errorType, errorMessage, trace}` for anything that can be thrown. Never throws. */
function errorObject(thrown) {
  try {
    if (isError(thrown)) {
      return { errorType: printable(thrown.name), errorMessage: printable(thrown.message), trace: printable(thrown.stack ?? '').split('\n') };
    }
    return { errorType: typeof thrown, errorMessage: String(thrown), trace: [] };
  } catch {
    return { errorType: 'handled', errorMessage: 'callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack', trace: [] };
  }
}

function isError(thrown) {
  return thrown instanceof Error || (typeof thrown === 'object' && thrown !== null && typeof thrown.name === 'string' && typeof thrown.message === 'string' && typeof thrown.stack === 'string');
}

/** DEL would break the header that carries the type. */
function printable(text) {
  return String(text).replaceAll('\x7f', '%7F');
}

/** The ERROR record that Lambda writes for a failure: what happened, and the error with its own properties. */
function logError(what, thrown) {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  let json;
  try {
    json = JSON.stringify({ errorType: error.name, errorMessage: error.message, code: error.code, ...error, stack: String(error.stack ?? '').split('\n') }, withErrors);
  } catch {
    json = JSON.stringify(errorObject(error));
  }
  writeLine(`${new Date().toISOString()}\t${current.requestId}\tERROR\t${what} \t${json}`);
}

function withErrors(_key, value) {
  if (!(value instanceof Error)) return value;
  return { errorType: value.name, errorMessage: value.message, code: value.code, ...value, stack: String(value.stack ?? '').split('\n') };
}

module.exports = { RuntimeError, errorObject, logError };
