import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LogUnavailableError, type LogBacklog } from '../../../platform/invocation-log/invocation-log.ts';
import { ANSWER_WAIT_MS, BacklogReader, type BacklogConnection } from '../../../platform/invocation-log/kafka/backlog.ts';
import { topicNames } from '../../../platform/invocation-log/kafka/topic-names.ts';
import { turns } from '../../support/kafka-partition-world.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const NAMES = topicNames('test');
const STEP_MS = 25;
/** Enough for an answer to pass through all promises between the cluster and the caller. */
const TURNS = 30;
const WAITING = 7;

function protocolError(type: string): Error {
  return Object.assign(new Error(`This server answers ${type}`), { type });
}

/** A cluster with one partition of each topic and {@link WAITING} records in `async`, whose n-th connection answers as `answerOf(n)` tells, from 1. */
class Scene {
  readonly clock = new VirtualClock();
  readonly openedAtMs: number[] = [];
  readonly reader: BacklogReader;
  abandoned = 0;
  readonly #startMs = this.clock.now();

  constructor(answerOf: (connection: number) => Promise<void>, random = 0) {
    const open = (): BacklogConnection => {
      this.openedAtMs.push(this.clock.now() - this.#startMs);
      const answer = answerOf(this.openedAtMs.length);
      answer.catch(() => undefined);
      return {
        admin: {
          connect: () => Promise.resolve(),
          fetchOffsets: () => Promise.resolve([]),
          fetchTopicOffsets: async (topic) => {
            await answer;
            const high = String(topic === NAMES.nameOf('async') ? WAITING : 0);
            return [{ partition: 0, offset: high, high, low: '0' }];
          },
        },
        abandon: () => void this.abandoned++,
      };
    };
    this.reader = new BacklogReader({ names: NAMES, clock: this.clock, random: () => random, open });
  }

  /** Reads while the hands turn; resolves with what came of it and when. */
  async read(limitMs = 2 * ANSWER_WAIT_MS): Promise<{ readonly backlog?: LogBacklog; readonly error?: unknown; readonly afterMs: number }> {
    let ended: { readonly backlog?: LogBacklog; readonly error?: unknown } | undefined;
    this.reader.read(undefined).then(
      (backlog) => (ended = { backlog }),
      (error: unknown) => (ended = { error }),
    );
    for (let afterMs = 0; ; afterMs += STEP_MS) {
      await turns(TURNS);
      if (ended !== undefined) return { ...ended, afterMs };
      assert.ok(afterMs < limitMs, 'the count does not end');
      this.clock.advance(STEP_MS);
    }
  }
}

const notLed = (): Promise<void> => Promise.reject(protocolError('NOT_LEADER_FOR_PARTITION'));

describe('kafka: the count of what waits', () => {
  it('asks again over a new connection, after a pause that grows, while a partition has no leader', async () => {
    const scene = new Scene((connection) => (connection <= 2 ? notLed() : Promise.resolve()));
    assert.deepEqual((await scene.read()).backlog, { waiting: WAITING, delayed: 0 });
    assert.deepEqual(scene.openedAtMs, [0, 50, 150]);
    assert.equal(scene.abandoned, 2);
    assert.equal(scene.clock.pending, 0);
    assert.deepEqual((await scene.read()).backlog, { waiting: WAITING, delayed: 0 });
    assert.equal(scene.openedAtMs.length, 3, 'a connection that works is kept');
  });

  it('takes up to half of a pause away by chance', async () => {
    const scene = new Scene((connection) => (connection <= 2 ? notLed() : Promise.resolve()), 1);
    await scene.read();
    assert.deepEqual(scene.openedAtMs, [0, 25, 75]);
  });

  it('asks again also where kafkajs gave up after attempts of its own', async () => {
    const wrapped = new Error('tried twice', { cause: protocolError('LEADER_NOT_AVAILABLE') });
    const scene = new Scene((connection) => (connection === 1 ? Promise.reject(wrapped) : Promise.resolve()));
    assert.equal((await scene.read()).backlog?.waiting, WAITING);
  });

  it('ends with LogUnavailableError by its one deadline where no leader is ever found', async () => {
    const scene = new Scene(notLed);
    const { error, afterMs } = await scene.read();
    assert.ok(error instanceof LogUnavailableError);
    assert.match(error.message, /NOT_LEADER_FOR_PARTITION/);
    assert.ok(afterMs <= ANSWER_WAIT_MS, `${afterMs} ms`);
    assert.ok(scene.openedAtMs.length > 5 && scene.openedAtMs.length < 20, `${scene.openedAtMs.length} connections`);
    assert.equal(scene.abandoned, scene.openedAtMs.length);
    assert.equal(scene.clock.pending, 0);
  });

  it('gives an answer that does not come what the attempts before have left of the deadline', async () => {
    const scene = new Scene((connection) => (connection <= 2 ? notLed() : new Promise(() => undefined)));
    const { error, afterMs } = await scene.read();
    assert.ok(error instanceof LogUnavailableError);
    assert.equal(afterMs, ANSWER_WAIT_MS);
    assert.equal(scene.abandoned, 3);
  });

  it('does not ask again after any other error', async () => {
    const scene = new Scene(() => Promise.reject(protocolError('GROUP_AUTHORIZATION_FAILED')));
    const { error, afterMs } = await scene.read();
    assert.ok(error instanceof LogUnavailableError);
    assert.deepEqual([afterMs, scene.openedAtMs.length, scene.abandoned], [0, 1, 1]);
  });

  it('is over at once when the log is closed during a pause, and opens nothing any more', async () => {
    const scene = new Scene(notLed);
    const reading = scene.reader.read(undefined);
    await turns(TURNS);
    assert.equal(scene.clock.pending, 1);
    scene.reader.close();
    await assert.rejects(reading, LogUnavailableError);
    await assert.rejects(scene.reader.read(undefined), LogUnavailableError);
    assert.deepEqual([scene.clock.pending, scene.openedAtMs.length], [0, 1]);
  });
});
