/** One event as the runtime gets it: the answer to its `next`. */
export interface RuntimeEvent {
  readonly invocationId: string;
  readonly deadlineMs: number;
  readonly invokedArn: string;
  readonly traceId: string;
  /** JSON text. */
  readonly clientContext?: string;
  readonly payload: Buffer;
}

/** A `next` that waits for its event. */
export interface WaitingNext {
  /** Gives the event to the runtime. Once only; nothing happens if the runtime has gone away. */
  deliver(event: RuntimeEvent): void;
}

/** What the runtime posted as the end of an invocation. */
export interface RuntimeResponse {
  readonly body: Buffer;
  readonly contentType: string;
  /** Whether the runtime streamed it: its output may have come while the body was under way. */
  readonly streamed: boolean;
  /** From the trailers of a streamed response that failed midway: the type, and the body already decoded. */
  readonly midstreamError?: { readonly type: string; readonly body: Buffer };
}

/** Whether the state of the environment allows a call. */
export type CallVerdict = 'accepted' | 'invalidRequestId' | 'invalidState';

/**
 * What a runtime can say over the Runtime API. Implemented by the environment that the address belongs to. No method may throw.
 */
export interface RuntimeCalls {
  /** The runtime is ready for its next event. Anything but `accepted` is answered at once, and `waiting` is then of no use. */
  next(waiting: WaitingNext): CallVerdict;
  /** Whether an end of this invocation would be accepted now; asked before its body is read. */
  mayEnd(invocationId: string): CallVerdict;
  response(invocationId: string, response: RuntimeResponse): CallVerdict;
  responseTooLarge(invocationId: string): CallVerdict;
  error(invocationId: string, body: Buffer, errorType: string): CallVerdict;
  initError(body: Buffer, errorType: string): CallVerdict;
}
