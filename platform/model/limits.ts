/**
 * Limits of Lambda's that more than one role must agree on.
 */

/** Lambda guide, "Understanding the Lambda execution environment lifecycle": the init phase is limited to 10 seconds. */
export const INIT_LIMIT_MS = 10_000;

/** Lambda guide, "How Lambda handles errors and retries with asynchronous invocation": an event is kept for up to 6 hours. */
export const MAX_EVENT_AGE_MS = 6 * 3_600_000;
