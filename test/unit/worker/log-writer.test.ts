import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FunctionLogs } from '../../../platform/function-logs/function-logs.ts';
import { boundedErrorBody, clientContextHeader } from '../../../worker/environment/bodies.ts';
import { LogWriter } from '../../../worker/environment/log-writer.ts';
import { exitMessage, reportLine } from '../../../worker/environment/report-lines.ts';

function writer(): { log: LogWriter; messages: string[] } {
  const messages: string[] = [];
  const logs = { append: (_group: string, _stream: string, events: readonly { message: string }[]) => void messages.push(...events.map(({ message }) => message)) } as unknown as FunctionLogs;
  return { log: new LogWriter(logs, 'group', 'stream', () => 1), messages };
}

test('bytes become lines wherever the chunks are cut, also within a character', () => {
  const text = Buffer.from('eins\nzwei ü ✓\r\ndrei\rvier\n\nfünf');
  for (let cut = 0; cut <= text.length; cut++) {
    const { log, messages } = writer();
    log.output('stdout', text.subarray(0, cut));
    log.output('stdout', text.subarray(cut));
    log.endPartialLines();
    assert.deepEqual(messages, ['eins', 'zwei ü ✓', 'drei\nvier', '', 'fünf'], `cut at ${cut}`);
  }
});

test('standard output and standard error do not mix within lines', () => {
  const { log, messages } = writer();
  log.output('stdout', Buffer.from('out '));
  log.output('stderr', Buffer.from('err\n'));
  log.output('stdout', Buffer.from('put\n'));
  assert.deepEqual(messages, ['err', 'out put']);
});

test('a line without end is cut into events of 256 KiB', () => {
  const { log, messages } = writer();
  for (let i = 0; i < 10; i++) log.output('stdout', Buffer.alloc(100_000, 120));
  assert.deepEqual(messages.map(({ length }) => length), [262_144, 262_144, 262_144]);
});

test('the tail is the last 4 KiB of one invocation', () => {
  const { log } = writer();
  log.begin('START a', { tail: true });
  log.lines(Array.from({ length: 1_000 }, (_, i) => `line ${i}`));
  const tail = log.end();
  assert.equal(tail?.length, 4_096);
  assert.ok(tail.toString().endsWith('line 998\nline 999\n'));
  log.begin('START b', { tail: true });
  assert.equal(log.end()?.toString(), 'START b\n');
  log.begin('START c', { tail: false });
  assert.equal(log.end(), undefined);
});

test('REPORT lines as Lambda writes them', () => {
  const report = { invocationId: 'id', durationMs: 1.234, memoryMiB: 128, maxMemoryUsedMiB: 45 };
  assert.equal(reportLine(report), 'REPORT RequestId: id\tDuration: 1.23 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\tMax Memory Used: 45 MB\t');
  assert.equal(reportLine({ ...report, initDurationMs: 12.34 }), 'REPORT RequestId: id\tDuration: 1.23 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\tMax Memory Used: 45 MB\tInit Duration: 12.34 ms\t');
  assert.ok(reportLine({ ...report, status: 'timeout' }).endsWith('Max Memory Used: 45 MB\tStatus: timeout'));
  assert.ok(reportLine({ ...report, status: { errorType: 'Runtime.ExitError' } }).endsWith('\tStatus: error\tError Type: Runtime.ExitError'));
});

test('the end of a process in Lambda’s words', () => {
  assert.equal(exitMessage({ code: 3, signal: null }), 'Runtime exited with error: exit status 3');
  assert.equal(exitMessage({ code: 0, signal: null }), 'Runtime exited without providing a reason');
  assert.equal(exitMessage({ code: null, signal: 'SIGSEGV' }), 'Runtime exited with error: signal: segmentation fault');
});

test('an error object too large to be kept keeps its type and the beginning of its message', () => {
  const small = Buffer.from('{"errorType":"E"}');
  assert.equal(boundedErrorBody(small), small);
  const kept = JSON.parse(boundedErrorBody(Buffer.from(JSON.stringify({ errorType: 'E', errorMessage: 'm'.repeat(300_000) }))).toString()) as { errorType: string; errorMessage: string };
  assert.equal(kept.errorType, 'E');
  assert.match(kept.errorMessage, /^m{1000,20000}$/);
  assert.match(boundedErrorBody(Buffer.alloc(300_000, 123)).toString(), /^\{"errorType":"Unknown"/);
});

test('a client context that could break a header is written anew; what is not JSON is left out', () => {
  assert.equal(clientContextHeader(Buffer.from('{\n"a":\t1}').toString('base64')), '{"a":1}');
  assert.equal(clientContextHeader(Buffer.from('{"ü":1}').toString('base64')), Buffer.from('{"ü":1}').toString('latin1'));
  assert.equal(clientContextHeader('no base64 of anything'), undefined);
});
