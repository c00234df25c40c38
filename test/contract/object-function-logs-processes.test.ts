/** Function logs of several processes over one store: what one writes the others read, in spite of everything. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import { systemClock } from '../../platform/clock.ts';
import type { FunctionLogs, StoredLogEvent } from '../../platform/function-logs/function-logs.ts';
import { LOGS_BUCKET, logsExpiry, openObjectFunctionLogs } from '../../platform/function-logs/object-store.ts';
import { SEGMENTS } from '../../platform/function-logs/object-store/names.ts';
import { StoreUnavailableError, type ObjectStore } from '../../platform/object-store/object-store.ts';
import type { InterceptedStore } from '../support/intercepted-store.ts';
import { event, follower, GROUP, messages, messagesOf, scene, SECOND_MS, segmentsIn } from '../support/object-logs.ts';
import { until } from '../support/redis-server.ts';
import { NO_S3, openTestStore, S3, type S3Service } from '../support/s3-stores.ts';

describe('function logs of several processes', () => {
  it('are read by others once they are flushed, also by a cursor', async (context) => {
    const { open } = await scene(context);
    const [worker, other, gateway] = [await open(), await open(), await open()];
    worker.append(GROUP, 'a', [event('one', 5_000)]);
    await worker.flush();
    const { read, more } = follower(gateway);
    await more();
    other.append(GROUP, 'b', [event('late, but older', 1_000), event('two', 6_000)]);
    await other.flush();
    await more();
    // In the order in which they were written; the time of each stays its own.
    assert.deepEqual(read.map(({ message, timestampMs }) => [message, timestampMs]), [['one', 5_000], ['late, but older', 1_000], ['two', 6_000]]);
    assert.deepEqual(await messages(gateway, { startMs: 500, endMs: 2_000 }), ['late, but older']);
  });

  it('are written by themselves within about a second, or when there is a segment full', async (context) => {
    const { clock, store, open } = await scene(context);
    const [worker, gateway] = [await open({ limits: { segmentBytes: 10_000 } }), await open()];
    worker.append(GROUP, 'a', [event('soon')]);
    await assert.rejects(gateway.filter({ group: GROUP, limit: 1 }), { name: 'NoSuchLogGroupError' });
    clock.advance(SECOND_MS);
    await until(async () => (await segmentsIn(store)).length === 1);
    assert.deepEqual(await messages(gateway), ['soon']);
    worker.append(GROUP, 'a', [event('x'.repeat(10_000))]);
    clock.advance(0);
    await until(async () => (await segmentsIn(store)).length === 2);
  });

  const oncePerFollower = async (open: () => Promise<FunctionLogs>, { writers, rounds }: { readonly writers: number; readonly rounds: number }): Promise<readonly StoredLogEvent[]> => {
    const logs = await Promise.all(Array.from({ length: writers }, open));
    const gateway = await open();
    let writing = true;
    const { read, more } = follower(gateway);
    const following = (async () => {
      await until(async () => (await gateway.listGroups(GROUP)).length > 0);
      while (writing) await more();
      await more();
    })();
    await Promise.all(
      logs.map(async (each, writer) => {
        for (let round = 0; round < rounds; round += 1) {
          each.append(GROUP, `stream ${writer}`, [event(`${writer} ${round} first`, 1_000 + round), event(`${writer} ${round} second`, 1_000 + round)]);
          await each.flush();
        }
      }),
    );
    writing = false;
    await following;
    for (const each of [...logs, gateway]) await each.close();
    return read;
  };
  const expected = ({ writers, rounds }: { readonly writers: number; readonly rounds: number }): readonly string[] =>
    Array.from({ length: writers }, (_, writer) => Array.from({ length: rounds }, (__, round) => [`${writer} ${round} first`, `${writer} ${round} second`])).flat(2);
  const isComplete = (read: readonly StoredLogEvent[], load: { readonly writers: number; readonly rounds: number }): void => {
    assert.deepEqual([...messagesOf(read)].sort(), [...expected(load)].sort(), 'every event once');
    const ids = read.map(({ id }) => id);
    assert.deepEqual(ids, [...new Set(ids)].sort(), 'ids grow');
    for (let writer = 0; writer < load.writers; writer += 1) {
      const own = messagesOf(read.filter(({ stream }) => stream === `stream ${writer}`));
      assert.deepEqual(own, expected(load).filter((message) => message.startsWith(`${writer} `)), 'each stream in order');
    }
  };

  it('reach who follows once and in order, however many write, over files', async (context) => {
    const { open } = await scene(context);
    const load = { writers: 5, rounds: 12 };
    isComplete(await oncePerFollower(() => open({ clock: systemClock }), load), load);
  });

  it('reach who follows once and in order, over S3', { skip: NO_S3 }, async (context) => {
    const { store, dispose } = openTestStore(S3 as S3Service);
    context.after(dispose);
    const load = { writers: 5, rounds: 12 };
    isComplete(await oncePerFollower(() => openObjectFunctionLogs({ store, clock: systemClock, logger: pino({ level: 'silent' }) }), load), load);
  });

  it('get lost where a store ignores the condition of a put', async (context) => {
    const { store, open } = await scene(context);
    const careless: ObjectStore = { ...store, put: (location, body, { condition: _, ...options } = {}) => store.put(location, body, options) };
    const load = { writers: 5, rounds: 12 };
    const read = await oncePerFollower(() => open({ store: careless, clock: systemClock }), load);
    assert.ok(new Set(messagesOf(read)).size < expected(load).length);
  });

  it('do not slip in behind who follows when a process is slow', async (context) => {
    const { store, open } = await scene(context);
    const [slow, fast, gateway] = [await open(), await open(), await open()];
    slow.append(GROUP, 's', [event('first')]);
    await slow.flush();
    const reached = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    store.intercept = async ({ operation, body }, proceed) => {
      if (operation === 'put' && Buffer.isBuffer(body) && body.includes('"slow"')) {
        reached.resolve();
        await released.promise;
      }
      return proceed();
    };
    slow.append(GROUP, 's', [event('slow')]);
    const flushing = slow.flush();
    await reached.promise;
    fast.append(GROUP, 'f', [event('fast')]);
    await fast.flush();
    const { read, more } = follower(gateway);
    await more();
    assert.deepEqual(messagesOf(read), ['first', 'fast']);
    released.resolve();
    await flushing;
    await more();
    assert.deepEqual(messagesOf(read), ['first', 'fast', 'slow']);
  });
});

describe('function logs while the store fails', () => {
  /** Fails the puts of segments; those counted are made, and their answer is lost. */
  const failing = (store: InterceptedStore, plan: readonly ('lost' | 'refused')[]): void => {
    const left = [...plan];
    store.intercept = async ({ operation, key }, proceed) => {
      const next = operation === 'put' && key.startsWith(SEGMENTS) ? left.shift() : undefined;
      if (next === undefined) return proceed();
      if (next === 'lost') await proceed().catch(() => undefined);
      throw new StoreUnavailableError('away');
    };
  };

  it('are neither lost nor doubled by lost answers', async (context) => {
    const { store, open } = await scene(context);
    const [worker, other] = [await open(), await open()];
    worker.append(GROUP, 'a', [event('zero')]);
    await worker.flush();
    for (const [n, plan] of ([['lost'], ['refused'], ['lost', 'lost'], ['refused', 'lost']] as const).entries()) {
      failing(store, plan);
      worker.append(GROUP, 'a', [event(`event ${n}`)]);
      for (const _ of plan) await assert.rejects(worker.flush(), { name: 'StoreUnavailableError' });
      other.append(GROUP, 'b', [event(`other ${n}`)]);
      await other.flush();
      await worker.flush();
    }
    assert.deepEqual([...(await messages(other))].sort(), ['event 0', 'event 1', 'event 2', 'event 3', 'other 0', 'other 1', 'other 2', 'other 3', 'zero']);
    assert.deepEqual((await messages(other)).filter((message) => message.startsWith('event')), ['event 0', 'event 1', 'event 2', 'event 3']);
  });

  it('wait, and what does not fit the buffer is dropped and counted', async (context) => {
    const { clock, store, said, open } = await scene(context);
    const worker = await open({ limits: { bufferedBytes: 3_000 } });
    store.intercept = () => Promise.reject(new StoreUnavailableError('away'));
    worker.append(GROUP, 's', [event('kept')]);
    clock.advance(SECOND_MS);
    await until(() => said.length === 1);
    for (let n = 0; n < 5; n += 1) worker.append(GROUP, 's', [event(`${n} ${'x'.repeat(900)}`)]);
    await assert.rejects(worker.flush(), { name: 'StoreUnavailableError' });
    await assert.rejects(worker.filter({ group: GROUP, limit: 1 }), { name: 'StoreUnavailableError' });
    store.intercept = (_, proceed) => proceed();
    await until(async () => {
      clock.advance(SECOND_MS);
      return (await segmentsIn(store)).length > 0 && said.length === 2;
    });
    const read = (await messages(worker)).map((message) => message.slice(0, 30));
    assert.deepEqual(read.map((message) => message.split(' ')[0]), ['kept', '0', '1', 'Sluice']);
    assert.match((await messages(worker)).at(-1) ?? '', /^Sluice dropped 3 log events of this log group/);
    assert.match(said[0] ?? '', /cannot be written; they wait/);
    assert.match(said[1] ?? '', /can be written again/);
    worker.append(GROUP, 's', [event('room again')]);
    assert.equal((await messages(worker)).at(-1), 'room again');
  });

  it('ask less and less often', async (context) => {
    const { clock, store, said, open } = await scene(context);
    const worker = await open();
    let asked = 0;
    store.intercept = () => {
      asked += 1;
      return Promise.reject(new StoreUnavailableError('away'));
    };
    worker.append(GROUP, 's', [event('kept')]);
    for (let second = 0; second < 300; second += 1) {
      worker.append(GROUP, 's', [event('more')]);
      const before = asked;
      clock.advance(SECOND_MS);
      if (clock.pending === 0) await until(() => asked > before && clock.pending === 1);
    }
    assert.ok(asked >= 10 && asked <= 20, `${asked} times in five minutes`);
    assert.equal(said.length, 1);
  });

  it('are given up at the end after some seconds, and that is said', async (context) => {
    const { clock, store, said, open } = await scene(context);
    const worker = await open();
    worker.append(GROUP, 's', [event('one'), event('two')]);
    store.intercept = () => Promise.reject(new StoreUnavailableError('away'));
    let closed = false;
    const closing = worker.close().then(() => (closed = true));
    await until(() => {
      clock.advance(250);
      return closed;
    });
    await closing;
    worker.append(GROUP, 's', [event('too late')]);
    assert.match(said.at(-1) ?? '', /"events":2.*are lost/);
    assert.equal(clock.pending, 0);
  });
});

describe('function logs: groups and streams', () => {
  it('that another process deletes begin anew', async (context) => {
    const { clock, store, open } = await scene(context);
    const [worker, gateway] = [await open(), await open()];
    worker.append(GROUP, 's', [event('old')]);
    await worker.flush();
    await gateway.deleteGroup(GROUP);
    assert.deepEqual(await gateway.listGroups(''), []);
    // A writer looks every ten seconds whether its group is still there.
    worker.append(GROUP, 's', [event('goes with it')]);
    await worker.flush();
    await assert.rejects(gateway.filter({ group: GROUP, limit: 1 }), { name: 'NoSuchLogGroupError' });
    clock.advance(10_000);
    worker.append(GROUP, 't', [event('new')]);
    await worker.flush();
    assert.deepEqual(await messages(gateway), ['new']);
    assert.deepEqual((await gateway.listStreams(GROUP, '')).map(({ name }) => name), ['t']);
    await gateway.deleteGroup(GROUP);
    assert.deepEqual((await store.list({ bucket: LOGS_BUCKET, limit: 10 })).objects, []);
  });

  it('leave alone what began anew during their removal', async (context) => {
    const { clock, store, open } = await scene(context);
    const [worker, gateway, other] = [await open(), await open(), await open()];
    worker.append(GROUP, 's', [event('old')]);
    await worker.flush();
    clock.advance(1);
    store.intercept = async ({ operation, key }, proceed) => {
      if (operation === 'list' && key.startsWith(SEGMENTS)) {
        store.intercept = (_, go) => go();
        other.append(GROUP, 's', [event('new')]);
        await other.flush();
      }
      return proceed();
    };
    await gateway.deleteGroup(GROUP);
    assert.deepEqual(await messages(gateway), ['new']);
  });

  it('keep what is appended while they are deleted, and lose what was appended before', async (context) => {
    const { open } = await scene(context);
    const worker = await open();
    worker.append(GROUP, 's', [event('before')]);
    const flushing = worker.flush();
    worker.append(GROUP, 's', [event('waiting')]);
    const deleting = worker.deleteGroup(GROUP);
    worker.append(GROUP, 's', [event('after')]);
    await Promise.all([flushing, deleting]);
    assert.deepEqual(await messages(worker), ['after']);
  });

  it('tell of their streams, which several processes may share', async (context) => {
    const { clock, store, open } = await scene(context);
    const [worker, other, gateway] = [await open(), await open(), await open()];
    worker.append(GROUP, 'shared', [event('a', 5_000)]);
    await worker.flush();
    other.append(GROUP, 'shared', [event('b', 1_000)]);
    other.append(GROUP, 'own', [event('c', 3_000)]);
    await other.flush();
    worker.append(GROUP, 'shared', [event('d', 9_000)]);
    await worker.flush();
    assert.deepEqual(await gateway.listStreams(GROUP, ''), [{ name: 'own', firstEventMs: 3_000, lastEventMs: 3_000 }, { name: 'shared', firstEventMs: 1_000, lastEventMs: 9_000 }]);
    assert.deepEqual((await gateway.listStreams(GROUP, 'sh')).map(({ name }) => name), ['shared']);

    // Of a stream that goes on the store hears now and then only.
    const puts = (): number => store.calls.filter(({ operation, key }) => operation === 'put' && key.startsWith('streams/')).length;
    const before = puts();
    for (let second = 1; second <= 20; second += 1) {
      worker.append(GROUP, 'shared', [event('e', 10_000 + second)]);
      const segments = (await segmentsIn(store)).length;
      clock.advance(SECOND_MS);
      await until(async () => (await segmentsIn(store)).length > segments && clock.pending === 1);
    }
    assert.equal(puts(), before);
    clock.advance(30_000);
    await until(async () => (await gateway.listStreams(GROUP, 'shared'))[0]?.lastEventMs === 10_020);
    assert.equal(puts(), before + 1);
  });

  it('may have any names', async (context) => {
    const { open } = await scene(context);
    const [worker, gateway] = [await open(), await open()];
    const names = ['é'.repeat(512), `${'é'.repeat(511)}x`, '/'.repeat(300), 'a/../b', '😀', 'with space'];
    for (const name of names) worker.append(name, name, [event(name)]);
    await worker.flush();
    assert.deepEqual(await gateway.listGroups(''), [...names].sort());
    assert.deepEqual(await gateway.listGroups('é'), [...names].filter((name) => name.startsWith('é')).sort());
    for (const name of names) {
      assert.deepEqual((await gateway.listStreams(name, name.slice(0, 300))).map((stream) => stream.name), [name]);
      assert.deepEqual(messagesOf((await gateway.filter({ group: name, limit: 10 })).events), [name]);
    }
  });

  it('expire in all but their heads', async (context) => {
    const { store, open } = await scene(context);
    const worker = await open();
    worker.append(GROUP, 's', [event('x', 1_000)]);
    await worker.flush();
    const keys = (await store.list({ bucket: LOGS_BUCKET, limit: 10 })).objects.map(({ key }) => key);
    assert.equal(keys.length, 4);
    assert.deepEqual(keys.filter((key) => !logsExpiry(14).some(({ prefix, afterDays }) => afterDays === 14 && key.startsWith(prefix))), ['groups/.2faws.2flambda.2fthing!']);
  });
});
