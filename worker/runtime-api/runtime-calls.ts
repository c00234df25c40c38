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
  readonly midstreamError?: MidstreamError;
}

export interface MidstreamError {
  readonly type: string;
  /** The error object; may be empty. */
  readonly body: Buffer;
}

/** Where a response goes that its caller takes while it is written. No method may throw. */
export interface StreamSink {
  /** False: its caller takes no more for the moment; `drained` is called once when it does. What nobody wants any more is dropped. */
  write(chunk: Buffer, drained: () => void): boolean;
  /** All of it was written; `failure`: it is only the beginning, as the runtime itself says. */
  end(failure: MidstreamError | undefined): CallVerdict;
  tooLarge(): CallVerdict;
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
  /** A response that the runtime streams begins, and may end: where to write it, or undefined where it is to be collected and given to `response`. */
  stream(invocationId: string, contentType: string | undefined): StreamSink | undefined;
  response(invocationId: string, response: RuntimeResponse): CallVerdict;
  responseTooLarge(invocationId: string): CallVerdict;
  error(invocationId: string, body: Buffer, errorType: string): CallVerdict;
  initError(body: Buffer, errorType: string): CallVerdict;
}
