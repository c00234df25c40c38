/** What may be put into the chart's values: the schema, the descriptions, and what is refused. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isMap, parse, parseDocument } from 'yaml';
import { chartValues } from '../../../docs/generate.ts';
import { stringViolations } from '../../../gateway/lambda-api/rest-json/violations.ts';
import { SETTINGS } from '../../../platform/configuration/settings.ts';
import { RUNTIMES } from '../../../platform/model/runtimes.ts';
import { helm, readChart, render, withoutHelm, withValues, type Values } from './rendering.ts';

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: boolean | Schema;
  readonly $ref?: string;
  readonly patternProperties?: Readonly<Record<string, Schema>>;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly enum?: readonly string[];
  readonly definitions?: Readonly<Record<string, Schema>>;
}
const schema = JSON.parse(readChart('values.schema.json')) as Schema;
const defaults = parse(readChart('values.yaml')) as Values;
const resolve = (at: Schema | undefined): Schema => (at?.$ref === undefined ? at ?? {} : schema.definitions?.[at.$ref.replace('#/definitions/', '')] ?? {});
const below = (...path: readonly string[]): Schema => path.reduce((at, name) => resolve(at.properties?.[name]), schema);

describe('values.yaml, its schema and its descriptions', () => {
  test('the schema knows exactly the values that there are, and no others', () => {
    const compare = (at: Schema, values: Values, path: string): void => {
      if (at.properties === undefined || at.patternProperties !== undefined) return;
      const known = Object.keys(at.properties).filter((name) => path !== '' || name !== 'global');
      // Parts of a value that has no parts by default, and settings, which have their defaults elsewhere.
      if (Object.keys(values).length === 0 || path.endsWith('resources') || path.endsWith('settings')) return;
      assert.deepEqual(known.toSorted(), Object.keys(values).toSorted(), path);
      for (const name of known) {
        const value = values[name];
        if (typeof value === 'object' && value !== null && !Array.isArray(value)) compare(resolve(at.properties[name]), value as Values, `${path}.${name}`);
      }
    };
    assert.equal(schema.additionalProperties, false);
    compare(schema, defaults, '');
  });

  test('every object in the schema is closed, or says what is in it', () => {
    const open = (at: Schema, path: string): readonly string[] => Object.entries(at.properties ?? {}).flatMap(([name, one]) => [...(one.properties !== undefined && one.additionalProperties !== false ? [`${path}.${name}`] : []), ...open(one, `${path}.${name}`)]);
    assert.deepEqual(open(schema, ''), []);
  });

  test('every value has a description', () => {
    const { contents } = parseDocument(readChart('values.yaml'));
    assert.ok(isMap(contents));
    const rows = chartValues(contents, []);
    assert.ok(rows.length > 100);
    assert.deepEqual(rows.filter(({ description }) => description === undefined || !/^[^|]+$/.test(description) || !/[.)]$/.test(description)), []);
    // The twin: one without is seen.
    const bare = parseDocument('a:\n  b: 1\n  # -- Said.\n  c: 2\n').contents;
    assert.deepEqual(isMap(bare) ? chartValues(bare, []) : [], [{ path: 'a.b', value: 1, description: undefined }, { path: 'a.c', value: 2, description: 'Said.' }]);
  });

  test('families of runtimes and bounds are the code\'s', () => {
    assert.deepEqual(Object.keys(below('functions', 'warmPods').properties ?? {}).sort(), [...new Set(RUNTIMES.map(({ family }) => family))].sort());
    const bounds = { warmPodMemoryMiB: 'SLUICE_WARM_POD_MEMORY_MIB', maxPods: 'SLUICE_MAX_PODS', maxStartingPods: 'SLUICE_MAX_STARTING_PODS', environmentsPerWorker: 'SLUICE_ENVIRONMENTS_PER_WORKER', stopPatienceMs: 'SLUICE_STOP_PATIENCE_MS' };
    for (const [name, variable] of Object.entries(bounds)) {
      const setting = Object.values(SETTINGS).find((one) => one.variable === variable);
      if (setting === undefined) continue;
      const { minimum = NaN, maximum = NaN } = below('functions', name);
      for (const within of [minimum, maximum]) assert.doesNotThrow(() => setting.parse(String(within)), `${variable} ${within}`);
      for (const outside of [minimum - 1, maximum + 1]) assert.throws(() => setting.parse(String(outside)), /give a whole number/, `${variable} ${outside}`);
    }
    assert.deepEqual(below('kafka', 'sasl', 'mechanism').enum?.filter((mechanism) => SETTINGS.kafkaSasl.parse(mechanism) !== mechanism), []);
  });

  test('a security group may have the ids that the API takes, and no others', () => {
    const [pattern = ''] = Object.keys(below('functions', 'securityGroups').patternProperties ?? {});
    const ids = ['sg-', 'sg-0', 'sg-0a1b2c3d4e5f60718', `sg-${'a'.repeat(60)}`, `sg-${'a'.repeat(61)}`, 'sg-A', 'sg-a-b', 'sg-a.b', 'xsg-a', 'a', ''];
    const taken = ids.filter((id) => new RegExp(pattern).test(id));
    assert.deepEqual(taken, ids.filter((id) => stringViolations('SecurityGroupId', '', id).length === 0));
    assert.equal(taken.length, 3);
  });
});

/** Values, what is wrong with them, and what Helm must say. */
const REFUSED: readonly (readonly [what: string, values: Values, said: RegExp])[] = [
  ['an unknown name', { gatway: {} }, /gatway/],
  ['an unknown name below', { gateway: { replica: 3 } }, /replica/],
  ['a number as text', { gateway: { replicas: 'three' } }, /replicas/],
  ['a runtime that there is none of', { functions: { warmPods: { cobol: 1 } } }, /warmPods/],
  ['too little memory', { functions: { warmPodMemoryMiB: 64 } }, /warmPodMemoryMiB/],
  ['a gateway that is killed before its callers are answered', { gateway: { terminationGracePeriodSeconds: 30 } }, /terminationGracePeriodSeconds/],
  ['credentials in an address', { s3: { url: 'https://key:secret@s3.example.com' } }, /url/],
  ['a broker without a port', { kafka: { brokers: ['kafka'] } }, /brokers/],
  ['a file\'s name for its text', { s3: { ca: 'ca.pem' } }, /ca/],
  ['a key where a certificate belongs', { redis: { ca: '-----BEGIN PRIVATE KEY-----' } }, /ca/],
  ['a size that is none', { kafka: { bundled: { size: '8 GB' } } }, /size/],
  ['a peer that is none', { networkPolicy: { clientsFrom: [{ cidr: '0.0.0.0/0' }] } }, /clientsFrom/],
  ['a security group whose id is none', { functions: { securityGroups: { mail: [] } } }, /mail/],
  ['one with capitals', { functions: { securityGroups: { 'sg-A': [] } } }, /sg-A/],
  ['a rule that would allow everything, misspelt', { functions: { securityGroups: { 'sg-1': [{ too: [] }] } } }, /too/],
  ['functions by name', { functions: { egress: [{ name: 'mail', functions: ['mailer'], egress: [] }] } }, /egress/],
  ['a namespace that is none', { functions: { namespace: 'a.b' } }, /functions[./]namespace/],
  ['worker pods beside the rest', { functions: { namespace: 'here' } }, /need a namespace of their own/],
  ['two Kafkas', { kafka: { brokers: ['a:9092'] } }, /set kafka\.bundled\.enabled=false/],
  ['no Kafka', { kafka: { bundled: { enabled: false } } }, /needs kafka\.brokers/],
  ['TLS to the bundled Kafka', { kafka: { tls: { enabled: true } } }, /neither TLS nor SASL/],
  ['two S3 servers', { s3: { url: 'https://s3.example.com' } }, /set s3\.bundled\.enabled=false/],
  ['an S3 server without keys', { s3: { bundled: { enabled: false }, url: 'https://s3.example.com' } }, /s3\.existingSecret/],
  ['two Redises', { redis: { url: 'redis://a:1' } }, /set redis\.bundled\.enabled=false/],
  ['no Redis', { redis: { bundled: { enabled: false } } }, /needs redis\.url/],
  ['SASL without a name', { kafka: { bundled: { enabled: false }, brokers: ['a:1'], sasl: { mechanism: 'plain' } } }, /needs kafka\.sasl\.existingSecret/],
  ['an Ingress for nobody', { gateway: { ingress: { enabled: true } } }, /gateway\.ingress\.host/],
  ['a certificate by nobody', { gateway: { ingress: { enabled: true, host: 'a.example.com' }, certificate: { enabled: true } } }, /issuerRef\.name/],
  ['a route from nowhere', { gateway: { httpRoute: { enabled: true } } }, /parentRefs/],
];

describe('what the chart refuses', { skip: withoutHelm }, () => {
  for (const [what, values, said] of REFUSED) {
    test(what, () => {
      const outcome = withValues(values, (args) => helm('template', args));
      assert.equal(outcome.ok, false);
      assert.match(outcome.said.replaceAll('\n', ' '), said);
    });
  }

  test('a counter-test: the same with the mistake mended is rendered', () => {
    for (const values of [
      { gateway: { replicas: 3 }, settings: { SLUICE_LOG_LEVEL: 'info', SLUICE_PARTITIONS: 8 } },
      { s3: { bundled: { enabled: false }, url: 'https://s3.example.com', existingSecret: 'mine' } },
      { kafka: { bundled: { enabled: false }, brokers: ['a:1'], sasl: { mechanism: 'plain', existingSecret: 'kafka' } }, global: { anything: 1 } },
    ]) assert.ok(render(values).length > 15);
  });
});
