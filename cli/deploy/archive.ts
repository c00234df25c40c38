import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ZipFile } from 'yazl';
import { MAX_ENTRIES, MAX_UNPACKED_BYTES } from '../../platform/code-archive/limits.ts';
import { CliError } from '../errors.ts';
import { formatBytes } from '../terminal/format.ts';
import type { CodeSource } from './plan.ts';

/** A deployment package, ready to be uploaded. */
export interface Archive {
  readonly bytes: Buffer;
  readonly files: number;
  /** Base64, as the API's `CodeSha256`: tells whether there is anything to upload. */
  readonly sha256: string;
}

/** Never needed at run time, and different on every machine: with them, the same code would never have the same hash. */
const EXCLUDED_NAMES = new Set(['.git', '.hg', '.svn', '.DS_Store', 'Thumbs.db', '__pycache__', '.pytest_cache', '.mypy_cache', '.aws-sam', '.venv', '.idea', '.vscode']);
const EXCLUDED_PATHS = new Set(['node_modules/.cache', 'node_modules/.bin', 'node_modules/.package-lock.json']);
const EXCLUDED_ENDINGS = ['.pyc', '.pyo', '.swp'];

/** All files bear the zip format's earliest date. In local time, since that is what the format stores. */
const FIXED_DATE = new Date(1980, 0, 1);
const EXECUTABLE_MODE = 0o100755;
const PLAIN_MODE = 0o100644;

interface Entry {
  /** Within the archive, with slashes. */
  readonly name: string;
  readonly file: string;
  readonly sizeBytes: number;
  readonly executable: boolean;
}

/** The package of a code source on this machine. Rejects with a {@link CliError} for an empty or oversized one. */
export async function archiveOf(code: Exclude<CodeSource, { kind: 'object' }>, onProgress: (fraction: number) => void): Promise<Archive> {
  switch (code.kind) {
    case 'folder':
      return archiveFolder(code.path, onProgress);
    case 'zip':
      return finished(await readFile(code.path), 0);
    case 'inline': {
      const zip = new ZipFile();
      zip.addBuffer(Buffer.from(code.text, 'utf8'), code.fileName, { mtime: FIXED_DATE, mode: PLAIN_MODE, forceDosTimestamp: true });
      return finished(await collect(zip), 1);
    }
  }
}

/**
 * Zips a folder so that equal content gives equal bytes: sorted names, fixed dates and modes. Symbolic links are followed, as `zip -r`
 * does.
 */
export async function archiveFolder(folder: string, onProgress: (fraction: number) => void): Promise<Archive> {
  const entries = await listEntries(folder);
  if (entries.length === 0) throw new CliError(`${folder} holds no file that could be deployed.`);
  const totalBytes = entries.reduce((sum, entry) => sum + entry.sizeBytes, 0);
  if (totalBytes > MAX_UNPACKED_BYTES) throw new CliError(tooLarge(folder, totalBytes, entries));
  const zip = new ZipFile();
  let readBytes = 0;
  for (const entry of entries) {
    zip.addReadStreamLazy(entry.name, { mtime: FIXED_DATE, mode: entry.executable ? EXECUTABLE_MODE : PLAIN_MODE, forceDosTimestamp: true }, (give) => {
      const stream = createReadStream(entry.file);
      stream.on('data', (chunk) => {
        readBytes += chunk.length;
        onProgress(totalBytes === 0 ? 1 : readBytes / totalBytes);
      });
      stream.on('error', (error) => zip.emit('error', error));
      give(null, stream);
    });
  }
  return finished(await collect(zip), entries.length);
}

/** What of a folder belongs into its package, sorted by name. */
async function listEntries(root: string): Promise<Entry[]> {
  const entries: Entry[] = [];
  const visit = async (folder: string, prefix: string, above: readonly string[]): Promise<void> => {
    const real = await realpath(folder);
    if (above.includes(real)) throw new CliError(`${folder} is a symbolic link to a folder above itself; remove it.`);
    for (const child of await readdir(folder)) {
      const name = `${prefix}${child}`;
      if (isExcluded(child, name)) continue;
      const file = join(folder, child);
      const info = await stat(file);
      if (info.isDirectory()) {
        await visit(file, `${name}/`, [...above, real]);
      } else if (info.isFile()) {
        entries.push({ name, file, sizeBytes: info.size, executable: (info.mode & 0o111) !== 0 });
        if (entries.length > MAX_ENTRIES) throw new CliError(`${root} holds more than ${MAX_ENTRIES} files; is that the right folder?`);
      }
    }
  };
  await visit(root, '', []);
  return entries.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function isExcluded(child: string, name: string): boolean {
  return EXCLUDED_NAMES.has(child) || EXCLUDED_PATHS.has(name) || EXCLUDED_ENDINGS.some((ending) => child.endsWith(ending));
}

function tooLarge(folder: string, totalBytes: number, entries: readonly Entry[]): string {
  const largest = [...entries].sort((a, b) => b.sizeBytes - a.sizeBytes).slice(0, 3);
  const named = largest.map((entry) => `${entry.name} (${formatBytes(entry.sizeBytes)})`).join(', ');
  return `${folder} has ${formatBytes(totalBytes)} unpacked; Lambda takes at most ${formatBytes(MAX_UNPACKED_BYTES)}. Largest files: ${named}.`;
}

async function collect(zip: ZipFile): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const failed = new Promise<never>((_, reject) => {
    zip.once('error', reject);
  });
  zip.end();
  const all = (async () => {
    for await (const chunk of zip.outputStream) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks);
  })();
  return Promise.race([all, failed]);
}

function finished(bytes: Buffer, files: number): Archive {
  return { bytes, files, sha256: createHash('sha256').update(bytes).digest('base64') };
}
