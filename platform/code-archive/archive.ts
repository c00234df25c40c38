import type { Readable } from 'node:stream';
import { crc32 } from 'node:zlib';
import { fromBufferPromise, getFileNameLowLevel, openPromise, type Entry, type ZipFile } from 'yauzl';
import { CodeArchiveError } from './errors.ts';
import { MAX_ENTRIES, MAX_NAME_BYTES, MAX_NAME_PART_BYTES, MAX_UNPACKED_BYTES } from './limits.ts';
import type { ArchiveEntry } from './entry.ts';
import { checkTree } from './tree.ts';

/** A deployment package: its bytes, or the path of the file that holds them. */
export type ArchiveSource = Buffer | string;

/** A package whose table of contents has been checked: nothing in it can lead out of the folder that it is unpacked into. */
export interface Archive {
  readonly zip: ZipFile;
  readonly entries: readonly ArchiveEntry[];
  /** Target by path of each symbolic link. */
  readonly links: ReadonlyMap<string, string>;
  readonly unpackedBytes: number;
}

/** Linux: PATH_MAX. */
const MAX_LINK_TARGET_BYTES = 4_096;

/** Systems that put Unix modes into a zip's external attributes (APPNOTE.TXT 4.4.2.2: 3 UNIX, 19 OS X). */
const UNIX_HOSTS: ReadonlySet<number> = new Set([3, 19]);

/**
 * Opens a package, checks its table of contents and gives it to `use`; closed when that settles. The work is bounded by the number of
 * entries: nothing but the symbolic links' targets is unpacked. Rejects with {@link CodeArchiveError}, or with what `use` rejects with.
 */
export async function withArchive<Result>(source: ArchiveSource, use: (archive: Archive) => Promise<Result>): Promise<Result> {
  const zip = await open(source);
  try {
    const entries = await readEntries(zip);
    const links = await readLinks(zip, entries);
    checkTree(entries, links);
    const unpackedBytes = entries.reduce((sum, entry) => sum + entry.sizeBytes, 0);
    return await use({ zip, entries, links, unpackedBytes });
  } finally {
    zip.close();
  }
}

async function open(source: ArchiveSource): Promise<ZipFile> {
  // Names are decoded here, so that each fault has its own message.
  const options = { lazyEntries: true, autoClose: false, decodeStrings: false, validateEntrySizes: true };
  try {
    return await (typeof source === 'string' ? openPromise(source, options) : fromBufferPromise(source, options));
  } catch (cause) {
    throw CodeArchiveError.couldNotUnzip('unreadable', undefined, cause);
  }
}

async function readEntries(zip: ZipFile): Promise<ArchiveEntry[]> {
  if (zip.entryCount > MAX_ENTRIES) {
    throw new CodeArchiveError('tooManyEntries', `The deployment package has ${zip.entryCount} entries; at most ${MAX_ENTRIES} are allowed.`);
  }
  const entries: ArchiveEntry[] = [];
  let declaredBytes = 0;
  try {
    for await (const raw of zip.eachEntry()) {
      const entry = toArchiveEntry(raw);
      if (entry === undefined) continue;
      declaredBytes += entry.sizeBytes;
      if (declaredBytes > MAX_UNPACKED_BYTES) throw unpackedTooLarge();
      entries.push(entry);
    }
  } catch (error) {
    throw asArchiveError(error);
  }
  // Lambda's words for a zip file without files.
  if (!entries.some(({ kind }) => kind !== 'directory')) throw new CodeArchiveError('empty', 'Uploaded file must be a non-empty zip');
  return entries;
}

/** Undefined for the root folder itself. */
function toArchiveEntry(raw: Entry): ArchiveEntry | undefined {
  const name = getFileNameLowLevel(raw.generalPurposeBitFlag, raw.fileNameRaw, raw.extraFields, true);
  const shown = JSON.stringify(name.slice(0, 200));
  if (raw.isEncrypted()) throw CodeArchiveError.couldNotUnzip('encrypted', `The entry ${shown} is encrypted.`);
  const path = checkedPath(name, shown);
  if (path === '') return undefined;
  const mode = UNIX_HOSTS.has(raw.versionMadeBy >>> 8) ? raw.externalFileAttributes >>> 16 : 0;
  const kind = kindOf(name, mode, shown);
  if (kind === 'directory') return { path, kind, executable: false, sizeBytes: 0, raw };
  if (raw.compressionMethod !== 0 && raw.compressionMethod !== 8) {
    throw CodeArchiveError.couldNotUnzip('unsupported', `The entry ${shown} is compressed by method ${raw.compressionMethod}; use deflate.`);
  }
  return { path, kind, executable: (mode & 0o111) !== 0, sizeBytes: raw.uncompressedSize, raw };
}

function checkedPath(name: string, shown: string): string {
  const escapes = (): CodeArchiveError => CodeArchiveError.couldNotUnzip('escape', `The entry ${shown} has a path that is absolute, contains a backslash or leads out of the package.`);
  if (name.startsWith('/') || name.includes('\\') || /^[a-zA-Z]:/.test(name)) throw escapes();
  if (name.includes('\0') || Buffer.byteLength(name) > MAX_NAME_BYTES) {
    throw CodeArchiveError.couldNotUnzip('unreadable', `The entry ${shown} has a name that is no path or longer than ${MAX_NAME_BYTES} bytes.`);
  }
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.includes('..')) throw escapes();
  if (parts.some((part) => Buffer.byteLength(part) > MAX_NAME_PART_BYTES)) {
    throw CodeArchiveError.couldNotUnzip('unreadable', `The entry ${shown} has a part longer than ${MAX_NAME_PART_BYTES} bytes.`);
  }
  return parts.join('/');
}

function kindOf(name: string, mode: number, shown: string): ArchiveEntry['kind'] {
  const type = mode & 0o170000;
  if (type === 0o120000) return 'symlink';
  if (type === 0o040000 || name.endsWith('/')) return 'directory';
  if (type === 0 || type === 0o100000) return 'file';
  throw CodeArchiveError.couldNotUnzip('unsupported', `The entry ${shown} is a device, socket or pipe.`);
}

async function readLinks(zip: ZipFile, entries: readonly ArchiveEntry[]): Promise<Map<string, string>> {
  const links = new Map<string, string>();
  for (const entry of entries) {
    if (entry.kind !== 'symlink') continue;
    if (entry.sizeBytes === 0 || entry.sizeBytes > MAX_LINK_TARGET_BYTES) {
      throw CodeArchiveError.couldNotUnzip('unreadable', `The symbolic link ${JSON.stringify(entry.path)} has no usable target.`);
    }
    const chunks: Buffer[] = [];
    for await (const chunk of contentOf(zip, entry, new UnpackBudget(MAX_LINK_TARGET_BYTES))) chunks.push(chunk);
    links.set(entry.path, Buffer.concat(chunks).toString('utf8'));
  }
  return links;
}

/** Counts real bytes while a package is unpacked, whatever it declared. */
export class UnpackBudget {
  #leftBytes: number;

  constructor(bytes: number = MAX_UNPACKED_BYTES) {
    this.#leftBytes = bytes;
  }

  take(bytes: number): void {
    this.#leftBytes -= bytes;
    if (this.#leftBytes < 0) throw unpackedTooLarge();
  }
}

/**
 * An entry's bytes, counted against the budget and compared with the declared size and checksum. Throws {@link CodeArchiveError}
 * when they differ or cannot be unpacked; what was yielded before is then worthless.
 */
export async function* contentOf(zip: ZipFile, entry: ArchiveEntry, budget: UnpackBudget): AsyncGenerator<Buffer, void, undefined> {
  let checksum = 0;
  try {
    const stream: Readable = await zip.openReadStreamPromise(entry.raw);
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      budget.take(chunk.length);
      checksum = crc32(chunk, checksum);
      yield chunk;
    }
  } catch (error) {
    throw asArchiveError(error);
  }
  if (checksum !== entry.raw.crc32) throw CodeArchiveError.couldNotUnzip('unreadable', `The entry ${JSON.stringify(entry.path)} is damaged.`);
}

function unpackedTooLarge(): CodeArchiveError {
  // Lambda's words.
  return new CodeArchiveError('tooLarge', `Unzipped size must be smaller than ${MAX_UNPACKED_BYTES} bytes`);
}

function asArchiveError(error: unknown): CodeArchiveError {
  return error instanceof CodeArchiveError ? error : CodeArchiveError.couldNotUnzip('unreadable', undefined, error);
}
