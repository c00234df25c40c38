import type { HttpAnswer } from '../../http/http-answer.ts';
import type { LambdaApiError } from '../errors.ts';
import { shapeOf, type Operation, type Shape } from '../model.ts';

const EMPTY = Buffer.alloc(0);
const JSON_TYPE = 'application/json';

/** Turns a handler's output into the operation's response, each member in its place. */
export function outputResponse(operation: Operation, output: object, requestId: string): HttpAnswer {
  const headers: Record<string, string> = { 'x-amzn-RequestId': requestId };
  let status = operation.responseCode;
  let body: Buffer | undefined;
  const inBody: Record<string, unknown> = {};
  let hasBody = false;
  if (operation.output !== undefined) {
    const shape = shapeOf(operation.output);
    for (const [name, member] of Object.entries(shape.members ?? {})) {
      const value = (output as Readonly<Record<string, unknown>>)[name];
      if (member.location === undefined) hasBody = true;
      if (value === undefined || value === null) continue;
      if (member.location === 'statusCode') status = value as number;
      else if (member.location === 'header') headers[member.locationName ?? name] = headerText(value);
      else if (name === shape.payload && shapeOf(member.shape).type === 'blob') body = Buffer.from(value as Uint8Array);
      else inBody[member.locationName ?? name] = wireValue(shapeOf(member.shape), value);
    }
  }
  if (hasBody) {
    body ??= Buffer.from(JSON.stringify(inBody));
    headers['Content-Type'] ??= JSON_TYPE;
  }
  // RFC 9110 15.3.5: a 204 has no content.
  return { status, headers, body: status === 204 ? EMPTY : (body ?? EMPTY) };
}

/** The answer to a request that failed, in the shape that every SDK recognises. */
export function errorResponse(error: LambdaApiError, requestId: string): HttpAnswer {
  const { status, type, messageMember } = error.row;
  const body = { ...(type !== undefined && { Type: type }), [messageMember]: error.message, ...error.members };
  return {
    status,
    headers: { ...error.headers, 'x-amzn-RequestId': requestId, 'x-amzn-ErrorType': error.code, 'Content-Type': JSON_TYPE },
    body: Buffer.from(JSON.stringify(body)),
  };
}

function headerText(value: unknown): string {
  return value instanceof Date ? value.toUTCString() : String(value);
}

function wireValue(shape: Shape, value: unknown): unknown {
  if (value === undefined || value === null) return undefined;
  switch (shape.type) {
    case 'structure': {
      const given = value as Readonly<Record<string, unknown>>;
      const members = Object.entries(shape.members ?? {}).map(([name, member]) => [member.locationName ?? name, wireValue(shapeOf(member.shape), given[name])] as const);
      return Object.fromEntries(members.filter(([, inner]) => inner !== undefined));
    }
    case 'list': {
      const member = shapeOf(shape.member ?? '');
      return (value as readonly unknown[]).map((item) => wireValue(member, item));
    }
    case 'map': {
      const inner = shapeOf(shape.value ?? '');
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, wireValue(inner, item)]));
    }
    case 'blob':
      return Buffer.from(value as Uint8Array).toString('base64');
    case 'timestamp':
      // rest-json writes timestamps in a body as seconds.
      return value instanceof Date ? value.getTime() / 1_000 : value;
    default:
      return value;
  }
}
