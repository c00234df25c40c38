import { buffer } from 'node:stream/consumers';
import { LRUCache } from 'lru-cache';
import { CODE_BUCKET } from '../../model/function.ts';
import type { ObjectStore } from '../../object-store/object-store.ts';
import { SMALL_PACKAGE_BYTES } from '../../protocol/wire/messages.ts';

/** Of all packages together. What was not asked for longest goes first, and is read again when it is. */
const KEPT_BYTES = 32 * 1024 * 1024;

/**
 * Deployment packages that are small enough for a controller to hand them to workers itself: a worker that has just come would otherwise look up the object store's name and connect to it, while a caller
 * waits. Each is read once, however many ask, and kept as long as there is room.
 */
export class SmallPackages {
  readonly #kept: LRUCache<string, Buffer>;

  constructor(store: Pick<ObjectStore, 'get'>) {
    this.#kept = new LRUCache<string, Buffer>({
      maxSize: KEPT_BYTES,
      sizeCalculation: ({ length }) => Math.max(1, length),
      fetchMethod: async (key) => buffer((await store.get({ bucket: CODE_BUCKET, key })).body),
    });
  }

  /** Undefined for one that is not small. Rejects as the store does. */
  async read(objectKey: string, sizeBytes: number): Promise<Buffer | undefined> {
    return sizeBytes <= SMALL_PACKAGE_BYTES ? this.#kept.fetch(objectKey) : undefined;
  }
}
