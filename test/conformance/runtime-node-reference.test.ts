import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { CallVerdict, RuntimeCalls, RuntimeResponse, WaitingNext } from '../../worker/runtime-api/runtime-calls.ts';
import { createRuntimeApi } from '../../worker/runtime-api/server.ts';
import { HANDLER_CASES, INIT_CASES, type HandlerCase } from '../unit/worker/node-handlers.ts';

const REFERENCE_DIR = join(import.meta.dirname, 'aws-lambda-ric');
const REFERENCE = join(REFERENCE_DIR, 'node_modules/aws-lambda-ric/index.mjs');
const FIXTURE = join(import.meta.dirname, '../fixtures/functions/node-handlers');

/** A copy of the fixture outside of this repository, whose package.json would make ES modules of its files. */
let taskRoot = '';

interface ErrorBody {
  readonly errorType: string;
  readonly errorMessage: string;
}

type Outcome = { readonly kind: 'result'; readonly body: string; readonly contentType: string } | { readonly kind: 'error' | 'initError'; readonly body: ErrorBody } | { readonly kind: 'exit'; readonly code: number | null };

/** What AWS's client says for one event of one handler, over Sluice's Runtime API. */
async function askReference(handler: string, event: unknown): Promise<Outcome> {
  const outcome = Promise.withResolvers<Outcome>();
  const api = createRuntimeApi();
  let asked = false;
  const calls: RuntimeCalls = {
    next(waiting: WaitingNext): CallVerdict {
      if (!asked) waiting.deliver({ invocationId: 'id', deadlineMs: Date.now() + 60_000, invokedArn: 'arn', traceId: 'Root=1', payload: Buffer.from(JSON.stringify(event)) });
      asked = true;
      return 'accepted';
    },
    mayEnd: () => 'accepted',
    stream: () => undefined,
    response(_id, response: RuntimeResponse) {
      const failure = response.midstreamError;
      outcome.resolve(failure === undefined ? { kind: 'result', body: response.body.toString(), contentType: response.contentType } : { kind: 'error', body: JSON.parse(failure.body.toString()) as ErrorBody });
      return 'accepted';
    },
    responseTooLarge: () => 'accepted',
    error(_id, body) {
      outcome.resolve({ kind: 'error', body: JSON.parse(body.toString()) as ErrorBody });
      return 'accepted';
    },
    initError(body) {
      outcome.resolve({ kind: 'initError', body: JSON.parse(body.toString()) as ErrorBody });
      return 'accepted';
    },
  };
  const address = await api.open(calls);
  const child = spawn(process.execPath, [REFERENCE], {
    stdio: 'ignore',
    cwd: taskRoot,
    env: {
      PATH: '/usr/bin:/bin',
      AWS_LAMBDA_RUNTIME_API: address.address,
      AWS_EXECUTION_ENV: 'AWS_Lambda_nodejs24.x',
      AWS_LAMBDA_FUNCTION_NAME: 'trial',
      AWS_LAMBDA_FUNCTION_VERSION: '$LATEST',
      AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '256',
      AWS_LAMBDA_LOG_GROUP_NAME: 'group',
      AWS_LAMBDA_LOG_STREAM_NAME: 'stream',
      LAMBDA_TASK_ROOT: taskRoot,
      _HANDLER: handler,
    },
  });
  const exited = new Promise((resolve) => child.once('exit', (code) => resolve(outcome.resolve({ kind: 'exit', code }))));
  try {
    return await outcome.promise;
  } finally {
    child.kill('SIGKILL');
    await exited;
    address.close();
    await api.close();
  }
}

const skip = existsSync(REFERENCE) ? false : `AWS's runtime client is not installed: run \`npm run reference\` in ${REFERENCE_DIR} (two minutes, needs cmake and a C++ compiler)`;

suite('the handler table holds for aws-lambda-ric, AWS’s own client', { skip, concurrency: 2 }, () => {
  before(async () => {
    taskRoot = await mkdtemp(join(tmpdir(), 'sluice-reference-'));
    await cp(FIXTURE, taskRoot, { recursive: true });
  });
  after(() => rm(taskRoot, { recursive: true, force: true }));

  const check = (outcome: Outcome, { result, error }: HandlerCase): void => {
    if (error === undefined) {
      assert.equal(outcome.kind, 'result', JSON.stringify(outcome));
      assert.deepEqual(JSON.parse((outcome as { body: string }).body), result);
    } else {
      assert.equal(outcome.kind, 'error', JSON.stringify(outcome));
      const { errorType, errorMessage } = outcome.body;
      assert.deepEqual({ errorType, errorMessage }, error);
    }
  };

  for (const each of HANDLER_CASES) {
    const { handler, event, notInReference } = each;
    test(`${handler} of ${JSON.stringify(event)}`, { skip: notInReference ?? false }, async () => {
      check(await askReference(handler, event === undefined ? {} : event), each);
    });
  }

  for (const { handler, errorType, errorMessage } of INIT_CASES) {
    test(`init of ${handler}: ${errorType}`, async () => {
      const outcome = await askReference(handler, {});
      assert.equal(outcome.kind, 'initError', JSON.stringify(outcome));
      const body = outcome.body;
      assert.equal(body.errorType, errorType);
      assert.match(body.errorMessage, errorMessage);
    });
  }

  test('streamed responses', async () => {
    assert.deepEqual(await askReference('index.streams', {}), {
      kind: 'result',
      contentType: 'application/vnd.awslambda.http-integration-response',
      body: `{"statusCode":201,"headers":{"x-a":"b"}}${'\0'.repeat(8)}first {"object":true}`,
    });
    assert.deepEqual(await askReference('index.streamsPlain', {}), { kind: 'result', contentType: 'text/plain', body: 'plain stream' });
    const failed = await askReference('index.streamsThrow', {});
    assert.equal(failed.kind === 'error' && failed.body.errorMessage, 'midway');
  });
});
