import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AcknowledgementWindow, decodeSettled, METADATA_BYTES_MAX, type DecodeContext, type OffsetRun } from '../../../platform/invocation-log/acknowledgement-window.ts';

const SCOPE = 'log-a/0';

interface Commit {
  readonly watermark: number;
  readonly metadata: string;
}

/** What a consumer does at a commit and after a crash. The twins below get one of the two wrong. */
interface Protocol {
  commit(window: AcknowledgementWindow, maxBytes: number): Commit;
  restore(commit: Commit, end: number): readonly OffsetRun[];
}

const guarded: Protocol = {
  commit: (window, maxBytes) => ({ watermark: window.watermark, metadata: window.encode(SCOPE, maxBytes) }),
  restore: (commit, end) => decodeSettled(commit.metadata, { scope: SCOPE, watermark: commit.watermark, end }).settled,
};

type Step =
  | { readonly do: 'deliver'; readonly gap: number }
  | { readonly do: 'append' }
  | { readonly do: 'settle'; readonly pick: number }
  | { readonly do: 'settle ahead'; readonly pick: number }
  | { readonly do: 'commit' }
  | { readonly do: 'crash'; readonly damage: number | undefined };

const steps = (damage: fc.Arbitrary<number | undefined>): fc.Arbitrary<Step[]> =>
  fc.array(
    fc.oneof(
      { weight: 6, arbitrary: fc.record({ do: fc.constant('deliver' as const), gap: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, fc.integer({ min: 1, max: 300 })) }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('append' as const) }) },
      { weight: 5, arbitrary: fc.record({ do: fc.constant('settle' as const), pick: fc.nat(1_000) }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('settle ahead' as const), pick: fc.nat(1_000) }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('commit' as const) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('crash' as const), damage }) },
    ),
    { maxLength: 150, size: 'max' },
  );

/** Runs a consumer against a log kept as a plain list and plain sets. Returns the offsets lost and those repeated although committed. */
function run(protocol: Protocol, script: readonly Step[], maxBytes: number): { lost: number[]; repeated: number[] } {
  const log: number[] = [];
  const settled = new Set<number>();
  const lost = new Set<number>();
  const repeated: number[] = [];
  let committed: Commit = { watermark: 0, metadata: '' };
  /** What this owner knows to be settled, and what the last commit could say. */
  let known = new Set<number>();
  let settledAtCommit = new Set<number>();
  let window = new AcknowledgementWindow(0);
  let unsettled: number[] = [];
  let cursor = 0;

  const deliverNext = (): void => {
    const offset = log[cursor++] ?? 0;
    if (window.deliver(offset)) {
      unsettled.push(offset);
      if (settledAtCommit.has(offset)) repeated.push(offset);
    } else if (!settled.has(offset)) {
      lost.add(offset);
    }
  };
  for (const step of script) {
    if (step.do === 'deliver') {
      if (cursor === log.length) log.push((log.at(-1) ?? -1) + 1 + step.gap);
      deliverNext();
    } else if (step.do === 'append') {
      log.push((log.at(-1) ?? -1) + 1);
    } else if (step.do === 'settle ahead') {
      const ahead = log.slice(cursor).filter((offset) => !known.has(offset));
      const offset = ahead[step.pick % ahead.length];
      if (offset === undefined) continue;
      const first = window.settleAhead(offset);
      if (protocol === guarded) assert.ok(first && !window.settleAhead(offset), 'settling twice is nothing');
      settled.add(offset);
      known.add(offset);
    } else if (step.do === 'settle' && unsettled.length > 0) {
      const [offset = 0] = unsettled.splice(step.pick % unsettled.length, 1);
      assert.ok(window.settle(offset));
      assert.ok(!window.settle(offset), 'settling twice is nothing');
      settled.add(offset);
      known.add(offset);
    } else if (step.do === 'commit') {
      committed = protocol.commit(window, maxBytes);
      settledAtCommit = new Set(known);
    } else if (step.do === 'crash') {
      const metadata = step.damage === undefined ? committed.metadata : damaged(committed.metadata, step.damage);
      window = new AcknowledgementWindow(committed.watermark, protocol.restore({ ...committed, metadata }, (log.at(-1) ?? -1) + 1));
      unsettled = [];
      known = new Set(settledAtCommit);
      cursor = log.findIndex((offset) => offset >= committed.watermark);
      if (cursor === -1) cursor = log.length;
      for (const offset of log.slice(0, cursor)) if (!settled.has(offset)) lost.add(offset);
    }
    const open = log.slice(0, cursor).filter((offset) => !settled.has(offset) && !lost.has(offset));
    if (protocol === guarded && step.do !== 'crash') assert.deepEqual(unsettled.toSorted((a, b) => a - b).filter((offset) => !settled.has(offset)), open);
  }
  return { lost: [...lost], repeated };
}

/** Cuts the text short or changes one character. */
function damaged(text: string, seed: number): string {
  if (text === '') return text;
  const at = seed % text.length;
  return seed % 2 === 0 ? text.slice(0, at) : text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) + 1) + text.slice(at + 1);
}

const intact = fc.constant(undefined);

test('nothing is lost and nothing committed is repeated, whatever is settled and whenever it crashes', () => {
  fc.assert(fc.property(steps(intact), (script) => assert.deepEqual(run(guarded, script, METADATA_BYTES_MAX), { lost: [], repeated: [] })));
});

test('metadata that does not fit costs repetition, never a record', () => {
  fc.assert(fc.property(steps(intact), fc.integer({ min: 0, max: 20 }), (script, maxBytes) => assert.deepEqual(run(guarded, script, maxBytes).lost, [])));
});

test('damaged metadata costs repetition, never a record', () => {
  fc.assert(fc.property(steps(fc.nat(10_000)), (script) => assert.deepEqual(run(guarded, script, METADATA_BYTES_MAX).lost, [])));
});

function assertLoses(twin: Protocol, damage: fc.Arbitrary<number | undefined>): void {
  const result = fc.check(
    fc.property(steps(damage), (script) => run(twin, script, METADATA_BYTES_MAX).lost.length === 0),
    { numRuns: 3_000 },
  );
  assert.ok(result.failed, 'the model does not notice the missing guard');
}

test('twin: committing the highest settled offset loses records', () => {
  assertLoses({ ...guarded, commit: (window) => ({ watermark: [...window.settledRuns()].at(-1)?.end ?? window.watermark, metadata: '' }) }, intact);
});

test('twin: trusting metadata without its checksum loses records', () => {
  const trusting: Protocol = {
    commit: (window) => ({ watermark: window.watermark, metadata: JSON.stringify([...window.settledRuns()].flatMap((run) => [run.start, run.end])) }),
    restore(commit) {
      const numbers = (commit.metadata.match(/\d+/g) ?? []).map(Number);
      return numbers.flatMap((start, i) => (i % 2 === 0 ? [{ start, end: numbers[i + 1] ?? start }] : []));
    },
  };
  assertLoses(trusting, fc.nat(10_000));
});

test('twin: metadata read without the watermark it belongs to loses records', () => {
  let kept = '';
  const mixed: Protocol = {
    commit(window, maxBytes) {
      const text = window.encode(SCOPE, maxBytes);
      const commit = { watermark: window.watermark, metadata: kept };
      kept = text;
      return commit;
    },
    restore: (commit) => {
      // Relative runs laid onto another watermark: what `stale` prevents.
      for (let base = 0; base <= commit.watermark; base++) {
        const { settled } = decodeSettled(commit.metadata, { scope: SCOPE, watermark: base, end: Number.MAX_SAFE_INTEGER });
        if (settled.length > 0) return settled.map((run) => ({ start: run.start - base + commit.watermark, end: run.end - base + commit.watermark }));
      }
      return [];
    },
  };
  assertLoses(mixed, intact);
});

function ragged(count: number, watermark = 1_000_000): AcknowledgementWindow {
  const window = new AcknowledgementWindow(watermark);
  for (let i = 0; i < count; i++) {
    window.deliver(watermark + i);
    if (i % 2 === 1) window.settle(watermark + i);
  }
  return window;
}

function context(window: AcknowledgementWindow, change: Partial<DecodeContext> = {}): DecodeContext {
  return { scope: SCOPE, watermark: window.watermark, end: window.next, ...change };
}

test('a run of any length takes a few bytes', () => {
  const window = new AcknowledgementWindow(0);
  for (let offset = 0; offset < 1_000_000; offset++) {
    window.deliver(offset);
    if (offset > 0) window.settle(offset);
  }
  assert.equal(window.watermark, 0);
  assert.equal(window.unsettledCount, 1);
  assert.ok(window.encode(SCOPE).length < 20);
  assert.deepEqual(decodeSettled(window.encode(SCOPE), context(window)).settled, [{ start: 1, end: 1_000_000 }]);
});

test('what does not fit is left out from above, and fill tells before', () => {
  const small = ragged(1_000);
  assert.ok(small.fill() < 0.75);
  assert.deepEqual(decodeSettled(small.encode(SCOPE), context(small)).settled, [...small.settledRuns()]);
  assert.equal(small.encode(SCOPE).length, Math.round(small.fill() * METADATA_BYTES_MAX));

  const large = ragged(10_000);
  assert.ok(large.fill() > 1);
  const text = large.encode(SCOPE);
  assert.ok(text.length <= METADATA_BYTES_MAX && text.length > METADATA_BYTES_MAX - 8);
  const { settled } = decodeSettled(text, context(large));
  assert.deepEqual(settled, [...large.settledRuns()].slice(0, settled.length));
  assert.equal(new AcknowledgementWindow(7).fill(), 0);
});

test('metadata is ignored when it is not ours, damaged or of another state of the log', () => {
  const window = ragged(100);
  const text = window.encode(SCOPE);
  const { watermark, next } = window;
  assert.equal(decodeSettled(text, context(window)).ignored, undefined);
  assert.deepEqual(decodeSettled('', context(window)), { settled: [] });
  for (const foreign of ['{"offset":12}', '1', `2${text.slice(1)}`, text.slice(0, -1), `${text}AAAA`, '1'.repeat(5_000), '100000000']) {
    assert.deepEqual(decodeSettled(foreign, context(window)), { settled: [], ignored: 'foreign' }, foreign);
  }
  assert.equal(decodeSettled(text, context(window, { scope: 'log-b/0' })).ignored, 'foreign');
  assert.equal(decodeSettled(text, context(window, { watermark: watermark - 1 })).ignored, 'stale', 'the offset was reset');
  assert.equal(decodeSettled(text, context(window, { end: next - 1 })).ignored, 'stale', 'the log lost its end; new records would be skipped');
});

test('no text makes decoding throw or settle the watermark', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.base64String().map((text) => `1${text}`)), fc.nat(), (text, watermark) => {
      const { settled } = decodeSettled(text, { scope: SCOPE, watermark, end: Number.MAX_SAFE_INTEGER });
      assert.deepEqual(settled, []);
    }),
  );
});

test('offsets beyond 32 bits are kept whole', () => {
  const window = ragged(10, 2 ** 52);
  assert.deepEqual(decodeSettled(window.encode(SCOPE), context(window)).settled, [...window.settledRuns()]);
});

test('what is settled ahead is joined to its neighbours, and never what was delivered', () => {
  const window = new AcknowledgementWindow(5, [{ start: 8, end: 10 }]);
  window.deliver(5);
  for (const offset of [4, 5, 8, 9, NaN, 1.5]) assert.ok(!window.settleAhead(offset), `${offset}`);
  for (const offset of [12, 10, 7, 11]) assert.ok(window.settleAhead(offset), `${offset}`);
  assert.deepEqual([...window.settledRuns()], [{ start: 7, end: 13 }]);
  assert.deepEqual([6, 7, 10, 12, 13].map((offset) => window.deliver(offset)), [true, false, false, false, true]);
});

test('only so many runs ahead are remembered', () => {
  const window = new AcknowledgementWindow(0);
  let remembered = 0;
  for (let offset = 1; offset < 50_000; offset += 2) remembered += Number(window.settleAhead(offset));
  assert.equal(remembered, 10_000);
  assert.ok(window.settleAhead(2), 'one that joins two costs nothing');
});

test('an offset that does not ascend is refused', () => {
  const window = new AcknowledgementWindow(5);
  window.deliver(8);
  assert.throws(() => window.deliver(8), /delivered after 8/);
  assert.throws(() => new AcknowledgementWindow(5).deliver(4), RangeError);
});
