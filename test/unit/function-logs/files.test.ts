import assert from 'node:assert/strict';
import { appendFile, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { systemClock } from '../../../platform/clock.ts';
import { openFileFunctionLogs, type FileFunctionLogsOptions } from '../../../platform/function-logs/files.ts';
import type { FunctionLogs } from '../../../platform/function-logs/function-logs.ts';
import { createLogger } from '../../../platform/telemetry/logger.ts';

const GROUP = 'group';
const FOLDER = join('logs', 'g-group');

async function folder(context: TestContext): Promise<string> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-logs-'));
  context.after(() => rm(dataDir, { recursive: true, force: true }));
  return dataDir;
}

function open(dataDir: string, limits: FileFunctionLogsOptions['limits'] = {}): Promise<FunctionLogs> {
  return openFileFunctionLogs({ dataDir, clock: systemClock, logger: createLogger('error'), limits });
}

async function messages(logs: FunctionLogs): Promise<string[]> {
  return (await logs.filter({ group: GROUP, limit: 10_000 })).events.map(({ message }) => message);
}

function event(message: string): { timestampMs: number; message: string } {
  return { timestampMs: 1, message };
}

test('what does not fit the buffer is dropped and counted in a line that says so', async (context) => {
  const logs = await open(await folder(context), { bufferedBytes: 1_000 });
  logs.append(GROUP, 's', [event('kept')]);
  logs.append(GROUP, 's', [event('x'.repeat(2_000)), event('also lost')]);
  logs.append(GROUP, 's', [event('y'.repeat(2_000))]);
  assert.deepEqual((await messages(logs)).map((message) => message.slice(0, 40)), ['kept', 'Sluice dropped 3 log events of this log ']);
  logs.append(GROUP, 's', [event('room again')]);
  assert.ok((await messages(logs)).includes('room again'));
  await logs.close();
});

test('the oldest segments go when a group has more than its bytes', async (context) => {
  const dataDir = await folder(context);
  const logs = await open(dataDir, { segmentBytes: 1_000, groupBytes: 3_000 });
  for (let i = 0; i < 20; i++) {
    logs.append(GROUP, 's', [event(`${i} ${'x'.repeat(500)}`)]);
    await logs.flush();
  }
  const left = (await messages(logs)).map((message) => Number(message.split(' ')[0]));
  assert.equal(left.at(-1), 19);
  assert.ok(left.length >= 4 && left.length <= 6, `${left.length} events are left`);
  assert.deepEqual(left, Array.from({ length: left.length }, (_, i) => 20 - left.length + i));
  assert.ok((await readdir(join(dataDir, FOLDER))).length <= 4);
  await logs.close();
});

test('a line that a crash cut short is skipped and does not swallow the next one', async (context) => {
  const dataDir = await folder(context);
  const before = await open(dataDir);
  before.append(GROUP, 's', [event('whole')]);
  await before.close();
  const [segment = ''] = await readdir(join(dataDir, FOLDER));
  await appendFile(join(dataDir, FOLDER, segment), '[1,2,"s","cut sho');
  const after = await open(dataDir);
  after.append(GROUP, 's', [event('next')]);
  assert.deepEqual(await messages(after), ['whole', 'next']);
  await after.close();
});

test('nothing is taken after close, and everything taken before it is on disk', async (context) => {
  const dataDir = await folder(context);
  const logs = await open(dataDir);
  logs.append(GROUP, 's', [event('before')]);
  await logs.close();
  logs.append(GROUP, 's', [event('after')]);
  const reopened = await open(dataDir);
  assert.deepEqual(await messages(reopened), ['before']);
  await reopened.close();
});
