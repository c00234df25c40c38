import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { describe, it } from 'node:test';
import type { ExecutionSpec } from '../../platform/model/execution-spec.ts';
import type { InvocationRecord } from '../../platform/model/invocation.ts';
import type { Assignment, ControllerLink, EnvironmentDeparture, EnvironmentPoll } from '../../platform/protocol/controller-link.ts';
import type { WorkerPool } from '../../platform/worker-pool/worker-pool.ts';

/** A driver under test. */
export interface WorkerPoolHarness {
  readonly pool: WorkerPool;
  /** A function that answers every event. */
  readonly working: ExecutionSpec;
  /** A function whose init fails by its own doing. */
  readonly failing: ExecutionSpec;
  /** A function that no worker can run. */
  readonly impossible: ExecutionSpec;
  /** Removes what the harness made; the pool is closed by then. */
  readonly dispose: () => Promise<void>;
}

/** Tests that a driver cannot pass, by title, each with the reason. */
export type Skips = Readonly<Record<string, string>>;

/** The controller's place: notes what environments say, and answers their polls when the test wants it. */
class LinkRecorder implements ControllerLink {
  readonly polls: EnvironmentPoll[] = [];
  readonly departures: EnvironmentDeparture[] = [];
  private readonly said = new EventEmitter();
  private readonly answers = new Map<string, (assignment: Assignment) => void>();

  next(poll: EnvironmentPoll): Promise<Assignment> {
    return new Promise((resolve) => {
      this.polls.push(poll);
      this.answers.set(poll.environmentId, resolve);
      this.said.emit(`poll ${poll.environmentId}`, poll);
    });
  }

  responded(): void {}

  gone(departure: EnvironmentDeparture): void {
    this.departures.push(departure);
    this.answer(departure.environmentId, { kind: 'stop' });
    this.said.emit(`gone ${departure.environmentId}`, departure);
  }

  /** Both resolve with what is said from now on. */
  async polled(environmentId: string): Promise<EnvironmentPoll> {
    return ((await once(this.said, `poll ${environmentId}`)) as [EnvironmentPoll])[0];
  }

  async left(environmentId: string): Promise<EnvironmentDeparture> {
    return ((await once(this.said, `gone ${environmentId}`)) as [EnvironmentDeparture])[0];
  }

  answer(environmentId: string, assignment: Assignment): void {
    this.answers.get(environmentId)?.(assignment);
    this.answers.delete(environmentId);
  }

  departuresOf(environmentId: string): string[] {
    return this.departures.filter((departure) => departure.environmentId === environmentId).map(({ cause }) => cause.kind);
  }
}

/** What every driver of the port {@link WorkerPool} must do. */
export function workerPoolContract(driver: string, create: (link: ControllerLink) => Promise<WorkerPoolHarness>, skips: Skips = {}): void {
  describe(`WorkerPool contract: ${driver}`, () => {
    const titles = new Set<string>();
    const test = (title: string, run: (harness: WorkerPoolHarness & { readonly link: LinkRecorder }) => Promise<void>): void => {
      titles.add(title);
      it(title, { skip: skips[title] ?? false }, async () => {
        const link = new LinkRecorder();
        const harness = await create(link);
        try {
          await run({ ...harness, link });
        } finally {
          await harness.pool.close();
          await harness.dispose();
        }
        const ids = link.departures.map(({ environmentId }) => environmentId);
        assert.equal(new Set(ids).size, ids.length, 'an environment departs once');
      });
    };

    test('a started environment announces itself, takes an invocation, reports and polls again', async ({ pool, working, link }) => {
      const ready = link.polled('a');
      pool.start('a', working);
      assert.equal((await ready).kind, 'initialized');
      const invocation = event(working);
      const reported = link.polled('a');
      link.answer('a', { kind: 'invoke', invocation, epoch: 7, deliveryId: 11 });
      const poll = await reported;
      assert.ok(poll.kind === 'completed');
      const { durationMs, ...completion } = poll.completion;
      assert.deepEqual(completion, { invocationId: invocation.id, epoch: 7, deliveryId: 11, outcome: 'success' });
      assert.ok(durationMs >= 0);
    });

    test('an idle environment that is stopped departs, once, however often it is stopped', async ({ pool, working, link }) => {
      const ready = link.polled('a');
      pool.start('a', working);
      await ready;
      const left = link.left('a');
      pool.stop('a');
      pool.stop('a');
      assert.deepEqual((await left).cause, { kind: 'stopped' });
      pool.stop('a');
      await pool.close();
      assert.deepEqual(link.departuresOf('a'), ['stopped']);
    });

    test('an environment that is stopped while it starts departs without having been ready', async ({ pool, working, link }) => {
      const left = link.left('a');
      pool.start('a', working);
      pool.stop('a');
      await left;
      assert.deepEqual(link.polls, []);
    });

    test('an unknown environment can be stopped, which means nothing', async ({ pool, link }) => {
      pool.stop('stranger');
      await pool.close();
      assert.deepEqual(link.departures, []);
    });

    test('an init that fails is announced with the error of the function, answers one invocation, and ends in a departure', async ({ pool, failing, link }) => {
      const polled = link.polled('a');
      const left = link.left('a');
      pool.start('a', failing);
      const poll = await polled;
      assert.ok(poll.kind === 'initFailed');
      const { errorType } = JSON.parse(poll.errorBody.toString()) as { errorType: unknown };
      assert.equal(typeof errorType, 'string');
      const invocation = event(failing);
      link.answer('a', { kind: 'invoke', invocation, epoch: 7, deliveryId: 11 });
      const { cause, completion } = await left;
      assert.deepEqual(cause, { kind: 'failed' });
      assert.deepEqual([completion?.invocationId, completion?.epoch, completion?.deliveryId, completion?.outcome], [invocation.id, 7, 11, 'functionError']);
      assert.equal((JSON.parse(completion?.errorBody?.toString() ?? '') as { errorType: unknown }).errorType, errorType);
      assert.equal(link.polls.length, 1);
    });

    test('an init that failed and that no invocation waits for is told to stop, and departs', async ({ pool, failing, link }) => {
      const polled = link.polled('a');
      const left = link.left('a');
      pool.start('a', failing);
      await polled;
      link.answer('a', { kind: 'stop' });
      assert.deepEqual(await left, { environmentId: 'a', cause: { kind: 'stopped' } });
    });

    test('what cannot be started is a departure, not an exception', async ({ pool, impossible, link }) => {
      const left = link.left('a');
      pool.start('a', impossible);
      assert.equal((await left).cause.kind, 'cannotStart');
    });

    test('close: every environment departs before it resolves', async ({ pool, working, link }) => {
      const ready = [link.polled('a'), link.polled('b')];
      pool.start('a', working);
      pool.start('b', working);
      await Promise.all(ready);
      pool.start('c', working);
      await Promise.all([pool.close(), pool.close()]);
      assert.deepEqual(link.departures.map(({ environmentId }) => environmentId).sort(), ['a', 'b', 'c']);
    });

    test('a start after close is a departure', async ({ pool, working, link }) => {
      await pool.close();
      const left = link.left('late');
      pool.start('late', working);
      assert.equal((await left).cause.kind, 'cannotStart');
    });

    test('an expectation is a hint: it starts no environment, and a runtime that nobody has is no error', async ({ pool, working, link }) => {
      pool.expect(working);
      pool.expect({ ...working, configuration: { ...working.configuration, runtime: 'cobol60' } });
      await pool.close();
      assert.deepEqual([link.polls, link.departures], [[], []]);
    });

    it('skips only tests that exist', () => {
      assert.deepEqual(Object.keys(skips).filter((title) => !titles.has(title)), []);
    });
  });
}

function event(spec: ExecutionSpec): InvocationRecord {
  const nowMs = Date.now();
  return {
    v: 1, id: randomUUID(), kind: 'async', account: spec.account, functionName: spec.functionName, functionUid: 'uid', version: spec.version, invokedArn: spec.versionArn, acceptedAtMs: nowMs, expiresAtMs: nowMs + 60_000,
    attempt: 1, throttles: 0, traceId: 'Root=1-0-0', logTail: false, payload: Buffer.from('{}'),
  };
}
