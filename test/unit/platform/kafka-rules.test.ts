/** Rules of the Kafka driver that are small enough for tables. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { AcknowledgementWindow, METADATA_BYTES_MAX } from '../../../platform/invocation-log/acknowledgement-window.ts';
import { brokersOf, LogSetupError } from '../../../platform/invocation-log/kafka.ts';
import { decodeNote, encodeNote, nextEpoch } from '../../../platform/invocation-log/kafka/commit-note.ts';
import { delayPlan, TIER_MS } from '../../../platform/invocation-log/kafka/delay-tiers.ts';
import { encodeDead, encodeRecord, readRecord, toMessage, type EncodedRecord } from '../../../platform/invocation-log/kafka/record-format.ts';
import { planTakeover } from '../../../platform/invocation-log/kafka/takeover.ts';
import { LOG_TOPICS, topicNames } from '../../../platform/invocation-log/kafka/topic-names.ts';
import { isSilent, SILENT_LOOKS, Watchdog, WATCH_INTERVAL_MS } from '../../../platform/invocation-log/kafka/watchdog.ts';
import { headOf } from '../../../platform/invocation-log/record-head.ts';
import { invocation } from '../../support/log-consumer.ts';

/** As a consumer is given what a producer has sent. */
function received({ key, value, headers }: EncodedRecord): Parameters<typeof readRecord>[0] {
  return { key: Buffer.from(key), value, headers: Object.fromEntries(Object.entries(headers).map(([name, text]) => [name, Buffer.from(String(text))])) };
}

describe('kafka: the log\'s URL', () => {
  it('names brokers', () => {
    assert.deepEqual(brokersOf('kafka://a:9092'), ['a:9092']);
    assert.deepEqual(brokersOf('kafka://a.b-c:1,127.0.0.1:65535/'), ['a.b-c:1', '127.0.0.1:65535']);
  });
  for (const url of ['', 'kafka://', 'kafka:a:1', 'kafka://a', 'kafka://a:1,', 'kafka://a:x', 'kafka://a:65536', 'kafka://a:1/topic', 'kafka://user:hidden@a:1', 'sqlite:x']) {
    it(`${url === '' ? 'nothing' : url} does not`, () => {
      assert.throws(() => brokersOf(url), (error) => error instanceof LogSetupError && error.setting === 'SLUICE_LOG' && !error.message.includes('hidden'));
    });
  }
});

describe('kafka: epochs', () => {
  it('are greater than all that were committed, and no less than the time', () => {
    fc.assert(
      fc.property(fc.array(fc.option(fc.nat(2 ** 40), { nil: undefined })), fc.nat(2 ** 40), (committed, nowMs) => {
        const epoch = nextEpoch(committed, nowMs);
        assert.ok(epoch >= nowMs && committed.every((before) => before === undefined || epoch > before));
      }),
    );
  });

  it('are kept beside the offset, with what is settled above it, in the room there is', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 45 }), fc.array(fc.boolean(), { maxLength: 4_000, size: 'max' }), (epoch, settled) => {
        const window = new AcknowledgementWindow(7);
        settled.forEach((_, i) => window.deliver(7 + i));
        settled.forEach((done, i) => done && window.settle(7 + i));
        const text = encodeNote(epoch, window, 'scope');
        assert.ok(text.length <= METADATA_BYTES_MAX);
        const note = decodeNote(text, { scope: 'scope', watermark: window.watermark, end: 7 + settled.length });
        assert.equal(note.epoch, epoch);
        assert.equal(note.ignored, undefined);
        for (const { start, end } of note.settled) for (let offset = start; offset < end; offset++) assert.ok(settled[offset - 7]);
        assert.equal(decodeNote(text, { scope: 'another', watermark: window.watermark, end: 7 + settled.length }).settled.length, 0);
      }),
      { numRuns: 50 },
    );
  });
});

describe('kafka: taking over', () => {
  const names = topicNames('t');
  const extents = new Map(LOG_TOPICS.flatMap((topic) => [0, 1].map((partition) => [`${topic}/${partition}`, { start: 10, end: 100 }] as const)));
  const committedWith = (epoch: number, offset = 20): { topic: 'async'; partition: number; offset: number; metadata: string } => ({ topic: 'async', partition: 0, offset, metadata: encodeNote(epoch, new AcknowledgementWindow(offset), 't.invocations.async/0') });

  it('a partition whose committed epoch is one\'s own goes on; any other begins anew', () => {
    const plan = (held: number | undefined, committed: number): readonly number[] =>
      planTakeover({ names, partitions: [0], committed: [committedWith(committed)], extents, held: new Map(held === undefined ? [] : [[0, held]]), nowMs: 5 }).fresh.map(({ partition }) => partition);
    assert.deepEqual(plan(1_000, 1_000), []);
    assert.deepEqual(plan(1_000, 1_001), [0], 'another has had it');
    assert.deepEqual(plan(1_000, 999), [0], 'the commit that was ours is gone');
    assert.deepEqual(plan(undefined, 1_000), [0]);
  });

  it('begins where nothing is committed at the start, with the end as it is now', () => {
    const { fresh, epoch, findings } = planTakeover({ names, partitions: [1], committed: [], extents, held: new Map(), nowMs: 77 });
    assert.equal(epoch, 77);
    assert.deepEqual(findings, []);
    assert.deepEqual(fresh[0]?.topics.map(({ topic, watermark, end }) => [topic, watermark, end]), LOG_TOPICS.map((topic) => [topic, 10, 100]));
  });

  it('begins at the start, and says so, where what is committed is not in the topic', () => {
    for (const offset of [9, 101]) {
      const { fresh, findings, epoch } = planTakeover({ names, partitions: [0], committed: [committedWith(500, offset)], extents, held: new Map(), nowMs: 1 });
      assert.equal(fresh[0]?.topics.find(({ topic }) => topic === 'async')?.watermark, 10);
      assert.deepEqual(findings.map(({ topic, problem }) => [topic, problem]), [['async', 'offset out of range']]);
      assert.equal(epoch, 501, 'the epoch still counts');
    }
  });
});

describe('kafka: delay topics', () => {
  const table: readonly (readonly [remainingMs: number, tier: string | undefined, leaveMs: number])[] = [
    [-1, undefined, 0],
    [0, undefined, 0],
    [1, '1s', 1],
    [999, '1s', 999],
    [1_000, '1s', 1_000],
    [9_999, '1s', 1_000],
    [10_000, '10s', 10_000],
    [59_999, '10s', 10_000],
    [60_000, '1m', 60_000],
    [120_000, '1m', 60_000],
    [300_000, '5m', 300_000],
    [21_600_000, '5m', 300_000],
  ];
  for (const [remainingMs, tier, leaveMs] of table) {
    it(`${remainingMs} ms wait in ${tier ?? 'none'}`, () => {
      const plan = delayPlan(50_000 + remainingMs, 50_000);
      assert.deepEqual(plan, tier === undefined ? undefined : { tier, leaveMs: 50_000 + leaveMs });
    });
  }

  it('bring every delay to its end in few steps, none of them late', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 21_600_000 }), (delayMs) => {
        let nowMs = 0;
        let steps = 0;
        for (let plan = delayPlan(delayMs, nowMs); plan !== undefined; plan = delayPlan(delayMs, nowMs)) {
          assert.ok(plan.leaveMs > nowMs && plan.leaveMs <= delayMs && plan.leaveMs - nowMs <= TIER_MS[plan.tier]);
          nowMs = plan.leaveMs;
          steps++;
        }
        assert.equal(nowMs, delayMs);
        assert.ok(steps <= 72 + 4 + 5 + 9 + 1, `${steps} steps`);
      }),
    );
  });
});

describe('kafka: records', () => {
  it('come back as they were, with their marks', () => {
    for (const record of [invocation(), invocation({ payload: Buffer.alloc(0), maxRetries: 1, clientContext: 'x', functionName: 'ünïcode-😀', claim: { kind: 'gateway', bytes: 9 }, replyTo: 'http://x' })]) {
      for (const marks of [{}, { passed: true, spilled: true, delay: { notBeforeMs: 5, leaveMs: 4 } }]) {
        const read = readRecord(received(encodeRecord(record, marks)));
        assert.ok(read.kind === 'record');
        assert.deepEqual([read.head, read.payload, read.marks], [headOf(record), record.payload, marks]);
      }
    }
  });

  it('keep no more of the answer they came in than their own bytes', () => {
    const answer = Buffer.alloc(1_000_000, 'x');
    const message = { ...received(encodeRecord(invocation())), value: answer.subarray(500, 20_500) };
    const read = readRecord(message);
    assert.ok(read.kind === 'record' && read.payload.buffer !== answer.buffer && read.payload.length === 20_000);
  });

  it('ignore what a later release has added, and tell what is none of ours', () => {
    const good = received(encodeRecord(invocation()));
    const head = JSON.stringify({ ...headOf(invocation()), later: { member: 1 } });
    assert.equal(readRecord({ ...good, headers: { ...good.headers, head, other: 'x' } }).kind, 'record');
    assert.deepEqual(readRecord({ ...good, headers: { ...good.headers, v: '7' } }), { kind: 'newer', version: 7 });
    for (const headers of [{}, { v: '1' }, { v: 'x', head }, { v: '0', head }, { v: '1', head: '[]' }, { v: '1', head, delay: '{}' }]) {
      assert.equal(readRecord({ ...good, headers }).kind, 'poison', JSON.stringify(headers));
    }
    assert.equal(readRecord({ ...good, key: null }).kind, 'poison');
  });

  it('that are dead keep what they were', () => {
    const dead = toMessage(encodeDead({ key: Buffer.from('k'), value: Buffer.from('v'), headers: { mine: 'm' } }, 'why', 'where'), 0);
    assert.deepEqual([dead.key, String(dead.value), dead.headers], ['k', 'v', { mine: 'm', reason: 'why', source: 'where' }]);
  });
});

describe('kafka: the watchdog', () => {
  const limits = { sessionTimeoutMs: 10_000, rebalanceTimeoutMs: 20_000 };
  const table: readonly (readonly [silentMs: number, joining: boolean, silent: boolean])[] = [
    [0, false, false],
    [10_000, false, false],
    [10_001, false, true],
    [10_001, true, false],
    [30_001, true, true],
  ];
  for (const [silentMs, joining, silent] of table) {
    it(`${silentMs} ms without a sign${joining ? ', waiting for the group,' : ''} ${silent ? 'is' : 'is not'} silence`, () => {
      assert.equal(isSilent({ lastSignMs: 5, joining }, limits, 5 + silentMs), silent);
    });
  }

  it('bites after several silent looks in a row only: a process that was held shows signs again before that', () => {
    const dog = new Watchdog(limits);
    const look = (lastSignMs: number, nowMs: number): boolean => dog.look({ lastSignMs, joining: false }, nowMs);
    assert.equal(look(0, 60_000), false);
    assert.equal(look(60_500, 61_000), false);
    const bites = Array.from({ length: SILENT_LOOKS }, (_, i) => look(60_500, 80_000 + i * WATCH_INTERVAL_MS));
    assert.deepEqual(bites, [...Array<boolean>(SILENT_LOOKS - 1).fill(false), true]);
  });
});
