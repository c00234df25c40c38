/** Lambda quotas, "Invocation payload": 6 MB each way, plus the 100 bytes that the Runtime API itself allows on top of it. */
export const MAX_RESPONSE_BYTES = 6 * 1024 * 1024 + 100;

/** Lambda guide, "Response streaming for Lambda functions": "response streaming functions can return payloads up to 200 MB". */
export const MAX_STREAMED_RESPONSE_BYTES = 200 * 1024 * 1024;

/** Error bodies are kept for retries and destinations; Lambda keeps at most this much of an error object. */
export const MAX_ERROR_BODY_BYTES = 256 * 1024;

/** How much of a response that is too large is read and thrown away before its connection is cut. */
export const MAX_DISCARDED_BYTES = MAX_STREAMED_RESPONSE_BYTES;
