import { join } from 'node:path';
import { percentDecoded } from '../../percent-encoding.ts';

/**
 * How keys become paths that people can read, one segment between slashes at a time:
 *
 * - Characters stay as they are, except control characters, `%` and `\`, which are percent-encoded; so are the segments `.` and `..`.
 *   The empty segment is written `%-`.
 * - `a` and `a/b` are both keys, so a file and a folder must never want the same name. A file's name has a dot and a folder's has
 *   none, as `thumbs/cat.jpg` has by itself; a name that deviates bears a `%` at its end: `LICENSE%` is a file, `v1.2%` a folder.
 * - A segment too long for a file name is cut; all but its last piece are folders whose names end in `%+`.
 *
 * The mapping can be undone from the names alone, and the names in one folder sort as the keys below them do.
 */

export type NameKind = 'file' | 'folder' | 'continuation';

export interface DecodedName {
  readonly kind: NameKind;
  /** The piece of the key; a folder's has no slash at its end. */
  readonly text: string;
}

/**
 * A piece ends once its encoded form has this many bytes. File systems allow 255 in a name; a character adds up to 12 and suffixes
 * take the rest.
 */
const PIECE_BYTES = 180;

const EMPTY = '%-';

/** A key's path below a bucket's folder. */
export function keyToPath(key: string): string {
  const names: string[] = [];
  const segments = key.split('/');
  segments.forEach((segment, index) => {
    const pieces = cut(segment);
    pieces.forEach((piece, pieceIndex) => {
      const continues = pieceIndex < pieces.length - 1;
      names.push(encodeName({ kind: continues ? 'continuation' : index < segments.length - 1 ? 'folder' : 'file', text: piece }));
    });
  });
  return join(...names);
}

/** What a name in the store's folders stands for; undefined for one that no key is mapped to. */
export function decodeName(name: string): DecodedName | undefined {
  const decoded = parseName(name);
  if (decoded === undefined) return undefined;
  const pieces = cut(decoded.text);
  const whole = decoded.kind === 'continuation' ? pieces.length === 2 && pieces[1] === '' : pieces.length === 1;
  return whole && !decoded.text.includes('/') && encodeName(decoded) === name ? decoded : undefined;
}

function parseName(name: string): DecodedName | undefined {
  const continues = name.endsWith('%+');
  const deviates = !continues && name.endsWith('%');
  const body = continues ? name.slice(0, -2) : deviates ? name.slice(0, -1) : name;
  const kind = continues ? 'continuation' : body.includes('.') !== deviates ? 'file' : 'folder';
  if (body === EMPTY) return { kind, text: '' };
  const text = percentDecoded(body);
  return text === undefined ? undefined : { kind, text };
}

function encodeName({ kind, text }: DecodedName): string {
  const body = text === '' ? EMPTY : encodeText(text);
  if (kind === 'continuation') return `${body}%+`;
  const byItself = body.includes('.') ? 'file' : 'folder';
  return kind === byItself ? body : `${body}%`;
}

function encodeText(text: string): string {
  if (text === '.' || text === '..') return text.replaceAll('.', '%2E');
  return text.replaceAll(/[\p{Cc}%\\]/gu, encodeURIComponent);
}

/** Cuts a segment at the first places where the encoded piece is long enough, so that no piece is the beginning of another one. */
function cut(segment: string): readonly string[] {
  if (segment.length * 12 < PIECE_BYTES) return [segment];
  const pieces: string[] = [];
  let piece = '';
  let bytes = 0;
  for (const character of segment) {
    piece += character;
    bytes += Buffer.byteLength(encodeText(character));
    if (bytes < PIECE_BYTES) continue;
    pieces.push(piece);
    piece = '';
    bytes = 0;
  }
  pieces.push(piece);
  return pieces;
}
