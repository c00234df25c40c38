import { LogsApiError, invalidParameter } from './errors.ts';

export interface TextBounds {
  readonly min?: number;
  readonly max: number;
  readonly pattern?: string;
}

/** CloudWatch Logs API reference: names of log groups, ARNs or names, and names of log streams. */
export const GROUP_NAME: TextBounds = { min: 1, max: 512, pattern: '[\\.\\-_/#A-Za-z0-9]+' };
export const GROUP_IDENTIFIER: TextBounds = { min: 1, max: 2_048, pattern: '[\\w#+=/:,.@-]*' };
export const STREAM_NAME: TextBounds = { min: 1, max: 512, pattern: '[^:*]*' };

/** A request's input, read member by member with AWS's own messages for what is wrong. An absent member is undefined, as is null. */
export class LogsInput {
  readonly #members: Readonly<Record<string, unknown>>;

  private constructor(members: Readonly<Record<string, unknown>>) {
    this.#members = members;
  }

  /** Throws {@link LogsApiError} `SerializationException` for what is no JSON object. */
  static parse(body: Buffer): LogsInput {
    try {
      const value: unknown = body.length === 0 ? {} : JSON.parse(body.toString());
      if (typeof value === 'object' && value !== null && !Array.isArray(value)) return new LogsInput(value as Record<string, unknown>);
    } catch {
      throw new LogsApiError('SerializationException', 'The body of the request is not JSON.');
    }
    throw new LogsApiError('SerializationException', 'Start of structure or map found where not expected.');
  }

  text(name: string, bounds: TextBounds): string | undefined {
    const value = this.#member(name);
    if (value === undefined) return undefined;
    if (typeof value !== 'string') throw wrongType(name, 'String');
    checkText(name, value, bounds);
    return value;
  }

  texts(name: string, count: { readonly max: number }, bounds: TextBounds): readonly string[] | undefined {
    const value = this.#member(name);
    if (value === undefined) return undefined;
    if (!Array.isArray(value) || !value.every((item) => typeof item === 'string')) throw wrongType(name, 'List');
    if (value.length < 1 || value.length > count.max) throw violation(name, `[${value.join(', ')}]`, value.length < 1 ? 'Member must have length greater than or equal to 1' : `Member must have length less than or equal to ${count.max}`);
    value.forEach((item, index) => checkText(`${name}.${index + 1}.member`, item, bounds));
    return value;
  }

  integer(name: string, bounds: { readonly min: number; readonly max: number }): number | undefined {
    const value = this.#member(name);
    if (value === undefined) return undefined;
    if (typeof value !== 'number' || !Number.isInteger(value)) throw wrongType(name, 'Integer');
    if (value < bounds.min) throw violation(name, String(value), `Member must have value greater than or equal to ${bounds.min}`);
    if (value > bounds.max) throw violation(name, String(value), `Member must have value less than or equal to ${bounds.max}`);
    return value;
  }

  /** Milliseconds since the epoch. */
  time(name: string): number | undefined {
    return this.integer(name, { min: 0, max: Number.MAX_SAFE_INTEGER - 1 });
  }

  flag(name: string): boolean {
    const value = this.#member(name);
    if (value === undefined) return false;
    if (typeof value !== 'boolean') throw wrongType(name, 'Boolean');
    return value;
  }

  #member(name: string): unknown {
    return Object.hasOwn(this.#members, name) ? (this.#members[name] ?? undefined) : undefined;
  }
}

/** The group that a request names by `logGroupName` or `logGroupIdentifier`, the latter a name or an ARN. */
export function requiredGroup(input: LogsInput): string {
  const name = input.text('logGroupName', GROUP_NAME);
  const identifier = input.text('logGroupIdentifier', GROUP_IDENTIFIER);
  if (name !== undefined && identifier !== undefined) throw invalidParameter('LogGroup name and LogGroup ARN are mutually exclusive parameters.');
  const group = name ?? identifier?.replace(/^arn:[a-z-]+:logs:[a-z0-9-]*:\d*:log-group:(.*)$/, '$1');
  if (group === undefined) throw violation('logGroupName', 'null', 'Member must not be null');
  checkText('logGroupIdentifier', group, GROUP_NAME);
  return group;
}

export function violation(name: string, value: string, constraint: string): LogsApiError {
  const shown = value === 'null' ? 'Value null' : `Value '${value.slice(0, 100)}'`;
  return invalidParameter(`1 validation error detected: ${shown} at '${name}' failed to satisfy constraint: ${constraint}`);
}

function checkText(name: string, value: string, { min = 0, max, pattern }: TextBounds): void {
  if (value.length < min) throw violation(name, value, `Member must have length greater than or equal to ${min}`);
  if (value.length > max) throw violation(name, value, `Member must have length less than or equal to ${max}`);
  if (pattern !== undefined && !new RegExp(`^(?:${pattern})$`).test(value)) throw violation(name, value, `Member must satisfy regular expression pattern: ${pattern}`);
}

function wrongType(name: string, expected: string): LogsApiError {
  return new LogsApiError('SerializationException', `The value of ${name} cannot be converted to ${expected}.`);
}
