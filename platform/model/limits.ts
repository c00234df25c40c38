/**
 * Limits of Lambda's that more than one role must agree on.
 */

/** Lambda guide, "Understanding the Lambda execution environment lifecycle": the init phase is limited to 10 seconds. */
export const INIT_LIMIT_MS = 10_000;

/** Larger payloads do not travel through the log between processes: whoever runs the invocation fetches them ({@link InvocationRecord.claim}). */
export const INLINE_PAYLOAD_BYTES_MAX = 64 * 1024;

/** The last 4 KB of the log, as `LogType=Tail` promises ("Invoke", X-Amz-Log-Result). */
export const LOG_TAIL_BYTES_MAX = 4_096;

/** Lambda guide, "How Lambda handles errors and retries with asynchronous invocation": an event is kept for up to 6 hours. */
export const MAX_EVENT_AGE_MS = 6 * 3_600_000;
