import { contentOf, UnpackBudget, withArchive, type ArchiveSource } from './archive.ts';

export interface ArchiveSummary {
  readonly fileCount: number;
  /** As declared by the package; never above 262,144,000. */
  readonly unpackedBytes: number;
}

/**
 * Checks a deployment package's table of contents: that it is a zip file with files in it, of at most 250 MiB as declared and 100,000
 * entries, none encrypted, duplicate or leading outside. Unpacks nothing but symbolic links, so a zip bomb costs no more than another
 * file of its size. Rejects with `CodeArchiveError`.
 */
export function inspect(source: ArchiveSource): Promise<ArchiveSummary> {
  return withArchive(source, ({ entries, unpackedBytes }) =>
    Promise.resolve({ fileCount: entries.filter(({ kind }) => kind !== 'directory').length, unpackedBytes }));
}

/** As {@link inspect}, and unpacks everything to nowhere: what passes can be unpacked. Reads and inflates up to 250 MiB. */
export function verify(source: ArchiveSource): Promise<ArchiveSummary> {
  return withArchive(source, async ({ zip, entries, unpackedBytes }) => {
    const budget = new UnpackBudget();
    let fileCount = 0;
    for (const entry of entries) {
      if (entry.kind === 'directory') continue;
      fileCount++;
      for await (const _chunk of contentOf(zip, entry, budget));
    }
    return { fileCount, unpackedBytes };
  });
}
