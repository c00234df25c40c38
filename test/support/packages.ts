import { Buffer } from 'node:buffer';
import { buffer } from 'node:stream/consumers';
import { ZipFile } from 'yazl';

/** A deployment package from sources by path. */
export async function zip(files: Readonly<Record<string, string | Buffer>>, options: { readonly mode?: number } = {}): Promise<Buffer> {
  const archive = new ZipFile();
  for (const [path, content] of Object.entries(files)) {
    archive.addBuffer(Buffer.from(content), path, { mtime: new Date(2020, 0, 1), mode: options.mode ?? 0o100644 });
  }
  archive.end();
  return buffer(archive.outputStream);
}

/**
 * A package with entries that an honest tool refuses to write: paths that escape, symbolic links. Each entry's `path` is first written
 * under a harmless name of the same length and then replaced in the bytes, in the local and in the central header alike.
 */
export async function crookedZip(entries: readonly { readonly path: string; readonly content: string; readonly mode?: number }[]): Promise<Buffer> {
  const archive = new ZipFile();
  const renames: [string, string][] = [];
  for (const [index, { path, content, mode }] of entries.entries()) {
    const harmless = `q${index}`.padEnd(Buffer.byteLength(path), 'q');
    if (harmless.length !== Buffer.byteLength(path)) throw new Error(`The path ${path} is too short to be smuggled in.`);
    renames.push([harmless, path]);
    archive.addBuffer(Buffer.from(content), harmless, { compress: false, mode: mode ?? 0o100644 });
  }
  archive.end();
  let bytes = await buffer(archive.outputStream);
  for (const [harmless, path] of renames) {
    bytes = Buffer.from(bytes.toString('latin1').replaceAll(harmless, Buffer.from(path).toString('latin1')), 'latin1');
  }
  return bytes;
}
