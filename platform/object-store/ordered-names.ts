import { createHash } from 'node:crypto';

/**
 * Names of objects for texts of any length and any characters. They stand in the same order as the texts' UTF-8, and those of texts that begin
 * alike begin alike: so a store lists texts in order and by prefix. Any store can keep them: letters, digits and `-` stand for themselves, every
 * other byte for two hexadecimal digits behind a mark that lies where the byte does among the ASCII characters. Parts between slashes are short
 * enough for file systems, and no name lies below another, which MinIO would hide.
 */
export interface OrderedName {
  readonly name: string;
  /** Too long to be in the name: beyond its beginning it is a hash. Names of such texts that begin alike stand in no order. */
  readonly isShortened: boolean;
}

/** File systems allow 255 bytes, some of which the drivers use. */
const PART_CHARACTERS = 200;
/** S3 allows 1,024 bytes; the rest is for a hash, slashes and what stands before and behind. Names of which one object's name holds two must be shorter. */
const MAX_CHARACTERS = 800;
/** Behind a whole text: below every character that could go on. */
const END = '!';
/** Behind the beginning of a shortened one, as a part of its own: nothing goes on so. */
const HASH = '/~~';

/** `maxCharacters`: a multiple of 200; the same for all names that lie together. */
export function orderedName(text: string, maxCharacters = MAX_CHARACTERS): OrderedName {
  const encoded = encode(text);
  if (encoded.length <= maxCharacters) return { name: inParts(encoded) + END, isShortened: false };
  return { name: inParts(encoded.slice(0, maxCharacters)) + HASH + createHash('sha256').update(text).digest('hex'), isShortened: true };
}

/** With what the names of all texts begin that begin with `text`; those of some others may as well, where it is long. */
export function orderedPrefix(text: string, maxCharacters = MAX_CHARACTERS): string {
  return inParts(encode(text).slice(0, maxCharacters));
}

/** A name behind which those of all texts above `text` lie; those of some others may as well, where it is long. */
export function orderedStart(text: string): string {
  const { name, isShortened } = orderedName(text);
  return isShortened ? orderedPrefix(text) + END : name;
}

/** The text of a name; undefined where it was shortened, or is none. */
export function textOfName(name: string): string | undefined {
  if (!name.endsWith(END)) return undefined;
  const bytes: number[] = [];
  const encoded = name.slice(0, -1).replaceAll('/', '');
  for (let index = 0; index < encoded.length; index += 1) {
    const code = encoded.charCodeAt(index);
    if (isPlain(code)) {
      bytes.push(code);
      continue;
    }
    const byte = parseInt(encoded.slice(index + 1, index + 3), 16);
    if (Number.isNaN(byte)) return undefined;
    bytes.push(byte);
    index += 2;
  }
  const text = Buffer.from(bytes).toString('utf8');
  return orderedName(text).name === name ? text : undefined;
}

/** What two shortened names share exactly if their texts begin alike; undefined for others. */
export function sharedBeginning(name: string): string | undefined {
  const at = name.indexOf(HASH);
  return at === -1 ? undefined : name.slice(0, at);
}

function encode(text: string): string {
  let encoded = '';
  for (const byte of Buffer.from(text)) encoded += isPlain(byte) ? String.fromCharCode(byte) : markOf(byte) + byte.toString(16).padStart(2, '0');
  return encoded;
}

function isPlain(byte: number): boolean {
  return (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a) || byte === 0x2d;
}

/** One character of each stretch between those that stand for themselves. */
function markOf(byte: number): string {
  if (byte < 0x2d) return '!';
  if (byte < 0x30) return '.';
  if (byte < 0x41) return '=';
  if (byte < 0x61) return '_';
  return '~';
}

function inParts(encoded: string): string {
  const parts: string[] = [];
  for (let start = 0; start < encoded.length; start += PART_CHARACTERS) parts.push(encoded.slice(start, start + PART_CHARACTERS));
  return parts.join('/');
}
