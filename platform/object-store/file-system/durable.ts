import { mkdir, open, rename, rmdir } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * How often a file is moved into a folder that others keep removing because it was empty. Each failure needs the removal of an
 * object between two system calls, so a second one is rare.
 */
const MAX_MOVE_ATTEMPTS = 50;

/** The system's error code, such as `ENOENT`. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** There is nothing at this path, or can be nothing. */
export function isAbsence(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENAMETOOLONG';
}

/** Makes the names in a folder survive a crash. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes the removal of a name in a folder survive a crash, even if the folder itself is removed meanwhile. */
export async function syncRemoval(folder: string): Promise<void> {
  for (let nearest = folder; ; nearest = dirname(nearest)) {
    try {
      await syncFolder(nearest);
      return;
    } catch (error) {
      if (!isAbsence(error) || nearest === dirname(nearest)) throw error;
    }
  }
}

/** Makes a folder with the ones above it, such that they survive a crash. */
export async function ensureFolder(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true });
  if (first === undefined) return;
  for (let made = folder; ; made = dirname(made)) {
    await syncFolder(dirname(made));
    if (made === first) return;
  }
}

/** Writes a file that does not exist yet; it survives a crash once its name does. */
export async function writeNewFile(path: string, content: string): Promise<void> {
  const handle = await open(path, 'wx');
  try {
    await handle.writeFile(content);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Moves a file to its place atomically, replacing what is there; resolves when the new name survives a crash. */
export async function moveDurably(from: string, to: string): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await ensureFolder(dirname(to));
      await rename(from, to);
      await syncFolder(dirname(to));
      return;
    } catch (error) {
      // Node says ENOTDIR of a folder that was there when it wanted to make it, and was gone when it looked what it was.
      const code = errorCode(error);
      if ((code !== 'ENOENT' && code !== 'ENOTDIR') || attempt === MAX_MOVE_ATTEMPTS) throw error;
    }
  }
}

/** Removes a folder and those above it, as long as they are empty and below `top`. */
export async function removeEmptyFolders(folder: string, top: string): Promise<void> {
  for (let empty = folder; empty !== top && empty.startsWith(top); empty = dirname(empty)) {
    try {
      await rmdir(empty);
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') return;
    }
  }
}
