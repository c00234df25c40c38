import type { Operation } from './model.ts';

/** Lambda quotas: "50 MB (zipped, when uploaded through the Lambda API)". */
export const MAX_UPLOAD_BYTES = 52_428_800;

/**
 * The two operations whose body may carry a package: 50 MiB as base64, and room for the rest of the request. The number is that of the
 * service's error message.
 */
const MAX_UPLOAD_BODY_BYTES = 70_167_211;

/** All other control requests: the largest, CreateEventSourceMapping, has some ten thousand bytes. */
const MAX_CONTROL_BODY_BYTES = 1_048_576;

/** How large an operation's request body may be. For Invoke the limits depend on the invocation type: see gateway/invoke. */
export function bodyLimitBytes(operation: Pick<Operation, 'name'>): number {
  return operation.name === 'CreateFunction' || operation.name === 'UpdateFunctionCode' ? MAX_UPLOAD_BODY_BYTES : MAX_CONTROL_BODY_BYTES;
}

/** Lambda guide, "Using environment variables": "The total size of all environment variables doesn't exceed 4 KB". */
export const MAX_ENVIRONMENT_BYTES = 4_096;

/** Lambda quotas: memory of an ordinary function; the model's 32,768 is for managed instances. */
export const MAX_MEMORY_MIB = 10_240;

/** CreateFunction API: length of a name without its ARN. */
export const MAX_FUNCTION_NAME_CHARS = 64;

/** Lambda guide, "Using tags": 50 per resource, keys of 128 and values of 256 Unicode characters. */
export const MAX_TAGS = 50;
export const MAX_TAG_KEY_CHARS = 128;
export const MAX_TAG_VALUE_CHARS = 256;

/** PutFunctionConcurrency: "Lambda keeps at least 100 concurrent executions for functions without a reservation". */
export const MIN_UNRESERVED_CONCURRENCY = 100;

/** ListFunctions API: "returns a maximum of 50 items in each response, even if you set the number higher". */
export const MAX_PAGE_ITEMS = 50;

/** GetFunction API: "The link is valid for 10 minutes". */
export const CODE_LOCATION_VALID_SEC = 600;

/** GetAccountSettings: the account's storage for packages (Lambda quotas, "75 GB"). */
export const MAX_TOTAL_CODE_BYTES = 80_530_636_800;

/** Versions and aliases are part of the function's registry entry of at most 4 MiB; Lambda has no such bound. */
export const MAX_PUBLISHED_VERSIONS = 10_000;
export const MAX_ALIASES = 1_000;
