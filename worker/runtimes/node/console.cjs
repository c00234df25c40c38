'use strict';
/*
 * console.* in Lambda's text format: time, request id, level and message, parted by tabs (Lambda guide, "Log and monitor Node.js Lambda
 * functions"). A message of several lines stays one record: its line ends travel as carriage returns and the worker turns them back.
 */
const { writeSync } = require('node:fs');
const { format } = require('node:util');

const current = { requestId: undefined };
const pause = new Int32Array(new SharedArrayBuffer(4));

function installConsole() {
  console.log = console.info = (...parts) => write('INFO', parts);
  console.trace = (...parts) => write('TRACE', parts);
  console.debug = (...parts) => write('DEBUG', parts);
  console.warn = (...parts) => write('WARN', parts);
  console.error = (...parts) => write('ERROR', parts);
  console.fatal = (...parts) => write('FATAL', parts);
}

function write(level, parts) {
  const message = parts.length === 1 && typeof parts[0] === 'string' ? parts[0] : format(...parts);
  writeLine(`${new Date().toISOString()}\t${current.requestId}\t${level}\t${message}`);
}

function writeLine(text) {
  writeAll(Buffer.from(`${text.includes('\n') ? text.replace(/\n/g, '\r') : text}\n`));
}

/** Writes all of it before returning: what a handler has logged is on its way before its answer. */
function writeAll(bytes) {
  let offset = 0;
  while (offset < bytes.length) {
    try {
      offset += writeSync(1, bytes, offset);
    } catch (error) {
      // A function that touches process.stdout makes the descriptor non-blocking; a full pipe then says EAGAIN.
      if (error.code !== 'EAGAIN') return;
      Atomics.wait(pause, 0, 0, 1);
    }
  }
}

module.exports = { installConsole, writeLine, current };
