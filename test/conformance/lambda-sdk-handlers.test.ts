/** What a function may be and what it finds: handler forms of both runtimes, context, variables. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { deploy, invoke, result } from '../support/functions.ts';
import { startSluice, type TestSluice } from '../support/sluice.ts';

const ARN = 'arn:aws:lambda:us-east-1:000000000000:function';

interface Handler {
  readonly form: string;
  readonly files: Readonly<Record<string, string>>;
  readonly handler?: string;
  readonly expected: unknown;
}

const NODE_HANDLERS: readonly Handler[] = [
  { form: 'async', files: { 'index.js': 'exports.handler = async (event) => ({ got: event.n });' }, expected: { got: 1 } },
  { form: 'callback', files: { 'index.js': 'exports.handler = (event, context, callback) => setImmediate(callback, null, { got: event.n });' }, expected: { got: 1 } },
  { form: 'promise without async', files: { 'index.js': 'exports.handler = (event) => Promise.resolve({ got: event.n });' }, expected: { got: 1 } },
  { form: 'CommonJS .cjs', files: { 'index.cjs': 'exports.handler = async (event) => ({ got: event.n });' }, expected: { got: 1 } },
  { form: 'ES module .mjs', files: { 'index.mjs': 'export const handler = async (event) => ({ got: event.n });' }, expected: { got: 1 } },
  {
    form: 'ES module by package.json, with top-level await and an import',
    files: {
      'package.json': '{"type":"module"}',
      'index.js': "import { add } from './lib/add.js'; const one = await Promise.resolve(1); export const handler = async (event) => ({ got: add(event.n, one) - 1 });",
      'lib/add.js': 'export const add = (a, b) => a + b;',
    },
    expected: { got: 1 },
  },
  { form: 'in a folder, nested export', files: { 'src/app.js': 'exports.api = { run: async (event) => ({ got: event.n }) };' }, handler: 'src/app.api.run', expected: { got: 1 } },
  { form: 'nothing returned', files: { 'index.js': 'exports.handler = async () => {};' }, expected: null },
  {
    form: 'streaming, invoked buffered',
    files: {
      'index.mjs':
        "export const handler = awslambda.streamifyResponse(async (event, stream) => { stream.setContentType('application/json'); stream.write('{\"got\":'); stream.write(String(event.n)); stream.end('}'); });",
    },
    expected: { got: 1 },
  },
];

const PYTHON_HANDLERS: readonly Handler[] = [
  { form: 'function', files: { 'index.py': 'def handler(event, context):\n    return {"got": event["n"]}\n' }, expected: { got: 1 } },
  {
    form: 'in a package, with an import',
    files: { 'app/__init__.py': '', 'app/main.py': 'from app.add import add\ndef run(event, context):\n    return {"got": add(event["n"])}\n', 'app/add.py': 'def add(n):\n    return n\n' },
    handler: 'app/main.run',
    expected: { got: 1 },
  },
  { form: 'nothing returned', files: { 'index.py': 'def handler(event, context):\n    pass\n' }, expected: null },
];

const CONTEXT_NODE = `exports.handler = async (event, context) => ({
  ...context,
  remaining: context.getRemainingTimeInMillis(),
  variables: process.env,
  cwd: process.cwd(),
});`;

const CONTEXT_PYTHON = `
import os
def handler(event, context):
    return {
        'functionName': context.function_name, 'functionVersion': context.function_version, 'invokedFunctionArn': context.invoked_function_arn,
        'memoryLimitInMB': context.memory_limit_in_mb, 'awsRequestId': context.aws_request_id, 'logGroupName': context.log_group_name,
        'logStreamName': context.log_stream_name, 'remaining': context.get_remaining_time_in_millis(), 'variables': dict(os.environ), 'cwd': os.getcwd(),
    }
`;

interface SeenContext {
  readonly functionName: string;
  readonly functionVersion: string;
  readonly invokedFunctionArn: string;
  readonly memoryLimitInMB: string;
  readonly awsRequestId: string;
  readonly logGroupName: string;
  readonly logStreamName: string;
  readonly remaining: number;
  readonly variables: Readonly<Record<string, string>>;
  readonly cwd: string;
}

describe('handlers', () => {
  let sluice: TestSluice;
  before(async () => {
    sluice = await startSluice();
  });
  after(() => sluice.stop());

  for (const [runtime, handlers] of [['nodejs22.x', NODE_HANDLERS], ['python3.12', PYTHON_HANDLERS]] as const) {
    for (const [index, { form, files, handler, expected }] of handlers.entries()) {
      test(`${runtime}: ${form}`, async () => {
        const name = `form-${runtime.replace('.', '-')}-${index}`;
        await deploy(sluice.lambda, { name, files, Runtime: runtime, Handler: handler ?? 'index.handler' });
        assert.deepEqual(await result(sluice.lambda, name, { n: 1 }), expected);
        assert.deepEqual(await result(sluice.lambda, name, { n: 1 }), expected);
      });
    }

    test(`${runtime}: the context and the variables of the environment`, async () => {
      const node = runtime.startsWith('node');
      const name = `context-${node ? 'node' : 'python'}`;
      await deploy(sluice.lambda, {
        name,
        Runtime: runtime,
        files: node ? { 'index.js': CONTEXT_NODE } : { 'index.py': CONTEXT_PYTHON },
        variables: { COLOUR: 'blue', SENTENCE: 'a "quoted" = ü $HOME\nline' },
        Timeout: 30,
        MemorySize: 192,
      });
      const { output, text } = await invoke(sluice.lambda, name);
      const seen = JSON.parse(text) as SeenContext;
      assert.equal(seen.functionName, name);
      assert.equal(seen.functionVersion, '$LATEST');
      assert.equal(seen.invokedFunctionArn, `${ARN}:${name}`);
      assert.equal(seen.memoryLimitInMB, '192');
      assert.equal(seen.awsRequestId, output.$metadata.requestId);
      assert.equal(seen.logGroupName, `/aws/lambda/${name}`);
      assert.match(seen.logStreamName, /^\d{4}\/\d\d\/\d\d\/\[\$LATEST\][0-9a-f]{32}$/);
      assert.ok(seen.remaining > 0 && seen.remaining <= 30_000, String(seen.remaining));
      const { variables } = seen;
      assert.equal(variables['COLOUR'], 'blue');
      assert.equal(variables['SENTENCE'], 'a "quoted" = ü $HOME\nline');
      assert.equal(variables['AWS_LAMBDA_FUNCTION_NAME'], name);
      assert.equal(variables['AWS_LAMBDA_FUNCTION_VERSION'], '$LATEST');
      assert.equal(variables['AWS_LAMBDA_FUNCTION_MEMORY_SIZE'], '192');
      assert.equal(variables['AWS_LAMBDA_LOG_GROUP_NAME'], seen.logGroupName);
      assert.equal(variables['AWS_LAMBDA_LOG_STREAM_NAME'], seen.logStreamName);
      assert.equal(variables['AWS_LAMBDA_INITIALIZATION_TYPE'], 'on-demand');
      assert.equal(variables['AWS_EXECUTION_ENV'], `AWS_Lambda_${runtime}`);
      assert.equal(variables['AWS_REGION'], 'us-east-1');
      assert.equal(variables['AWS_DEFAULT_REGION'], 'us-east-1');
      assert.equal(variables['_HANDLER'], 'index.handler');
      assert.equal(variables['LAMBDA_TASK_ROOT'], seen.cwd);
      assert.ok(variables['LAMBDA_RUNTIME_DIR']);
      assert.match(variables['_X_AMZN_TRACE_ID'] ?? '', /^Root=1-[0-9a-f]{8}-[0-9a-f]{24}/);
    });

    test(`${runtime}: nothing of Sluice's own environment leaks into the function`, async () => {
      const name = `context-${runtime.startsWith('node') ? 'node' : 'python'}`;
      const { variables } = await result<SeenContext>(sluice.lambda, name);
      assert.deepEqual(Object.keys(variables).filter((variable) => variable.startsWith('SLUICE_') || variable.startsWith('npm_')), []);
      assert.equal(variables['NODE_TEST_CONTEXT'], undefined);
    });
  }

  test('the environment is kept between invocations, with what the module holds', async () => {
    await deploy(sluice.lambda, { name: 'counter', files: { 'index.js': 'let count = 0; exports.handler = async () => ++count;' } });
    assert.deepEqual([await result(sluice.lambda, 'counter'), await result(sluice.lambda, 'counter')], [1, 2]);
  });

  test('/tmp is writable and each environment has its own', async () => {
    await deploy(sluice.lambda, {
      name: 'scratch',
      files: {
        'index.js': `const fs = require('node:fs'), os = require('node:os'), path = require('node:path');
exports.handler = async (event) => { const file = path.join(os.tmpdir(), 'mark'); const found = fs.existsSync(file); fs.writeFileSync(file, 'x'); return found; };`,
      },
    });
    await deploy(sluice.lambda, {
      name: 'scratch-too',
      files: { 'index.js': "exports.handler = async () => require('node:fs').existsSync(require('node:path').join(require('node:os').tmpdir(), 'mark'));" },
    });
    assert.deepEqual([await result(sluice.lambda, 'scratch'), await result(sluice.lambda, 'scratch')], [false, true]);
    assert.equal(await result(sluice.lambda, 'scratch-too'), false);
  });

  test('console lines carry time, request id and level', async () => {
    await deploy(sluice.lambda, {
      name: 'levels',
      files: { 'index.js': "exports.handler = async () => { console.log('plain %d', 7); console.error('bad'); console.warn('odd'); console.debug('fine'); };" },
    });
    const { tail, output } = await invoke(sluice.lambda, 'levels', {}, { LogType: 'Tail' });
    const prefix = `\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z\t${output.$metadata.requestId}\t`;
    for (const line of ['INFO\tplain 7', 'ERROR\tbad', 'WARN\todd', 'DEBUG\tfine']) assert.match(tail, new RegExp(`^${prefix}${line}$`, 'm'));
  });
});
