/**
 * What the chart's values.schema.json says of settings, made from the table that the processes read them by: what a process would refuse at its start, Helm refuses before anything is installed. The
 * rest of that file is written by hand.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Form } from '../platform/configuration/setting.ts';
import { SETTINGS } from '../platform/configuration/settings.ts';
import { variablesBeside } from '../platform/worker-pool/kubernetes/image-pod.ts';
import { WAITING_VARIABLES, workerVariables } from '../platform/worker-pool/kubernetes/manifests.ts';

const ROOT = join(import.meta.dirname, '..');
const CHART = join(ROOT, 'charts', 'sluice');

/** A value in JSON Schema. `false` takes none. */
export type ValueSchema =
  | false
  | { readonly type: string | readonly string[]; readonly minimum?: number; readonly maximum?: number; readonly pattern?: string }
  | { readonly enum: readonly string[] };

/** The whole text of values.schema.json, as it should be. */
export function chartSchema(): string {
  const text = readFileSync(join(CHART, 'values.schema.json'), 'utf8');
  const [before, , after] = text.split(/^( {4}"settings": \{\n[^]*?\n {4}\})/m);
  if (before === undefined || after === undefined) throw new Error('values.schema.json has no definition of "settings", indented by four.');
  const properties = [...settingSchemas()].map(([variable, schema]) => `        ${JSON.stringify(variable)}: ${oneLine(schema)}`);
  return `${before}${[
    '    "settings": {',
    '      "$comment": "Written by docs/chart-schema.ts from the table of settings; change it there and run `npm run docs`. What the chart, the images and the pool of worker pods set themselves is false.",',
    '      "type": "object",',
    '      "additionalProperties": false,',
    '      "properties": {',
    properties.join(',\n'),
    '      }',
    '    }',
  ].join('\n')}${after}`;
}

/** What may be given in the chart's values for each setting there is. */
export function settingSchemas(): ReadonlyMap<string, ValueSchema> {
  const reserved = reservedSettings();
  return new Map(Object.values(SETTINGS).map(({ variable, form }) => [variable, reserved.has(variable) ? false : valueSchema(form)]));
}

/** Those that are not the operator's to give: a second value would contradict the chart, the image or the pool. */
export function reservedSettings(): ReadonlySet<string> {
  const templates = readdirSync(join(CHART, 'templates'), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8'));
  const byChart = [...templates.join('\n').matchAll(/(?:- name: |\(list ")(SLUICE_[A-Z0-9_]+)/g)].map(([, name = '']) => name);
  const byImage = [...readFileSync(join(ROOT, 'Dockerfile'), 'utf8').matchAll(/^(?:ENV| {3}) (SLUICE_[A-Z0-9_]+)=/gm)].map(([, name = '']) => name);
  const byPool = [...workerVariables({ configMap: 'workers', environmentsPerPod: 1 }, 'nodejs'), ...WAITING_VARIABLES, ...variablesBeside('stream')].map(({ name }) => name);
  // Where Python is, the image knows without being told.
  return new Set([...byChart, ...byImage, ...byPool, SETTINGS.python.variable]);
}

/**
 * Numbers come as numbers or as text, as YAML and `--set` have it; the chart writes both as text. An empty text is the default, as in the environment.
 */
export function valueSchema(form: Form): Exclude<ValueSchema, false> {
  switch (form.kind) {
    case 'integer':
      return { type: ['integer', 'string'], minimum: form.min, maximum: form.max, pattern: `^(${decimalPattern(form.min, form.max)})?$` };
    case 'choice':
      return { enum: [...form.choices, ''] };
    case 'text': {
      // Helm's patterns are Go's: a slash is nothing that needs escaping.
      const source = form.pattern.source.replaceAll('\\/', '/');
      return { ...numbersOf(form.pattern), pattern: form.pattern.test('') ? source : `^$|${source}` };
    }
  }
}

/** As many digits as a number of JSON has for certain. */
const DIGITS_MAX = 15;

/** Which numbers are that text when they are written out: none, or those with so many digits. */
function numbersOf(pattern: RegExp): { readonly type: string | readonly string[]; readonly minimum?: number; readonly maximum?: number } {
  const fits = (digits: number): boolean => [10 ** (digits - 1), 10 ** digits - 1].every((number) => pattern.test(String(number)));
  const lengths = Array.from({ length: DIGITS_MAX }, (_, index) => index + 1).filter(fits);
  const [shortest, longest] = [lengths[0], lengths.at(-1)];
  if (shortest === undefined || longest === undefined) return { type: 'string' };
  return { type: ['integer', 'string'], minimum: pattern.test('0') ? 0 : 10 ** (shortest - 1), maximum: 10 ** longest - 1 };
}

/** A pattern, without anchors, of the whole numbers from `min` to `max`, in decimal; leading zeros are taken, as by the settings. */
export function decimalPattern(min: number, max: number): string {
  const parts = min === 0 ? ['0'] : [];
  /** For which numbers of further digits any first one is allowed. */
  const whole: number[] = [];
  // Blocks of numbers that differ in one digit and in whatever follows it: 37, 38-39, 40-99, 100-999, 1000-1199, …
  for (let from = Math.max(min, 1); from <= max; ) {
    let free = 0;
    while (from % 10 ** (free + 1) === 0 && from + 10 ** (free + 1) - 1 <= max) free += 1;
    const size = 10 ** free;
    const head = from / size;
    const first = head % 10;
    const last = Math.min(9, first + Math.floor((max - from + 1) / size) - 1);
    const above = head >= 10 ? String(Math.floor(head / 10)) : '';
    if (above === '' && first === 1 && last === 9) whole.push(free);
    else parts.push(`${above}${first === last ? first : `[${first}-${last}]`}${digits(free, free)}`);
    from += (last - first + 1) * size;
  }
  const [fewest, most] = [whole[0], whole.at(-1)];
  if (fewest !== undefined && most !== undefined) parts.push(`[1-9]${digits(fewest, most)}`);
  return `0*(${parts.join('|')})`;
}

function digits(fewest: number, most: number): string {
  if (most === 0) return '';
  if (fewest < most) return `[0-9]{${fewest},${most}}`;
  return most === 1 ? '[0-9]' : `[0-9]{${most}}`;
}

function oneLine(schema: ValueSchema): string {
  if (schema === false) return 'false';
  const list = (value: unknown): string => (Array.isArray(value) ? `[${value.map((item) => JSON.stringify(item)).join(', ')}]` : JSON.stringify(value));
  return `{ ${Object.entries(schema).map(([name, value]) => `"${name}": ${list(value)}`).join(', ')} }`;
}
