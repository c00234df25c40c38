import type { Entry } from 'yauzl';

export interface ArchiveEntry {
  /** Relative to the package's root, `/` between parts, without `.`, `..` and empty parts. */
  readonly path: string;
  readonly kind: 'file' | 'directory' | 'symlink';
  readonly executable: boolean;
  /** As the package declares it; unpacking fails where the content has another size. */
  readonly sizeBytes: number;
  readonly raw: Entry;
}
