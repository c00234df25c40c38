import assert from 'node:assert/strict';
import { test } from 'node:test';
import { targetVersion } from '../../../gateway/invoke/target.ts';
import type { FunctionRecord } from '../../../platform/model/function.ts';

const record = {
  publishedVersions: [{ version: '1', revisionId: 'r1' }, { version: '2', revisionId: 'r2' }],
  aliases: [
    { name: 'live', functionVersion: '1', description: '', additionalVersionWeights: { 2: 0.25 }, revisionId: 'x' },
    { name: 'plain', functionVersion: '2', description: '', additionalVersionWeights: {}, revisionId: 'y' },
  ],
} as unknown as FunctionRecord;

const never = (): number => {
  throw new Error('no randomness is needed here');
};

test('no qualifier and $LATEST mean $LATEST', () => {
  assert.equal(targetVersion(record, undefined, never), '$LATEST');
  assert.equal(targetVersion(record, '$LATEST', never), '$LATEST');
});

test('a number means that version if it was published', () => {
  assert.equal(targetVersion(record, '2', never), '2');
  assert.equal(targetVersion(record, '3', never), undefined);
});

test('an alias means its version; an unknown one nothing', () => {
  assert.equal(targetVersion(record, 'plain', never), '2');
  assert.equal(targetVersion(record, 'absent', never), undefined);
});

test('a weighted alias picks the second version below its weight', () => {
  assert.equal(targetVersion(record, 'live', () => 0.2499), '2');
  assert.equal(targetVersion(record, 'live', () => 0.25), '1');
});
