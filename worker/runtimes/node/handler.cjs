'use strict';
/*
 * From `dir/file.export.nested` to a function (Lambda guide, "Define Lambda function handler in Node.js"): the file is looked for without and
 * with .js, .mjs and .cjs under the task root, then as a package.
 */
const path = require('node:path');
const { existsSync, readFileSync, statSync } = require('node:fs');
const { createRequire } = require('node:module');
const { RuntimeError } = require('./errors.cjs');

const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');
const EXTENSIONS = ['', '.js', '.mjs', '.cjs'];
/** Since nodejs24.x Lambda refuses handlers that take a callback. */
const WITHOUT_CALLBACKS = 'AWS_Lambda_nodejs24.x';

async function loadHandler(taskRoot, name, importFile) {
  if (name.includes('..')) {
    throw new RuntimeError('Runtime.MalformedHandlerName', `'${name}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`);
  }
  const base = path.basename(name);
  const dot = base.indexOf('.');
  if (dot < 0) throw new RuntimeError('Runtime.MalformedHandlerName', 'Bad handler');
  const directory = name.slice(0, name.length - base.length);
  const loaded = await load(taskRoot, directory, base.slice(0, dot), importFile);
  const exportPath = base.slice(dot + 1).split('.');
  const handler = find(loaded, exportPath) ?? find(loaded?.default, exportPath);
  if (handler === undefined || handler === null) throw new RuntimeError('Runtime.HandlerNotFound', `${name} is undefined or not exported`);
  if (typeof handler !== 'function') throw new RuntimeError('Runtime.HandlerNotFound', `${name} is not a function`);
  const streaming = isStreaming(handler);
  if (!streaming && handler.length >= 3 && process.env.AWS_EXECUTION_ENV === WITHOUT_CALLBACKS) {
    throw new RuntimeError('Runtime.CallbackHandlerDeprecated', 'ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. You need to modify this function to use a supported handler signature to use Node.js 24 or later. For more information see https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.');
  }
  return { call: handler, streaming, highWaterMark: Number(handler[HIGH_WATER_MARK]) || undefined, callbacks: process.env.AWS_EXECUTION_ENV !== WITHOUT_CALLBACKS };
}

async function load(taskRoot, directory, moduleName, importFile) {
  const file = path.resolve(taskRoot, directory, moduleName);
  try {
    for (const extension of EXTENSIONS) {
      const candidate = file + extension;
      if (!existsSync(candidate) || !statSync(candidate).isFile()) continue;
      return await loadFile(candidate, importFile);
    }
    const require_ = createRequire(path.join(taskRoot, 'index.js'));
    return require_(require_.resolve(moduleName, { paths: [taskRoot, path.join(taskRoot, directory)] }));
  } catch (error) {
    if (error instanceof SyntaxError) throw new RuntimeError('Runtime.UserCodeSyntaxError', String(error), error.stack);
    if (error?.code === 'MODULE_NOT_FOUND') throw new RuntimeError('Runtime.ImportModuleError', String(error));
    throw error;
  }
}

/** CommonJS is required and not imported: it spares the export lexer and a turn of the module loader. */
async function loadFile(file, importFile) {
  if (file.endsWith('.mjs') || (file.endsWith('.js') && isModulePackage(path.dirname(file)))) return importFile(file);
  try {
    return createRequire(file)(file);
  } catch (error) {
    if (error?.code === 'ERR_REQUIRE_ASYNC_MODULE' || error?.code === 'ERR_REQUIRE_ESM') return importFile(file);
    throw error;
  }
}

function isModulePackage(directory) {
  for (let at = directory; ; at = path.dirname(at)) {
    try {
      return JSON.parse(readFileSync(path.join(at, 'package.json'), 'utf8')).type === 'module';
    } catch (error) {
      if (error.code !== 'ENOENT') return false;
    }
    if (at === path.dirname(at)) return false;
  }
}

function find(from, exportPath) {
  return exportPath.reduce((nested, key) => (nested === undefined || nested === null ? undefined : nested[key]), from);
}

function isStreaming(handler) {
  const kind = handler[STREAMING];
  if (!kind) return false;
  if (kind === 'response') return true;
  throw new RuntimeError('Runtime.MalformedStreamingHandler', 'Only response streaming is supported.');
}

module.exports = { loadHandler, STREAMING, HIGH_WATER_MARK };
