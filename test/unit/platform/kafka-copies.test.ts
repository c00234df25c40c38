/** Copies of a record in the overflow topic: whatever becomes of the record, they are settled with it, and nothing else is. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AcknowledgementWindow } from '../../../platform/invocation-log/acknowledgement-window.ts';
import type { Delivery } from '../../../platform/invocation-log/invocation-log.ts';
import { encodeNote } from '../../../platform/invocation-log/kafka/commit-note.ts';
import { confirmedOffsets } from '../../../platform/invocation-log/kafka/producer-lane.ts';
import { OFFSET_UNKNOWN } from '../../../platform/invocation-log/kafka/record-format.ts';
import { noteScope } from '../../../platform/invocation-log/kafka/takeover.ts';
import { topicNames } from '../../../platform/invocation-log/kafka/topic-names.ts';
import { PAYLOAD_BUCKET } from '../../../platform/model/invocation.ts';
import { PartitionWorld, turns, type PendingWrite, type WorldOwner } from '../../support/kafka-partition-world.ts';
import { CollectingConsumer, invocation } from '../../support/log-consumer.ts';

/** Answers the pending writes to a topic. */
async function answer(world: PartitionWorld, topic: PendingWrite['topic'], outcome: Parameters<PendingWrite['settle']>[0] = { stored: true, answered: true }): Promise<void> {
  const writes = world.pending.filter((write) => write.topic === topic);
  assert.ok(writes.length > 0, `nothing is being written to ${topic}`);
  for (const write of writes) world.pending.splice(world.pending.indexOf(write), 1);
  for (const write of writes) write.settle(outcome);
  await turns();
}

function only(consumer: CollectingConsumer): Delivery {
  const [delivery] = consumer.deliveries;
  assert.ok(delivery !== undefined && consumer.deliveries.length === 1);
  return delivery;
}

function again(owner: WorldOwner, delivery: Delivery, delayMs = 0): void {
  owner.postpone(delivery, { attempt: delivery.head.attempt + 1, throttles: 0 }, owner.world.clock.now() + delayMs).catch(() => undefined);
}

/** A record that is executed and was spilled; its copy is not answered yet. */
function spilled(change: Parameters<typeof invocation>[0] = {}): { readonly world: PartitionWorld; readonly owner: WorldOwner; readonly consumer: CollectingConsumer } {
  const world = new PartitionWorld();
  world.append(invocation(change));
  const consumer = new CollectingConsumer(10);
  const owner = world.own(consumer);
  owner.fetchAll();
  owner.partition.spill();
  return { world, owner, consumer };
}

/** What the next owner is given, at once and when everything has come to rest. */
async function inheritedFrom(owner: WorldOwner): Promise<readonly (readonly [id: string, attempt: number])[]> {
  owner.commit();
  owner.end();
  const consumer = new CollectingConsumer(1_000);
  const heir = owner.world.own(consumer);
  for (let i = 0; i < 5; i++) {
    heir.partition.sweep();
    heir.fetchAll();
    owner.world.clock.advance(30_000);
    owner.world.flush();
    await turns();
  }
  heir.end();
  return consumer.deliveries.map(({ head }) => [head.id, head.attempt]);
}

describe('kafka: a copy that is not met before its record is settled', () => {
  it('is settled where it lies, which the next owner is told', async () => {
    const { world, owner, consumer } = spilled();
    await answer(world, 'overflow');
    owner.settle(only(consumer));
    assert.equal(owner.partition.next('overflow'), 0, 'not met');
    assert.deepEqual(await inheritedFrom(owner), []);
  });

  it('is settled as well if it was confirmed only after that', async () => {
    const { world, owner, consumer } = spilled();
    owner.settle(only(consumer));
    await answer(world, 'overflow');
    assert.deepEqual(await inheritedFrom(owner), []);
  });

  it('is not settled with another record that lies before it', async () => {
    const { world, owner, consumer } = spilled();
    const other = invocation();
    world.append(other);
    owner.fetchAll();
    owner.partition.spill();
    await answer(world, 'overflow');
    owner.settle(consumer.deliveries[0] ?? assert.fail());
    assert.deepEqual(await inheritedFrom(owner), [[other.id, 1]]);
  });

  it('is settled when it comes if nobody could tell whether it was written', async () => {
    const { world, owner, consumer } = spilled();
    await answer(world, 'overflow', { stored: true, answered: false });
    owner.settle(only(consumer));
    owner.partition.sweep();
    owner.fetchAll();
    assert.equal(owner.partition.next('overflow'), 1);
    assert.equal(consumer.deliveries.length, 1);
    assert.deepEqual(await inheritedFrom(owner), []);
  });

  it('takes its payload along, once', async () => {
    const claim = { kind: 'object', key: 'the-payload', bytes: 100_000 } as const;
    for (const when of ['before it is settled', 'after it is settled', 'and met first'] as const) {
      const { world, owner, consumer } = spilled({ payload: Buffer.alloc(0), claim });
      if (when === 'before it is settled') await answer(world, 'overflow');
      owner.settle(only(consumer));
      owner.commit();
      if (when === 'and met first') {
        world.pending.splice(0).forEach(({ topic, record }) => world.store(topic, record));
        owner.fetchAll();
      } else if (when === 'after it is settled') {
        assert.deepEqual(world.removed, [], when);
        await answer(world, 'overflow');
      }
      owner.commit();
      assert.deepEqual(world.removed, [{ bucket: PAYLOAD_BUCKET, key: 'the-payload' }], when);
      assert.deepEqual(await inheritedFrom(owner), [], when);
    }
  });
});

describe('kafka: a record that is postponed while it is spilled', () => {
  it('is not lost if the copy is not written: its later attempt is not taken for that', async () => {
    for (const delayMs of [0, 500]) {
      const { world, owner, consumer } = spilled();
      const first = only(consumer);
      again(owner, first, delayMs);
      await answer(world, delayMs === 0 ? 'async' : '1s');
      await answer(world, 'overflow', { stored: false, answered: true });
      owner.fetchAll();
      world.clock.advance(delayMs);
      if (delayMs > 0) await answer(world, 'async');
      owner.fetchAll();
      assert.deepEqual(consumer.deliveries.map(({ head }) => [head.id, head.attempt]), [[first.head.id, 1], [first.head.id, 2]]);
      assert.deepEqual(await inheritedFrom(owner), [[first.head.id, 2]]);
    }
  });

  it('comes as its later attempt alone, whichever of the two is met first', async () => {
    for (const order of [['async', 'overflow'], ['overflow', 'async']] as const) {
      const { world, owner, consumer } = spilled();
      again(owner, only(consumer));
      for (const topic of order) await answer(world, topic);
      for (const topic of order) owner.fetch(topic);
      const attempts = (): number[] => consumer.deliveries.map(({ head }) => head.attempt);
      assert.deepEqual(attempts(), [1, 2]);
      owner.settle(consumer.deliveries[1] ?? assert.fail());
      owner.fetchAll();
      assert.deepEqual(attempts(), [1, 2]);
      assert.deepEqual(await inheritedFrom(owner), []);
    }
  });

  it('and spilled again as its later attempt, by another owner, is settled for good: neither copy need be met before the partition changes hands', async () => {
    const { world, owner } = spilled();
    await answer(world, 'overflow');
    owner.commit();
    owner.end();
    const consumer = new CollectingConsumer(10);
    const heir = world.own(consumer);
    heir.fetch('overflow');
    again(heir, only(consumer));
    await answer(world, 'async');
    heir.fetch('async');
    heir.partition.spill();
    await answer(world, 'overflow');
    heir.settle(consumer.deliveries[1] ?? assert.fail());
    assert.deepEqual([consumer.deliveries.length, heir.partition.next('overflow'), world.log('overflow').length], [2, 1, 2]);
    assert.deepEqual(await inheritedFrom(heir), []);
  });

  it('and spilled again by the next owner, who has met what it inherits, has its copy fetched', async () => {
    const { world, owner } = spilled();
    await answer(world, 'overflow');
    owner.commit();
    owner.end();
    const consumer = new CollectingConsumer(10);
    const heir = world.own(consumer);
    world.append(invocation());
    heir.fetch('async');
    heir.partition.spill();
    await answer(world, 'overflow');
    heir.fetch('overflow', 1);
    assert.ok(heir.partition.wantsFetch('overflow'), 'its own copy lies behind what it inherits');
    heir.fetch('overflow');
    assert.ok(!heir.partition.wantsFetch('overflow'), 'and nothing behind that');
    heir.end();
  });
});

describe('kafka: notes that are full of what lies ahead', () => {
  it('do not stop their reader for ever: where nothing can be settled, it takes more', async () => {
    for (const topic of ['async', 'overflow'] as const) {
      const world = new PartitionWorld();
      const count = 2_600;
      const window = new AcknowledgementWindow(0);
      for (let offset = 0; offset < count; offset++) {
        world.append(invocation({ functionName: `f${offset % 7}` }));
        window.deliver(offset);
        if (offset % 2 === 1) window.settle(offset);
      }
      if (topic === 'overflow') {
        world.topics.set('overflow', world.log('async'));
        world.topics.set('async', []);
      }
      world.committed.set(topic, { offset: 0, metadata: encodeNote(1, window, noteScope(topicNames('world'), topic, 0)) });
      const given = new Set<string>();
      const consumer = new CollectingConsumer(50, (delivery) => {
        given.add(delivery.head.id);
        queueMicrotask(() => owner.settle(delivery));
      });
      const owner = world.own(consumer);
      for (let i = 0; i < 2 * count && owner.partition.next(topic) < count; i++) {
        owner.fetch(topic, 10);
        owner.partition.wake();
        world.flush();
        await turns();
      }
      assert.equal(owner.partition.next(topic), count, topic);
      for (let i = 0; i < 50; i++) {
        owner.fetchAll();
        world.flush();
        await turns();
      }
      assert.equal(given.size, count / 2, topic);
      owner.end();
    }
  });
});

describe('kafka: where the records of a request lie', () => {
  const at = (topic: string, partition: number): { topic: string; partition: number } => ({ topic, partition });
  const answered = (topicName: string, partition: number, baseOffset?: string): { topicName: string; partition: number; errorCode: number; baseOffset?: string } => ({ topicName, partition, errorCode: 0, ...(baseOffset === undefined ? {} : { baseOffset }) });

  it('follows from the first of each partition', () => {
    assert.deepEqual(confirmedOffsets([at('a', 0), at('b', 0), at('a', 1), at('a', 0), at('a', 0)], [answered('a', 0, '7'), answered('a', 1, '0'), answered('b', 0, '9007199254740000')]), [7, 9_007_199_254_740_000, 0, 8, 9]);
  });

  it('is unknown where no offset is told, and a partition without an answer has nothing confirmed', () => {
    assert.deepEqual(confirmedOffsets([at('a', 0), at('a', 0), at('a', 1), at('a', 2)], [answered('a', 0, '-1'), answered('a', 1)]), [OFFSET_UNKNOWN, OFFSET_UNKNOWN, OFFSET_UNKNOWN, undefined]);
  });
});
