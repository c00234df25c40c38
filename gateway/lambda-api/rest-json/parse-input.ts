import type { IncomingHttpHeaders } from 'node:http';
import { percentDecoded } from '../../../platform/percent-encoding.ts';
import { LambdaApiError, notJson } from '../errors.ts';
import { shapeOf, type Member, type Operation, type Shape } from '../model.ts';

/** A request as far as its input needs it. */
export interface InputSource {
  /** Percent-encoded path segments by member name. */
  readonly segments: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

type Structure = Record<string, unknown>;

/**
 * Takes an operation's input out of a request, each member from its place and with its type. Members that the model does not know are
 * dropped, as the service does; a JSON null is a member left out. Throws `InvalidRequestContentException` for a body that is not JSON and
 * `SerializationException` for a value of another type. Bounds and patterns are not checked here.
 */
export function parseInput(operation: Operation, source: InputSource): Structure {
  const input: Structure = {};
  if (operation.input === undefined) return input;
  const shape = shapeOf(operation.input);
  const inBody: [string, Member][] = [];
  for (const [name, member] of Object.entries(shape.members ?? {})) {
    if (member.location === undefined) inBody.push([name, member]);
    else define(input, name, outsideBody(name, member, source));
  }
  if (shape.payload !== undefined) define(input, shape.payload, payloadOf(shape, shape.payload, source.body));
  else if (inBody.length > 0) parseMembers(inBody, objectFrom(source.body), '', input);
  return input;
}

function payloadOf(shape: Shape, name: string, body: Buffer): unknown {
  const member = shapeOf(shape.members?.[name]?.shape ?? '');
  if (member.type === 'blob') return body;
  return body.length === 0 ? undefined : parseValue(member, objectFrom(body), lowerFirst(name));
}

function outsideBody(name: string, member: Member, source: InputSource): unknown {
  const shape = shapeOf(member.shape);
  const key = member.locationName ?? name;
  switch (member.location) {
    case 'uri':
      return decoded(source.segments[key] ?? '', name);
    case 'querystring':
      if (shape.type === 'list') return source.query.has(key) ? source.query.getAll(key) : undefined;
      return fromText(shape, source.query.get(key), name);
    case 'header': {
      const value = source.headers[key.toLowerCase()];
      return fromText(shape, (Array.isArray(value) ? value[0] : value) ?? null, name);
    }
    default:
      return undefined;
  }
}

function decoded(text: string, name: string): string {
  const plain = percentDecoded(text);
  if (plain === undefined) throw new LambdaApiError('SerializationException', `The path's percent-encoding is not valid at '${lowerFirst(name)}'.`);
  return plain;
}

function fromText(shape: Shape, text: string | null, name: string): unknown {
  if (text === null) return undefined;
  if (shape.type === 'integer' || shape.type === 'long') {
    if (!/^[+-]?\d{1,18}$/.test(text)) throw wrongType('STRING_VALUE', 'an Integer', lowerFirst(name));
    return checkedNumber(shape, Number(text), lowerFirst(name));
  }
  if (shape.type === 'boolean') {
    if (text !== 'true' && text !== 'false') throw wrongType('STRING_VALUE', 'a Boolean', lowerFirst(name));
    return text === 'true';
  }
  return text;
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** V8 repeats a piece of the text in its message; no more than this is answered. */
const MAX_REASON_CHARS = 200;

function objectFrom(body: Buffer): unknown {
  if (body.length === 0) return {};
  try {
    return JSON.parse(utf8.decode(body)) as unknown;
  } catch (error) {
    throw notJson((error as Error).message.slice(0, MAX_REASON_CHARS));
  }
}

function parseMembers(members: readonly (readonly [string, Member])[], value: unknown, path: string, into: Structure): Structure {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrongType(tokenOf(value), 'a structure', path === '' ? 'request body' : path);
  const given = value as Readonly<Record<string, unknown>>;
  for (const [name, member] of members) {
    const key = member.locationName ?? name;
    if (!Object.hasOwn(given, key)) continue;
    const memberPath = path === '' ? lowerFirst(name) : `${path}.${lowerFirst(name)}`;
    define(into, name, parseValue(shapeOf(member.shape), given[key], memberPath));
  }
  return into;
}

function parseValue(shape: Shape, value: unknown, path: string): unknown {
  if (value === null || value === undefined) return undefined;
  switch (shape.type) {
    case 'structure':
      return parseMembers(Object.entries(shape.members ?? {}), value, path, {});
    case 'list': {
      if (!Array.isArray(value)) throw wrongType(tokenOf(value), 'a list', path);
      const member = shapeOf(shape.member ?? '');
      // A null among members is kept, for the service calls it a violation of the model.
      return value.map((item) => parseValue(member, item, path) ?? null);
    }
    case 'map': {
      if (typeof value !== 'object' || Array.isArray(value)) throw wrongType(tokenOf(value), 'a map', path);
      const inner = shapeOf(shape.value ?? '');
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, parseValue(inner, item, path) ?? null]));
    }
    default:
      return parseScalar(shape, value, path);
  }
}

function parseScalar(shape: Shape, value: unknown, path: string): unknown {
  switch (shape.type) {
    case 'string':
      if (typeof value !== 'string') throw wrongType(tokenOf(value), 'a String', path);
      return value;
    case 'boolean':
      if (typeof value !== 'boolean') throw wrongType(tokenOf(value), 'a Boolean', path);
      return value;
    case 'blob':
      return blobFrom(value, path);
    case 'timestamp':
      if (typeof value !== 'number') throw wrongType(tokenOf(value), 'a Timestamp', path);
      return new Date(value * 1_000);
    default:
      if (typeof value !== 'number') throw wrongType(tokenOf(value), 'a number', path);
      return checkedNumber(shape, value, path);
  }
}

function checkedNumber(shape: Shape, value: number, path: string): number {
  if (shape.type === 'integer' && (!Number.isInteger(value) || Math.abs(value) > 2_147_483_647)) throw wrongType('NUMBER_VALUE', 'an Integer', path);
  if (shape.type === 'long' && !Number.isSafeInteger(value)) throw wrongType('NUMBER_VALUE', 'a Long', path);
  return value;
}

function blobFrom(value: unknown, path: string): Buffer {
  if (typeof value !== 'string') throw wrongType(tokenOf(value), 'a Blob', path);
  // Node's decoder skips what is not base64 and knows the alphabet for URLs as well; the service refuses both. Found out by the length, for a
  // pattern over 70 MB would hold up everybody else.
  const bytes = Buffer.from(value, 'base64');
  const padding = value.endsWith('==') ? 2 : value.endsWith('=') ? 1 : 0;
  const isBase64 = value.length % 4 === 0 && bytes.length === (value.length / 4) * 3 - padding && !value.includes('-') && !value.includes('_');
  if (!isBase64) throw wrongType('STRING_VALUE', 'a Blob, which is Base64-encoded,', path);
  return bytes;
}

/** Names of JSON tokens as the service's parser calls them. */
function tokenOf(value: unknown): string {
  if (Array.isArray(value)) return 'START_ARRAY';
  if (value === null) return 'NULL_VALUE';
  switch (typeof value) {
    case 'object':
      return 'START_OBJECT';
    case 'boolean':
      return value ? 'TRUE_VALUE' : 'FALSE_VALUE';
    case 'number':
      return 'NUMBER_VALUE';
    default:
      return 'STRING_VALUE';
  }
}

function wrongType(token: string, wanted: string, path: string): LambdaApiError {
  return new LambdaApiError('SerializationException', `${token} can not be converted to ${wanted} at '${path}'`);
}

/** Defines rather than assigns: a key named `__proto__` is a key like any other. */
function define(target: Structure, name: string, value: unknown): void {
  if (value !== undefined) Object.defineProperty(target, name, { value, enumerable: true, configurable: true, writable: true });
}

function lowerFirst(name: string): string {
  return name.charAt(0).toLowerCase() + name.slice(1);
}
