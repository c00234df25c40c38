import type { IncomingMessage } from 'node:http';
import { MAX_DISCARDED_BYTES, MAX_ERROR_BODY_BYTES, MAX_STREAMED_RESPONSE_BYTES } from './limits.ts';
import type { CallVerdict, MidstreamError, StreamSink } from './runtime-calls.ts';

/** The error that a runtime reports in the trailers of a streamed response, once its body has been read. */
export function midstreamErrorOf({ trailers }: IncomingMessage): MidstreamError | undefined {
  const type = trailers['lambda-runtime-function-error-type'];
  if (type === undefined) return undefined;
  return { type, body: Buffer.from(trailers['lambda-runtime-function-error-body'] ?? '', 'base64').subarray(0, MAX_ERROR_BODY_BYTES) };
}

/**
 * Passes a response on while it comes in, no faster than its caller takes it, and calls back once, when the runtime has sent all of it. What exceeds {@link MAX_STREAMED_RESPONSE_BYTES} is
 * read and dropped, and after {@link MAX_DISCARDED_BYTES} more its connection is cut. A body cut short never calls back: the end of its process or its time says the rest.
 */
export function passOn(request: IncomingMessage, sink: StreamSink, done: (verdict: CallVerdict, status: 202 | 413) => void): void {
  const resume = (): void => void request.resume();
  let sizeBytes = 0;
  let tooLarge: CallVerdict | undefined;
  request.on('data', (chunk: Buffer) => {
    const room = MAX_STREAMED_RESPONSE_BYTES - sizeBytes;
    sizeBytes += chunk.length;
    if (tooLarge !== undefined) {
      if (sizeBytes > MAX_STREAMED_RESPONSE_BYTES + MAX_DISCARDED_BYTES) request.destroy();
      return;
    }
    if (!sink.write(chunk.length > room ? chunk.subarray(0, room) : chunk, resume)) request.pause();
    if (chunk.length <= room) return;
    tooLarge = sink.tooLarge();
    request.resume();
  });
  request.on('end', () => {
    if (tooLarge === undefined) done(sink.end(midstreamErrorOf(request)), 202);
    else done(tooLarge, 413);
  });
}
