import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { FunctionConfiguration } from '@aws-sdk/client-lambda';
import { configurationChange, configurationOf, hasArchitecture } from '../../../cli/deploy/configuration-change.ts';
import type { ContainerImage, FunctionPlan, FunctionSettings, ZipPackage } from '../../../cli/deploy/plan.ts';

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

const OPEN: FunctionSettings & ZipPackage = {
  name: 'f',
  packageType: 'Zip',
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
  vpc: undefined,
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

  it('puts a function into a VPC, changes it and takes it out, and compares its lists as sets', () => {
    const vpc = { subnetIds: ['subnet-1', 'subnet-2'], securityGroupIds: ['sg-1', 'sg-2'], ipv6AllowedForDualStack: false };
    const none = { subnetIds: [], securityGroupIds: [], ipv6AllowedForDualStack: false };
    const inVpc: FunctionConfiguration = { ...CURRENT, VpcConfig: { SubnetIds: ['subnet-2', 'subnet-1'], SecurityGroupIds: ['sg-2', 'sg-1'], VpcId: 'vpc-1', Ipv6AllowedForDualStack: false } };
    const asked = { SubnetIds: vpc.subnetIds, SecurityGroupIds: vpc.securityGroupIds, Ipv6AllowedForDualStack: false };
    assert.deepEqual(configurationChange({ ...OPEN, vpc }, CURRENT), { VpcConfig: asked });
    assert.equal(configurationChange({ ...OPEN, vpc }, inVpc), undefined);
    assert.deepEqual(configurationChange({ ...OPEN, vpc: { ...vpc, ipv6AllowedForDualStack: true } }, inVpc), { VpcConfig: { ...asked, Ipv6AllowedForDualStack: true } });
    assert.deepEqual(configurationChange({ ...OPEN, vpc: { ...vpc, securityGroupIds: ['sg-1'] } }, inVpc), { VpcConfig: { ...asked, SecurityGroupIds: ['sg-1'] } });
    assert.deepEqual(configurationChange({ ...OPEN, vpc: none }, inVpc), { VpcConfig: { SubnetIds: [], SecurityGroupIds: [], Ipv6AllowedForDualStack: false } });
    for (const current of [CURRENT, { ...CURRENT, VpcConfig: { SubnetIds: [], SecurityGroupIds: [], VpcId: '', Ipv6AllowedForDualStack: false } }]) assert.equal(configurationChange({ ...OPEN, vpc: none }, current), undefined);
    assert.equal(configurationChange(OPEN, inVpc), undefined, 'a folder says nothing of it');
    // A new function: what it is to be in no VPC need not be said.
    assert.deepEqual([configurationOf({ ...OPEN, vpc }).VpcConfig, configurationOf({ ...OPEN, vpc: none }).VpcConfig], [asked, undefined]);
  });

  it('puts an image\'s own back where the plan says nothing in its place, and never a runtime or a handler', () => {
    const { Runtime: _runtime, Handler: _handler, ...settings } = CURRENT;
    const { runtime: _, handler: __, code: ___, ...open } = OPEN;
    const own = { entryPoint: undefined, command: undefined, workingDirectory: undefined };
    const image = (imageConfig: Partial<ContainerImage['imageConfig']> = {}): FunctionPlan => ({ ...open, packageType: 'Image', imageUri: 'team/f:1', imageConfig: { ...own, ...imageConfig } });
    const started: FunctionConfiguration = { ...settings, ImageConfigResponse: { ImageConfig: { EntryPoint: ['/run'], Command: ['app.handler'] } } };
    assert.equal(configurationChange(image(), settings), undefined);
    assert.equal(configurationChange(image({ entryPoint: ['/run'], command: ['app.handler'] }), started), undefined);
    assert.deepEqual(configurationChange(image({ entryPoint: ['/run'] }), started), { ImageConfig: { EntryPoint: ['/run'] } });
    assert.deepEqual(configurationChange(image({ command: ['a', 'b'] }), { ...started, ImageConfigResponse: { ImageConfig: { Command: ['b', 'a'] } } }), { ImageConfig: { Command: ['a', 'b'] } });
    assert.deepEqual(configurationChange(image(), started), { ImageConfig: {} });
    assert.deepEqual([configurationOf(image()), configurationOf(image({ workingDirectory: '/app' }))], [{}, { ImageConfig: { WorkingDirectory: '/app' } }]);
  });

  it('is none of the architecture, which goes with the code', () => {
    const current: FunctionConfiguration = { ...CURRENT, Architectures: ['x86_64'] };
    assert.deepEqual([undefined, 'x86_64', 'arm64'].map((architecture) => hasArchitecture({ ...OPEN, architecture: architecture as FunctionSettings['architecture'] }, current)), [true, true, false]);
    assert.equal(configurationChange({ ...OPEN, architecture: 'arm64' }, current), undefined);
  });
});
