/**
 * Checks objects against Kubernetes' own API types, as @kubernetes/client-node declares them (generated from the API's OpenAPI document): unknown fields, missing ones, values of
 * another type. What the types do not say (the words that a field takes, forms of names) only an API server checks.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, type KubernetesObject } from './rendering.ts';

const MODELS = join(ROOT, 'node_modules', '@kubernetes', 'client-node', 'dist', 'gen', 'models');

interface Field {
  readonly type: string;
  readonly optional: boolean;
}

const types = new Map<string, ReadonlyMap<string, Field> | undefined>();

/** Fields of a type; undefined where there is no such type. */
function fieldsOf(type: string): ReadonlyMap<string, Field> | undefined {
  if (types.has(type)) return types.get(type);
  const file = join(MODELS, `${type}.d.ts`);
  const fields = existsSync(file) ? readFields(readFileSync(file, 'utf8')) : undefined;
  types.set(type, fields);
  return fields;
}

function readFields(declaration: string): ReadonlyMap<string, Field> {
  const text = declaration.replaceAll(/\/\*[\s\S]*?\*\//g, '');
  // Words that TypeScript keeps for itself have an underscore before them.
  return new Map([...text.matchAll(/^ {4}'_?([^']+)'(\??): ((?:\{[\s\S]*?\n {4}\}|[^;{])+);/gm)].map(([, name = '', optional, type = '']) => [name, { type: type.replaceAll(/\s+/g, ' '), optional: optional === '?' }]));
}

/** `apps/v1` and `Deployment` are V1Deployment. Undefined for the kinds of others, such as cert-manager's. */
export function typeOf({ apiVersion, kind }: Pick<KubernetesObject, 'apiVersion' | 'kind'>): string | undefined {
  const [version = '', group = ''] = apiVersion.split('/').reverse();
  if (group.includes('.') && !group.endsWith('.k8s.io')) return undefined;
  const type = `${version[0]?.toUpperCase() ?? ''}${version.slice(1)}${kind}`;
  return fieldsOf(type) === undefined ? undefined : type;
}

/** What is wrong with a value of this type, a line each. */
export function faults(value: unknown, type: string, path = type): readonly string[] {
  const list = /^Array<(.+)>$/.exec(type)?.[1];
  if (list !== undefined) return Array.isArray(value) ? value.flatMap((item, index) => faults(item, list, `${path}[${index}]`)) : [`${path} is not a list`];
  const map = /^\{ \[key: string\]: (.+); \}$/.exec(type)?.[1];
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  if (map !== undefined) return isObject ? Object.entries(value).flatMap(([key, item]) => faults(item, map, `${path}.${key}`)) : [`${path} is not a map`];
  const fields = fieldsOf(type);
  if (fields !== undefined) {
    if (!isObject) return [`${path} is not an object`];
    const missing = [...fields].filter(([name, { optional }]) => !optional && (value as Record<string, unknown>)[name] === undefined).map(([name]) => `${path}.${name} is missing`);
    return [...missing, ...Object.entries(value).flatMap(([name, item]) => {
      const field = fields.get(name);
      return field === undefined ? [`${path}.${name} is unknown`] : faults(item, field.type, `${path}.${name}`);
    })];
  }
  switch (type) {
    case 'string': return typeof value === 'string' ? [] : [`${path} is not a text: ${JSON.stringify(value)}`];
    case 'number': return typeof value === 'number' ? [] : [`${path} is not a number: ${JSON.stringify(value)}`];
    case 'boolean': return typeof value === 'boolean' ? [] : [`${path} is not true or false: ${JSON.stringify(value)}`];
    case 'IntOrString': return typeof value === 'string' || Number.isInteger(value) ? [] : [`${path} is neither a whole number nor a text: ${JSON.stringify(value)}`];
    case 'any': return [];
    default: return [`${path} is of the type ${type}, which this check does not know`];
  }
}
