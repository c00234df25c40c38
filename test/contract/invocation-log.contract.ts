import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { LogUnavailableError, partitionOf, type Delivery, type InvocationLog, type LogConsumption } from '../../platform/invocation-log/invocation-log.ts';
import type { InvocationRecord, PayloadClaim } from '../../platform/model/invocation.ts';
import { ACCOUNT, CollectingConsumer, drained, invocation } from '../support/log-consumer.ts';

/** A driver under test, with a log of its own. */
export interface InvocationLogHarness {
  /** Opens the log; the same one again after it was closed. At least 2 partitions. */
  readonly open: () => Promise<InvocationLog>;
  readonly now: () => number;
  /** Lets time pass for the log. */
  readonly advance: (ms: number) => Promise<void> | void;
  /** Brings a payload that did not travel with its record; of drivers that leave some elsewhere. */
  readonly claimed?: (claim: PayloadClaim) => Promise<Buffer>;
  readonly dispose: () => Promise<void>;
}

/** Tests that a driver cannot pass, by title, each with the reason. */
export type Skips = Readonly<Record<string, string>>;

interface Scene {
  readonly harness: InvocationLogHarness;
  readonly log: InvocationLog;
  /** Closes the log and opens it again, as a later process would. */
  readonly reopen: () => Promise<InvocationLog>;
}

/** What every driver of the port {@link InvocationLog} must do. */
export function invocationLogContract(driver: string, create: () => Promise<InvocationLogHarness>, skips: Skips = {}): void {
  describe(`InvocationLog contract: ${driver}`, () => {
    const titles = new Set<string>();
    const test = (title: string, run: (scene: Scene) => Promise<void>): void => {
      titles.add(title);
      it(title, { skip: skips[title] ?? false }, () => inScene(create, run));
    };
    deliveryTests(test);
    settlingTests(test);
    postponingTests(test);
    lifeTests(test);
    it('skips only tests that exist', () => assert.deepEqual(Object.keys(skips).filter((title) => !titles.has(title)), []));
  });
}

type Test = (title: string, run: (scene: Scene) => Promise<void>) => void;

async function inScene(create: () => Promise<InvocationLogHarness>, run: (scene: Scene) => Promise<void>): Promise<void> {
  const harness = await create();
  let log = await harness.open();
  try {
    await run({
      harness,
      log,
      async reopen() {
        await log.close();
        log = await harness.open();
        return log;
      },
    });
  } finally {
    await log.close();
    await harness.dispose();
  }
}

async function appendAll(log: InvocationLog, records: readonly InvocationRecord[]): Promise<string[]> {
  for (const record of records) await log.append(record);
  return records.map(({ id }) => id);
}

function several(count: number, functionName = 'thumbnail'): InvocationRecord[] {
  return Array.from({ length: count }, (_, i) => invocation({ functionName, payload: Buffer.from(String(i)) }));
}

function unsettledOf(deliveries: readonly Delivery[], settled: ReadonlySet<string>): string[] {
  return deliveries.map(({ head }) => head.id).filter((id) => !settled.has(id));
}

/** The record with its payload, wherever that was kept. */
async function whole(record: InvocationRecord | undefined, { claimed }: InvocationLogHarness): Promise<InvocationRecord | undefined> {
  if (record?.claim === undefined || claimed === undefined) return record;
  const { claim, ...rest } = record;
  assert.equal(record.payload.length, 0, 'a payload that travels needs no claim');
  return { ...rest, payload: await claimed(claim) };
}

function deliveryTests(test: Test): void {
  test('gives back every member and every byte, now and to a later process', async ({ harness, log, reopen }) => {
    const records = [
      invocation({ maxRetries: 0, clientContext: 'eyJhIjoxfQ==', logTail: true, responseStream: true, attempt: 3, throttles: 7, functionName: 'ünïcode-😀' }),
      invocation({ payload: Buffer.alloc(0) }),
      invocation({ payload: Buffer.from(Array.from({ length: 1024 * 1024 }, (_, i) => i % 251)) }),
    ];
    await appendAll(log, records);
    const check = async (source: InvocationLog): Promise<void> => {
      const consumer = new CollectingConsumer();
      const consumption = await source.consume(consumer);
      const deliveries = await consumer.untilCount(records.length);
      for (const record of records) {
        const delivery = deliveries.find(({ head }) => head.id === record.id);
        const { payload, ...head } = record;
        const claim = harness.claimed === undefined ? undefined : delivery?.head.claim;
        assert.deepEqual(delivery?.head, { ...head, payloadBytes: payload.length, ...(claim === undefined ? {} : { claim }) });
        assert.deepEqual(await whole(await delivery?.load(), harness), record);
        assert.deepEqual(await whole(await delivery?.load(), harness), record, 'it may be loaded again');
      }
      await consumption.stop();
    };
    await check(log);
    await check(await reopen());
  });

  test('delivers a record that is appended while a consumer waits, with its payload', async ({ log }) => {
    const consumer = new CollectingConsumer();
    await log.consume(consumer);
    for (const kind of ['sync', 'async'] as const) {
      const record = invocation({ kind, payload: Buffer.from(kind) });
      await log.append(record);
      await consumer.until(() => consumer.ids.includes(record.id));
      const delivery = consumer.deliveries.find(({ head }) => head.id === record.id);
      assert.equal(delivery?.kind, kind);
      assert.deepEqual(await delivery?.load(), record);
    }
  });

  test('delivers sync records appended before there was a consumer', async ({ log }) => {
    const record = invocation({ kind: 'sync' });
    await log.append(record);
    const consumer = new CollectingConsumer();
    await log.consume(consumer);
    assert.deepEqual((await consumer.untilCount(1)).map(({ head }) => head.id), [record.id]);
  });

  test('keeps the order of appending within a function, and its partition', async ({ log }) => {
    const first = await appendAll(log, several(40));
    const consumer = new CollectingConsumer();
    await log.consume(consumer);
    const second = await appendAll(log, several(40));
    const deliveries = await consumer.untilCount(80);
    assert.deepEqual(deliveries.map(({ head }) => head.id), [...first, ...second]);
    assert.deepEqual(new Set(deliveries.map(({ partition }) => partition)), new Set([partitionOf(`${ACCOUNT}/thumbnail`, log.partitions)]));
    const offsets = deliveries.map(({ offset }) => offset);
    assert.deepEqual(offsets, offsets.toSorted((a, b) => a - b));
    assert.equal(new Set(offsets).size, 80);
  });

  test('keeps at most maxInFlight async deliveries of a partition unsettled, and loses none of the rest', async ({ log }) => {
    const unsettled: Delivery[] = [];
    let most = 0;
    const consumer = new CollectingConsumer(3, (delivery) => {
      unsettled.push(delivery);
      most = Math.max(most, unsettled.length);
    });
    const before = await appendAll(log, several(20));
    const consumption = await log.consume(consumer);
    const after = await appendAll(log, several(20));
    for (let settled = 0; settled < 40; settled++) {
      await consumer.untilCount(settled + 1);
      const delivery = unsettled.splice(settled % unsettled.length, 1)[0];
      if (delivery !== undefined) consumption.settle(delivery);
    }
    assert.deepEqual(consumer.ids, [...before, ...after]);
    assert.equal(most, 3);
  });

  test('counts what waits', async ({ log }) => {
    await appendAll(log, several(10));
    assert.deepEqual(await log.backlog(), { waiting: 10, delayed: 0 });
    const consumer = new CollectingConsumer(4);
    const consumption = await log.consume(consumer);
    await consumer.untilCount(4);
    assert.deepEqual(await log.backlog(), { waiting: 6, delayed: 0 });
    await consumption.stop();
    assert.deepEqual(await log.backlog(), { waiting: 10, delayed: 0 });
  });
}

function settlingTests(test: Test): void {
  test('delivers again what was not settled, and nothing else, to the next consumer', async ({ log, reopen }) => {
    const ids = await appendAll(log, several(30));
    const first = new CollectingConsumer();
    const consumption = await log.consume(first);
    const settled = new Set<string>();
    for (const [i, delivery] of (await first.untilCount(30)).entries()) {
      if (i % 3 !== 0) continue;
      consumption.settle(delivery);
      settled.add(delivery.head.id);
    }
    await consumption.stop();
    const left = ids.filter((id) => !settled.has(id));

    const second = new CollectingConsumer();
    const again = await log.consume(second);
    assert.deepEqual((await drained(log, second, again)).map(({ head }) => head.id), left);
    assert.deepEqual(await log.backlog(), { waiting: 0, delayed: 0 });

    const later = await reopen();
    assert.equal((await later.backlog()).waiting, left.length);
    const third = new CollectingConsumer();
    assert.deepEqual((await drained(later, third, await later.consume(third))).map(({ head }) => head.id), left);
  });

  test('one record that is never settled makes no other come twice', async ({ log, reopen }) => {
    const [stuck = ''] = await appendAll(log, several(1));
    await appendAll(log, several(600));
    const consumer = new CollectingConsumer(50, (delivery) => {
      if (delivery.head.id !== stuck) setImmediate(() => consumption.settle(delivery));
    });
    const consumption = await log.consume(consumer);
    await consumer.untilCount(601);
    // Two turns: the last settle above has been made.
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    const later = await reopen();
    const next = new CollectingConsumer();
    assert.deepEqual((await drained(later, next, await later.consume(next))).map(({ head }) => head.id), [stuck]);
  });

  test('settling twice is nothing, and settling for a consumption that has ended neither', async ({ log }) => {
    const ids = await appendAll(log, several(2));
    const first = new CollectingConsumer();
    const ended = await log.consume(first);
    const [a, b] = await first.untilCount(2);
    assert.ok(a !== undefined && b !== undefined);
    ended.settle(a);
    ended.settle(a);
    await ended.stop();
    ended.settle(b);
    await assert.rejects(ended.postpone(b, { attempt: 2, throttles: 0 }, 0), LogUnavailableError);
    const second = new CollectingConsumer();
    const consumption = await log.consume(second);
    assert.deepEqual((await drained(log, second, consumption)).map(({ head }) => head.id), ids.slice(1));
  });

  test('whatever is settled, stopped and reopened in whatever order, everything comes until it is settled', async ({ log, reopen }) => {
    let current = log;
    const step = fc.oneof(
      fc.record({ do: fc.constant('append' as const), name: fc.constantFrom('a', 'b', 'c'), count: fc.integer({ min: 1, max: 12 }) }),
      fc.record({ do: fc.constant('settle' as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
      fc.record({ do: fc.constantFrom('restart' as const, 'reopen' as const) }),
    );
    const property = fc.asyncProperty(fc.array(step, { maxLength: 16, size: 'max' }), async (script) => {
      const open = new Set<string>();
      let consumer = new CollectingConsumer();
      let consumption: LogConsumption = await current.consume(consumer);
      const settled = new Set<string>();
      const check = async (): Promise<void> => {
        const deliveries = await drained(current, consumer, consumption);
        assert.deepEqual(new Set(unsettledOf(deliveries, settled)), open);
      };
      for (const action of script) {
        if (action.do === 'append') for (const id of await appendAll(current, several(action.count, action.name))) open.add(id);
        else if (action.do === 'settle') {
          const deliveries = (await drained(current, consumer, consumption)).filter(({ head }) => open.has(head.id));
          deliveries.forEach((delivery, i) => {
            // A fixed scatter, so that a failing script replays.
            if (((i * 7_919) % 101) / 101 >= action.share) return;
            consumption.settle(delivery);
            open.delete(delivery.head.id);
            settled.add(delivery.head.id);
          });
        } else {
          await consumption.stop();
          if (action.do === 'reopen') current = await reopen();
          settled.clear();
          consumer = new CollectingConsumer();
          consumption = await current.consume(consumer);
        }
      }
      await check();
      for (const delivery of consumer.deliveries) consumption.settle(delivery);
      await consumption.stop();
    });
    await fc.assert(property, { numRuns: 10 });
  });
}

function postponingTests(test: Test): void {
  test('delivers a postponed record when it is due, changed as asked and otherwise the same', async ({ log, harness }) => {
    const record = invocation({ payload: Buffer.from('again') });
    await log.append(record);
    const consumer = new CollectingConsumer(1);
    const consumption = await log.consume(consumer);
    const [delivery] = await consumer.untilCount(1);
    assert.ok(delivery !== undefined);
    await consumption.postpone(delivery, { attempt: 2, throttles: 5 }, harness.now() + 60_000);
    assert.deepEqual(await log.backlog(), { waiting: 0, delayed: 1 });

    // It takes no place: with maxInFlight 1 the next one comes.
    const other = invocation();
    await log.append(other);
    await consumer.untilCount(2);
    assert.deepEqual(consumer.ids, [record.id, other.id]);
    const [, second] = consumer.deliveries;
    if (second !== undefined) consumption.settle(second);
    await harness.advance(60_000);
    const [, , again] = await consumer.untilCount(3);
    assert.deepEqual(await again?.load(), { ...record, attempt: 2, throttles: 5 });
    assert.deepEqual(await log.backlog(), { waiting: 0, delayed: 0 });
  });

  test('keeps a postponed record over a restart, and only that', async ({ log, harness, reopen }) => {
    const record = invocation();
    await log.append(record);
    const consumer = new CollectingConsumer();
    const consumption = await log.consume(consumer);
    const [delivery] = await consumer.untilCount(1);
    assert.ok(delivery !== undefined);
    await consumption.postpone(delivery, { attempt: 2, throttles: 0 }, harness.now() + 120_000);
    const later = await reopen();
    assert.deepEqual(await later.backlog(), { waiting: 0, delayed: 1 });
    const next = new CollectingConsumer();
    await later.consume(next);
    await harness.advance(119_999);
    await later.append(invocation({ functionName: 'other' }));
    await next.untilCount(1);
    assert.ok(!next.ids.includes(record.id), 'delivered before it was due');
    await harness.advance(1);
    await next.until(() => next.ids.includes(record.id));
    assert.equal(next.deliveries.find(({ head }) => head.id === record.id)?.head.attempt, 2);
  });

  test('refuses to postpone what is settled, and delivers postponed records by their time', async ({ log, harness }) => {
    const ids = await appendAll(log, several(3));
    const consumer = new CollectingConsumer();
    const consumption = await log.consume(consumer);
    const [a, b, c] = await consumer.untilCount(3);
    assert.ok(a !== undefined && b !== undefined && c !== undefined);
    consumption.settle(a);
    await assert.rejects(consumption.postpone(a, { attempt: 2, throttles: 0 }, 0), LogUnavailableError);
    await Promise.all([
      consumption.postpone(b, { attempt: 2, throttles: 0 }, harness.now() + 2_000),
      consumption.postpone(c, { attempt: 2, throttles: 0 }, harness.now() + 1_000),
    ]);
    await assert.rejects(consumption.postpone(b, { attempt: 2, throttles: 0 }, 0), LogUnavailableError);
    await harness.advance(1_000);
    await consumer.untilCount(4);
    await harness.advance(1_000);
    await consumer.untilCount(5);
    assert.deepEqual(consumer.ids.slice(3), [ids[2], ids[1]]);
  });

  test('a postponed sync record comes again as long as this process lives', async ({ log, harness }) => {
    const record = invocation({ kind: 'sync' });
    const consumer = new CollectingConsumer();
    const consumption = await log.consume(consumer);
    await log.append(record);
    const [delivery] = await consumer.untilCount(1);
    assert.ok(delivery !== undefined);
    await consumption.postpone(delivery, { attempt: 1, throttles: 1 }, harness.now() + 1_000);
    await harness.advance(1_000);
    const [, again] = await consumer.untilCount(2);
    assert.deepEqual(await again?.load(), { ...record, throttles: 1 });
  });
}

function lifeTests(test: Test): void {
  test('assigns every partition before anything is delivered, under an epoch that grows, and tells what was in the log before', async ({ log, reopen }) => {
    const before = invocation();
    await log.append(before);
    const first = new CollectingConsumer(100, ({ partition, epoch }) => assert.equal(first.owned.get(partition), epoch));
    const consumption = await log.consume(first);
    await first.until(() => first.owned.size === log.partitions && first.deliveries.length === 1);
    const after = invocation();
    await log.append(after);
    await first.untilCount(2);
    assert.deepEqual(first.deliveries.map(({ head, inherited }) => [head.id, inherited]), [[before.id, true], [after.id, false]]);
    await consumption.stop();
    const second = new CollectingConsumer();
    const later = await reopen();
    await later.consume(second);
    await second.untilCount(2);
    assert.deepEqual(second.deliveries.map(({ inherited }) => inherited), [true, true]);
    for (const [partition, epoch] of second.owned) assert.ok(epoch > (first.owned.get(partition) ?? 0), `partition ${partition}`);
  });

  test('delivers nothing of a partition before the consumer is ready for it', async ({ log }) => {
    await log.append(invocation());
    const { promise: ready, resolve } = Promise.withResolvers<void>();
    const consumer = new CollectingConsumer();
    const assigned = consumer.assigned.bind(consumer);
    let asked = false;
    consumer.assigned = async (assignment) => {
      asked = true;
      await ready;
      await assigned(assignment);
    };
    const consuming = log.consume(consumer);
    await log.append(invocation({ kind: 'sync' }));
    await log.append(invocation());
    assert.deepEqual(consumer.deliveries, []);
    resolve();
    await consuming;
    await consumer.untilCount(3);
    assert.ok(asked);
  });

  test('has one consumer at a time', async ({ log }) => {
    const consumption = await log.consume(new CollectingConsumer());
    await assert.rejects(log.consume(new CollectingConsumer()), /has a consumer already/);
    const stopping = consumption.stop();
    const next = log.consume(new CollectingConsumer());
    await stopping;
    await consumption.stop();
    await (await next).stop();
  });

  test('delivers nothing after stop', async ({ log }) => {
    const first = new CollectingConsumer();
    const consumption = await log.consume(first);
    const stopping = consumption.stop();
    const record = invocation();
    await Promise.all([stopping, log.append(record), log.append(invocation({ kind: 'sync' }))]);
    const second = new CollectingConsumer();
    await log.consume(second);
    await second.untilCount(2);
    assert.deepEqual(first.deliveries, []);
  });

  test('delivers nothing more to a consumer that stops while it is given records', async ({ log }) => {
    const ids = await appendAll(log, several(10));
    let stopped: Promise<void> | undefined;
    const first = new CollectingConsumer(100, () => {
      if (first.deliveries.length === 3) stopped = consumption.stop();
    });
    const consumption: LogConsumption = await log.consume(first);
    await first.untilCount(3);
    await stopped;
    const second = new CollectingConsumer();
    assert.deepEqual((await drained(log, second, await log.consume(second))).map(({ head }) => head.id), ids);
    assert.equal(first.deliveries.length, 3);
  });

  test('refuses everything once it is closed, and closes twice', async ({ log }) => {
    await Promise.all([log.append(invocation()), log.close()]);
    await log.close();
    await assert.rejects(log.append(invocation()), LogUnavailableError);
    await assert.rejects(log.append(invocation({ kind: 'sync' })), LogUnavailableError);
    await assert.rejects(log.consume(new CollectingConsumer()), LogUnavailableError);
  });
}
