import { shapeOf, type Shape } from '../model.ts';

/**
 * Checks a parsed input against the service model, in the words of AWS's own validation messages.
 *
 * Lists and maps report themselves with all constraints of their members, as the service does; sensitive values are not repeated.
 */
export function violationsOf(shapeName: string, input: unknown): string[] {
  const found: string[] = [];
  checkStructure(shapeOf(shapeName), input as Readonly<Record<string, unknown>>, '', found);
  return found;
}

/** Violations of one string, such as a function name taken from a path outside a full parse. `path` is the member as messages name it. */
export function stringViolations(shapeName: string, path: string, value: string): string[] {
  const shape = shapeOf(shapeName);
  return brokenConstraints(shape, value).map((constraint) => violation(path, shown(shape, value), constraint));
}

/** An enum violation in the service's words. */
export function enumViolation(path: string, value: string, allowed: readonly string[]): string {
  return violation(path, `'${bounded(value)}'`, enumConstraint(allowed));
}

/** At most this much of a value is repeated in a message: it came with the request and may be megabytes long. */
const MAX_SHOWN_CHARS = 1_024;

/** Longer strings break any pattern without being tried. Far above every bound in the model that goes with a pattern. */
const MAX_MATCHED_CHARS = 10_000;

function checkStructure(shape: Shape, value: Readonly<Record<string, unknown>>, path: string, found: string[]): void {
  for (const [name, member] of Object.entries(shape.members ?? {})) {
    const memberPath = path === '' ? lowerFirst(name) : `${path}.${lowerFirst(name)}`;
    const memberValue = value[name];
    if (memberValue !== undefined) checkValue(shapeOf(member.shape), memberValue, memberPath, found);
    else if (shape.required?.includes(name)) found.push(`Value null at '${memberPath}' failed to satisfy constraint: ${NOT_NULL}`);
  }
}

function checkValue(shape: Shape, value: unknown, path: string, found: string[]): void {
  for (const constraint of brokenConstraints(shape, value)) found.push(violation(path, shown(shape, value), constraint));
  if (shape.type === 'structure') checkStructure(shape, value as Readonly<Record<string, unknown>>, path, found);
  else if (shape.type === 'list') checkMembers(shape, value as readonly unknown[], path, found);
  else if (shape.type === 'map') checkEntries(shape, value as Readonly<Record<string, unknown>>, path, found);
}

function checkMembers(shape: Shape, values: readonly unknown[], path: string, found: string[]): void {
  const member = shapeOf(shape.member ?? '');
  if (member.type === 'structure' || member.type === 'list' || member.type === 'map') {
    for (const [index, value] of values.entries()) {
      const memberPath = `${path}.${index + 1}.member`;
      if (value === null) found.push(`Value null at '${memberPath}' failed to satisfy constraint: ${NOT_NULL}`);
      else checkValue(member, value, memberPath, found);
    }
  } else if (values.some((value) => value === null || brokenConstraints(member, value).length > 0)) {
    found.push(violation(path, shown(shape, values), `Member must satisfy constraint: [${[...constraintsOf(member), NOT_NULL].join(', ')}]`));
  }
}

function checkEntries(shape: Shape, entries: Readonly<Record<string, unknown>>, path: string, found: string[]): void {
  const key = shapeOf(shape.key ?? '');
  const value = shapeOf(shape.value ?? '');
  if (Object.keys(entries).some((name) => brokenConstraints(key, name).length > 0)) {
    found.push(violation(path, shown(shape, entries), `Map keys must satisfy constraint: [${constraintsOf(key).join(', ')}]`));
  }
  const values = Object.values(entries);
  if (value.type === 'structure' || value.type === 'list') {
    for (const [name, inner] of Object.entries(entries)) {
      if (inner !== null) checkValue(value, inner, `${path}.${bounded(name)}.member`, found);
    }
  }
  if (values.some((inner) => inner === null || (value.type !== 'structure' && value.type !== 'list' && brokenConstraints(value, inner).length > 0))) {
    found.push(violation(path, shown(shape, entries), `Map value must satisfy constraint: [${[...constraintsOf(value), NOT_NULL].join(', ')}]`));
  }
}

const NOT_NULL = 'Member must not be null';

interface Constraint {
  readonly text: string;
  readonly holds: (value: unknown) => boolean;
}

const compiled = new WeakMap<Shape, readonly Constraint[]>();

function constraintsOf(shape: Shape): string[] {
  return constraints(shape).map(({ text }) => text);
}

function brokenConstraints(shape: Shape, value: unknown): string[] {
  return constraints(shape).filter(({ holds }) => !holds(value)).map(({ text }) => text);
}

/** Compiled on first use: most of the model's patterns are never needed. */
function constraints(shape: Shape): readonly Constraint[] {
  let result = compiled.get(shape);
  if (result === undefined) compiled.set(shape, (result = compile(shape)));
  return result;
}

function compile(shape: Shape): Constraint[] {
  const result: Constraint[] = [];
  const { min, max, pattern } = shape;
  const size = sizeOf(shape);
  const noun = isNumber(shape) ? 'value' : 'length';
  if (max !== undefined) result.push({ text: `Member must have ${noun} less than or equal to ${number(shape, max)}`, holds: (value) => size(value) <= max });
  // A minimum length of 0 always holds; the service still names it in a list of constraints.
  if (min !== undefined) result.push({ text: `Member must have ${noun} greater than or equal to ${number(shape, min)}`, holds: (value) => size(value) >= min });
  if (pattern !== undefined) {
    const whole = new RegExp(`^(?:${pattern})$`);
    result.push({ text: `Member must satisfy regular expression pattern: ${pattern}`, holds: (value) => String(value).length <= MAX_MATCHED_CHARS && whole.test(String(value)) });
  }
  if (shape.enum !== undefined) {
    const allowed = new Set(shape.enum);
    result.push({ text: enumConstraint(shape.enum), holds: (value) => allowed.has(String(value)) });
  }
  return result;
}

function sizeOf(shape: Shape): (value: unknown) => number {
  if (isNumber(shape)) return (value) => value as number;
  if (shape.type === 'map') return (value) => Object.keys(value as object).length;
  return (value) => (value as { readonly length: number }).length;
}

function isNumber(shape: Shape): boolean {
  return shape.type === 'integer' || shape.type === 'long' || shape.type === 'double' || shape.type === 'float';
}

/** Doubles have a decimal point in the service's messages: `less than or equal to 1.0`. */
function number(shape: Shape, value: number): string {
  return (shape.type === 'double' || shape.type === 'float') && Number.isInteger(value) ? value.toFixed(1) : String(value);
}

function enumConstraint(allowed: readonly string[]): string {
  return `Member must satisfy enum value set: [${allowed.join(', ')}]`;
}

function violation(path: string, value: string, constraint: string): string {
  return `Value ${value === '' ? '' : `${value} `}at '${path}' failed to satisfy constraint: ${constraint}`;
}

/** The value as the service writes it: `'[a, b]'`, `'{k=v}'`; empty for what must not be repeated and for what holds structures. */
function shown(shape: Shape, value: unknown): string {
  if (isSensitive(shape) || shape.type === 'blob' || shape.type === 'structure' || innerShapes(shape).some(({ members, member }) => members ?? member)) return '';
  return `'${bounded(plain(shape, value))}'`;
}

function isSensitive(shape: Shape): boolean {
  return [shape, ...innerShapes(shape)].some(({ sensitive }) => sensitive === true);
}

function innerShapes({ key, value, member }: Shape): Shape[] {
  return [key, value, member].filter((name) => name !== undefined).map(shapeOf);
}

function plain(shape: Shape, value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((member) => plain(shapeOf(shape.member ?? ''), member)).join(', ')}]`;
  if (typeof value === 'object' && value !== null) {
    return `{${Object.entries(value).map(([name, inner]) => `${name}=${plain(shapeOf(shape.value ?? ''), inner)}`).join(', ')}}`;
  }
  return typeof value === 'number' ? number(shape, value) : String(value);
}

function bounded(text: string): string {
  return text.length <= MAX_SHOWN_CHARS ? text : `${text.slice(0, MAX_SHOWN_CHARS)}…`;
}

function lowerFirst(name: string): string {
  return name.charAt(0).toLowerCase() + name.slice(1);
}
