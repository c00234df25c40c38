import type { Readable } from 'node:stream';
import { ResponseStream, type StreamEnd } from '../response-stream.ts';
import { decodeFrame, encodeFrame } from './frame.ts';

/**
 * A {@link ResponseStream} as the body of a request: frames of one byte that says what follows, four bytes with its length, and that. A chunk may come in as many pieces as it likes;
 * the last frame says how the response ended. Without it the response has broken off.
 */
const CHUNK = 0;
const END = 1;
const HEADER_BYTES = 5;
/** An error object is 256 KiB at most, the end of a log 4 KiB. */
const END_BYTES_MAX = 1024 * 1024;

type EndHead = { readonly kind: 'success'; readonly logTail?: string } | { readonly kind: 'functionError'; readonly errorType: string; readonly logTail?: string };

/** The frames of a response, as they come. Throws where it breaks off. */
export async function* responseFrames(stream: ResponseStream): AsyncGenerator<Buffer> {
  // The receiver hears of the beginning, before the function has written anything.
  yield frame(CHUNK, Buffer.alloc(0));
  for await (const chunk of stream as AsyncIterable<Buffer>) yield frame(CHUNK, chunk);
  if (stream.outcome !== undefined) yield frame(END, encodeEnd(stream.outcome));
}

function frame(type: number, content: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + content.length);
  bytes[0] = type;
  bytes.writeUInt32BE(content.length, 1);
  content.copy(bytes, HEADER_BYTES);
  return bytes;
}

function encodeEnd(end: StreamEnd): Buffer {
  const tail = end.logTail === undefined ? {} : { logTail: end.logTail.toString('base64') };
  return end.kind === 'success' ? encodeFrame({ kind: end.kind, ...tail }) : encodeFrame({ kind: end.kind, errorType: end.errorType, ...tail }, end.body);
}

/** Undefined for what is none. */
function decodeEnd(bytes: Buffer): StreamEnd | undefined {
  const decoded = decodeFrame(bytes);
  const head = decoded?.head as EndHead | null | undefined;
  if (decoded === undefined || typeof head !== 'object' || head === null) return undefined;
  const tail = typeof head.logTail === 'string' ? { logTail: Buffer.from(head.logTail, 'base64') } : {};
  if (head.kind === 'success') return { kind: 'success', ...tail };
  return head.kind === 'functionError' && typeof head.errorType === 'string' ? { kind: 'functionError', errorType: head.errorType, body: decoded.body, ...tail } : undefined;
}

/** Reads {@link responseFrames} from pieces of any size. */
export class ResponseFrameReader {
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #headerBytes = 0;
  /** Of the frame that is being read. */
  #left = 0;
  #endParts: Buffer[] = [];

  /** What `bytes` bring: pieces of the response, and its end with the last one. Throws for what is no such frame. */
  read(bytes: Buffer): { readonly chunks: readonly Buffer[]; readonly end?: StreamEnd } {
    const chunks: Buffer[] = [];
    for (let at = 0; at < bytes.length; ) {
      if (this.#headerBytes < HEADER_BYTES) {
        const copied = bytes.copy(this.#header, this.#headerBytes, at, at + HEADER_BYTES - this.#headerBytes);
        at += copied;
        this.#headerBytes += copied;
        if (this.#headerBytes === HEADER_BYTES) this.#begin();
        continue;
      }
      const piece = bytes.subarray(at, at + this.#left);
      at += piece.length;
      this.#left -= piece.length;
      if (this.#header[0] === CHUNK) chunks.push(piece);
      else this.#endParts.push(piece);
      if (this.#left > 0) continue;
      this.#headerBytes = 0;
      if (this.#header[0] === CHUNK) continue;
      const end = decodeEnd(Buffer.concat(this.#endParts));
      if (end === undefined) throw new Error('The end of a streamed response is not readable.');
      return { chunks, end };
    }
    return { chunks };
  }

  #begin(): void {
    this.#left = this.#header.readUInt32BE(1);
    const type = this.#header[0];
    if (type !== CHUNK && (type !== END || this.#left === 0 || this.#left > END_BYTES_MAX)) throw new Error(`A streamed response has no frame of type ${type} and ${this.#left} bytes.`);
    // An empty chunk has no piece that would end it.
    if (this.#left === 0) this.#headerBytes = 0;
  }
}

/** The response that comes in as frames. `source` is read no faster than it. Where the frames break off or cannot be read, the response is destroyed; where that is destroyed by its reader, the source is. */
export function receiveResponse(source: Readable): ResponseStream {
  const stream = new ResponseStream();
  const reader = new ResponseFrameReader();
  const resume = (): void => void source.resume();
  source.on('data', (bytes: Buffer) => {
    if (stream.writableEnded || stream.destroyed) return;
    try {
      const { chunks, end } = reader.read(bytes);
      const waits = chunks.map((chunk) => stream.offer(chunk, resume)).includes(false);
      if (end !== undefined) stream.finish(end);
      else if (waits) source.pause();
    } catch {
      stream.destroy();
    }
  });
  source.on('error', () => undefined);
  source.on('close', () => {
    if (!stream.writableEnded) stream.destroy();
  });
  stream.on('close', () => {
    if (stream.outcome === undefined) source.destroy();
  });
  return stream;
}
