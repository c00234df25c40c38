import { parseDocument, type CollectionTag, type ScalarTag, type Tags, YAMLMap, YAMLSeq } from 'yaml';
import { CliError } from '../../errors.ts';

/** A template as plain data; intrinsic functions in their long form (`{ Ref: 'X' }`, `{ 'Fn::Sub': '…' }`). */
export type TemplateObject = { readonly [key: string]: TemplateValue };
export type TemplateValue = string | number | boolean | null | readonly TemplateValue[] | TemplateObject;

/** CloudFormation user guide, "Intrinsic function reference"; `Ref` and `Condition` alone lack the prefix. */
const SHORT_FORMS = ['Ref', 'Condition', 'And', 'Base64', 'Cidr', 'Equals', 'FindInMap', 'GetAtt', 'GetAZs', 'If', 'ImportValue', 'Join', 'Not', 'Or', 'Select', 'Split', 'Sub', 'Transform'] as const;
const WITHOUT_PREFIX: readonly string[] = ['Ref', 'Condition'];

/** Reads YAML (and so JSON) with CloudFormation's short forms. Rejects with a {@link CliError} that names the line. */
export function parseTemplate(text: string, file: string): TemplateObject {
  const document = parseDocument(text, { customTags: SHORT_FORMS.flatMap(tagsOf) satisfies Tags, prettyErrors: true });
  const [problem] = [...document.errors, ...document.warnings];
  if (problem !== undefined) throw new CliError(`${file} is not valid YAML: ${problem.message.split('\n')[0]?.replace(/:$/, '') ?? ''}`);
  let value: unknown;
  try {
    value = document.toJS();
  } catch (error) {
    throw new CliError(`${file} cannot be read: ${(error as Error).message}.`); // aliases that multiply without bound
  }
  if (!isObject(value as TemplateValue)) throw new CliError(`${file} is not a template: it has no Resources.`);
  return value as TemplateObject;
}

export function isObject(value: TemplateValue | undefined): value is TemplateObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** One tag for each kind of node that may follow it. */
function tagsOf(name: string): (ScalarTag | CollectionTag)[] {
  const tag = `!${name}`;
  const key = WITHOUT_PREFIX.includes(name) ? name : `Fn::${name}`;
  const wrap = (value: unknown): unknown => ({ [key]: value });
  return [
    { tag, resolve: (text: string) => wrap(name === 'GetAtt' ? splitAttribute(text) : text) },
    { tag, collection: 'seq', resolve: (node) => longForm(key, node) },
    { tag, collection: 'map', resolve: (node) => longForm(key, node) },
  ];
}

/** Keeps the node, so that tags within it are still resolved. */
function longForm(key: string, node: unknown): YAMLMap {
  const map = new YAMLMap();
  if (node instanceof YAMLSeq || node instanceof YAMLMap) {
    delete node.tag; // resolved by now
    map.set(key, node);
  }
  return map;
}

/** `Resource.Attribute`, where the attribute may have dots of its own. */
export function splitAttribute(text: string): readonly string[] {
  const dot = text.indexOf('.');
  return dot < 0 ? [text] : [text.slice(0, dot), text.slice(dot + 1)];
}
