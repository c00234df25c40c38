/** Settings in the chart's values: Helm takes what the processes take at their start, and refuses what they would refuse, with the setting's name. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { decimalPattern, reservedSettings, settingSchemas, valueSchema, type ValueSchema } from '../../../docs/chart-schema.ts';
import type { Setting } from '../../../platform/configuration/setting.ts';
import { readSettings, SETTINGS } from '../../../platform/configuration/settings.ts';
import { workerVariables } from '../../../platform/worker-pool/kubernetes/manifests.ts';
import { helm, mainContainer, podOf, readChart, render, trackedFiles, variable, withoutHelm, withValues, type Values } from './rendering.ts';

const ALL: readonly Setting<unknown>[] = Object.values(SETTINGS);
const schemas = settingSchemas();
const FREE = ALL.filter((setting) => schemas.get(setting.variable) !== false);

/** As a process reads it: an empty value is the default. */
function isTaken({ parse }: Setting<unknown>, text: string): boolean {
  try {
    if (text !== '') parse(text);
    return true;
  } catch {
    return false;
  }
}

/** What JSON Schema says of a value, as far as these schemas go. */
function fits(schema: ValueSchema | undefined, value: string | number): boolean {
  if (schema === undefined || schema === false) return false;
  if ('enum' in schema) return schema.enum.includes(String(value)) && typeof value === 'string';
  if (typeof value === 'string') return schema.type.includes('string') && new RegExp(schema.pattern ?? '').test(value);
  return schema.type.includes('integer') && Number.isInteger(value) && value >= (schema.minimum ?? value) && value <= (schema.maximum ?? value);
}

/** Texts about which a schema and a parser could differ. */
function candidates({ form, defaultText }: Setting<unknown>): readonly string[] {
  const any = ['', ' ', '0', '7', '-1', '1.5', '1e3', '0x10', 'true', 'on', 'off', 'a', 'A', 'é', 'a b', 'a/b', 'a,b', '000000000000', '123456789012', '1234567890123', 'us-east-1', 'x'.repeat(21), 'x'.repeat(51), 'x'.repeat(101), defaultText, `${defaultText}x`];
  if (form.kind === 'choice') return [...any, ...form.choices, ...form.choices.map((choice) => choice.toUpperCase())];
  if (form.kind === 'integer') return [...any, ...[form.min, form.max].flatMap((bound) => [bound - 1, bound, bound + 1, bound * 10].flatMap((number) => [String(number), `00${number}`]))];
  return any;
}

describe('settings in the schema of the chart\'s values', () => {
  test('every setting that there is stands there, and no other', () => {
    const { definitions } = JSON.parse(readChart('values.schema.json')) as { definitions: { settings: { additionalProperties: unknown; properties: Readonly<Record<string, unknown>> } } };
    assert.deepEqual(Object.keys(definitions.settings.properties), ALL.map((setting) => setting.variable));
    assert.deepEqual(definitions.settings.properties, Object.fromEntries(schemas));
    assert.equal(definitions.settings.additionalProperties, false);
  });

  test('those that the chart itself sets are refused, all of which exist', () => {
    const templates = trackedFiles('charts/sluice/templates').map((file) => readChart(file.replace('charts/sluice/', ''))).join('\n');
    const named = new Set([...templates.matchAll(/\bSLUICE_[A-Z0-9_]+\b/g)].map(([name]) => name));
    // A comment names one that Kubernetes would set; the others are read from the free settings for other purposes.
    for (const name of ['SLUICE_GATEWAY_SERVICE_HOST', 'SLUICE_REGION', 'SLUICE_ACCOUNT', 'SLUICE_KEEP_ALIVE_MIN_MS', 'SLUICE_KEEP_ALIVE_MAX_MS', 'SLUICE_TOPIC_REPLICATION', 'SLUICE_TOPIC_MIN_INSYNC', 'SLUICE_KAFKA_SESSION_MS']) assert.ok(named.delete(name), name);
    const reserved = reservedSettings();
    assert.deepEqual([...named].filter((name) => !reserved.has(name)), []);
    assert.deepEqual([...reserved].filter((name) => !ALL.some((setting) => setting.variable === name)), []);
    // Of the image, which knows its own folders and ports, and nobody else's business.
    const ofImage = ['SLUICE_HOST', 'SLUICE_PORT', 'SLUICE_DATA', 'SLUICE_CACHE_DIR', 'SLUICE_PYTHON', 'SLUICE_INTERNAL_HOST', 'SLUICE_INTERNAL_PORT'];
    // Of the controller, which adds them to the template.
    const ofPool = [...workerVariables({ configMap: 'workers', environmentsPerPod: 1 }, 'nodejs').map(({ name }) => name), 'SLUICE_REHEARSE', 'SLUICE_CONTAINER_RUNTIME_PORT', 'SLUICE_CONTAINER_LOG_STREAM'];
    assert.deepEqual([...reserved].filter((name) => !named.has(name)).toSorted(), [...new Set([...ofImage, ...ofPool])].filter((name) => !named.has(name)).toSorted());
    for (const { variable: name } of ALL.filter((setting) => setting.secret === true)) assert.equal(schemas.get(name), false, name);
  });

  for (const setting of ALL) {
    test(`${setting.variable}: the schema takes what the process takes`, () => {
      const schema = valueSchema(setting.form);
      for (const text of candidates(setting)) {
        assert.equal(fits(schema, text), isTaken(setting, text), JSON.stringify(text));
        // A number is written out by the chart. Few texts are numbers, and those with very many digits are none of JSON's.
        if (/^(0|[1-9]\d{0,14})$/.test(text)) assert.equal(fits(schema, Number(text)), isTaken(setting, text), text);
      }
    });
  }

  test('a pattern of numbers has those from its first to its last, and no others', () => {
    const bound = fc.oneof(fc.nat(2_000), fc.nat(1_000_000_000), fc.integer({ min: 0, max: 12 }).map((digits) => 10 ** digits));
    fc.assert(
      fc.property(bound, bound, bound, fc.integer({ min: 0, max: 3 }), (one, other, number, zeros) => {
        const [min, max] = [Math.min(one, other), Math.max(one, other)];
        const pattern = new RegExp(`^${decimalPattern(min, max)}$`);
        for (const candidate of [number, min - 1, min, max, max + 1]) assert.equal(pattern.test('0'.repeat(zeros) + candidate), candidate >= min && candidate <= max, `${candidate} of ${min} to ${max}: ${pattern.source}`);
      }),
      { numRuns: 2_000 },
    );
    for (const wrong of ['', '-1', '1.5', '1e3', ' 1', '1 ', '0x1', '١']) assert.ok(!new RegExp(`^${decimalPattern(0, 1_000)}$`).test(wrong), wrong);
  });
});

/** A value that no process takes, for each setting that is free. */
function wrongValue({ form }: Setting<unknown>): string | number {
  if (form.kind === 'integer') return form.max + 1;
  return form.kind === 'choice' ? 'trace' : 'no such é value';
}

const REFUSED: readonly (readonly [what: string, values: Values, said: RegExp])[] = [
  ['a level of the log that there is none of', { settings: { SLUICE_LOG_LEVEL: 'trace' } }, /settings[./]SLUICE_LOG_LEVEL.*debug/],
  ['a misspelt setting', { settings: { SLUICE_LOGLEVEL: 'info' } }, /settings.*SLUICE_LOGLEVEL/],
  ['one in small letters', { settings: { sluice_log_level: 'info' } }, /settings.*sluice_log_level/],
  ['a misspelt setting of workers', { functions: { settings: { SLUICE_PROT: 1 } } }, /functions[./]settings.*SLUICE_PROT/],
  ['too small a number', { settings: { SLUICE_PARTITIONS: 0 } }, /settings[./]SLUICE_PARTITIONS/],
  ['too large a number, as text', { settings: { SLUICE_PARTITIONS: '513' } }, /settings[./]SLUICE_PARTITIONS/],
  ['a fraction', { settings: { SLUICE_PARTITIONS: 1.5 } }, /settings[./]SLUICE_PARTITIONS/],
  ['a truth', { settings: { SLUICE_PARTITIONS: true } }, /settings[./]SLUICE_PARTITIONS/],
  ['an account that YAML takes for a number and robs of its zeros', { settings: { SLUICE_ACCOUNT: 12 } }, /settings[./]SLUICE_ACCOUNT/],
  ['a secret', { settings: { SLUICE_SECRET: 'x'.repeat(32) } }, /settings[./]SLUICE_SECRET/],
  ['a setting of the chart\'s', { functions: { settings: { SLUICE_CONTROLLERS: 'http://a:1' } } }, /functions[./]settings[./]SLUICE_CONTROLLERS/],
  ['a setting of the pool\'s', { functions: { settings: { SLUICE_CONTAINER_RUNTIME_PORT: 9001 } } }, /functions[./]settings[./]SLUICE_CONTAINER_RUNTIME_PORT/],
  ['two that contradict each other', { settings: { SLUICE_KEEP_ALIVE_MIN_MS: 2_000, SLUICE_KEEP_ALIVE_MAX_MS: '01000' } }, /settings: SLUICE_KEEP_ALIVE_MAX_MS=1000 is below SLUICE_KEEP_ALIVE_MIN_MS=2000/],
  ['two for workers that do', { settings: { SLUICE_KEEP_ALIVE_MIN_MS: 2_000 }, functions: { settings: { SLUICE_KEEP_ALIVE_MAX_MS: 1_000 } } }, /functions\.settings, over settings: SLUICE_KEEP_ALIVE_MAX_MS=1000 is below/],
  ['copies on the one bundled broker', { settings: { SLUICE_TOPIC_REPLICATION: 3 } }, /settings\.SLUICE_TOPIC_REPLICATION=3: the bundled Kafka is one broker/],
  ['copies that have to be in step on it', { settings: { SLUICE_TOPIC_MIN_INSYNC: '2' } }, /settings\.SLUICE_TOPIC_MIN_INSYNC=2: the bundled Kafka/],
  ['a session shorter than the bundled Kafka takes', { settings: { SLUICE_KAFKA_SESSION_MS: 5_999 } }, /settings\.SLUICE_KAFKA_SESSION_MS=5999: the bundled Kafka/],
];

describe('settings that Helm is given', { skip: withoutHelm }, () => {
  const said = (command: 'template' | 'lint', args: readonly string[]): string => {
    const outcome = helm(command, args);
    assert.equal(outcome.ok, false, args.join(' '));
    return outcome.said.replaceAll('\n', ' ');
  };

  for (const [what, values, expected] of REFUSED) {
    test(`are refused: ${what}`, () => {
      assert.match(withValues(values, (args) => said('template', args)), expected);
    });
  }

  test('are refused on the command line and by the linter alike', () => {
    for (const command of ['template', 'lint'] as const) {
      assert.match(said(command, ['--set', 'settings.SLUICE_LOG_LEVEL=trace']), /SLUICE_LOG_LEVEL/);
      assert.match(said(command, ['--set', 'settings.SLUICE_PARTITIONS=513']), /SLUICE_PARTITIONS/);
      assert.match(said(command, ['--set-string', 'settings.SLUICE_PARTITIONS=513']), /SLUICE_PARTITIONS/);
    }
  });

  test('are refused each by its name, whichever they are', () => {
    const all = withValues({ settings: Object.fromEntries(FREE.map((setting) => [setting.variable, wrongValue(setting)])), functions: { settings: Object.fromEntries([...reservedSettings()].map((name) => [name, 'x'])) } }, (args) => said('template', args));
    for (const { variable: name } of ALL) assert.match(all, new RegExp(`settings[./]${name}\\b`));
  });

  // Helm's patterns are Go's, which are not quite JavaScript's.
  for (const [form, written] of [['numbers', (text: string): unknown => (/^\d{1,15}$/.test(text) && !/^0\d/.test(text) ? Number(text) : text)], ['texts', String], ['nothing', (): unknown => '']] as const) {
    test(`are taken as ${form}, by their default and at their bounds, and reach the processes as such`, () => {
      const bounds = (setting: Setting<unknown>): readonly string[] => {
        // With the bundled Kafka these have no other value.
        if (['SLUICE_TOPIC_REPLICATION', 'SLUICE_TOPIC_MIN_INSYNC'].includes(setting.variable)) return ['1'];
        if (setting.variable === 'SLUICE_KAFKA_SESSION_MS') return ['6000', '300000'];
        if (setting.form.kind === 'integer') return [String(setting.form.min), String(setting.form.max)];
        return setting.form.kind === 'choice' ? setting.form.choices : [setting.defaultText, ...(setting.variable === 'SLUICE_ACCOUNT' ? ['123456789012'] : [])];
      };
      for (const pick of [(setting: Setting<unknown>) => bounds(setting)[0], (setting: Setting<unknown>) => bounds(setting).at(-1)]) {
        const given = FREE.map((setting): [string, string] => [setting.variable, pick(setting) ?? '']);
        const settings = Object.fromEntries(given.map(([name, text]) => [name, written(text)]));
        const gateway = mainContainer(podOf(render({ settings }), 'gateway'));
        const environment = Object.fromEntries(given.map(([name]) => [name, variable(gateway, name) ?? 'missing']));
        if (form !== 'nothing') assert.deepEqual(environment, Object.fromEntries(given));
        assert.doesNotThrow(() => readSettings(environment));
      }
    });
  }

  test('the shortest and longest keep-alive are compared with the defaults of the code', () => {
    const { keepAliveMinMs: { defaultText: min }, keepAliveMaxMs: { defaultText: max } } = SETTINGS;
    for (const settings of [{ SLUICE_KEEP_ALIVE_MIN_MS: Number(max) }, { SLUICE_KEEP_ALIVE_MAX_MS: min }, { SLUICE_KEEP_ALIVE_MIN_MS: 0, SLUICE_KEEP_ALIVE_MAX_MS: 0 }]) {
      assert.ok(render({ settings }).length > 15);
      assert.doesNotThrow(() => readSettings(Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, String(value)]))));
    }
    for (const [name, value] of [['SLUICE_KEEP_ALIVE_MIN_MS', Number(max) + 1], ['SLUICE_KEEP_ALIVE_MAX_MS', Number(min) - 1]] as const) {
      assert.match(withValues({ settings: { [name]: value } }, (args) => said('template', args)), /is below/);
      assert.throws(() => readSettings({ [name]: String(value) }), /is below/);
    }
  });

  test('what the bundled Kafka has no room for, one\'s own may', () => {
    const kafka = { bundled: { enabled: false }, brokers: ['a:1', 'b:1', 'c:1'] };
    assert.ok(render({ kafka, settings: { SLUICE_TOPIC_REPLICATION: 3, SLUICE_TOPIC_MIN_INSYNC: 2, SLUICE_KAFKA_SESSION_MS: 2_000 } }).length > 10);
  });
});
