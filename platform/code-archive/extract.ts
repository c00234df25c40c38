import { randomUUID } from 'node:crypto';
import { mkdir, open, rename, rm, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { contentOf, UnpackBudget, withArchive, type Archive, type ArchiveSource } from './archive.ts';
import type { ArchiveEntry } from './entry.ts';

/** Files written at once: enough to keep the disk and the inflate threads (4 by default) busy. */
const PARALLEL_FILES = 8;

/** Functions run as another user than the one who unpacks: readable by all (Lambda guide, "Deploying .zip files": 644 and 755). */
const FILE_MODE = 0o644;
const EXECUTABLE_MODE = 0o755;

export interface Extraction {
  /** Real bytes written. */
  readonly unpackedBytes: number;
}

/**
 * Unpacks a deployment package into the folder `target`, which must not exist yet: it appears at once with everything in it, or not at
 * all. Counts real bytes against 250 MiB while unpacking, writes nothing outside, keeps executable bits and drops all other mode bits.
 * Rejects with `CodeArchiveError` for a bad package, with a system error where the disk fails or `target` exists and is not empty.
 */
export function extract(source: ArchiveSource, target: string): Promise<Extraction> {
  return withArchive(source, async (archive) => {
    const staging = `${target}.${randomUUID()}.partial`;
    try {
      await mkdir(staging, { recursive: true, mode: EXECUTABLE_MODE });
      const unpackedBytes = await unpackInto(staging, archive);
      await rename(staging, target);
      return { unpackedBytes };
    } catch (error) {
      await rm(staging, { recursive: true, force: true });
      throw error;
    }
  });
}

async function unpackInto(root: string, archive: Archive): Promise<number> {
  const folders = new Set(archive.entries.map((entry) => (entry.kind === 'directory' ? entry.path : dirname(entry.path))));
  for (const folder of folders) await mkdir(join(root, folder), { recursive: true, mode: EXECUTABLE_MODE });
  const budget = new UnpackBudget();
  const files = archive.entries.filter(({ kind }) => kind === 'file').values();
  let unpackedBytes = 0;
  const writeFiles = async (): Promise<void> => {
    for (const entry of files) {
      const bytes = await writeFile(join(root, entry.path), archive, entry, budget);
      unpackedBytes += bytes;
    }
  };
  const writers = await Promise.allSettled(Array.from({ length: PARALLEL_FILES }, writeFiles));
  const failed = writers.find((writer) => writer.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  // Links come last, so that no file can be written through one.
  for (const [path, linkTarget] of archive.links) await symlink(linkTarget, join(root, path));
  return unpackedBytes;
}

async function writeFile(path: string, archive: Archive, entry: ArchiveEntry, budget: UnpackBudget): Promise<number> {
  // 'wx' neither follows a link nor replaces a file.
  const file = await open(path, 'wx', entry.executable ? EXECUTABLE_MODE : FILE_MODE);
  try {
    let bytes = 0;
    for await (const chunk of contentOf(archive.zip, entry, budget)) {
      await file.writeFile(chunk);
      bytes += chunk.length;
    }
    return bytes;
  } finally {
    await file.close();
  }
}
