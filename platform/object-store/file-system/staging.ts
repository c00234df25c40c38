import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readFile, readdir, rm, writeFile, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { ObjectLocation } from '../object-store.ts';

/** An object's bytes on their way in: complete, but neither in place nor yet certain to survive a crash. */
export interface StagedBody {
  readonly path: string;
  readonly handle: FileHandle;
  /** MD5 in hex. */
  readonly etag: string;
}

/**
 * The folder in which everything begins that must appear at once. What a crash leaves here is removed at the next start; a note beside
 * each change says which object it is about, so that its traces elsewhere are removed as well.
 */
export class Staging {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Makes the folder, or empties the one that a process before left. Resolves to the objects whose change was cut short. */
  async open(): Promise<readonly ObjectLocation[]> {
    await mkdir(this.#folder, { recursive: true });
    const interrupted: ObjectLocation[] = [];
    for (const name of await readdir(this.#folder)) {
      if (!name.endsWith(NOTE)) await rm(join(this.#folder, name), { recursive: true, force: true });
      else interrupted.push(...parseNote(await readFile(join(this.#folder, name), 'utf8')));
    }
    return interrupted;
  }

  /** Removes the notes that {@link open} has read, once their traces are gone. */
  async forgetNotes(): Promise<void> {
    for (const name of await readdir(this.#folder)) await rm(join(this.#folder, name), { force: true });
  }

  /** A path in this folder that nobody uses. */
  newPath(): string {
    return join(this.#folder, randomUUID());
  }

  /** Runs a change of an object with a note about it. */
  async noted<Result>(location: ObjectLocation, change: () => Promise<Result>): Promise<Result> {
    const note = `${this.newPath()}${NOTE}`;
    await writeFile(note, JSON.stringify({ bucket: location.bucket, key: location.key }), { flag: 'wx' });
    const result = await change();
    await rm(note, { force: true });
    return result;
  }

  /** Takes in a body. Rejects with what its stream fails with, and leaves nothing then. */
  async receive(body: Buffer | Readable): Promise<StagedBody> {
    const path = this.newPath();
    const handle = await open(path, 'wx');
    try {
      const hash = createHash('md5');
      for await (const chunk of Buffer.isBuffer(body) ? [body] : (body as AsyncIterable<Buffer | string>)) {
        const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
        hash.update(bytes);
        await writeFully(handle, bytes);
      }
      return { path, handle, etag: hash.digest('hex') };
    } catch (error) {
      await this.discard({ path, handle });
      throw error;
    }
  }

  /** Closes a body and removes it, unless it was moved to its place before. */
  async discard(body: Pick<StagedBody, 'path' | 'handle'>): Promise<void> {
    await body.handle.close();
    await rm(body.path, { force: true });
  }
}

const NOTE = '.note';

async function writeFully(handle: FileHandle, bytes: Buffer): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    written += (await handle.write(bytes, written)).bytesWritten;
  }
}

function parseNote(text: string): readonly ObjectLocation[] {
  try {
    const note = JSON.parse(text) as Partial<ObjectLocation> | null;
    return typeof note?.bucket === 'string' && typeof note.key === 'string' ? [{ bucket: note.bucket, key: note.key }] : [];
  } catch {
    return []; // Half a note: its change had not begun yet.
  }
}
