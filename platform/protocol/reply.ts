import type { InvocationRecord } from '../model/invocation.ts';
import type { ResponseStream } from './response-stream.ts';

/** What a sync invocation came to, as it travels from a worker or the controller to the gateway that holds the caller. */
export type Reply =
  /** The handler returned. `body` is what it returned, usually JSON. */
  | { readonly kind: 'success'; readonly body: Buffer; readonly contentType?: string; readonly logTail?: Buffer }
  /**
   * The function failed: it threw (`Handled` or `Unhandled`), timed out, ran out of memory or died. A 200 with `X-Amz-Function-Error`;
   * `body` is Lambda's JSON error object.
   */
  | { readonly kind: 'functionError'; readonly body: Buffer; readonly functionError: 'Handled' | 'Unhandled'; readonly logTail?: Buffer }
  /** The platform did not run it, or lost it: becomes the API error of this name. */
  | { readonly kind: 'rejected'; readonly rejection: Rejection };

/** A response that its caller gets while the function writes it ({@link InvocationRecord.responseStream}). */
export interface StreamedReply {
  /** As the runtime named it. */
  readonly contentType?: string;
  /** Carries the error as well that ends it. */
  readonly body: ResponseStream;
}

/** Why the platform did not run an invocation. Each is one row of the gateway's error catalogue. */
export type Rejection =
  | { readonly code: 'throttled'; readonly reason: 'ConcurrentInvocationLimitExceeded' | 'ReservedFunctionConcurrentInvocationLimitExceeded' | 'CallerRateLimitExceeded' }
  /** Not started before `expiresAtMs`. */
  | { readonly code: 'expired' }
  /** Deleted between acceptance and start. */
  | { readonly code: 'functionGone' }
  /** The worker or environment was lost while it ran; may be called again. `message` says how, where that is known. */
  | { readonly code: 'workerLost'; readonly message?: string }
  /** No environment could be started, for a cause that is the platform's and not the function's. */
  | { readonly code: 'cannotStart'; readonly message: string }
  | { readonly code: 'shuttingDown' };

/**
 * Carries replies to the gateway that waits for them. In one process it is a call; between processes a one-time signed URL.
 *
 * `reply` never throws and never blocks: a caller that has gone away is not an error, and the second reply to one invocation is dropped.
 * Only sync invocations are replied to.
 */
export interface ReplyChannel {
  reply(invocation: ReplyAddress, reply: Reply): void;
}

/** What a worker says to the gateways as well. */
export interface WorkerReplies extends ReplyChannel {
  /**
   * Begins the reply to a caller that takes it as a stream; instead of {@link reply}, once. Never throws and never blocks. Where nobody waits for it or the way to the gateway breaks, the
   * body is destroyed or read and dropped: the function goes on, and a caller who waits still is told that its environment was lost.
   */
  stream(invocation: ReplyAddress, streamed: StreamedReply): void;
}

/** What a controller asks of the gateways as well. */
export interface CallerChannel extends ReplyChannel {
  /**
   * Whether the caller waits still, for the beginning of an answer. True as well where that cannot be found out: a run for nobody is better than a caller without an answer. Never
   * rejects.
   */
  awaited(invocation: ReplyAddress): Promise<boolean>;
}

export type ReplyAddress = Pick<InvocationRecord, 'id' | 'replyTo'>;
