import { readFileSync } from 'node:fs';

/** One operation of the service model. */
export interface Operation {
  readonly name: string;
  readonly method: string;
  /** Path with `{Member}` segments; may end in literal query parameters. */
  readonly requestUri: string;
  readonly responseCode: number;
  readonly input?: string;
  readonly output?: string;
  readonly errors: readonly string[];
}

export interface Member {
  readonly shape: string;
  /** Undefined: in the body. */
  readonly location?: 'uri' | 'querystring' | 'header' | 'headers' | 'statusCode';
  /** The name there, where it is not the member's. */
  readonly locationName?: string;
}

export interface Shape {
  readonly type: 'structure' | 'list' | 'map' | 'string' | 'integer' | 'long' | 'double' | 'float' | 'boolean' | 'blob' | 'timestamp';
  readonly required?: readonly string[];
  readonly members?: Readonly<Record<string, Member>>;
  /** The member that is the whole body. */
  readonly payload?: string;
  readonly min?: number;
  readonly max?: number;
  readonly pattern?: string;
  readonly enum?: readonly string[];
  /** Its values stay out of messages and logs. */
  readonly sensitive?: boolean;
  /** Shape of a list's members. */
  readonly member?: string;
  readonly key?: string;
  readonly value?: string;
  readonly exception?: boolean;
  readonly streaming?: boolean;
  readonly eventstream?: boolean;
  /** HTTP status of an exception. */
  readonly status?: number;
}

interface ModelFile {
  readonly operations: Readonly<Record<string, Omit<Operation, 'name'>>>;
  readonly shapes: Readonly<Record<string, Shape>>;
}

/**
 * What the service checks beyond its model.
 * - Timeout: "Valid range: Minimum value of 1", yet the service answers above 900 with a validation error (Lambda quotas, "Function timeout").
 * - Runtime: the service reports an unknown one by its own error, not by a validation error (see operations/settings.ts).
 * - SubnetId: what the service's validation error says. SecurityGroupId likewise, but narrower: not empty, without capitals, and no longer than the name of a Kubernetes label, which it becomes.
 */
const BEYOND_THE_MODEL: Readonly<Record<string, (shape: Shape) => Shape>> = {
  Timeout: (shape) => ({ ...shape, max: 900 }),
  Runtime: ({ enum: _known, ...shape }) => shape,
  SubnetId: (shape) => ({ ...shape, min: 0, max: 1_024, pattern: '^subnet-[0-9a-z]*$' }),
  SecurityGroupId: (shape) => ({ ...shape, min: 4, max: 63, pattern: '^sg-[0-9a-z]*$' }),
};

const file = JSON.parse(readFileSync(new URL('./model.json', import.meta.url), 'utf8')) as ModelFile;

/** Every operation, by name. */
export const OPERATIONS: ReadonlyMap<string, Operation> = new Map(Object.entries(file.operations).map(([name, operation]) => [name, { name, ...operation }]));

const SHAPES: ReadonlyMap<string, Shape> = new Map(Object.entries(file.shapes).map(([name, shape]) => [name, BEYOND_THE_MODEL[name]?.(shape) ?? shape]));

/** Every runtime identifier that the model has ever known. */
export const KNOWN_RUNTIMES: ReadonlySet<string> = new Set(file.shapes['Runtime']?.enum);

/** A shape by name. Throws for a name that the model does not have: names come from the model itself. */
export function shapeOf(name: string): Shape {
  const shape = SHAPES.get(name);
  if (shape === undefined) throw new Error(`The service model has no shape ${name}; run gateway/lambda-api/make-model.py.`);
  return shape;
}

/** The names of all exceptions with their shapes. */
export function exceptionShapes(): [string, Shape][] {
  return [...SHAPES].filter(([, shape]) => shape.exception === true);
}
