import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import type { Home } from '../../platform/model/function-reference.ts';
import type { InvocationRecord } from '../../platform/model/invocation.ts';
import { LOG_TAIL_BYTES_MAX } from '../../platform/model/limits.ts';
import type { Rejection, StreamedReply } from '../../platform/protocol/reply.ts';
import type { StreamEnd } from '../../platform/protocol/response-stream.ts';
import type { IncomingBody, IncomingReply } from '../replies/incoming-reply.ts';
import { isWritable, sendError } from './answers.ts';
import { EVENT_STREAM_TYPE, type EventFraming, type InvokeComplete } from './event-framing.ts';
import * as faults from './faults.ts';
import type { InvocationMeter } from './invocation-meter.ts';
import { ERROR_DETAILS_BYTES_MAX, PAYLOAD_CHUNK_BYTES_MAX } from './limits.ts';

/** What Lambda's runtime clients name where the handler has named nothing: no more than the framing says. */
const UNNAMED_TYPE = 'application/octet-stream';
/** As Lambda's own emulator of the Runtime API names what is the platform's and not the function's. */
const PLATFORM_FAILURE = 'Sandbox.Failure';
/** Whatever a function fails with before it has begun to stream is Unhandled, as in Invoke's `X-Amz-Function-Error`. */
const UNHANDLED = 'Unhandled';

export interface StreamedAnswerOptions {
  readonly response: ServerResponse;
  readonly invocation: InvocationRecord;
  readonly home: Home;
  readonly framing: EventFraming;
  readonly meter: InvocationMeter | undefined;
  /** When the request came, on the clock of `performance.now()`. */
  readonly receivedAt: number;
  /** Called once when a reply that has begun is over: nothing of it comes any more. */
  readonly onEnd: () => void;
}

/**
 * The answer to a caller of InvokeWithResponseStream.
 *
 * - *waiting*: nothing has been sent. A rejection becomes an error of the API, as for Invoke; the reply of a function that does not stream the whole answer.
 * - *streaming*: the function's first word has come; what it writes is passed on, no faster than the caller reads. A caller that goes away changes nothing for the
 *   function: the rest is read and dropped.
 * - *ended*: `InvokeComplete` has been sent, with an error where the function or the way to it has failed since.
 */
export class StreamedAnswer {
  readonly #options: StreamedAnswerOptions;
  #state: 'waiting' | 'streaming' | 'ended' = 'waiting';
  #source: Readable | undefined;

  constructor(options: StreamedAnswerOptions) {
    this.#options = options;
  }

  /** Begins with a response that comes in while the function writes it. */
  begin({ contentType, body }: StreamedReply): void {
    this.#options.meter?.streaming(this.#options.receivedAt);
    this.#sendHead(contentType);
    this.#passOn(body, (broken) => {
      const outcome = broken ? undefined : body.outcome;
      this.#options.meter?.streamed(outcome?.kind ?? 'rejected');
      this.#end(outcome === undefined ? brokenOff() : ending(outcome));
      this.#options.onEnd();
    });
  }

  /** Answers with a whole reply; when the response has begun, with what cuts it short. */
  answer(reply: IncomingReply): void {
    const { response, invocation, home, meter, receivedAt } = this.#options;
    if (this.#state === 'streaming') {
      if (reply.kind === 'rejected') this.#cutShort(reply.rejection);
      return;
    }
    meter?.replied(reply, receivedAt);
    if (reply.kind === 'rejected') {
      this.#state = 'ended';
      sendError(response, invocation.id, faults.rejected(reply.rejection, home, invocation.functionName));
      return;
    }
    this.#sendHead(undefined);
    const tail = logResult(reply.logTail);
    if (reply.kind === 'functionError') {
      void errorDetails(reply.body).then((details) => this.#end({ ErrorCode: UNHANDLED, ErrorDetails: details, ...tail }));
      return;
    }
    this.#passOn('stream' in reply.body ? reply.body.stream : Readable.from([reply.body], { objectMode: false }), (broken) => this.#end(broken ? brokenOff() : tail));
  }

  #cutShort(rejection: Rejection): void {
    const { home, invocation, meter } = this.#options;
    meter?.streamed('rejected');
    const { message } = faults.rejected(rejection, home, invocation.functionName);
    this.#end({ ErrorCode: PLATFORM_FAILURE, ErrorDetails: message });
    // Nothing more is wanted of it; a worker that is alive after all goes on without a reader.
    this.#source?.destroy();
  }

  /** At once: a client waits for it before it looks at the stream. */
  #sendHead(contentType: string | undefined): void {
    const { response, invocation } = this.#options;
    this.#state = 'streaming';
    if (!isWritable(response)) return;
    response.writeHead(200, [
      'Content-Type', contentType === undefined || contentType === UNNAMED_TYPE ? EVENT_STREAM_TYPE : contentType,
      'x-amzn-RequestId', invocation.id,
      'X-Amz-Executed-Version', invocation.version,
      'X-Amzn-Trace-Id', invocation.traceId,
    ]);
    response.flushHeaders();
  }

  /** Passes on what comes and calls back once when that is over; `broken`: before its end. */
  #passOn(source: Readable, over: (broken: boolean) => void): void {
    const { response, framing } = this.#options;
    this.#source = source;
    const resume = (): void => void source.resume();
    const done = (broken: boolean): void => {
      response.removeListener('drain', resume);
      if (this.#state === 'streaming') over(broken);
    };
    source.on('data', (chunk: Buffer) => {
      if (this.#state !== 'streaming' || response.destroyed) return;
      let takesMore = true;
      for (let at = 0; at < chunk.length; at += PAYLOAD_CHUNK_BYTES_MAX) takesMore = response.write(framing.payloadChunk(chunk.subarray(at, at + PAYLOAD_CHUNK_BYTES_MAX)));
      if (!takesMore) source.pause();
    });
    response.on('drain', resume);
    response.on('close', resume);
    source.on('end', () => done(false));
    source.on('close', () => done(true));
    source.on('error', () => undefined);
  }

  #end(complete: InvokeComplete): void {
    const { response, framing } = this.#options;
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    if (!response.destroyed) response.end(framing.invokeComplete(complete));
  }
}

function ending(end: StreamEnd): InvokeComplete {
  const tail = logResult(end.logTail);
  return end.kind === 'success' ? tail : { ErrorCode: end.errorType, ErrorDetails: end.body.toString('utf8'), ...tail };
}

function brokenOff(): InvokeComplete {
  return { ErrorCode: PLATFORM_FAILURE, ErrorDetails: 'The execution environment was lost while it streamed its response. It may have run to its end; try again if it can run twice.' };
}

function logResult(logTail: Buffer | undefined): Pick<InvokeComplete, 'LogResult'> {
  return logTail === undefined ? {} : { LogResult: logTail.subarray(-LOG_TAIL_BYTES_MAX).toString('base64') };
}

/** The beginning of an error object, as much as one event may carry. A body that breaks off is taken as far as it came. */
async function errorDetails(body: Buffer | IncomingBody): Promise<string> {
  if (!('stream' in body)) return body.subarray(0, ERROR_DETAILS_BYTES_MAX).toString('utf8');
  const parts: Buffer[] = [];
  let bytes = 0;
  body.stream.on('data', (chunk: Buffer) => {
    if (bytes < ERROR_DETAILS_BYTES_MAX) parts.push(chunk);
    bytes += chunk.length;
  });
  body.stream.on('error', () => undefined);
  await new Promise((resolve) => body.stream.once('close', resolve));
  return Buffer.concat(parts).subarray(0, ERROR_DETAILS_BYTES_MAX).toString('utf8');
}
