import assert from 'node:assert/strict';
import { test } from 'node:test';
import { selfTimes } from '../../bench/profile.ts';
import { isReached, renderMarkdown, renderText, type Report } from '../../bench/report.ts';
import { median, percentile } from '../../bench/statistics.ts';

const report: Report = {
  takenAt: '2026-01-02T03:04:05.000Z',
  machine: { cpu: 'some processor', cores: 2, memoryGiB: 8, node: 'v24.0.0', platform: 'linux x64' },
  tables: [
    {
      title: 'Warm',
      columns: [{ title: 'p50', digits: 2, unit: 'ms' }, { title: 'rate', digits: 0, unit: '/s' }],
      rows: [{ name: 'floor', values: [0.1, 12_000] }, { name: 'a long name', values: [0.25, undefined] }],
    },
  ],
  targets: [
    { what: 'p50', value: 0.25, unit: 'ms', bound: 'at most', limit: 0.8 },
    { what: 'rate', value: 2_999, unit: 'per s', bound: 'at least', limit: 3_000 },
  ],
  notes: [],
  failures: ['peer: not there'],
};

test('percentiles lie between their neighbours', () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  assert.equal(percentile([0, 10], 0.95), 9.5);
  assert.ok(Number.isNaN(median([])));
});

test('a target knows on which side of its limit it is reached', () => {
  assert.deepEqual(report.targets.map(isReached), [true, false]);
});

test('the terminal table is aligned and says what is missing', () => {
  const lines = renderText(report).split('\n');
  const table = lines.slice(2, 6);
  assert.deepEqual(table, ['Warm             p50       rate', '───────────  ───────  ─────────', 'floor        0.10 ms  12,000 /s', 'a long name  0.25 ms          –']);
  assert.ok(lines.some((line) => line.startsWith('  missed') && line.includes('2,999 per s (at least 3,000 per s)')));
  assert.ok(lines.includes('  peer: not there'));
});

test('the page has the same rows', () => {
  const page = renderMarkdown(report);
  assert.match(page, /\| floor \| 0\.10 ms \| 12,000 \/s \|\n\| a long name \| 0\.25 ms \| – \|/);
  assert.match(page, /- ❌ rate: 2,999 per s/);
});

test('self time adds up per function and leaves idling out', () => {
  const frame = (functionName: string, url = '', lineNumber = -1) => ({ functionName, url, lineNumber });
  const nodes = [
    { id: 1, callFrame: frame('(idle)') },
    { id: 2, callFrame: frame('turn', 'file:///somewhere/sluice/controller/scheduler/turn.ts', 9) },
    { id: 3, callFrame: frame('write') },
  ];
  assert.deepEqual(selfTimes({ nodes, samples: [1, 2, 3, 2], timeDeltas: [9_000, 1_000, 1_000, 2_000] }), [
    { where: 'turn  controller/scheduler/turn.ts:10', ms: 3, share: 0.75 },
    { where: 'write', ms: 1, share: 0.25 },
  ]);
});
