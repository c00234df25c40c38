import { buffer } from 'node:stream/consumers';
import { CODE_BUCKET, type CodeReference } from '../../platform/model/function.ts';
import type { ObjectStore } from '../../platform/object-store/object-store.ts';

/** Brings a deployment package. Rejects where it cannot be had. */
export type CodeSource = (code: CodeReference) => Promise<Buffer>;

/** For a worker in the same process as the object store. */
export function codeInStore(store: Pick<ObjectStore, 'get'>): CodeSource {
  return async ({ objectKey }) => buffer((await store.get({ bucket: CODE_BUCKET, key: objectKey })).body);
}
