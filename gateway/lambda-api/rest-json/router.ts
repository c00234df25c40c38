import type { Operation } from '../model.ts';

export interface Match {
  readonly operation: Operation;
  /** The path's variable segments, still percent-encoded, by member name. */
  readonly segments: Readonly<Record<string, string>>;
}

interface Route {
  readonly operation: Operation;
  /** A literal, or the name of a member. */
  readonly segments: readonly ({ readonly literal: string } | { readonly member: string })[];
  /** Query parameters that must be there with this value. */
  readonly query: readonly (readonly [name: string, value: string])[];
}

/** Finds operations by method and path. Built once; a match looks only at routes of the same method, length and first literals. */
export class Router {
  readonly #routes = new Map<string, Route[]>();

  constructor(operations: Iterable<Operation>) {
    for (const operation of operations) {
      const route = toRoute(operation);
      const first = route.segments.map((segment) => ('literal' in segment ? segment.literal : '')).slice(0, 2);
      const key = bucketKey(operation.method, route.segments.length, first);
      const bucket = this.#routes.get(key) ?? [];
      bucket.push(route);
      // Routes with more literals first, so that `…/layers?find=LayerVersion` is not taken for `…/layers`.
      bucket.sort((a, b) => literals(b) - literals(a));
      this.#routes.set(key, bucket);
    }
  }

  /**
   * The operation of a request, if there is one. `path` is as received, percent-encoded, so that an ARN's `%2F` does not part a segment.
   * One slash at the end is allowed: SDKs differ, and the API reference writes both.
   */
  match(method: string, path: string, query: URLSearchParams): Match | undefined {
    const trimmed = path.length > 1 && path.endsWith('/') ? path.slice(1, -1) : path.slice(1);
    const parts = trimmed.split('/');
    const bucket = this.#routes.get(bucketKey(method, parts.length, parts));
    if (bucket === undefined) return undefined;
    for (const route of bucket) {
      const segments = matchSegments(route, parts);
      if (segments !== undefined && route.query.every(([name, value]) => query.get(name) === value)) return { operation: route.operation, segments };
    }
    return undefined;
  }
}

function bucketKey(method: string, length: number, parts: readonly string[]): string {
  return `${method} ${length} ${parts[0] ?? ''}/${parts[1] ?? ''}`;
}

function toRoute(operation: Operation): Route {
  const [path = '', query = ''] = operation.requestUri.split('?');
  const segments = path
    .slice(1)
    .split('/')
    .map((text) => (text.startsWith('{') ? { member: text.slice(1, -1) } : { literal: text }));
  return { operation, segments, query: [...new URLSearchParams(query)] };
}

function literals(route: Route): number {
  return route.query.length + route.segments.filter((segment) => 'literal' in segment).length;
}

function matchSegments(route: Route, parts: readonly string[]): Record<string, string> | undefined {
  const found: Record<string, string> = {};
  for (const [index, segment] of route.segments.entries()) {
    const part = parts[index] ?? '';
    if ('literal' in segment) {
      if (segment.literal !== part) return undefined;
    } else if (part === '') return undefined;
    else found[segment.member] = part;
  }
  return found;
}
