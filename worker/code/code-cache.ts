import { lstat, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { extract } from '../../platform/code-archive/extract.ts';
import type { CodeReference } from '../../platform/model/function.ts';
import type { Logger } from '../../platform/telemetry/logger.ts';
import type { CodeSource } from './code-source.ts';

/** Unpacked code of functions that have no environment now: kept so that the next cold start finds it. Sixteen packages of the largest size. */
export const MAX_UNUSED_BYTES = 16 * 262_144_000;
/** Small packages: a folder costs at least an inode per file, and the scan at start time per folder. */
export const MAX_UNUSED_FOLDERS = 2_000;

const HASH_NAME = /^[0-9a-f]{64}$/;
/**
 * Node looks for a package.json upwards from a file to know what kind of module it is. Above Lambda's /var/task there is none; this one keeps
 * Node from finding that of a project whose folder the data folder lies in.
 */
const PACKAGE_BOUNDARY = 'package.json';

/** Code in use: the folder stays until it is released. */
export interface CodeFolder {
  readonly path: string;
  /** Idempotent. */
  release(): void;
}

interface Entry {
  readonly path: string;
  readonly unpacked: Promise<number>;
  users: number;
  /** Known once unpacked. */
  sizeBytes: number;
}

/**
 * Deployment packages on disk, unpacked once per content: `<folder>/<sha256 in hex>`. Concurrent requests for one content share one
 * unpacking; the least recently used folders that nobody uses go when there are too many.
 */
export class CodeCache {
  readonly #folder: string;
  readonly #source: CodeSource;
  readonly #logger: Logger;
  /** In order of last use, oldest first. */
  readonly #entries = new Map<string, Entry>();
  readonly #prefetches = new Set<Promise<void>>();

  private constructor(folder: string, source: CodeSource, logger: Logger) {
    this.#folder = folder;
    this.#source = source;
    this.#logger = logger;
  }

  /** Opens the cache: keeps what earlier runs unpacked, removes what a crash left half done. */
  static async open(options: { readonly folder: string; readonly source: CodeSource; readonly logger: Logger }): Promise<CodeCache> {
    const cache = new CodeCache(options.folder, options.source, options.logger);
    await mkdir(options.folder, { recursive: true });
    for (const name of await readdir(options.folder)) {
      const path = join(options.folder, name);
      if (HASH_NAME.test(name)) cache.#remember(name, path, folderSize(path));
      else if (name !== PACKAGE_BOUNDARY) await rm(path, { recursive: true, force: true });
    }
    await writeFile(join(options.folder, PACKAGE_BOUNDARY), '{}\n');
    return cache;
  }

  /** Rejects with `CodeArchiveError` for a package that cannot be unpacked, with the source's error where it is not to be had. */
  async acquire(code: CodeReference): Promise<CodeFolder> {
    const hash = Buffer.from(code.sha256, 'base64').toString('hex');
    const path = join(this.#folder, hash);
    const entry = this.#entries.get(hash) ?? this.#remember(hash, path, this.#unpack(code, path));
    this.#entries.delete(hash);
    this.#entries.set(hash, entry);
    entry.users++;
    let released = false;
    const release = (): void => {
      if (released) return;
      released = true;
      entry.users--;
      this.#shrink();
    };
    try {
      await entry.unpacked;
    } catch (error) {
      entry.users--;
      throw error;
    }
    return { path, release };
  }

  /** Unpacks code that will probably be asked for. A failure is left to that request. */
  prefetch(code: CodeReference): void {
    const prefetched = this.acquire(code)
      .then(
        (folder) => folder.release(),
        () => undefined,
      )
      .finally(() => this.#prefetches.delete(prefetched));
    this.#prefetches.add(prefetched);
  }

  /** Resolves when nothing is being unpacked ahead. */
  async idle(): Promise<void> {
    await Promise.all(this.#prefetches);
  }

  #remember(hash: string, path: string, unpacked: Promise<number>): Entry {
    const entry: Entry = { path, unpacked, users: 0, sizeBytes: 0 };
    this.#entries.set(hash, entry);
    unpacked.then(
      (sizeBytes) => {
        entry.sizeBytes = sizeBytes;
        this.#shrink();
      },
      () => {
        // The next request tries again.
        if (this.#entries.get(hash) === entry) this.#entries.delete(hash);
      },
    );
    return entry;
  }

  async #unpack(code: CodeReference, path: string): Promise<number> {
    const { unpackedBytes } = await extract(await this.#source(code), path);
    return unpackedBytes;
  }

  #shrink(): void {
    const unused = [...this.#entries].filter(([, entry]) => entry.users === 0);
    let bytes = unused.reduce((sum, [, entry]) => sum + entry.sizeBytes, 0);
    let count = unused.length;
    for (const [hash, entry] of unused) {
      if (bytes <= MAX_UNUSED_BYTES && count <= MAX_UNUSED_FOLDERS) return;
      this.#entries.delete(hash);
      bytes -= entry.sizeBytes;
      count--;
      void this.#remove(entry.path);
    }
  }

  /** Renamed first, so that the same content can be unpacked again while the old folder is being removed. */
  async #remove(path: string): Promise<void> {
    const doomed = `${path}.${randomUUID()}.removed`;
    try {
      await rename(path, doomed);
      await rm(doomed, { recursive: true, force: true });
    } catch (error) {
      this.#logger.warn({ err: error, path }, 'Unpacked code could not be removed; it is removed at the next start.');
    }
  }
}

async function folderSize(path: string): Promise<number> {
  let sizeBytes = 0;
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) sizeBytes += (await lstat(join(entry.parentPath, entry.name))).size;
  }
  return sizeBytes;
}
