import { invalidParameter } from '../errors.ts';
import { MAX_TAG_KEY_CHARS, MAX_TAG_VALUE_CHARS, MAX_TAGS } from '../limits.ts';

export type Tags = Readonly<Record<string, string>>;

/** Lambda guide, "Using tags on Lambda functions": letters, spaces and numbers of any script, and these signs. */
const ALLOWED = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u;

/** Tags with others laid over them. Throws `LambdaApiError` where the result breaks a rule. */
export function withTags(tags: Tags, added: Tags): Tags {
  for (const [key, value] of Object.entries(added)) checkTag(key, value);
  const result = Object.fromEntries([...Object.entries(tags), ...Object.entries(added)]);
  // The service's words.
  if (Object.keys(result).length > MAX_TAGS) throw invalidParameter('Number of tags exceeds resource tag limit.');
  return result;
}

export function withoutTags(tags: Tags, keys: readonly string[]): Tags {
  const removed = new Set(keys);
  return Object.fromEntries(Object.entries(tags).filter(([key]) => !removed.has(key)));
}

function checkTag(key: string, value: string): void {
  const shown = JSON.stringify(key.slice(0, MAX_TAG_KEY_CHARS));
  if (key === '' || [...key].length > MAX_TAG_KEY_CHARS) throw invalidParameter(`The tag key ${shown} must have 1 to ${MAX_TAG_KEY_CHARS} characters.`);
  if ([...value].length > MAX_TAG_VALUE_CHARS) throw invalidParameter(`The value of the tag ${shown} must have at most ${MAX_TAG_VALUE_CHARS} characters.`);
  if (!ALLOWED.test(key) || !ALLOWED.test(value)) throw invalidParameter(`The tag ${shown} may contain letters, numbers, spaces and _ . : / = + - @ only.`);
  if (key.toLowerCase().startsWith('aws:')) throw invalidParameter(`The tag key ${shown} begins with aws:, which is reserved.`);
}
