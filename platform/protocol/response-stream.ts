import { PassThrough } from 'node:stream';

/** What is kept of a stream between the one who writes and the one who reads, on either side of it: the writer waits beyond that. */
const BUFFERED_BYTES_MAX = 64 * 1024;

/** How a response that was passed on while the function wrote it came to its end. */
export type StreamEnd =
  | { readonly kind: 'success'; readonly logTail?: Buffer }
  /** It broke off: the function failed midway, ran out of time or died. `body` is Lambda's JSON error object, `errorType` the kind of failure. */
  | { readonly kind: 'functionError'; readonly errorType: string; readonly body: Buffer; readonly logTail?: Buffer };

/**
 * A response on its way from the function to its caller, while the function writes it: bytes in order, and at last how it ended. Holds at most
 * twice {@link BUFFERED_BYTES_MAX} and one write.
 *
 * Its reader takes it as any readable stream. After `end`, {@link outcome} says how the response ended; `close` without `end`: it broke off on its way,
 * and nobody will say more. A reader that has lost interest reads on and drops what comes, or destroys it; its writer never fails from that. `outcome` is emitted when the writer has said how it
 * ended, which may be long before a slow reader has come there.
 */
export class ResponseStream extends PassThrough {
  #outcome: StreamEnd | undefined;
  #drained: (() => void) | undefined;

  constructor() {
    super({ highWaterMark: BUFFERED_BYTES_MAX });
    const drained = (): void => {
      const waiting = this.#drained;
      this.#drained = undefined;
      waiting?.();
    };
    this.on('drain', drained);
    this.on('close', drained);
    this.on('error', () => undefined);
  }

  /** Undefined until it has ended. */
  get outcome(): StreamEnd | undefined {
    return this.#outcome;
  }

  /**
   * Writes a chunk. False: the reader is slower than the writer, which should wait until `drained` is called, once. What nobody will read any more is
   * dropped, and true.
   */
  offer(chunk: Buffer, drained: () => void): boolean {
    if (this.writableEnded || this.destroyed || this.write(chunk)) return true;
    this.#drained = drained;
    return false;
  }

  /** Says how it ended, after everything that was written. Only the first call counts. */
  finish(outcome: StreamEnd): void {
    if (this.#outcome !== undefined || this.destroyed) return;
    this.#outcome = outcome;
    this.emit('outcome');
    this.end();
  }
}
