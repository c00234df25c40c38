import { homedir } from 'node:os';
import { isAbsolute, resolve } from 'node:path';

/** What may be written for a value, for those who check it before any process reads it: `parse` takes what the form allows, and nothing else. */
export type Form =
  | { readonly kind: 'integer'; readonly min: number; readonly max: number }
  | { readonly kind: 'text'; readonly pattern: RegExp }
  | { readonly kind: 'choice'; readonly choices: readonly string[] };

/** One row of the configuration reference. */
export interface Setting<Value> {
  readonly variable: string;
  readonly description: string;
  /** As the operator would write it; shown in the reference. */
  readonly defaultText: string;
  /** Where the default follows from the machine: how, in words, for the reference. */
  readonly machineDefault?: string;
  /** Its value is never shown, not even where it is wrong. */
  readonly secret?: true;
  readonly form: Form;
  /** Throws an Error whose message says what is allowed. */
  readonly parse: (text: string) => Value;
}

export function integer(variable: string, byDefault: number, min: number, max: number, description: string, machineDefault?: string): Setting<number> {
  return {
    variable,
    description,
    ...(machineDefault === undefined ? {} : { machineDefault }),
    defaultText: String(byDefault),
    form: { kind: 'integer', min, max },
    parse(value) {
      const number = Number(value);
      if (!/^\d+$/.test(value) || number < min || number > max) throw new Error(`give a whole number from ${min} to ${max}`);
      return number;
    },
  };
}

export function text(variable: string, byDefault: string, description: string, pattern: RegExp, form: string, machineDefault?: string): Setting<string> {
  return {
    variable,
    description,
    ...(machineDefault === undefined ? {} : { machineDefault }),
    defaultText: byDefault,
    form: { kind: 'text', pattern },
    parse(value) {
      if (!pattern.test(value)) throw new Error(`give ${form}`);
      return value;
    },
  };
}

export function path(variable: string, byDefault: string, description: string, machineDefault?: string): Setting<string> {
  return {
    variable,
    description,
    ...(machineDefault === undefined ? {} : { machineDefault }),
    defaultText: byDefault,
    form: { kind: 'text', pattern: /^/ },
    parse(value) {
      const expanded = value.replace(/^~(?=\/|$)/, homedir());
      return isAbsolute(expanded) ? expanded : resolve(expanded);
    },
  };
}

export function oneOf<Choice extends string>(variable: string, choices: readonly Choice[], byDefault: Choice, description: string): Setting<Choice> {
  return {
    variable,
    description,
    defaultText: byDefault,
    form: { kind: 'choice', choices },
    parse(value) {
      const choice = choices.find((candidate) => candidate === value);
      if (choice === undefined) throw new Error(`give one of ${choices.join(', ')}`);
      return choice;
    },
  };
}

/** A value that may be left out; `undefined` then. */
export function optional(variable: string, description: string, pattern: RegExp, form: string): Setting<string | undefined> {
  return {
    variable,
    description,
    defaultText: '',
    form: { kind: 'text', pattern },
    parse(value) {
      if (value === '') return undefined;
      if (!pattern.test(value)) throw new Error(`give ${form}`);
      return value;
    },
  };
}

/** As {@link optional}; the value is a secret. */
export function secret(variable: string, description: string, pattern: RegExp, form: string): Setting<string | undefined> {
  return { ...optional(variable, description, pattern, form), secret: true };
}

/** A file that may be left out. */
export function optionalFile(variable: string, description: string): Setting<string | undefined> {
  return { ...optional(variable, description, /^\S.*$/, 'the path of a file') };
}
