/** Lambda quotas: "Invocation payload (request and response): 6 MB each for synchronous", in bytes as its error message states them. */
export const MAX_SYNC_PAYLOAD_BYTES = 6_291_456;
/** Lambda quotas: 1 MB for an asynchronous request. */
export const MAX_ASYNC_PAYLOAD_BYTES = 1_048_576;
/** Invoke API: "Up to 3,583 bytes of base64-encoded data about the invoking client". */
export const MAX_CLIENT_CONTEXT_BYTES = 3_583;
