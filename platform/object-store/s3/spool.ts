import { createHash, randomUUID } from 'node:crypto';
import { open, rm, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { ObjectTooLargeError } from '../object-store.ts';

/** Amazon S3 user guide, "Uploading objects": the largest object of a single PUT. */
export const MAX_OBJECT_BYTES = 5 * 1024 ** 3;

/** Up to here a body waits in memory; most do. A longer one waits in a file. */
const MAX_BYTES_IN_MEMORY = 1024 * 1024;

/** A body whose length and hashes are known and which can be sent more than once. */
export interface Body {
  readonly sizeBytes: number;
  readonly md5: Buffer;
  /** In hex. */
  readonly sha256: string;
  /** The bytes from the beginning, for one attempt. */
  open(): Buffer | Readable;
  /** Gives back what the body occupies. */
  discard(): Promise<void>;
}

export function bodyOf(bytes: Buffer): Body {
  return {
    sizeBytes: bytes.length,
    md5: createHash('md5').update(bytes).digest(),
    sha256: createHash('sha256').update(bytes).digest('hex'),
    open: () => bytes,
    discard: () => Promise.resolve(),
  };
}

/**
 * Takes in a stream to its end before the first byte goes out. S3 wants the length first, an ETag that is the MD5 of the bytes
 * needs a single PUT (one of several parts has another), a stream that fails halfway must leave the object as it was, and a PUT that meets a reset
 * connection must be sent again: only what lies here whole can do all of that. Rejects with what the stream fails with, and with
 * {@link ObjectTooLargeError}.
 */
export async function spool(stream: Readable, folder: string): Promise<Body> {
  const md5 = createHash('md5');
  const sha256 = createHash('sha256');
  const inMemory: Buffer[] = [];
  let file: FileHandle | undefined;
  let sizeBytes = 0;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer | string>) {
      const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
      md5.update(bytes);
      sha256.update(bytes);
      sizeBytes += bytes.length;
      if (sizeBytes > MAX_OBJECT_BYTES) throw new ObjectTooLargeError(`The body has more than ${MAX_OBJECT_BYTES} bytes; an S3 server stores at most so many as one object.`);
      if (file === undefined && sizeBytes <= MAX_BYTES_IN_MEMORY) {
        inMemory.push(bytes);
        continue;
      }
      if (file === undefined) {
        file = await openNameless(folder);
        for (const earlier of inMemory.splice(0)) await writeFully(file, earlier);
      }
      await writeFully(file, bytes);
    }
  } catch (error) {
    await file?.close();
    throw error;
  }
  const hashes = { sizeBytes, md5: md5.digest(), sha256: sha256.digest('hex') };
  if (file === undefined) {
    const whole = Buffer.concat(inMemory);
    return { ...hashes, open: () => whole, discard: () => Promise.resolve() };
  }
  const opened = file;
  return { ...hashes, open: () => opened.createReadStream({ start: 0, autoClose: false }), discard: () => opened.close() };
}

/** A file that no crash leaves behind: it has lost its name before it has content. */
async function openNameless(folder: string): Promise<FileHandle> {
  const path = join(folder, `sluice-upload-${randomUUID()}`);
  const file = await open(path, 'wx+', 0o600);
  try {
    await rm(path);
  } catch (error) {
    await file.close();
    throw error;
  }
  return file;
}

async function writeFully(file: FileHandle, bytes: Buffer): Promise<void> {
  for (let written = 0; written < bytes.length; ) written += (await file.write(bytes, written)).bytesWritten;
}
