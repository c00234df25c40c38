import type { ObjectLocation } from '../../object-store/object-store.ts';

/** What one worker has been told of at once; beyond it what was granted first is forgotten. Twice what the largest worker holds. */
export const GRANTS_MAX = 2_000;

/**
 * What the worker of one session may read and write: the code of functions that it has been told of, payloads of invocations that it was given, the logs of functions
 * that it has run. A worker has no credentials of its own, so that what a function may find in its process opens nothing else.
 */
export class Grants {
  /** With the size of those that are known by it. */
  readonly #objects = new Map<string, number | undefined>();
  readonly #logGroups = new Map<string, undefined>();

  mayRead(location: ObjectLocation): boolean {
    return this.#objects.has(nameOf(location));
  }

  mayLog(group: string): boolean {
    return this.#logGroups.has(group);
  }

  /** Undefined: it may not be read, or its size is not known. */
  sizeOf(location: ObjectLocation): number | undefined {
    return this.#objects.get(nameOf(location));
  }

  read(location: ObjectLocation, sizeBytes?: number): void {
    remember(this.#objects, nameOf(location), sizeBytes);
  }

  log(group: string): void {
    remember(this.#logGroups, group, undefined);
  }
}

function nameOf({ bucket, key }: ObjectLocation): string {
  return `${bucket}/${key}`;
}

function remember<What>(names: Map<string, What>, name: string, what: What): void {
  names.delete(name);
  names.set(name, what);
  if (names.size <= GRANTS_MAX) return;
  for (const oldest of names.keys()) {
    names.delete(oldest);
    return;
  }
}
