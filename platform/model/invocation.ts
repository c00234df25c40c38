/** `sync`: a caller waits for the result (`RequestResponse`). `async`: accepted with 202, run at least once (`Event`). */
export type InvocationKind = 'sync' | 'async';

/**
 * One invocation as it travels over the invocation log. Carries `v`, so that a release reads the records of the one before it
 * and ignores members that it does not know.
 */
export interface InvocationRecord {
  readonly v: 1;
  /** The request id: a UUID that the caller sees as `x-amzn-RequestId` and the function as `awsRequestId`. The same for every attempt. */
  readonly id: string;
  readonly kind: InvocationKind;
  readonly account: string;
  readonly functionName: string;
  /** {@link FunctionRecord.uid} at acceptance: an invocation does not outlive its function's incarnation. */
  readonly functionUid: string;
  /** `$LATEST` or a number, after the alias and its weights were resolved. */
  readonly version: string;
  /** The ARN as invoked, with the qualifier that the caller wrote: the context object's `invokedFunctionArn`. */
  readonly invokedArn: string;
  readonly acceptedAtMs: number;
  /** An invocation not started by then is not started any more: a sync caller's patience, an async event's maximum age. */
  readonly expiresAtMs: number;
  /** 1 for the first attempt. Throttled attempts do not count. */
  readonly attempt: number;
  /** How often in a row it was throttled; decides the back-off. */
  readonly throttles: number;
  /** Async: how often a failure is tried again, where the function's owner has said so; {@link EventInvokeConfig}. */
  readonly maxRetries?: number;
  /** Base64 JSON as the caller sent it in `X-Amz-Client-Context`. */
  readonly clientContext?: string;
  /** `X-Amzn-Trace-Id`. */
  readonly traceId: string;
  /** Whether the caller asked for the last 4 KiB of log (`LogType=Tail`). */
  readonly logTail: boolean;
  /** Sync: the caller takes the response as a stream, while the function writes it. A worker that does not know this answers with the whole. */
  readonly responseStream?: true;
  /**
   * Sync: where the gateway that holds the caller takes the reply; a URL that is good for one reply and for a time. Absent where that gateway is in the
   * same process.
   */
  readonly replyTo?: string;
  /** Set where the payload is too large to travel with the record: `payload` is empty then. */
  readonly claim?: PayloadClaim;
  readonly payload: Buffer;
}

/** Where a payload lies that does not travel with its record, and how long it is. */
export type PayloadClaim =
  /** At the gateway that holds the caller: GET {@link InvocationRecord.replyTo}. */
  | { readonly kind: 'gateway'; readonly bytes: number }
  /** In the object store's bucket {@link PAYLOAD_BUCKET}. */
  | { readonly kind: 'object'; readonly key: string; readonly bytes: number };

/** The object store's bucket that holds payloads of asynchronous invocations; not reachable through the S3 API. */
export const PAYLOAD_BUCKET = 'sluice-payloads';
