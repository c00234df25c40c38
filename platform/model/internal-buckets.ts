import { CODE_BUCKET } from './function.ts';
import { PAYLOAD_BUCKET } from './invocation.ts';

/** The object store's bucket that holds the registry's documents, where several processes share it. */
export const REGISTRY_BUCKET = 'sluice-registry';
/** The object store's bucket that holds function logs, where several processes share it. */
export const LOGS_BUCKET = 'sluice-logs';

const INTERNAL_BUCKETS: ReadonlySet<string> = new Set([CODE_BUCKET, PAYLOAD_BUCKET, REGISTRY_BUCKET, LOGS_BUCKET]);

/** Whether a bucket is the platform's own: no client sees it, or what is in it, whichever of them there are. */
export function isInternalBucket(name: string): boolean {
  return INTERNAL_BUCKETS.has(name);
}
