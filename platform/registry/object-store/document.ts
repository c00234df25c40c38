import { randomBytes } from 'node:crypto';
import { orderedName, textOfName } from '../../object-store/ordered-names.ts';
import { MAX_DOCUMENT_BYTES, type EntryId, type EntryKind, type JsonDocument } from '../registry.ts';

/**
 * What lies in the store for one entry.
 *
 * Terms: a *live* document has a value. A *tombstone* has none: the entry was deleted. A *sealed* tombstone is about to be removed from the
 * store, and nobody writes over it. All of an entry's documents form a *chain*: each was written by compare-and-swap over the one before.
 */
export interface RegistryDocument {
  readonly v: 1;
  /** The entry's key: a long one does not stand in the object's name. */
  readonly key: string;
  /** Grows along the chain. */
  readonly revision: number;
  /** Of the attempt that wrote it; no two documents share one, so no two have the same ETag. */
  readonly write: string;
  /** {@link RegistryDocument.write} of those before it in the chain, newest first, at most {@link EARLIER_MAX}. */
  readonly earlier: readonly string[];
  readonly value?: JsonDocument;
  readonly sealed?: true;
}

/** An object in the registry's bucket is no document of ours; the message names it. */
export class RegistryDocumentError extends Error {
  override readonly name = 'RegistryDocumentError';
}

/** A writer that lost its answer finds itself here unless so many others came after it while it looked. */
export const EARLIER_MAX = 16;
/** A new chain begins here: above every revision of a chain before it, since none is written to a thousand times in every millisecond of its life. */
const REVISIONS_PER_MS = 1_024;
const WRITE_ID_BYTES = 9;
const KEY_CHARACTERS_MAX = 512;

export const KINDS: readonly EntryKind[] = ['function', 'version', 'setting'];

/** Throws RangeError. */
export function checkKey(key: string): void {
  if (key.length < 1 || key.length > KEY_CHARACTERS_MAX || key.includes('\0') || !key.isWellFormed()) {
    throw new RangeError(`${JSON.stringify(key.slice(0, 80))} cannot be a registry key; 1 to ${KEY_CHARACTERS_MAX} characters of well-formed Unicode without NUL can.`);
  }
}

/** The name of an entry's object. */
export function nameOf({ kind, key }: EntryId): string {
  return `${kind}/${orderedName(key).name}`;
}

/** Which kind of entry an object is for; undefined for objects that are no entries. */
export function kindOfName(name: string): EntryKind | undefined {
  return KINDS.find((kind) => name.startsWith(`${kind}/`));
}

/** The entry of an object, where its name tells it. */
export function entryOfName(name: string): EntryId | undefined {
  const kind = kindOfName(name);
  const key = kind === undefined ? undefined : textOfName(name.slice(kind.length + 1));
  return kind === undefined || key === undefined ? undefined : { kind, key };
}

/** The first document of an entry of which the store has none. */
export function firstDocument(key: string, value: JsonDocument, nowMs: number): RegistryDocument {
  return { v: 1, key, revision: Math.floor(nowMs) * REVISIONS_PER_MS, write: newWriteId(), earlier: [], value };
}

export function successor(before: RegistryDocument, value: JsonDocument | undefined): RegistryDocument {
  const earlier = [before.write, ...before.earlier].slice(0, EARLIER_MAX);
  return { v: 1, key: before.key, revision: before.revision + 1, write: newWriteId(), earlier, ...(value === undefined ? {} : { value }) };
}

/** The document that announces a tombstone's removal. */
export function sealOf(tombstone: RegistryDocument): RegistryDocument {
  return { ...successor(tombstone, undefined), sealed: true };
}

function newWriteId(): string {
  return randomBytes(WRITE_ID_BYTES).toString('base64url');
}

/** The text of a value. Throws RangeError where it is too long. */
export function checkedJson({ kind, key }: EntryId, value: JsonDocument): string {
  const json = JSON.stringify(value);
  const bytes = Buffer.byteLength(json);
  if (bytes > MAX_DOCUMENT_BYTES) throw new RangeError(`The registry entry ${kind} ${key} would take ${bytes} bytes; at most ${MAX_DOCUMENT_BYTES} are stored.`);
  return json;
}

/** `json` is the value's text, made already. */
export function encodeDocument({ value, ...head }: RegistryDocument, json: string | undefined): Buffer {
  const text = JSON.stringify(head);
  return Buffer.from(value === undefined ? text : `${text.slice(0, -1)},"value":${json ?? JSON.stringify(value)}}`);
}

/** `where` names the object in messages. Everything in it is frozen: it is shared by all who ask. Throws {@link RegistryDocumentError}. */
export function decodeDocument(bytes: Buffer, where: string): RegistryDocument {
  let parsed: Partial<RegistryDocument> | null;
  try {
    parsed = JSON.parse(bytes.toString('utf8')) as Partial<RegistryDocument> | null;
  } catch (error) {
    throw new RegistryDocumentError(`${where} is no document of the registry: it is no JSON. Restore it from a copy, or remove it.`, { cause: error });
  }
  if (parsed === null || typeof parsed !== 'object' || parsed.v !== 1 || typeof parsed.key !== 'string' || !Number.isSafeInteger(parsed.revision) || typeof parsed.write !== 'string' || !Array.isArray(parsed.earlier)) {
    throw new RegistryDocumentError(`${where} is no document of the registry that this release can read. Restore it from a copy, or use the release that wrote it.`);
  }
  return freezeDeeply(parsed as RegistryDocument);
}

/** A shared value that someone changed would be wrong for everyone, silently; so the change fails where it is made. */
export function freezeDeeply<Value extends object>(root: Value): Value {
  const waiting: object[] = [root];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    Object.freeze(next);
    for (const member of Object.values(next) as unknown[]) if (typeof member === 'object' && member !== null) waiting.push(member);
  }
  return root;
}
