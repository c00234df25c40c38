import { readFile } from 'node:fs/promises';
import type { BigIntStats } from 'node:fs';
import type { StoredHttpHeaders } from '../object-store.ts';
import { isAbsence } from './durable.ts';

/**
 * What the file system cannot keep beside an object's bytes. A record file holds up to two revisions: the one about to come and the
 * one before it. Which of them is true is decided by the bytes that lie in place, in the one instant in which they are renamed there;
 * so a crash between record and bytes leaves the object as it was, and a crash after both leaves the new one.
 */
export interface ObjectRecord {
  readonly identity: FileIdentity;
  readonly etag: string;
  readonly contentType: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly httpHeaders?: StoredHttpHeaders;
  readonly lastModifiedMs: number;
}

/** Tells one state of a file from every other one, without reading it. */
export interface FileIdentity {
  readonly inode: string;
  readonly modifiedNs: string;
  readonly sizeBytes: number;
}

interface RecordFile {
  readonly version: 1;
  /** On a file system that does not tell upper from lower case, two keys share a path: the key tells whose it is. */
  readonly key: string;
  readonly revisions: readonly ObjectRecord[];
}

export function identityOf(stats: BigIntStats): FileIdentity {
  return { inode: String(stats.ino), modifiedNs: String(stats.mtimeNs), sizeBytes: Number(stats.size) };
}

export function sameIdentity(left: FileIdentity, right: FileIdentity): boolean {
  return left.inode === right.inode && left.modifiedNs === right.modifiedNs && left.sizeBytes === right.sizeBytes;
}

export function encodeRecords(key: string, revisions: readonly ObjectRecord[]): string {
  const file: RecordFile = { version: 1, key, revisions };
  return JSON.stringify(file);
}

/** The revisions recorded at a path; none where there is no record file or an unreadable one. */
export async function readRecords(path: string): Promise<{ readonly key: string | undefined; readonly revisions: readonly ObjectRecord[] }> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (isAbsence(error)) return { key: undefined, revisions: [] };
    throw error;
  }
  const file = parse(text);
  return { key: file?.key, revisions: file?.revisions ?? [] };
}

function parse(text: string): RecordFile | undefined {
  try {
    const file = JSON.parse(text) as Partial<RecordFile> | null;
    return file?.version === 1 && typeof file.key === 'string' && Array.isArray(file.revisions) ? (file as RecordFile) : undefined;
  } catch {
    return undefined;
  }
}
