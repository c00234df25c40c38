/** What becomes of a response that is being streamed when a process of Sluice dies: its caller always gets an end, and nothing runs twice (invariants 3 and 4 from outside). */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { InvokeWithResponseStreamCommand, type InvokeWithResponseStreamCompleteEvent, type LambdaClient } from '@aws-sdk/client-lambda';
import type { RoleName } from '../../cli/roles/role.ts';
import { lambdaClient } from '../support/access.ts';
import { deploy } from '../support/functions.ts';
import { isolatedServices } from '../support/isolated-services.ts';
import { Observer } from '../support/observer.ts';
import { startProcesses, type SluiceProcesses } from '../support/sluice-processes.ts';

/** Writes, reports to an {@link Observer}, which holds it, and writes the rest. */
const STREAMER = `
exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
  stream.write('first');
  await fetch(process.env.OBSERVER, { method: 'POST', body: JSON.stringify({ mark: event.mark, requestId: context.awsRequestId }) });
  stream.end('last');
});
`;

const services = await isolatedServices();

describe('a response that is being streamed', { timeout: 300_000, skip: services === undefined && 'Kafka, an S3 server and Redis are needed' }, () => {
  let observer: Observer;
  let dataDir: string;
  let sluice: SluiceProcesses;
  let lambda: LambdaClient;
  before(async () => {
    observer = await Observer.start();
    dataDir = await mkdtemp(join(tmpdir(), 'sluice-streaming-'));
    sluice = await startProcesses({ plan: 'gateway=1,controller=2,worker=1', dataDir, variables: { ...services?.variables } });
    lambda = lambdaClient(sluice.url);
    await deploy(lambda, { name: 'streamer', files: { 'index.js': STREAMER }, variables: { OBSERVER: observer.url }, Timeout: 60 });
  });
  after(async () => {
    lambda.destroy();
    await observer.close();
    sluice.end();
    await rm(dataDir, { recursive: true, force: true, maxRetries: 5 });
    await services?.remove();
  });
  afterEach(() => observer.releaseAll());

  /** Does something to every process of a role when the response has begun, then lets the function go on. What the caller got of it since. */
  const during = async (mark: string, role: RoleName, signal: NodeJS.Signals): Promise<{ readonly rest: string; readonly complete: InvokeWithResponseStreamCompleteEvent | undefined }> => {
    observer.hold = true;
    const { EventStream } = await lambda.send(new InvokeWithResponseStreamCommand({ FunctionName: 'streamer', Payload: Buffer.from(JSON.stringify({ mark })) }));
    let rest = '';
    let complete: InvokeWithResponseStreamCompleteEvent | undefined;
    const replaced: Promise<unknown>[] = [];
    for await (const event of EventStream ?? []) {
      complete = event.InvokeComplete;
      const text = Buffer.from(event.PayloadChunk?.Payload ?? []).toString();
      if (text !== 'first') {
        rest += text;
        continue;
      }
      await observer.until(() => observer.has(mark));
      for (const { name, pid } of await sluice.ready(role)) {
        assert.ok(pid !== undefined);
        process.kill(pid, signal);
        replaced.push(sluice.replaced(name, pid));
      }
      if (signal === 'SIGKILL') await Promise.all(replaced);
      observer.releaseAll();
    }
    await Promise.all(replaced);
    return { rest, complete };
  };

  test('goes on when every controller is killed', async () => {
    assert.deepEqual(await during('controllers', 'controller', 'SIGKILL'), { rest: 'last', complete: {} });
    assert.equal(observer.count('controllers'), 1);
  });

  test('comes to its end when its worker is asked to stop', async () => {
    assert.deepEqual(await during('drained', 'worker', 'SIGTERM'), { rest: 'last', complete: {} });
    assert.equal(observer.count('drained'), 1);
  });

  test('ends with an error when its worker is killed, and does not run again', async () => {
    const { rest, complete } = await during('killed', 'worker', 'SIGKILL');
    assert.deepEqual([rest, complete?.ErrorCode], ['', 'Sandbox.Failure']);
    assert.deepEqual(await during('after', 'worker', 'SIGTERM'), { rest: 'last', complete: {} });
    assert.equal(observer.count('killed'), 1);
  });
});
