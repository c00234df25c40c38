/** What is special about this driver's topics, against a real broker: what no record of a well-behaved single log shows. */
import assert from 'node:assert/strict';
import { buffer } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { systemClock } from '../../platform/clock.ts';
import { SETTLE_INTERVAL_MS, type Delivery, type LogConsumption } from '../../platform/invocation-log/invocation-log.ts';
import { Appender } from '../../platform/invocation-log/kafka/appender.ts';
import { OVERFLOW_THRESHOLD } from '../../platform/invocation-log/kafka/async-intake.ts';
import { encodeRecord, readRecord, toMessage } from '../../platform/invocation-log/kafka/record-format.ts';
import { topicNames, type LogTopic } from '../../platform/invocation-log/kafka/topic-names.ts';
import { PAYLOAD_BUCKET } from '../../platform/model/invocation.ts';
import { createLogger } from '../../platform/telemetry/logger.ts';
import { kafkaScene, plainKafka, withAdmin, type KafkaScene } from '../support/kafka-logs.ts';
import { CollectingConsumer, invocation } from '../support/log-consumer.ts';
import { until } from '../support/redis-server.ts';
import { kafkaService } from '../support/services.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const kafka = await kafkaService();

async function inScene(run: (scene: KafkaScene) => Promise<void>, partitions = 1): Promise<void> {
  const scene = await kafkaScene(kafka?.brokers ?? [], { partitions });
  try {
    await run(scene);
  } finally {
    await scene.dispose();
  }
}

class Wanting extends CollectingConsumer {
  readonly wanted: Map<string, number>;

  constructor(maxInFlight: number, wanted: Readonly<Record<string, number>>, onDelivery?: (delivery: Delivery) => void) {
    super(maxInFlight, onDelivery);
    this.wanted = new Map(Object.entries(wanted));
  }

  override inFlightWanted(key = ''): number {
    return this.wanted.get(key.split('/')[1] ?? '') ?? this.maxInFlight;
  }
}

/** Everything in a topic, read by another group. */
async function contents(scene: KafkaScene, topic: string, count: number): Promise<{ readonly value: string; readonly headers: Record<string, string> }[]> {
  const consumer = plainKafka(scene.brokers).consumer({ groupId: `${scene.prefix}-reader` });
  const read: { value: string; headers: Record<string, string> }[] = [];
  await consumer.connect();
  try {
    await consumer.subscribe({ topic, fromBeginning: true });
    await consumer.run({
      eachMessage: ({ message }) => {
        read.push({ value: String(message.value), headers: Object.fromEntries(Object.entries(message.headers ?? {}).map(([name, value]) => [name, String(value)])) });
        return Promise.resolve();
      },
    });
    await until(() => read.length >= count);
  } finally {
    await consumer.disconnect();
  }
  return read;
}

/** Changes what is committed while nobody consumes. */
async function commitAs(scene: KafkaScene, topic: LogTopic, offset: number, metadata: string): Promise<void> {
  const names = topicNames(scene.prefix);
  const consumer = plainKafka(scene.brokers).consumer({ groupId: names.group });
  await consumer.connect();
  const joined = new Promise<void>((resolve) => consumer.on(consumer.events.GROUP_JOIN, () => resolve()));
  await consumer.subscribe({ topics: [names.nameOf(topic)], fromBeginning: true });
  await consumer.run({ autoCommit: false, eachBatch: () => Promise.resolve() });
  await joined;
  await consumer.commitOffsets([{ topic: names.nameOf(topic), partition: 0, offset: String(offset), metadata }]);
  await consumer.disconnect();
}

describe('kafka log: its topics', { skip: kafka === undefined ? 'no Kafka can be reached or started' : false }, () => {
  it('a write that is confirmed tells the offset at which its record lies', () =>
    inScene(async (scene) => {
      await scene.open();
      const names = topicNames(scene.prefix);
      const appender = new Appender({ connection: { brokers: scene.brokers, clientId: 'sluice-test' }, names, partitions: 2, store: scene.store, clock: systemClock, logger: createLogger('silent') });
      await appender.start();
      const places = new Map<string, string>();
      const write = async (i: number): Promise<void> => {
        const [topic, partition] = [(['async', 'overflow', '1s'] as const)[i % 3] ?? 'async', i % 2];
        const record = invocation();
        const offset = await appender.write(topic, partition, encodeRecord(record));
        places.set(record.id, `${names.nameOf(topic)}/${partition}/${offset}`);
      };
      try {
        // More than one request, and several of a partition in each.
        await Promise.all(Array.from({ length: 1_300 }, (_, i) => write(i)));
        for (let i = 0; i < 6; i++) await write(i);
      } finally {
        await appender.close();
      }
      const consumer = plainKafka(scene.brokers).consumer({ groupId: `${scene.prefix}-reader` });
      const found = new Map<string, string>();
      await consumer.connect();
      try {
        await consumer.subscribe({ topics: (['async', 'overflow', '1s'] as const).map((topic) => names.nameOf(topic)), fromBeginning: true });
        await consumer.run({
          eachMessage({ topic, partition, message }) {
            const record = readRecord(message);
            if (record.kind === 'record') found.set(record.head.id, `${topic}/${partition}/${message.offset}`);
            return Promise.resolve();
          },
        });
        await until(() => found.size >= places.size);
      } finally {
        await consumer.disconnect();
      }
      assert.deepEqual([...found].sort(), [...places].sort());
    }, 2));

  it('a noisy function is moved to the overflow topic; its neighbour passes; everything is given out once, in order', () =>
    inScene(async (scene) => {
      const log = await scene.open();
      const noisy = Array.from({ length: 4 * OVERFLOW_THRESHOLD }, () => invocation({ functionName: 'noisy' }));
      const quiet = Array.from({ length: 20 }, () => invocation({ functionName: 'quiet' }));
      await Promise.all([...noisy, ...quiet].map((record) => log.append(record)));
      const consumer = new Wanting(1_000, { noisy: 3 });
      const consumption = await log.consume(consumer);
      await consumer.until(() => quiet.every(({ id }) => consumer.ids.includes(id)));
      assert.equal(consumer.deliveries.length, quiet.length + 3);
      const given: string[] = [];
      let settled = 0;
      while (settled < noisy.length + quiet.length) {
        await consumer.until(() => consumer.deliveries.length > settled);
        const delivery = consumer.deliveries[settled++];
        if (delivery === undefined) continue;
        if (delivery.head.functionName === 'noisy') given.push(delivery.head.id);
        consumption.settle(delivery);
      }
      assert.deepEqual(given, noisy.map(({ id }) => id));
      await log.close();
      const again = await scene.open();
      assert.deepEqual(await again.backlog(), { waiting: 0, delayed: 0 });
      const overflow = await contents(scene, topicNames(scene.prefix).nameOf('overflow'), OVERFLOW_THRESHOLD);
      assert.ok(overflow.length > OVERFLOW_THRESHOLD);
    }));

  it('delays end by the clock on the wall, never earlier, also with another owner', () =>
    inScene(async (scene) => {
      const log = await scene.open();
      const due = new Map<string, number>();
      const early: string[] = [];
      const back = new Set<string>();
      const first = new CollectingConsumer();
      const consumption = await log.consume(first);
      const delaysMs = [0, 200, 900, 1_100, 1_900];
      for (const [i] of delaysMs.entries()) await log.append(invocation({ functionName: `f${i}` }));
      // A copy: what is postponed by nothing comes again while we are at it.
      for (const [i, delivery] of (await first.untilCount(delaysMs.length)).slice(0, delaysMs.length).entries()) {
        const notBeforeMs = systemClock.now() + (delaysMs[i] ?? 0);
        due.set(delivery.head.id, notBeforeMs);
        await consumption.postpone(delivery, { attempt: 2, throttles: 0 }, notBeforeMs);
      }
      await log.close();
      const other = await scene.open();
      const second = new CollectingConsumer(100, (delivery) => {
        const { id, attempt } = delivery.head;
        if (attempt !== 2 || systemClock.now() < (due.get(id) ?? Infinity)) early.push(`${id} ${attempt}`);
        back.add(id);
        setImmediate(() => heir.settle(delivery));
      });
      const heir: LogConsumption = await other.consume(second);
      await second.until(() => back.size === delaysMs.length);
      assert.deepEqual(early, []);
      assert.equal(second.deliveries.length, delaysMs.length);
      await until(async () => (await other.backlog()).delayed === 0);
    }));

  it('a record that nobody can read goes to the dead topic with its reason, and those behind it pass', () =>
    inScene(async (scene) => {
      const log = await scene.open();
      const names = topicNames(scene.prefix);
      const producer = plainKafka(scene.brokers).producer();
      await producer.connect();
      await producer.send({ topic: names.nameOf('async'), messages: [{ key: 'k', value: 'what is this', partition: 0, headers: { v: '1', head: 'no head' } }, { value: null, partition: 0 }] });
      await producer.disconnect();
      const record = invocation();
      await log.append(record);
      const consumer = new CollectingConsumer();
      const consumption = await log.consume(consumer);
      for (const delivery of await consumer.untilCount(1)) consumption.settle(delivery);
      assert.deepEqual(consumer.ids, [record.id]);
      const dead = await contents(scene, names.dead, 2);
      assert.deepEqual(dead.map(({ value, headers }) => [value, headers.source]), [['what is this', 'async/0/0'], ['', 'async/0/1']]);
      assert.match(dead[0]?.headers.reason ?? '', /not the head of an invocation/);
      await until(async () => {
        await consumption.stop();
        return (await log.backlog()).waiting === 0;
      });
    }));

  it('a record of a newer release stays for it', () =>
    inScene(async (scene) => {
      const log = await scene.open();
      const producer = plainKafka(scene.brokers).producer();
      await producer.connect();
      const newer = encodeRecord(invocation());
      await producer.send({ topic: topicNames(scene.prefix).nameOf('async'), messages: [toMessage({ ...newer, headers: { ...newer.headers, v: '2' } }, 0)] });
      await producer.disconnect();
      const record = invocation();
      await log.append(record);
      const consumer = new CollectingConsumer();
      const consumption = await log.consume(consumer);
      for (const delivery of await consumer.untilCount(1)) consumption.settle(delivery);
      assert.deepEqual(consumer.ids, [record.id]);
      await consumption.stop();
      assert.deepEqual(await log.backlog(), { waiting: 1, delayed: 0 });
    }));

  it('a payload over 64 KiB lies in the store until its record is settled; that of a synchronous one stays at the gateway', () =>
    inScene(async (scene) => {
      const clock = new VirtualClock(systemClock.now());
      const log = await scene.open({ clock, wireClock: systemClock });
      const payload = Buffer.alloc(65 * 1024, 'p');
      const record = invocation({ payload });
      const sync = invocation({ kind: 'sync', payload, replyTo: 'http://gateway.invalid/reply/1', expiresAtMs: clock.now() + 60_000 });
      const small = invocation({ kind: 'sync', payload: Buffer.from('small'), replyTo: 'http://gateway.invalid/reply/2' });
      for (const one of [record, sync, small]) await log.append(one);
      const consumer = new CollectingConsumer();
      const consumption = await log.consume(consumer);
      await consumer.untilCount(3);
      const find = (id: string): Delivery => consumer.deliveries.find(({ head }) => head.id === id) ?? assert.fail(`${id} was not given out`);
      const { claim } = find(record.id).head;
      assert.ok(claim?.kind === 'object');
      assert.equal(find(record.id).head.payloadBytes, payload.length);
      assert.deepEqual(await buffer((await scene.store.get({ bucket: PAYLOAD_BUCKET, key: claim.key })).body), payload);
      assert.deepEqual(find(sync.id).head.claim, { kind: 'gateway', bytes: payload.length });
      assert.equal((await find(sync.id).load()).payload.length, 0);
      assert.deepEqual([find(small.id).head.claim, (await find(small.id).load()).payload.toString()], [undefined, 'small']);
      for (const delivery of consumer.deliveries) consumption.settle(delivery);
      clock.advance(SETTLE_INTERVAL_MS);
      await until(async () => (await scene.store.head({ bucket: PAYLOAD_BUCKET, key: claim.key })) === undefined);
    }));

  it('a synchronous payload of 6 MiB travels with its record where its gateway serves none', () =>
    inScene(async (scene) => {
      const log = await scene.open();
      const record = invocation({ kind: 'sync', payload: Buffer.alloc(6 * 1024 * 1024, 'p') });
      const consumer = new CollectingConsumer();
      await log.consume(consumer);
      const others = Array.from({ length: 20 }, () => invocation({ kind: 'sync', functionName: 'other' }));
      await Promise.all([record, ...others].map((one) => log.append(one)));
      await consumer.untilCount(21);
      assert.deepEqual(await consumer.deliveries.find(({ head }) => head.id === record.id)?.load(), record);
    }, 2));

  it('metadata of someone else beside the offset makes everything from there come again', () =>
    inScene(async (scene) => {
      const log = await scene.open();
      const records = Array.from({ length: 4 }, () => invocation());
      for (const record of records) await log.append(record);
      const first = new CollectingConsumer();
      const consumption = await log.consume(first);
      for (const delivery of (await first.untilCount(4)).slice(1)) consumption.settle(delivery);
      await consumption.stop();
      await commitAs(scene, 'async', 0, 'Zm9yZWlnbg==');
      const second = new CollectingConsumer();
      const again = await log.consume(second);
      assert.deepEqual((await second.untilCount(4)).map(({ head }) => head.id), records.map(({ id }) => id));
      await again.stop();
    }));

  it('epochs grow, even if the group and all that it has committed are deleted', () =>
    inScene(async (scene) => {
      const log = await scene.open();
      const epochs: number[] = [];
      for (let i = 0; i < 3; i++) {
        const consumer = new CollectingConsumer();
        const consumption = await log.consume(consumer);
        epochs.push(consumer.owned.get(0) ?? 0);
        await consumption.stop();
        if (i !== 1) continue;
        await withAdmin(scene.brokers, (admin) => admin.deleteGroups([topicNames(scene.prefix).group]));
      }
      assert.ok((epochs[0] ?? 0) < (epochs[1] ?? 0) && (epochs[1] ?? 0) < (epochs[2] ?? 0), epochs.join(' '));
    }));

  it('what retention has removed before it was read does not stop the rest', () =>
    inScene(async (scene) => {
      const log = await scene.open();
      const [kept, ...removed] = [invocation(), ...Array.from({ length: 5 }, () => invocation())];
      for (const record of removed) await log.append(record);
      if (kept !== undefined) await log.append(kept);
      const first = new CollectingConsumer(1);
      const consumption = await log.consume(first);
      await first.untilCount(1);
      await consumption.stop();
      await withAdmin(scene.brokers, async (admin) => {
        const topic = topicNames(scene.prefix).nameOf('async');
        // kafkajs knows who leads a topic only of those that it was asked about.
        await admin.fetchTopicOffsets(topic);
        await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '5' }] });
      });
      const second = new CollectingConsumer();
      const again = await log.consume(second);
      assert.deepEqual((await second.untilCount(1)).map(({ head }) => head.id), [kept?.id]);
      await again.stop();
    }));

  it('what retention has removed behind the back of an owner that was waiting makes its partition begin anew', () =>
    inScene(async (scene) => {
      const log = await scene.open();
      const consumer = new CollectingConsumer(1);
      const consumption = await log.consume(consumer);
      // One is executed, some large ones fill what waits in memory (64 MiB, and what was fetched by then), and the rest lies in the topic: 120 MiB are certain to leave some there.
      // Of several functions: what one alone has waiting beyond a bound moves out of the topic.
      const payload = Buffer.alloc(60 * 1024, 'x');
      for (let i = 0; i < 100; i++) await Promise.all(Array.from({ length: 20 }, (_, index) => log.append(invocation({ payload, functionName: `f${index % 10}` }))));
      await consumer.untilCount(1);
      const epoch = consumer.owned.get(0) ?? 0;
      await withAdmin(scene.brokers, async (admin) => {
        const topic = topicNames(scene.prefix).nameOf('async');
        await admin.fetchTopicOffsets(topic);
        await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '1999' }] });
      });
      for (let settled = 0; (consumer.owned.get(0) ?? 0) <= epoch; settled++) {
        await consumer.until(() => consumer.deliveries.length > settled || (consumer.owned.get(0) ?? 0) > epoch);
        const delivery = consumer.deliveries[settled];
        if (delivery !== undefined) consumption.settle(delivery);
      }
      const last = invocation();
      await log.append(last);
      for (let settled = 0; !consumer.ids.includes(last.id); settled++) {
        await consumer.untilCount(settled + 1);
        const delivery = consumer.deliveries[settled];
        if (delivery !== undefined) consumption.settle(delivery);
      }
    }));
});
