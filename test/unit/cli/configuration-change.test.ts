import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { FunctionConfiguration } from '@aws-sdk/client-lambda';
import { configurationChange } from '../../../cli/deploy/configuration-change.ts';
import type { FunctionPlan } from '../../../cli/deploy/plan.ts';

const CURRENT: FunctionConfiguration = {
  Runtime: 'nodejs24.x',
  Handler: 'index.handler',
  Role: 'arn:aws:iam::000000000000:role/r',
  Description: '',
  MemorySize: 128,
  Timeout: 3,
  EphemeralStorage: { Size: 512 },
  Environment: { Variables: { B: '2', A: '1' } },
  TracingConfig: { Mode: 'PassThrough' },
};

const OPEN: FunctionPlan = {
  name: 'f',
  runtime: 'nodejs24.x',
  handler: 'index.handler',
  role: undefined,
  description: undefined,
  memoryMiB: undefined,
  timeoutSec: undefined,
  ephemeralStorageMiB: undefined,
  environment: undefined,
  tracingMode: undefined,
  architecture: undefined,
  tags: {},
  code: { kind: 'folder', path: '/' },
};

describe('a change of configuration', () => {
  it('is none where the plan leaves all open, or says what is already so', () => {
    assert.equal(configurationChange(OPEN, CURRENT), undefined);
    const same: FunctionPlan = { ...OPEN, description: '', memoryMiB: 128, timeoutSec: 3, ephemeralStorageMiB: 512, environment: { A: '1', B: '2' }, tracingMode: 'PassThrough', role: CURRENT.Role };
    assert.equal(configurationChange(same, CURRENT), undefined);
    const { Environment: _environment, Description: _description, ...bare } = CURRENT;
    assert.equal(configurationChange({ ...OPEN, environment: {}, description: '' }, bare), undefined);
  });

  it('holds only what differs', () => {
    assert.deepEqual(configurationChange({ ...OPEN, memoryMiB: 256, timeoutSec: 3, environment: { A: '1' } }, CURRENT), { MemorySize: 256, Environment: { Variables: { A: '1' } } });
    assert.deepEqual(configurationChange({ ...OPEN, handler: 'app.handler' }, CURRENT), { Handler: 'app.handler' });
  });
});
