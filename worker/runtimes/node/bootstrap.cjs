'use strict';
/*
 * The Node.js runtime of a function: waits on file descriptor 3 for one line of JSON that says which function this process is
 * ({ environment, taskRoot, handler, runtimeApi, compileCacheDir? }), loads the handler and serves invocations until it is killed.
 *
 * Everything is loaded before that line is read, so a process that was started ahead has nothing left to do but the function's own
 * code. The end of the descriptor without a line means that nobody wants this process any more.
 */
const { readSync, closeSync } = require('node:fs');
const { pathToFileURL } = require('node:url');
const { Loop } = require('./loop.cjs');
const { RuntimeConnection } = require('./connection.cjs');
const { loadHandler } = require('./handler.cjs');
const { installConsole } = require('./console.cjs');
const { installGlobals } = require('./streaming.cjs');
const { errorObject, logError } = require('./errors.cjs');
const module_ = require('node:module');

const ORDER_FD = 3;
/** Compiled code is written this long after init, when the first events have been answered. */
const COMPILE_CACHE_FLUSH_MS = 2_000;

function readOrder() {
  const chunks = [];
  const chunk = Buffer.allocUnsafe(65_536);
  for (;;) {
    const length = readSync(ORDER_FD, chunk, 0, chunk.length, null);
    if (length === 0) process.exit(0);
    const end = chunk.subarray(0, length).indexOf(10);
    chunks.push(Buffer.from(chunk.subarray(0, end < 0 ? length : end)));
    if (end >= 0) return JSON.parse(Buffer.concat(chunks).toString());
  }
}

async function main() {
  const order = readOrder();
  closeSync(ORDER_FD);
  for (const name of Object.keys(process.env)) if (!(name in order.environment)) delete process.env[name];
  Object.assign(process.env, order.environment);
  process.chdir(order.taskRoot);
  if (order.compileCacheDir !== undefined) useCompileCache(order.compileCacheDir);
  const connection = new RuntimeConnection(order.runtimeApi);
  const loop = new Loop(connection, order.runtimeApi);
  installConsole();
  installGlobals();
  loop.guardProcess();
  let handler;
  try {
    handler = await loadHandler(order.taskRoot, order.handler, (file) => import(pathToFileURL(file).href));
  } catch (error) {
    logError('Uncaught Exception', error);
    connection.post('/2018-06-01/runtime/init/error', errorObject(error), () => process.exit(1));
    return;
  }
  loop.run(handler);
}

function useCompileCache(directory) {
  if (typeof module_.enableCompileCache !== 'function') return;
  module_.enableCompileCache(directory);
  setTimeout(() => module_.flushCompileCache?.(), COMPILE_CACHE_FLUSH_MS).unref();
}

void main();
