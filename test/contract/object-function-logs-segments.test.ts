import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { FunctionLogs } from '../../platform/function-logs/function-logs.ts';
import { LOGS_BUCKET } from '../../platform/function-logs/object-store.ts';
import { generationPrefix, SEGMENTS } from '../../platform/function-logs/object-store/names.ts';
import { DAY_MS, event, follower, GROUP, HOUR_MS, messages, messagesOf, readAll, scene, segmentsIn } from '../support/object-logs.ts';

describe('function logs: segments', () => {
  it('are of bounded size, and any message fits', async (context) => {
    const { store, open } = await scene(context);
    const worker = await open({ limits: { segmentBytes: 5_000 } });
    const long = 'é😀\n'.repeat(20_000);
    worker.append(GROUP, 's', [event('short'), event(long), ...Array.from({ length: 50 }, (_, n) => event(`${String(n).padStart(2, '0')} ${'y'.repeat(400)}`))]);
    const read = await messages(worker);
    assert.equal(read.length, 52);
    assert.equal(read[1], long);
    assert.deepEqual(read.slice(2), [...read.slice(2)].sort());
    const sizes = (await store.list({ bucket: LOGS_BUCKET, prefix: SEGMENTS, limit: 100 })).objects.map(({ sizeBytes }) => sizeBytes);
    assert.ok(sizes.length >= 5 && sizes.slice(1).every((size) => size <= 6_000), sizes.join());
  });

  it('are read up to a bound for one page; the search goes on with its cursor', async (context) => {
    const { clock, store, open } = await scene(context);
    const worker = await open({ limits: { pageSegments: 8 } });
    for (let n = 0; n < 40; n += 1) {
      worker.append(GROUP, 's', [event(`event ${n}`)]);
      await worker.flush();
      clock.advance(1);
    }
    for (const [order, first, wanted] of [['oldestFirst', 'event 0', 'event 39'], ['newestFirst', 'event 39', 'event 0']] as const) {
      const page = await worker.filter({ group: GROUP, limit: 10, order, contains: 'nothing' });
      assert.deepEqual(page.events, []);
      assert.ok(page.cursor !== undefined);
      assert.deepEqual(await messages(worker, { order, contains: 'nothing' }), []);
      assert.deepEqual(await messages(worker, { order, contains: wanted }), [wanted]);
      assert.equal((await messages(worker, { order }))[0], first);
      assert.equal(new Set(await messages(worker, { order, limit: 3 })).size, 40);
    }
    const reader = await open();
    const before = store.calls.length;
    await reader.filter({ group: GROUP, limit: 5, order: 'newestFirst' });
    const gets = store.calls.slice(before).filter(({ operation, key }) => operation === 'get' && key.startsWith(SEGMENTS)).length;
    assert.ok(gets <= 8, `${gets} segments for five events`);
  });

  it('are found by time, whenever their events were written', async (context) => {
    const { clock, open } = await scene(context);
    const logs = [await open(), await open()];
    let written = 0;
    // Between writes pass milliseconds or hours; events are just printed, late by hours, or ahead of this clock.
    const step = fc.record({
      passMs: fc.constantFrom(0, 1, 700, 60_000, HOUR_MS, 5 * HOUR_MS),
      writer: fc.nat({ max: 1 }),
      offsets: fc.array(fc.constantFrom(0, -1, -2_000, -59 * 60_000, -3 * HOUR_MS, -40 * HOUR_MS, 1_000, 4 * 60_000, 2 * HOUR_MS), { minLength: 1, maxLength: 3 }),
    });
    const query = fc.record({ startBackMs: fc.option(fc.constantFrom(0, 1, 1_000, HOUR_MS, 6 * HOUR_MS, 30 * HOUR_MS, -HOUR_MS)), lengthMs: fc.option(fc.constantFrom(1, 1_000, HOUR_MS, 4 * HOUR_MS, 100 * HOUR_MS)), limit: fc.integer({ min: 1, max: 6 }), order: fc.constantFrom('oldestFirst', 'newestFirst') });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 5 }), fc.array(query, { minLength: 1, maxLength: 4 }), async (steps, queries) => {
        for (const { passMs, writer, offsets } of steps) {
          clock.advance(passMs);
          const each = logs[writer] as FunctionLogs;
          each.append(GROUP, `s${writer}`, offsets.map((offset) => event(`event ${(written += 1)}`, clock.now() + offset)));
          await each.flush();
        }
        const reader = logs[0] as FunctionLogs;
        const all = await readAll(reader);
        assert.equal(all.length, written);
        for (const { startBackMs, lengthMs, limit, order } of queries) {
          const startMs = startBackMs === null ? undefined : clock.now() - startBackMs;
          const endMs = lengthMs === null ? undefined : (startMs ?? clock.now() - 10 * HOUR_MS) + lengthMs;
          const matching = messagesOf(all.filter(({ timestampMs }) => (startMs === undefined || timestampMs >= startMs) && (endMs === undefined || timestampMs < endMs)));
          const found = await messages(reader, { limit, order, ...(startMs === undefined ? {} : { startMs }), ...(endMs === undefined ? {} : { endMs }) });
          assert.deepEqual(found, order === 'newestFirst' ? [...matching].reverse() : matching);
        }
      }),
      { numRuns: 20 },
    );
  });

  it('are not all read where a time is asked for', async (context) => {
    const { clock, store, open } = await scene(context);
    const worker = await open();
    for (let n = 0; n < 60; n += 1) {
      worker.append(GROUP, 's', [event(`event ${n}`, clock.now())]);
      await worker.flush();
      clock.advance(HOUR_MS);
    }
    const reader = await open();
    const startMs = clock.now() - 30 * HOUR_MS;
    for (const order of ['oldestFirst', 'newestFirst'] as const) {
      const before = store.calls.length;
      assert.deepEqual(await messages(reader, { startMs, endMs: startMs + 2 * HOUR_MS, order }), order === 'oldestFirst' ? ['event 30', 'event 31'] : ['event 31', 'event 30']);
      const gets = store.calls.slice(before).filter(({ operation, key }) => operation === 'get' && key.startsWith(SEGMENTS)).length;
      assert.ok(gets <= 5, `${gets} segments read`);
    }
  });

  it('go on behind the last of very many', async (context) => {
    const { clock, store, open } = await scene(context);
    const worker = await open();
    worker.append(GROUP, 's', [event('first')]);
    await worker.flush();
    const generation = { group: GROUP, number: clock.now() };
    const body = (await store.get({ bucket: LOGS_BUCKET, key: (await segmentsIn(store))[0] as string })).body;
    const bytes = Buffer.concat((await body.toArray()) as Buffer[]);
    const numbers = Array.from({ length: 2_300 }, (_, n) => generation.number + 1 + n);
    while (numbers.length > 0) {
      await Promise.all(numbers.splice(0, 50).map((number) => store.put({ bucket: LOGS_BUCKET, key: generationPrefix(SEGMENTS, generation) + String(number).padStart(13, '0') }, bytes, { detail: 'essential' })));
    }
    const other = await open();
    const before = store.calls.length;
    other.append(GROUP, 's', [event('last')]);
    await other.flush();
    const [newest] = (await other.filter({ group: GROUP, limit: 1, order: 'newestFirst' })).events;
    assert.deepEqual([newest?.message, newest?.id], ['last', `${generation.number + 2_301}000000`]);
    const lists = store.calls.slice(before).filter(({ operation }) => operation === 'list').length;
    assert.ok(lists < 40, `${lists} lists`);
  });

  it('begin above all before when those have expired', async (context) => {
    const { clock, store, open } = await scene(context);
    const [worker, gateway] = [await open(), await open()];
    for (const message of ['one', 'two', 'three']) {
      worker.append(GROUP, 's', [event(message)]);
      await worker.flush();
    }
    const { read, more } = follower(gateway);
    await more();
    const [oldest] = await segmentsIn(store);
    await store.delete({ bucket: LOGS_BUCKET, key: oldest as string });
    for (const order of ['oldestFirst', 'newestFirst'] as const) assert.deepEqual([...(await messages(await open(), { order }))].sort(), ['three', 'two']);
    for (const key of await segmentsIn(store)) await store.delete({ bucket: LOGS_BUCKET, key });
    clock.advance(15 * DAY_MS);
    assert.deepEqual(await messages(gateway), []);
    const others = [await open(), await open(), await open()];
    others.forEach((each, n) => each.append(GROUP, 's', [event(`new ${n}`, clock.now())]));
    await Promise.all(others.map((each) => each.flush()));
    await more();
    assert.deepEqual([...messagesOf(read)].sort(), ['new 0', 'new 1', 'new 2', 'one', 'three', 'two']);
  });
});
