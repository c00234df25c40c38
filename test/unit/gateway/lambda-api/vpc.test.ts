/** VpcConfig through the REST API: kept, shown, changed and taken away. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { executionSpec, securityGroupsOf } from '../../../../platform/model/execution-spec.ts';
import { ACCOUNT, errorOf, openApi, REGION, type ApiUnderTest } from './api-under-test.ts';

const F = '/2015-03-31/functions';
const IN = { SubnetIds: ['subnet-2', 'subnet-1'], SecurityGroupIds: ['sg-2', 'sg-1'] };
const SHOWN = { ...IN, VpcId: 'vpc-00000000000000001', Ipv6AllowedForDualStack: false };
const OUT = { SubnetIds: [], SecurityGroupIds: [], VpcId: '', Ipv6AllowedForDualStack: false };
const COEXIST = '400 InvalidParameterValueException: SubnetIds and SecurityIds must coexist or be both empty list.';

let t: ApiUnderTest;
beforeEach(async () => {
  t = await openApi();
});
afterEach(() => t.close());

const shown = async (name: string): Promise<unknown> => (await t.call('GET', `${F}/${name}/configuration`)).body['VpcConfig'];
const change = async (name: string, VpcConfig: unknown, more: object = {}): Promise<unknown> => {
  const answer = await t.call('PUT', `${F}/${name}/configuration`, { VpcConfig, ...more });
  return answer.status === 200 ? answer.body['VpcConfig'] : errorOf(answer);
};

describe('VpcConfig', () => {
  test('is shown by every operation that shows a configuration, and decides the security groups of environments', async () => {
    assert.deepEqual((await t.create('f', { VpcConfig: IN, Publish: true })).body['VpcConfig'], SHOWN);
    assert.deepEqual(await shown('f'), SHOWN);
    const read = await t.call('GET', `${F}/f?Qualifier=1`);
    assert.deepEqual((read.body['Configuration'] as Record<string, unknown>)['VpcConfig'], SHOWN);
    const listed = await t.call('GET', F);
    assert.deepEqual((listed.body['Functions'] as Record<string, unknown>[])[0]?.['VpcConfig'], SHOWN);
    const record = await t.catalogue.get(ACCOUNT, 'f');
    assert.ok(record !== undefined);
    assert.deepEqual(securityGroupsOf(executionSpec(record, record.latest, REGION)), ['sg-1', 'sg-2']);
  });

  test('is not there where it was never given, and has empty members where it was taken away', async () => {
    const created = await t.create('f');
    assert.ok(!('VpcConfig' in created.body));
    await change('f', undefined, { Timeout: 4 });
    assert.equal(await shown('f'), undefined);
    assert.ok(!('vpc' in ((await t.catalogue.get(ACCOUNT, 'f'))?.latest.configuration ?? {})), 'its record is as the version before wrote it');
    assert.deepEqual(await change('f', IN), SHOWN);
    assert.deepEqual(await change('f', undefined, { Timeout: 5 }), SHOWN);
    assert.deepEqual(await change('f', { SubnetIds: [], SecurityGroupIds: [] }), OUT);
    assert.deepEqual(await shown('f'), OUT);
    const record = await t.catalogue.get(ACCOUNT, 'f');
    assert.ok(record !== undefined);
    assert.deepEqual(securityGroupsOf(executionSpec(record, record.latest, REGION)), []);
  });

  test('a published version keeps its own', async () => {
    await t.create('f', { VpcConfig: IN, Publish: true });
    await change('f', { SubnetIds: [], SecurityGroupIds: [] });
    assert.deepEqual((await t.call('GET', `${F}/f/configuration?Qualifier=1`)).body['VpcConfig'], SHOWN);
  });

  test('the lists go together', async () => {
    for (const VpcConfig of [{ SubnetIds: ['subnet-1'] }, { SecurityGroupIds: ['sg-1'] }, { ...IN, SubnetIds: [] }, { ...IN, SecurityGroupIds: [] }]) {
      assert.equal(errorOf(await t.create('refused', { VpcConfig })), COEXIST);
      assert.equal(await t.catalogue.get(ACCOUNT, 'refused'), undefined);
    }
    await t.create('f', { VpcConfig: IN });
    assert.equal(await change('f', { SecurityGroupIds: ['sg-3'] }), COEXIST);
    assert.deepEqual(await shown('f'), SHOWN);
  });

  test('Ipv6AllowedForDualStack stays where it is not given, and is nothing without a VPC', async () => {
    const words = '400 InvalidParameterValueException: Ipv6AllowedForDualStack cannot be true without subnet or security groups. Please remove Ipv6AllowedForDualStack value from your request and try again.';
    assert.equal(errorOf(await t.create('f', { VpcConfig: { Ipv6AllowedForDualStack: true } })), words);
    await t.create('f', { VpcConfig: { ...IN, Ipv6AllowedForDualStack: true } });
    assert.deepEqual(await change('f', { ...IN, SecurityGroupIds: ['sg-3'] }), { ...SHOWN, SecurityGroupIds: ['sg-3'], Ipv6AllowedForDualStack: true });
    assert.equal(await change('f', { SubnetIds: [], SecurityGroupIds: [] }), words);
    assert.deepEqual(await change('f', { Ipv6AllowedForDualStack: false }), { ...SHOWN, SecurityGroupIds: ['sg-3'] });
    assert.deepEqual(await change('f', { SubnetIds: [], SecurityGroupIds: [] }), OUT);
  });

  for (const [what, VpcConfig, message] of [
    ['a subnet that is none', { ...IN, SubnetIds: ['subnet-1', 'net-1'] }, "Value '[subnet-1, net-1]' at 'vpcConfig.subnetIds' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 1024, Member must have length greater than or equal to 0, Member must satisfy regular expression pattern: ^subnet-[0-9a-z]*$, Member must not be null]"],
    ['a security group that is none', { ...IN, SecurityGroupIds: ['mail'] }, "Value '[mail]' at 'vpcConfig.securityGroupIds' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 63, Member must have length greater than or equal to 4, Member must satisfy regular expression pattern: ^sg-[0-9a-z]*$, Member must not be null]"],
    ['17 subnets', { ...IN, SubnetIds: Array.from({ length: 17 }, () => 'subnet-1') }, `Value '[${Array.from({ length: 17 }, () => 'subnet-1').join(', ')}]' at 'vpcConfig.subnetIds' failed to satisfy constraint: Member must have length less than or equal to 16`],
    ['six security groups', { ...IN, SecurityGroupIds: Array.from({ length: 6 }, () => 'sg-1') }, `Value '[${Array.from({ length: 6 }, () => 'sg-1').join(', ')}]' at 'vpcConfig.securityGroupIds' failed to satisfy constraint: Member must have length less than or equal to 5`],
  ] as const) {
    test(`refuses ${what}`, async () => {
      assert.equal(errorOf(await t.create('refused', { VpcConfig })), `400 ValidationException: 1 validation error detected: ${message}`);
    });
  }

  test('a counter-test: 16 subnets and five security groups are taken', async () => {
    const VpcConfig = { SubnetIds: Array.from({ length: 16 }, (_, n) => `subnet-${n}`), SecurityGroupIds: Array.from({ length: 5 }, (_, n) => `sg-${n}${'0'.repeat(59)}`) };
    assert.equal((await t.create('full', { VpcConfig })).status, 201);
  });
});
