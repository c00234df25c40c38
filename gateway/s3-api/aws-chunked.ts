import { S3Error } from './errors.ts';

/** Longest line of the framing: a chunk's size and signature, or a trailer. The longest in use, a trailer's signature, has 94 characters. */
const MAX_LINE_BYTES = 1_024;
/** Trailers that a body may have; one checksum and its signature are in use. */
const MAX_TRAILERS = 16;

const CUT_SHORT = 'The request body terminated unexpectedly';

/**
 * Takes the framing from a body with `Content-Encoding: aws-chunked` (S3 API reference, "Signature calculations: transferring payload
 * in multiple chunks"). Signatures of chunks are not checked. The trailers are complete once the generator has returned; their
 * names are lower-case. Throws {@link S3Error} `IncompleteBody` or `MalformedTrailerError`.
 */
export async function* decodeAwsChunked(source: AsyncIterable<Buffer>, trailers: Map<string, string>): AsyncGenerator<Buffer> {
  const reader = new FrameReader(source);
  try {
    yield* readFrames(reader, trailers);
  } finally {
    await reader.close();
  }
}

async function* readFrames(reader: FrameReader, trailers: Map<string, string>): AsyncGenerator<Buffer> {
  for (;;) {
    const header = await reader.line();
    const size = /^([0-9a-fA-F]{1,12})(?:;.*)?$/.exec(header ?? '')?.[1];
    if (size === undefined) throw new S3Error('IncompleteBody', { message: CUT_SHORT });
    const sizeBytes = Number.parseInt(size, 16);
    if (sizeBytes === 0) break;
    yield* reader.bytes(sizeBytes);
    if ((await reader.line()) !== '') throw new S3Error('IncompleteBody', { message: CUT_SHORT });
  }
  for (let line = await reader.line(); line !== undefined && line !== ''; line = await reader.line()) {
    const colon = line.indexOf(':');
    if (colon < 1 || trailers.size === MAX_TRAILERS) throw new S3Error('MalformedTrailerError');
    trailers.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
  }
  await reader.end();
}

class FrameReader {
  readonly #iterator: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Buffer>) {
    this.#iterator = source[Symbol.asyncIterator]();
  }

  /** The next line without its end; undefined at the end of the body. */
  async line(): Promise<string | undefined> {
    for (;;) {
      const end = this.#rest.indexOf(0x0a);
      if (end > MAX_LINE_BYTES || (end === -1 && this.#rest.length > MAX_LINE_BYTES)) throw new S3Error('IncompleteBody', { message: CUT_SHORT });
      if (end !== -1) {
        const line = this.#rest.toString('latin1', 0, end).replace(/\r$/, '');
        this.#rest = this.#rest.subarray(end + 1);
        return line;
      }
      const more = await this.#iterator.next();
      if (more.done === true) {
        if (this.#rest.length > 0) throw new S3Error('IncompleteBody', { message: CUT_SHORT });
        return undefined;
      }
      this.#rest = this.#rest.length === 0 ? more.value : Buffer.concat([this.#rest, more.value]);
    }
  }

  /** Exactly so many bytes. */
  async *bytes(count: number): AsyncGenerator<Buffer> {
    for (let missing = count; missing > 0; ) {
      if (this.#rest.length === 0) {
        const more = await this.#iterator.next();
        if (more.done === true) throw new S3Error('IncompleteBody', { message: CUT_SHORT });
        this.#rest = more.value;
      }
      const part = this.#rest.subarray(0, missing);
      this.#rest = this.#rest.subarray(part.length);
      missing -= part.length;
      if (part.length > 0) yield part;
    }
  }

  /** Nothing may follow. */
  async end(): Promise<void> {
    for (let rest = this.#rest; ; ) {
      if (rest.length > 0) throw new S3Error('MalformedTrailerError');
      const more = await this.#iterator.next();
      if (more.done === true) return;
      rest = more.value;
    }
  }

  /** Lets go of the source, wherever it stands. */
  async close(): Promise<void> {
    await this.#iterator.return?.();
  }
}
