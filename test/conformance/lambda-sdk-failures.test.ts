/** How functions fail, and how each failure looks to the caller; after each, the next invocation gets a sound environment. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { deploy, failure, invoke, result, type Deployment } from '../support/functions.ts';
import { send } from '../support/raw-http.ts';
import { startSluice, type TestSluice } from '../support/sluice.ts';

interface Failure extends Omit<Deployment, 'name'> {
  readonly how: string;
  readonly errorType: string | RegExp | undefined;
  readonly errorMessage: string | RegExp;
  readonly inTail?: RegExp;
  /** It fails before there is an invocation. */
  readonly atInit?: true;
}

const NODE_FAILURES: readonly Failure[] = [
  { how: 'throws', files: { 'index.js': "exports.handler = async () => { throw new TypeError('no good'); };" }, errorType: 'TypeError', errorMessage: 'no good', inTail: /ERROR\tInvoke Error/ },
  { how: 'calls back with an error', files: { 'index.js': "exports.handler = (event, context, callback) => callback(new RangeError('too far'));" }, errorType: 'RangeError', errorMessage: 'too far' },
  { how: 'rejects with a text', files: { 'index.js': "exports.handler = async () => { throw 'just text'; };" }, errorType: 'string', errorMessage: 'just text' },
  { how: 'throws an error of its own class', files: { 'index.js': "class OrderRefused extends Error { name = 'OrderRefused' } exports.handler = async () => { throw new OrderRefused('no'); };" }, errorType: 'OrderRefused', errorMessage: 'no' },
  { how: 'lets a promise reject unhandled', files: { 'index.js': "exports.handler = () => { Promise.reject(new Error('forgotten')); };" }, errorType: 'Runtime.UnhandledPromiseRejection', errorMessage: /forgotten/ },
  { how: 'has no such module', atInit: true, files: { 'other.js': '' }, errorType: 'Runtime.ImportModuleError', errorMessage: /^Error: Cannot find module 'index'/ },
  { how: 'needs a module that is not there', atInit: true, files: { 'index.js': "require('not-there'); exports.handler = async () => 1;" }, errorType: 'Runtime.ImportModuleError', errorMessage: /^Error: Cannot find module 'not-there'/ },
  { how: 'has no such export', atInit: true, files: { 'index.js': 'exports.other = async () => 1;' }, errorType: 'Runtime.HandlerNotFound', errorMessage: 'index.handler is undefined or not exported' },
  { how: 'exports something that is no function', atInit: true, files: { 'index.js': 'exports.handler = 5;' }, errorType: 'Runtime.HandlerNotFound', errorMessage: 'index.handler is not a function' },
  { how: 'has a syntax error', atInit: true, files: { 'index.js': 'exports.handler = async () => {' }, errorType: 'Runtime.UserCodeSyntaxError', errorMessage: /^SyntaxError: / },
  { how: 'throws while it loads', atInit: true, files: { 'index.js': "throw new Error('at load');" }, errorType: 'Error', errorMessage: 'at load' },
  { how: 'exits with 1', files: { 'index.js': 'exports.handler = async () => process.exit(1);' }, errorType: 'Runtime.ExitError', errorMessage: /^RequestId: \S+ Error: Runtime exited with error: exit status 1$/ },
  { how: 'exits with 0', files: { 'index.js': 'exports.handler = async () => process.exit(0);' }, errorType: 'Runtime.ExitError', errorMessage: /^RequestId: \S+ Error: Runtime exited without providing a reason$/ },
  { how: 'exits while it loads', atInit: true, files: { 'index.js': 'process.exit(3);' }, errorType: 'Runtime.ExitError', errorMessage: /^RequestId: \S+ Error: Runtime exited with error: exit status 3$/ },
  { how: 'kills itself', files: { 'index.js': "exports.handler = async () => { process.kill(process.pid, 'SIGSEGV'); await new Promise(() => setInterval(() => {}, 1000)); };" }, errorType: 'Runtime.ExitError', errorMessage: /^RequestId: \S+ Error: Runtime exited with error: signal: segmentation fault/ },
  { how: 'runs too long', files: { 'index.js': 'exports.handler = () => new Promise((resolve) => setTimeout(resolve, 60000));' }, Timeout: 1, errorType: /^Sandbox\.Timedout$/, errorMessage: /Task timed out after 1\.00 seconds$/, inTail: /Task timed out after 1\.00 seconds/ },
  { how: 'blocks its thread too long', files: { 'index.js': 'exports.handler = async () => { for (;;); };' }, Timeout: 1, errorType: /^Sandbox\.Timedout$/, errorMessage: /Task timed out after 1\.00 seconds$/ },
  {
    how: 'takes more memory than it has',
    files: { 'index.js': 'const hoard = []; exports.handler = async () => { for (;;) { hoard.push(Buffer.alloc(8 * 1024 * 1024, 1)); await new Promise(setImmediate); } };' },
    Timeout: 30,
    errorType: /^Runtime\.(ExitError|OutOfMemory)$/,
    errorMessage: /^RequestId: \S+ Error: Runtime exited with error: signal: killed$/,
    inTail: /Runtime\.OutOfMemory/,
  },
  { how: 'returns what is no JSON', files: { 'index.js': 'exports.handler = async () => { const loop = {}; loop.loop = loop; return loop; };' }, errorType: 'Runtime.JSONStringifyError', errorMessage: 'Unable to stringify response body' },
];

const PYTHON_FAILURES: readonly Failure[] = [
  { how: 'raises', files: { 'index.py': 'def handler(event, context):\n    raise ValueError("no good")\n' }, errorType: 'ValueError', errorMessage: 'no good', inTail: /\[ERROR\] ValueError: no good/ },
  { how: 'has no such module', atInit: true, files: { 'other.py': '' }, errorType: 'Runtime.ImportModuleError', errorMessage: "Unable to import module 'index': No module named 'index'" },
  { how: 'has no such function', atInit: true, files: { 'index.py': 'x = 1\n' }, errorType: 'Runtime.HandlerNotFound', errorMessage: "Handler 'handler' missing on module 'index'" },
  { how: 'has a syntax error', atInit: true, files: { 'index.py': 'def handler(:\n' }, errorType: 'Runtime.UserCodeSyntaxError', errorMessage: /Syntax error in module 'index'/ },
  { how: 'exits', files: { 'index.py': 'import os\ndef handler(event, context):\n    os._exit(2)\n' }, errorType: 'Runtime.ExitError', errorMessage: /Runtime exited with error: exit status 2$/ },
  { how: 'runs too long', files: { 'index.py': 'import time\ndef handler(event, context):\n    time.sleep(60)\n' }, Timeout: 1, errorType: /^Sandbox\.Timedout$/, errorMessage: /Task timed out after 1\.00 seconds$/ },
  { how: 'returns what is no JSON', files: { 'index.py': 'def handler(event, context):\n    return {1, 2}\n' }, errorType: 'Runtime.MarshalError', errorMessage: /Unable to marshal response/ },
];

function matches(actual: string | undefined, expected: string | RegExp | undefined): void {
  if (expected instanceof RegExp) assert.match(actual ?? '', expected);
  else assert.equal(actual, expected);
}

describe('failures', () => {
  let sluice: TestSluice;
  before(async () => {
    sluice = await startSluice();
  });
  after(() => sluice.stop());

  for (const [runtime, failures] of [['nodejs22.x', NODE_FAILURES], ['python3.12', PYTHON_FAILURES]] as const) {
    for (const [index, { how, errorType, errorMessage, inTail, atInit, ...deployment }] of failures.entries()) {
      test(`${runtime}: ${how}`, async () => {
        const name = `fails-${runtime.slice(0, 4)}-${index}`;
        await deploy(sluice.lambda, { name, Runtime: runtime, ...deployment });
        const first = await failure(sluice.lambda, name);
        matches(first.errorType, errorType);
        matches(first.errorMessage, errorMessage);
        if (atInit === undefined) {
          matches(first.tail, inTail ?? /REPORT RequestId: /);
          assert.match(first.tail, /START RequestId: /);
        }
        // It fails in the same way again, so a broken environment was not taken for a sound one.
        const second = await failure(sluice.lambda, name);
        matches(second.errorType, errorType);
        matches(second.errorMessage, errorMessage);
      });
    }
  }

  test('the log of an invocation whose environment could not start says so, between START and REPORT', async () => {
    await deploy(sluice.lambda, { name: 'unstartable', files: { 'index.js': "throw new Error('at load');" } });
    const { tail } = await failure(sluice.lambda, 'unstartable');
    assert.match(tail, /ERROR\tUncaught Exception \t\{.*at load/);
    assert.match(tail, /^INIT_REPORT Init Duration: \d+\.\d\d ms\tPhase: \w+\tStatus: error\tError Type: /m);
    assert.match(tail, /^START RequestId: /m);
    assert.match(tail, /^REPORT RequestId: /m);
  });

  test('a stack trace names the lines of the function', async () => {
    await deploy(sluice.lambda, { name: 'traced', files: { 'index.js': "function inner() { throw new Error('here'); }\nexports.handler = async () => inner();\n" } });
    const { trace } = await failure(sluice.lambda, 'traced');
    assert.equal(trace?.[0], 'Error: here');
    assert.match(trace[1] ?? '', /at inner \(.*index\.js:1:\d+\)/);
    await deploy(sluice.lambda, { name: 'traced-python', Runtime: 'python3.12', files: { 'index.py': 'def handler(event, context):\n    raise ValueError("here")\n' } });
    const { stackTrace } = await failure(sluice.lambda, 'traced-python');
    assert.match(stackTrace?.join('') ?? '', /index\.py", line 2, in handler/);
  });

  test('after a time-out the next invocation starts afresh', async () => {
    await deploy(sluice.lambda, {
      name: 'once-slow',
      Timeout: 1,
      files: { 'index.js': 'let count = 0; exports.handler = async (event) => { count++; if (event.slow) await new Promise((resolve) => setTimeout(resolve, 60000)); return count; };' },
    });
    assert.equal(await result(sluice.lambda, 'once-slow'), 1);
    assert.equal(await result(sluice.lambda, 'once-slow'), 2);
    assert.match((await failure(sluice.lambda, 'once-slow', { slow: true })).errorMessage, /timed out/);
    assert.equal(await result(sluice.lambda, 'once-slow'), 1);
  });

  test('a thrown error leaves the environment in use', async () => {
    await deploy(sluice.lambda, {
      name: 'sometimes',
      files: { 'index.js': "let count = 0; exports.handler = async (event) => { count++; if (event.fail) throw new Error('asked'); return count; };" },
    });
    assert.equal(await result(sluice.lambda, 'sometimes'), 1);
    await failure(sluice.lambda, 'sometimes', { fail: true });
    assert.equal(await result(sluice.lambda, 'sometimes'), 3);
  });

  test('on the wire a failed function is a 200 with X-Amz-Function-Error', async () => {
    await deploy(sluice.lambda, { name: 'wire', files: { 'index.js': "exports.handler = async () => { throw new Error('no'); };" } });
    const answer = await send(sluice.url, { path: '/2015-03-31/functions/wire/invocations', body: '{}' });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['x-amz-function-error'], 'Unhandled');
    assert.equal(answer.headers['x-amz-executed-version'], '$LATEST');
    assert.equal((JSON.parse(answer.text) as { errorMessage: string }).errorMessage, 'no');
  });

  test('one function that fails does not disturb its neighbour', async () => {
    await deploy(sluice.lambda, { name: 'crashing', files: { 'index.js': 'exports.handler = async () => process.exit(1);' } });
    await deploy(sluice.lambda, { name: 'sound', files: { 'index.js': 'exports.handler = async (event) => event.n;' } });
    const rounds = Array.from({ length: 8 }, (_, n) => n);
    const [sound, crashed] = await Promise.all([
      Promise.all(rounds.map((n) => result(sluice.lambda, 'sound', { n }))),
      Promise.all(rounds.map(() => invoke(sluice.lambda, 'crashing'))),
    ]);
    assert.deepEqual(sound, rounds);
    assert.deepEqual(new Set(crashed.map(({ output }) => output.FunctionError)), new Set(['Unhandled']));
  });
});
