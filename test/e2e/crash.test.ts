/**
 * Invariant 1 from outside: what was answered 202 runs, whatever becomes of the process. The whole process is killed, its data folder
 * opened again, and what functions report is counted.
 */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import type { LambdaClient } from '@aws-sdk/client-lambda';
import { deploy, invoke, result } from '../support/functions.ts';
import { Observer, REPORTING_FUNCTION } from '../support/observer.ts';
import { seededRandom } from '../support/seeded-random.ts';
import { descendants, survivors, type RunningProcess } from '../support/processes.ts';
import { endTree, refusedUp, spawnSluice, type SluiceProcess } from '../support/sluice-process.ts';
import { lambdaClient } from '../support/access.ts';

const ROUNDS = 5;
const EVENTS_PER_ROUND = 200;
const SENDERS = 16;
/** In every other round two at a time and so long each that most of what was accepted waits when the process dies. */
const BACKLOG = { SLUICE_ACCOUNT_CONCURRENCY: '2' };
const BACKLOG_PAUSE_MS = 5;

/** Processes end by themselves and tell nobody but their parent: to see it from here there is only looking again. */
async function untilEnded(processes: readonly RunningProcess[]): Promise<void> {
  while (survivors(processes).length > 0) await delay(20);
}

describe('a process that dies', { timeout: 300_000 }, () => {
  let observer: Observer;
  let dataDir: string;
  let running: SluiceProcess[];
  let clients: LambdaClient[];

  before(async () => {
    observer = await Observer.start();
  });
  after(() => observer.close());
  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'sluice-crash-'));
    running = [];
    clients = [];
  });
  afterEach(async () => {
    observer.releaseAll();
    for (const client of clients) client.destroy();
    for (const { pid } of running) endTree(pid);
    await rm(dataDir, { recursive: true, force: true, maxRetries: 5 });
  });

  const up = async (variables: Readonly<Record<string, string>> = {}): Promise<{ sluice: SluiceProcess; lambda: LambdaClient }> => {
    const sluice = await spawnSluice(dataDir, { SLUICE_ASYNC_RETRY_BASE_MS: '50', ...variables });
    running.push(sluice);
    const lambda = lambdaClient(sluice.url);
    clients.push(lambda);
    return { sluice, lambda };
  };
  const kill = async (sluice: SluiceProcess): Promise<readonly RunningProcess[]> => {
    const orphans = await sluice.kill();
    running = running.filter(({ pid }) => pid !== sluice.pid);
    return orphans;
  };
  const reporting = (lambda: LambdaClient, name: string) =>
    deploy(lambda, { name, files: { 'index.js': REPORTING_FUNCTION }, variables: { OBSERVER: observer.url }, Timeout: 60 });

  test('an Event that had not started runs exactly once after the next start', async () => {
    // One at a time: while the first is held, the others cannot have started.
    const first = await up({ SLUICE_ACCOUNT_CONCURRENCY: '1' });
    await reporting(first.lambda, 'reporter');
    observer.hold = true;
    await invoke(first.lambda, 'reporter', { mark: 'held' }, { InvocationType: 'Event' });
    await observer.until(() => observer.count('held') === 1);
    const waiting = Array.from({ length: 20 }, (_, index) => `waiting-${index}`);
    for (const mark of waiting) assert.equal((await invoke(first.lambda, 'reporter', { mark }, { InvocationType: 'Event' })).output.StatusCode, 202);
    assert.deepEqual(waiting.filter((mark) => observer.count(mark) > 0), []);
    await kill(first.sluice);

    observer.releaseAll();
    const second = await up();
    await observer.until(() => waiting.every((mark) => observer.count(mark) > 0) && observer.count('held') === 2);
    await result(second.lambda, 'reporter', { mark: 'afterwards' });
    assert.equal(await second.sluice.terminate(), 0);
    for (const mark of waiting) assert.equal(observer.count(mark), 1, mark);
    // It was running when the process died: nobody can know how far it came, so it runs again (at least once).
    assert.equal(observer.count('held'), 2);
  });

  test('killed at random moments, nothing accepted is lost and nothing unstarted runs twice', async (t) => {
    const seed = Number(process.env['CRASH_SEED'] ?? randomInt(2 ** 31));
    t.diagnostic(`seed ${seed}; repeat with CRASH_SEED=${seed}`);
    const dice = seededRandom(seed);
    let { sluice, lambda } = await up(BACKLOG);
    await reporting(lambda, 'rounds');
    for (let round = 0; round < ROUNDS; round++) {
      const backlog = round % 2 === 0;
      const killAfter = 1 + Math.floor(dice() * EVENTS_PER_ROUND);
      const accepted: string[] = [];
      const unanswered: string[] = [];
      let next = 0;
      let killed: Promise<readonly RunningProcess[]> | undefined;
      const send = async (): Promise<void> => {
        while (next < EVENTS_PER_ROUND && killed === undefined) {
          const mark = `round-${round}-${next++}`;
          try {
            await invoke(lambda, 'rounds', { mark, ...(backlog && { pauseMs: BACKLOG_PAUSE_MS }) }, { InvocationType: 'Event' });
            accepted.push(mark);
          } catch {
            unanswered.push(mark);
          }
          if (accepted.length >= killAfter) killed ??= kill(sluice);
        }
      };
      await Promise.all(Array.from({ length: SENDERS }, send));
      await untilEnded(await (killed ?? kill(sluice)));
      await observer.settle();
      const startedBefore = new Set(observer.sightings.map(({ mark }) => mark));

      // The next round's settings, since it goes on with this process.
      ({ sluice, lambda } = await up(backlog ? {} : BACKLOG));
      await observer.until(() => accepted.every((mark) => observer.count(mark) > 0));
      // Redeliveries stand before it in the function's partition, so they have begun when it has. Not a synchronous call: that may
      // rightly be throttled while they hold the account's whole concurrency.
      await invoke(lambda, 'rounds', { mark: `end-${round}` }, { InvocationType: 'Event' });
      await observer.until(() => observer.count(`end-${round}`) > 0);
      await observer.settle();
      const twice = accepted.filter((mark) => observer.count(mark) > 1);
      const ran = unanswered.filter((mark) => observer.count(mark) > 0);
      t.diagnostic(
        `round ${round}: killed after ${killAfter}; accepted ${accepted.length}, executed ${accepted.filter((mark) => observer.count(mark) > 0).length}, ` +
          `started before the kill ${accepted.filter((mark) => startedBefore.has(mark)).length}, of those run again ${twice.length}, unanswered ${unanswered.length}, of those run ${ran.length}`,
      );
      assert.deepEqual(accepted.filter((mark) => observer.count(mark) === 0), []);
      assert.deepEqual(twice.filter((mark) => !startedBefore.has(mark)), [], 'what had not started runs once');
      assert.deepEqual([...accepted, ...unanswered].filter((mark) => observer.count(mark) > 2), [], 'one kill repeats an invocation once');
    }
    assert.equal(await sluice.terminate(), 0);
  });

  test('no environment outlives a killed Sluice', async () => {
    const { sluice, lambda } = await up();
    await reporting(lambda, 'orphan');
    await deploy(lambda, { name: 'orphan-python', Runtime: 'python3.12', files: { 'index.py': 'def handler(event, context):\n    return 1\n' } });
    await deploy(lambda, { name: 'orphan-busy', Timeout: 120, files: { 'index.js': 'exports.handler = async () => { for (;;); };' } });
    assert.equal(await result(lambda, 'orphan-python'), 1);
    observer.hold = true;
    const interrupted = [invoke(lambda, 'orphan', { mark: 'orphan' }), invoke(lambda, 'orphan-busy')].map((invocation) => invocation.catch(() => undefined));
    await observer.until(() => observer.count('orphan') === 1);
    const orphans = await kill(sluice);
    assert.ok(orphans.length >= 3, `${orphans.length} processes below sluice up`);
    await Promise.all(interrupted);
    // Ends by the time-out of the describe block where one stays.
    await untilEnded(orphans);
  });

  test('a second Sluice on a folder in use is refused and says why; the first goes on', async () => {
    const { sluice, lambda } = await up();
    await reporting(lambda, 'alone');
    const refused = await refusedUp(dataDir);
    assert.notEqual(refused.code, 0);
    assert.ok(refused.output.includes(dataDir), refused.output);
    assert.match(refused.output, /already|in use/);
    assert.doesNotMatch(refused.output, /\bat .+\.ts:\d+/);
    assert.deepEqual(await result(lambda, 'alone', { mark: 'alone' }), { mark: 'alone' });
    assert.equal(await sluice.terminate(), 0);
  });

  test('of two started at once on one folder, one serves and the other refuses', async () => {
    const outcomes = await Promise.allSettled([spawnSluice(dataDir), spawnSluice(dataDir)]);
    const served = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
    running.push(...served);
    assert.equal(served.length, 1, outcomes.map((outcome) => (outcome.status === 'rejected' ? String(outcome.reason) : 'serves')).join('\n'));
    assert.equal(await served[0]?.terminate(), 0);
  });

  test('a stop under load fails nobody who was accepted', async () => {
    const { sluice, lambda } = await up();
    await reporting(lambda, 'stopping');
    const processes = descendants(sluice.pid);
    let answered = 0;
    const failures: string[] = [];
    let stopped: Promise<number | null> | undefined;
    const caller = async (): Promise<void> => {
      for (;;) {
        try {
          const { output, text } = await invoke(lambda, 'stopping', { mark: 'load' });
          answered++;
          if (output.FunctionError !== undefined) failures.push(text);
        } catch (error) {
          // Whoever comes after the stop finds the door closed; a keep-alive connection may be closed just as it is used again.
          const { code, name, message } = error as NodeJS.ErrnoException;
          const closed = stopped !== undefined && (code === 'ECONNREFUSED' || code === 'ECONNRESET' || code === 'EPIPE' || name === 'ServiceUnavailableException');
          if (!closed) failures.push(`${name} ${code ?? ''}: ${message}`);
          return;
        }
        if (answered >= 200) stopped ??= sluice.terminate();
      }
    };
    await Promise.all(Array.from({ length: SENDERS }, caller));
    assert.deepEqual(failures, []);
    assert.ok(answered >= 200);
    assert.equal(await stopped, 0);
    assert.deepEqual(survivors(processes), []);

    const again = await up();
    assert.deepEqual(await result(again.lambda, 'stopping', { mark: 'next' }), { mark: 'next' });
    assert.equal(await again.sluice.terminate(), 0);
  });

  test('a stop waits for what runs, and keeps what waits', async () => {
    const { sluice, lambda } = await up({ SLUICE_ACCOUNT_CONCURRENCY: '1' });
    await reporting(lambda, 'patient');
    observer.hold = true;
    const held = invoke(lambda, 'patient', { mark: 'runs' });
    await observer.until(() => observer.count('runs') === 1);
    await invoke(lambda, 'patient', { mark: 'waits' }, { InvocationType: 'Event' });
    const stopped = sluice.terminate();
    observer.releaseAll();
    assert.equal((await held).text, '{"mark":"runs"}');
    assert.equal(await stopped, 0);
    await up();
    await observer.until(() => observer.count('waits') > 0);
    assert.equal(observer.count('waits'), 1);
  });
});
