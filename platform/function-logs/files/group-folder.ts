import { createHash } from 'node:crypto';
import { percentDecoded } from '../../percent-encoding.ts';

/** File systems allow 255 bytes; a group's name may have 512 characters, each of which may take three here. */
const MAX_ENCODED_LENGTH = 200;
const LONG_NAME = /^long-[0-9a-f]{64}$/;
/** Holds the group's name where the folder's name cannot. */
export const NAME_FILE = 'group-name';

/** The folder of a group: its name, escaped; a hash where that would be too long. */
export function groupFolder(group: string): { readonly folder: string; readonly hashed: boolean } {
  const encoded = `g-${encodeURIComponent(group)}`;
  if (encoded.length <= MAX_ENCODED_LENGTH) return { folder: encoded, hashed: false };
  return { folder: `long-${createHash('sha256').update(group).digest('hex')}`, hashed: true };
}

/** The group of a folder; `inFile` where the name stands in the folder's {@link NAME_FILE}; undefined for what is no group's. */
export function groupOfFolder(folder: string): { readonly group: string } | 'inFile' | undefined {
  if (LONG_NAME.test(folder)) return 'inFile';
  const group = folder.startsWith('g-') ? percentDecoded(folder.slice(2)) : undefined;
  return group === undefined ? undefined : { group };
}
