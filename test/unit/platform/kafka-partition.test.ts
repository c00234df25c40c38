import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { METADATA_BYTES_MAX } from '../../../platform/invocation-log/acknowledgement-window.ts';
import { LogUnavailableError, type Delivery } from '../../../platform/invocation-log/invocation-log.ts';
import { BUFFER_RECORDS_MAX, OVERFLOW_THRESHOLD } from '../../../platform/invocation-log/kafka/async-intake.ts';
import { encodeRecord } from '../../../platform/invocation-log/kafka/record-format.ts';
import { DELAY_TIERS } from '../../../platform/invocation-log/kafka/topic-names.ts';
import { PAYLOAD_BUCKET } from '../../../platform/model/invocation.ts';
import { PartitionWorld, turns, type WorldOwner } from '../../support/kafka-partition-world.ts';
import { CollectingConsumer, invocation } from '../../support/log-consumer.ts';

function appendMany(world: PartitionWorld, count: number, functionName = 'thumbnail'): string[] {
  return Array.from({ length: count }, () => {
    const record = invocation({ functionName });
    world.append(record);
    return record.id;
  });
}

/** Wants of each function as much as is given here by name, and of others all it can get. */
class WantingConsumer extends CollectingConsumer {
  readonly #wanted: Readonly<Record<string, number>>;

  constructor(maxInFlight: number, wanted: Readonly<Record<string, number>>, onDelivery?: (delivery: Delivery) => void) {
    super(maxInFlight, onDelivery);
    this.#wanted = wanted;
  }

  override inFlightWanted(key = ''): number {
    return this.#wanted[key.split('/')[1] ?? ''] ?? this.maxInFlight;
  }
}

function wanting(maxInFlight: number, wanted: Readonly<Record<string, number>> = {}, onDelivery?: (delivery: Delivery) => void): CollectingConsumer {
  return new WantingConsumer(maxInFlight, wanted, onDelivery);
}

function settleAll(owner: WorldOwner, consumer: CollectingConsumer, which: (delivery: Delivery) => boolean = () => true): void {
  for (const delivery of [...consumer.deliveries]) if (which(delivery)) owner.settle(delivery);
}

async function rest(world: PartitionWorld, owner: WorldOwner): Promise<void> {
  for (let i = 0; i < 20; i++) {
    world.flush();
    await turns();
    owner.fetchAll();
    owner.partition.wake();
  }
}

describe('kafka: faults that parallel-consumer had', () => {
  it('#826: what was taken and not given out when the partition is revoked is not committed', () => {
    const world = new PartitionWorld();
    const ids = appendMany(world, 5);
    const consumer = wanting(2);
    const first = world.own(consumer);
    first.fetchAll();
    // All five are in memory; two were given out. The first of them is settled, the commit comes with the revocation.
    assert.equal(first.partition.next('async'), 5);
    assert.deepEqual(consumer.ids, ids.slice(0, 2));
    const [a] = consumer.deliveries;
    if (a !== undefined) first.settle(a);
    assert.deepEqual(consumer.ids, ids.slice(0, 3));
    first.commit();
    first.end();
    assert.equal(world.committed.get('async')?.offset, 1);
    const next = wanting(10);
    world.own(next).fetchAll();
    assert.deepEqual(next.ids, ids.slice(1));
  });

  it('#857: a partition that comes back to the same process goes on, and nothing of its first life counts in the second', () => {
    const world = new PartitionWorld();
    const ids = appendMany(world, 8);
    const before = wanting(3);
    const first = world.own(before);
    first.fetchAll();
    assert.equal(before.deliveries.length, 3);
    first.end();
    const after = wanting(3);
    const second = world.own(after);
    second.fetchAll();
    assert.deepEqual(after.ids, ids.slice(0, 3), 'what the first life had in flight takes no place');
    settleAll(first, before);
    assert.deepEqual(after.ids, ids.slice(0, 3), 'and settling it is nothing');
    for (let settled = 0; settled < after.deliveries.length; settled++) {
      const delivery = after.deliveries[settled];
      if (delivery !== undefined) second.settle(delivery);
    }
    assert.deepEqual(after.ids, ids);
    second.commit();
    assert.equal(world.committed.get('async')?.offset, 8);
  });

  it('#875: metadata that cannot be read makes nothing disappear, not even one record', () => {
    for (const metadata of ['bm90IG91cnM=', 'e1;1deadbeefAAAA', 'eZZZ', '\u0000', 'x'.repeat(METADATA_BYTES_MAX)]) {
      const world = new PartitionWorld();
      const ids = appendMany(world, 3);
      world.committed.set('async', { offset: 1, metadata });
      const consumer = wanting(10);
      const owner = world.own(consumer);
      owner.fetchAll();
      assert.deepEqual(consumer.ids, ids.slice(1), JSON.stringify(metadata.slice(0, 20)));
      assert.deepEqual(owner.findings.map(({ problem }) => problem), ['foreign']);
    }
  });

  it('#647: more to note than there is room for stops nobody, and makes nothing come twice', async () => {
    const world = new PartitionWorld();
    const stuck = new Set<string>();
    const passing = new Set<string>();
    for (let i = 0; i < 4_000; i++) {
      const [id = ''] = appendMany(world, 1, i % 2 === 0 ? 'stuck' : 'passing');
      (i % 2 === 0 ? stuck : passing).add(id);
    }
    let longest = 0;
    const seen: string[] = [];
    const consumer = wanting(10_000, {}, (delivery) => {
      seen.push(delivery.head.id);
      if (delivery.head.functionName === 'passing') setImmediate(() => owner.settle(delivery));
    });
    const owner = world.own(consumer);
    // Every second record is executed for ever: without notes on the others everything would have to come again.
    for (let round = 0; round < 400 && owner.partition.next('async') < 4_000; round++) {
      owner.fetch('async');
      owner.fetch('overflow');
      await new Promise((resolve) => setImmediate(resolve));
      owner.partition.wake();
      world.flush();
      await turns();
      owner.commit();
      longest = Math.max(longest, ...[...world.committed.values()].map(({ metadata }) => metadata.length));
    }
    assert.deepEqual(new Set(seen.filter((id) => passing.has(id))), passing, 'those that can pass have passed');
    assert.equal(seen.length, new Set(seen).size, 'a spilled record is not given out again while it is executed');
    assert.ok(longest <= METADATA_BYTES_MAX && longest > METADATA_BYTES_MAX / 2, `${longest} bytes of metadata`);
    owner.commit();
    owner.end();

    const next = wanting(10_000);
    const heir = world.own(next);
    await rest(world, heir);
    assert.deepEqual(next.ids.filter((id) => passing.has(id)), [], 'nothing that was settled comes again');
    assert.deepEqual(new Set(next.ids), stuck, 'and everything that was not');
    assert.equal(next.ids.length, stuck.size);
  });
});

describe('kafka: a noisy function', () => {
  it('has its backlog moved to the overflow topic, in order, while another passes; all of it is given out once', async () => {
    const world = new PartitionWorld();
    const noisy = appendMany(world, 3 * OVERFLOW_THRESHOLD, 'noisy');
    const quiet = appendMany(world, 5, 'quiet');
    const consumer = wanting(1_000, { noisy: 2 });
    const owner = world.own(consumer);
    await rest(world, owner);
    assert.deepEqual(consumer.ids.filter((id) => quiet.includes(id)), quiet);
    assert.equal(consumer.deliveries.length, 2 + quiet.length);
    assert.ok(world.log('overflow').length >= 2 * OVERFLOW_THRESHOLD - 10, `${world.log('overflow').length} moved`);

    // One that comes later stands behind them, in the overflow topic as well.
    const late = appendMany(world, 1, 'noisy');
    await rest(world, owner);
    for (let settled = 0; settled < consumer.deliveries.length; settled++) {
      const delivery = consumer.deliveries[settled];
      if (delivery !== undefined) owner.settle(delivery);
      await rest(world, owner);
      owner.commit();
    }
    assert.deepEqual(consumer.ids.filter((id) => !quiet.includes(id)), [...noisy, ...late]);
    assert.equal(world.committed.get('async')?.offset, world.log('async').length);
    assert.equal(world.committed.get('overflow')?.offset, world.log('overflow').length);

    // The queue is empty: the next one needs no detour.
    const moved = world.log('overflow').length;
    appendMany(world, 1, 'noisy');
    await rest(world, owner);
    assert.equal(world.log('overflow').length, moved);
    owner.end();
  });

  it('keeps its records where they are while the brokers do not take them, and memory bounded', async () => {
    const world = new PartitionWorld();
    const ids = appendMany(world, 4 * BUFFER_RECORDS_MAX, 'noisy');
    const consumer = wanting(1_000, { noisy: 1 });
    const owner = world.own(consumer);
    for (let i = 0; i < 50; i++) {
      for (const write of world.pending.splice(0)) write.settle({ stored: false, answered: true });
      await turns();
      owner.fetchAll();
    }
    assert.ok(owner.partition.waiting <= 3 * BUFFER_RECORDS_MAX, `${owner.partition.waiting} wait in memory`);
    assert.deepEqual(consumer.ids, ids.slice(0, 1));
    await rest(world, owner);
    assert.equal(owner.partition.next('async'), ids.length, 'everything was moved on in the end');
    owner.end();
  });

  it('has no more in memory than its partition\'s share of bytes and one fetch', () => {
    const world = new PartitionWorld();
    const payload = Buffer.alloc(10_000, 'x');
    for (let i = 0; i < 500; i++) world.append(invocation({ payload }));
    const owner = world.own(wanting(1), { bufferBytes: 1_000_000 });
    owner.fetchAll();
    assert.ok(owner.partition.waiting * payload.length <= 1_000_000, `${owner.partition.waiting} records of ${payload.length} bytes`);
    owner.end();
  });

  it('does not keep synchronous invocations waiting', () => {
    const world = new PartitionWorld();
    appendMany(world, 50);
    const consumer = wanting(1);
    const owner = world.own(consumer);
    owner.fetchAll();
    const sync = invocation({ kind: 'sync' });
    world.append(sync);
    owner.fetchAll();
    assert.equal(consumer.deliveries.at(-1)?.head.id, sync.id);
    owner.end();
  });

  it('leaves an eighth of the places to others', () => {
    const world = new PartitionWorld();
    appendMany(world, 100, 'noisy');
    const [other] = appendMany(world, 1, 'other');
    const consumer = wanting(64);
    const owner = world.own(consumer);
    owner.fetchAll();
    assert.equal(consumer.deliveries.filter(({ head }) => head.functionName === 'noisy').length, 56);
    assert.ok(other !== undefined && consumer.ids.includes(other));
    owner.end();
  });
});

describe('kafka: a record that is executed and spilled', () => {
  it('is the same invocation: settling it settles the copy, before or after that is met', async () => {
    for (const when of ['before its copy is written', 'before its copy is met', 'after its copy is met'] as const) {
      const world = new PartitionWorld();
      const [id = ''] = appendMany(world, 1);
      const consumer = wanting(10);
      const owner = world.own(consumer);
      owner.fetchAll();
      const [delivery] = consumer.deliveries;
      assert.ok(delivery !== undefined);
      owner.partition.spill();
      if (when === 'before its copy is written') owner.settle(delivery);
      world.flush();
      await turns();
      if (when === 'before its copy is met') owner.settle(delivery);
      owner.fetchAll();
      if (when === 'after its copy is met') owner.settle(delivery);
      owner.commit();
      assert.deepEqual(consumer.ids, [id], when);
      assert.deepEqual([world.committed.get('async')?.offset, world.committed.get('overflow')?.offset], [1, 1], when);
      owner.end();
    }
  });

  it('is given out by the next owner if it was not settled, once', async () => {
    const world = new PartitionWorld();
    const [id = ''] = appendMany(world, 1);
    const owner = world.own(wanting(10));
    owner.fetchAll();
    owner.partition.spill();
    world.flush();
    await turns();
    owner.commit();
    owner.end();
    const consumer = wanting(10);
    world.own(consumer).fetchAll();
    assert.deepEqual(consumer.deliveries.map(({ head, inherited }) => [head.id, inherited]), [[id, true]]);
  });

  it('stays as it is if the copy is not taken', async () => {
    const world = new PartitionWorld();
    appendMany(world, 1);
    const consumer = wanting(10);
    const owner = world.own(consumer);
    owner.fetchAll();
    owner.partition.spill();
    for (const write of world.pending.splice(0)) write.settle({ stored: false, answered: true });
    await turns();
    owner.commit();
    assert.equal(world.committed.get('async')?.offset, 0);
    settleAll(owner, consumer);
    owner.commit();
    assert.equal(world.committed.get('async')?.offset, 1);
    owner.end();
  });
});

describe('kafka: records that cannot be executed', () => {
  it('go to the dead topic with the reason, and stand in nobody\'s way', async () => {
    const world = new PartitionWorld();
    const good = encodeRecord(invocation());
    world.store('async', { ...good, headers: {} });
    world.store('async', { ...good, headers: { ...good.headers, head: '{' } });
    world.store('async', { ...good, key: 'someone/else' });
    world.store('1m', { ...good, headers: { ...good.headers, delay: '?' } });
    const [id] = appendMany(world, 1);
    const consumer = wanting(10);
    const owner = world.own(consumer);
    owner.fetchAll();
    assert.deepEqual(consumer.ids, [id], 'others do not wait for the dead topic');
    owner.commit();
    assert.equal(world.committed.get('async')?.offset, 0, 'not settled before it is buried');
    for (const write of world.pending.splice(0)) write.settle({ stored: false, answered: true });
    await turns();
    owner.partition.wake();
    world.flush();
    await turns();
    settleAll(owner, consumer);
    owner.commit();
    assert.deepEqual([world.committed.get('async')?.offset, world.committed.get('1m')?.offset], [4, 1]);
    const dead = world.log('dead').map(({ headers, value }) => [String(headers?.reason), String(headers?.source), String(value)]);
    assert.deepEqual(new Set(dead.map(([, source]) => source)), new Set(['async/0/0', 'async/0/1', 'async/0/2', '1m/0/0']));
    assert.ok(dead.every(([reason = '', , value]) => reason.length > 10 && value === '{}'), JSON.stringify(dead));
    owner.end();
  });

  it('of a newer release are left for one that can read them, and stand in nobody\'s way', () => {
    const world = new PartitionWorld();
    const good = encodeRecord(invocation());
    world.store('async', { ...good, headers: { ...good.headers, v: '2', head: 'in another way' } });
    const [id] = appendMany(world, 1);
    const consumer = wanting(10);
    const owner = world.own(consumer);
    owner.fetchAll();
    assert.deepEqual(consumer.ids, [id]);
    settleAll(owner, consumer);
    owner.commit();
    assert.deepEqual([world.committed.get('async')?.offset, world.log('dead').length], [0, 0]);
    owner.end();
  });

  it('that are synchronous, expired and long forgotten are settled; those that have only just expired are given out', () => {
    const world = new PartitionWorld();
    world.append(invocation({ kind: 'sync', expiresAtMs: 0 }));
    world.clock.advance(20 * 60_000);
    const recent = invocation({ kind: 'sync', expiresAtMs: world.clock.now() - 1 });
    world.append(recent);
    const consumer = wanting(10);
    const owner = world.own(consumer);
    owner.fetchAll();
    assert.deepEqual(consumer.ids, [recent.id]);
    owner.commit();
    assert.equal(world.committed.get('sync')?.offset, 1);
    owner.end();
  });
});

describe('kafka: payloads kept elsewhere', () => {
  it('are removed once the commit that settles their record has been taken, and not when it is postponed', async () => {
    const world = new PartitionWorld();
    const claim = { kind: 'object', key: 'the-payload', bytes: 100_000 } as const;
    world.append(invocation({ payload: Buffer.alloc(0), claim }));
    const consumer = wanting(10);
    const owner = world.own(consumer, { autoWrite: true });
    owner.fetchAll();
    const [delivery] = consumer.deliveries;
    assert.ok(delivery !== undefined);
    assert.deepEqual((await delivery.load()).claim, claim);
    await owner.postpone(delivery, { attempt: 2, throttles: 0 }, world.clock.now());
    owner.commit();
    assert.deepEqual(world.removed, []);
    owner.fetchAll();
    const [, again] = consumer.deliveries;
    assert.ok(again !== undefined);
    assert.deepEqual([again.head.attempt, again.head.claim], [2, claim]);
    owner.settle(again);
    owner.commit({ applied: false, answered: false });
    assert.deepEqual(world.removed, [], 'the commit has failed');
    owner.partition.wake();
    owner.commit();
    assert.deepEqual(world.removed, [{ bucket: PAYLOAD_BUCKET, key: 'the-payload' }]);
    await assert.rejects(again.load(), LogUnavailableError);
    owner.end();
  });
});

describe('kafka: delays', () => {
  it('end when they are due: never earlier, and through however many topics', async () => {
    for (const delayMs of [1, 999, 1_000, 1_500, 9_999, 10_000, 45_000, 60_000, 61_000, 120_000, 299_999, 300_000, 1_234_567]) {
      const world = new PartitionWorld();
      const [id] = appendMany(world, 1);
      const consumer = wanting(10);
      const owner = world.own(consumer, { autoWrite: true });
      owner.fetchAll();
      const [delivery] = consumer.deliveries;
      assert.ok(delivery !== undefined);
      const dueMs = world.clock.now() + delayMs;
      await owner.postpone(delivery, { attempt: 2, throttles: 3 }, dueMs);
      assert.equal(world.log('async').length, 1);
      owner.fetchAll();
      world.clock.advance(delayMs - 1);
      await turns();
      owner.fetchAll();
      assert.equal(consumer.deliveries.length, 1, `delivered before ${delayMs} ms`);
      world.clock.advance(1);
      await turns();
      owner.fetchAll();
      assert.deepEqual(consumer.deliveries.slice(1).map(({ head }) => [head.id, head.attempt, head.throttles]), [[id, 2, 3]], `${delayMs} ms`);
      settleAll(owner, consumer);
      owner.commit();
      for (const topic of ['async', ...DELAY_TIERS] as const) assert.equal(world.committed.get(topic)?.offset ?? 0, world.log(topic).length, topic);
      owner.end();
    }
  });

  it('hold when many wait: nobody is more than a second late', async () => {
    const world = new PartitionWorld();
    const count = 3_000;
    appendMany(world, count);
    const dueMs = new Map<string, number>();
    const lateMs: number[] = [];
    const consumer = wanting(10_000, {}, (delivery) => {
      const { id } = delivery.head;
      const due = dueMs.get(id);
      if (due !== undefined) {
        assert.ok(world.clock.now() >= due, 'too early');
        lateMs.push(world.clock.now() - due);
        owner.settle(delivery);
        return;
      }
      // Spread over everything from nothing to seven minutes.
      dueMs.set(id, world.clock.now() + ((dueMs.size * 7_919) % 420_000));
      void owner.postpone(delivery, { attempt: 2, throttles: 0 }, dueMs.get(id) ?? 0);
    });
    const owner = world.own(consumer, { autoWrite: true });
    owner.fetchAll();
    for (let second = 0; second < 4 * 425; second++) {
      await turns(3);
      owner.fetchAll();
      world.clock.advance(250);
    }
    await turns();
    assert.equal(lateMs.length, count);
    assert.ok(Math.max(...lateMs) <= 1_250, `${Math.max(...lateMs)} ms late`);
    owner.end();
  });

  it('are not lost by a death between the two writes', async () => {
    const world = new PartitionWorld();
    const [id] = appendMany(world, 1);
    const first = wanting(10);
    const owner = world.own(first);
    owner.fetchAll();
    const [delivery] = first.deliveries;
    assert.ok(delivery !== undefined);
    const postponed = owner.postpone(delivery, { attempt: 2, throttles: 0 }, world.clock.now() + 5_000);
    // Neither answered nor written down: the original is still there.
    owner.end();
    world.pending.splice(0).forEach((write) => write.settle({ stored: true, answered: false }));
    await assert.rejects(postponed, LogUnavailableError);
    const second = wanting(10);
    const heir = world.own(second);
    heir.fetchAll();
    assert.deepEqual(second.deliveries.map(({ head }) => [head.id, head.attempt]), [[id, 1]]);
    world.clock.advance(5_000);
    await rest(world, heir);
    assert.equal(second.deliveries.length, 1, 'the later attempt waits as long as the earlier one is executed');
    settleAll(heir, second);
    assert.deepEqual(second.deliveries.map(({ head }) => [head.id, head.attempt]), [[id, 1], [id, 2]]);
    heir.end();
  });
});

describe('kafka: doubt', () => {
  it('about owning a partition stops everything but taking, and ends as if nothing had been', async () => {
    const world = new PartitionWorld();
    const [first = ''] = appendMany(world, 1);
    const consumer = wanting(10);
    const owner = world.own(consumer);
    owner.fetchAll();
    owner.doubtful = true;
    const later = [...appendMany(world, 2), first].slice(0, 2);
    world.append(invocation({ kind: 'sync' }));
    world.clock.advance(60_000);
    owner.fetchAll();
    owner.partition.wake();
    owner.partition.spill();
    assert.deepEqual(consumer.ids, [first]);
    assert.equal(world.pending.length, 0);
    owner.doubtful = false;
    owner.partition.pump();
    assert.deepEqual(consumer.ids.filter((id) => later.includes(id)), later);
    assert.equal(consumer.deliveries.length, 4);
    owner.end();
    await turns();
    assert.equal(world.clock.pending, 0);
  });
});
