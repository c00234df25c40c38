import type { ObjectLocation } from '../../object-store/object-store.ts';

/** What one worker has been told of at once; beyond it what was granted first is forgotten. Twice what the largest worker holds. */
export const GRANTS_MAX = 2_000;

/**
 * What the worker of one session may read and write: the code of functions that it has been told of, payloads of invocations that it was given, the logs of functions
 * that it has run. A worker has no credentials of its own, so that what a function may find in its process opens nothing else.
 */
export class Grants {
  readonly #objects = new Set<string>();
  readonly #logGroups = new Set<string>();

  mayRead(location: ObjectLocation): boolean {
    return this.#objects.has(nameOf(location));
  }

  mayLog(group: string): boolean {
    return this.#logGroups.has(group);
  }

  read(location: ObjectLocation): void {
    remember(this.#objects, nameOf(location));
  }

  log(group: string): void {
    remember(this.#logGroups, group);
  }
}

function nameOf({ bucket, key }: ObjectLocation): string {
  return `${bucket}/${key}`;
}

function remember(names: Set<string>, name: string): void {
  names.delete(name);
  names.add(name);
  if (names.size <= GRANTS_MAX) return;
  for (const oldest of names) {
    names.delete(oldest);
    return;
  }
}
