import { InvalidBucketNameError, InvalidObjectKeyError } from './object-store.ts';

/** S3 user guide, "Naming Amazon S3 objects": at most 1,024 bytes of UTF-8. */
export const MAX_KEY_BYTES = 1_024;

const RESERVED_PREFIXES = ['xn--', 'sthree-', 'amzn-s3-demo-'];
const RESERVED_SUFFIXES = ['-s3alias', '--ol-s3', '.mrap', '--x-s3', '--table-s3'];

/** S3 user guide, "General purpose bucket naming rules". */
export function isBucketName(name: string): boolean {
  return (
    /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(name) &&
    !name.includes('..') &&
    !/^\d+\.\d+\.\d+\.\d+$/.test(name) &&
    !RESERVED_PREFIXES.some((prefix) => name.startsWith(prefix)) &&
    !RESERVED_SUFFIXES.some((suffix) => name.endsWith(suffix))
  );
}

/** Throws {@link InvalidBucketNameError}. */
export function checkBucketName(name: string): void {
  if (isBucketName(name)) return;
  throw new InvalidBucketNameError(
    `"${name}" cannot name a bucket: use 3 to 63 lower-case letters, digits, dots and hyphens, beginning and ending with a letter or digit, no two dots in a row, no IP address, none of S3's reserved prefixes and suffixes.`,
  );
}

/** Throws {@link InvalidObjectKeyError}. */
export function checkObjectKey(key: string): void {
  if (key === '') throw new InvalidObjectKeyError('An object key may not be empty.');
  if (!key.isWellFormed()) throw new InvalidObjectKeyError(`The object key ${JSON.stringify(key)} contains half a surrogate pair and so has no UTF-8 form.`);
  const bytes = Buffer.byteLength(key);
  if (bytes > MAX_KEY_BYTES) throw new InvalidObjectKeyError(`The object key "${key.slice(0, 64)}…" is ${bytes} bytes long; at most ${MAX_KEY_BYTES} are allowed.`);
}
