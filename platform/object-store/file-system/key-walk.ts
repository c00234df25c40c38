import type { Dirent } from 'node:fs';
import { opendir } from 'node:fs/promises';
import { join } from 'node:path';
import { compareUtf8 } from '../utf8-order.ts';
import { isAbsence } from './durable.ts';
import { decodeName, type DecodedName } from './paths.ts';

export interface KeyWalk {
  /** The bucket's folder. */
  readonly root: string;
  readonly prefix: string;
  /** Only keys behind this one. */
  readonly after: string | undefined;
  /** Names of one folder held in memory at once: a folder with more is read again for the rest. */
  readonly window: number;
}

interface Entry {
  readonly name: string;
  readonly kind: DecodedName['kind'];
  /** The key of a file; what all keys below a folder begin with. No entry's text begins with a folder's. */
  readonly text: string;
}

/** The keys below a bucket's folder in UTF-8 order. Memory is bounded by the window times the depth of the folders. */
export async function* walkKeys(walk: KeyWalk): AsyncGenerator<string> {
  yield* walkFolder(walk, walk.root, '');
}

async function* walkFolder(walk: KeyWalk, folder: string, base: string): AsyncGenerator<string> {
  let behind: string | undefined;
  for (;;) {
    const { entries, more } = await readWindow(walk, folder, base, behind);
    for (const entry of entries) {
      if (entry.kind === 'file') yield entry.text;
      else yield* walkFolder(walk, join(folder, entry.name), entry.text);
    }
    const last = entries.at(-1);
    if (!more || last === undefined) return;
    behind = last.text;
  }
}

/** The first entries of a folder, in order, that lie behind `behind` and can hold keys of the walk. */
async function readWindow(walk: KeyWalk, folder: string, base: string, behind: string | undefined): Promise<{ readonly entries: readonly Entry[]; readonly more: boolean }> {
  let entries: Entry[] = [];
  let more = false;
  const cut = (): void => {
    entries.sort((left, right) => compareUtf8(left.text, right.text));
    more ||= entries.length > walk.window;
    entries = entries.slice(0, walk.window);
  };
  try {
    for await (const dirent of await opendir(folder, { bufferSize: 512 })) {
      const entry = toEntry(dirent, base);
      if (entry === undefined || !isWanted(walk, entry) || (behind !== undefined && compareUtf8(entry.text, behind) <= 0)) continue;
      entries.push(entry);
      if (entries.length >= 2 * walk.window) cut();
    }
  } catch (error) {
    if (!isAbsence(error)) throw error;
  }
  cut();
  return { entries, more };
}

function toEntry(dirent: Dirent, base: string): Entry | undefined {
  const decoded = decodeName(dirent.name);
  if (decoded === undefined || (decoded.kind === 'file' ? !dirent.isFile() : !dirent.isDirectory())) return undefined;
  return { name: dirent.name, kind: decoded.kind, text: base + decoded.text + (decoded.kind === 'folder' ? '/' : '') };
}

function isWanted({ prefix, after }: KeyWalk, { kind, text }: Entry): boolean {
  const isFile = kind === 'file';
  if (!text.startsWith(prefix) && (isFile || !prefix.startsWith(text))) return false;
  if (after === undefined) return true;
  return compareUtf8(text, after) > 0 || (!isFile && after.startsWith(text));
}
