/** Lambda quotas: "Invocation payload (request and response): 6 MB each for synchronous", in bytes as its error message states them. */
export const MAX_SYNC_PAYLOAD_BYTES = 6_291_456;
/** Lambda quotas: 1 MB for an asynchronous request. */
export const MAX_ASYNC_PAYLOAD_BYTES = 1_048_576;
/** Invoke API: "Up to 3,583 bytes of base64-encoded data about the invoking client". */
export const MAX_CLIENT_CONTEXT_BYTES = 3_583;
/** So much of a function's error object goes into the event that ends a response stream; Lambda keeps as much of one for destinations. */
export const ERROR_DETAILS_BYTES_MAX = 256 * 1024;
/** One event of a response stream carries so much at most: no client needs to hold more of it at once. */
export const PAYLOAD_CHUNK_BYTES_MAX = 64 * 1024;
