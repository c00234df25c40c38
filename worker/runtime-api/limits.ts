/** Lambda quotas, "Invocation payload": 6 MB each way, plus the 100 bytes that the Runtime API itself allows on top of it. */
export const MAX_RESPONSE_BYTES = 6 * 1024 * 1024 + 100;

/** Error bodies are kept for retries and destinations; Lambda keeps at most this much of an error object. */
export const MAX_ERROR_BODY_BYTES = 256 * 1024;

/** How much of a response that is too large is read and thrown away before its connection is cut: the largest streamed response of Lambda. */
export const MAX_DISCARDED_BYTES = 200 * 1024 * 1024;
