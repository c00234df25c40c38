import { MAX_UNPACKED_BYTES } from '../../platform/code-archive/limits.ts';
import { CodeArchiveError } from '../../platform/code-archive/errors.ts';
import type { ObjectLocation, ObjectStore } from '../../platform/object-store/object-store.ts';

/** A package from the store, into memory. Refuses at once what could not be unpacked within the limit anyway. Rejects as `ObjectStore.get`. */
export async function readObject(store: ObjectStore, location: ObjectLocation): Promise<Buffer> {
  const { summary, body } = await store.get(location);
  if (summary.sizeBytes > MAX_UNPACKED_BYTES) {
    body.destroy();
    throw new CodeArchiveError('tooLarge', `Unzipped size must be smaller than ${MAX_UNPACKED_BYTES} bytes`);
  }
  const chunks: Buffer[] = [];
  for await (const chunk of body as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}
