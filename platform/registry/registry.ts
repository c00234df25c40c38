/**
 * Port: the registry, the one place where functions and everything around them are kept. Small JSON documents by kind and key.
 *
 * Linearizable per entry: a `put` that resolved is what every later `get` sees, and of concurrent conditional writers exactly one wins.
 *
 * Every method may reject with {@link RegistryUnavailableError}. Values that it gives out may be shared: they must not be changed.
 */
export interface Registry {
  /** The entry, or undefined. Resolves to the newest state. */
  get(id: EntryId): Promise<Entry | undefined>;
  /**
   * Writes an entry. `condition` is the revision that the caller has seen, or `absent`. Rejects with
   * {@link RevisionConflictError} when the entry is in another state, and has then changed nothing.
   */
  put(id: EntryId, value: JsonDocument, condition: number | 'absent'): Promise<Entry>;
  /** Removes an entry in the state that the caller has seen. Rejects with {@link RevisionConflictError}. */
  delete(id: EntryId, condition: number): Promise<void>;
  /** Entries of a kind whose keys begin with `prefix`, by key in the order of its UTF-8, after `after`; `next` is there exactly if there are more. */
  list(query: ListQuery): Promise<EntryPage>;
  /**
   * Calls `listener` after every change by anyone, at least once per changed entry, in any order between entries. A listener must
   * not throw. A change can reach the listener late, never not at all.
   */
  watch(listener: (change: EntryChange) => void): Unsubscribe;
  close(): Promise<void>;
}

/** What kinds of entries there are. `function` keys are `account/name`; `version` keys `account/name/uid/revisionId`. */
export type EntryKind = 'function' | 'version' | 'setting';

export interface EntryId {
  readonly kind: EntryKind;
  /** 1 to 512 characters of well-formed Unicode, no NUL. Anything else rejects with RangeError. */
  readonly key: string;
}

/** A value that survives JSON unchanged. Drivers store its JSON text: at most {@link MAX_DOCUMENT_BYTES}. */
export type JsonDocument = object;

export const MAX_DOCUMENT_BYTES = 4 * 1024 * 1024;

export interface Entry extends EntryId {
  readonly value: JsonDocument;
  /** Changes with every write; compared for equality only. */
  readonly revision: number;
}

export interface ListQuery {
  readonly kind: EntryKind;
  readonly prefix: string;
  /** Key after which the page begins; exclusive. */
  readonly after?: string;
  /** 1 to 10,000. */
  readonly limit: number;
}

export interface EntryPage {
  readonly entries: readonly Entry[];
  /** Give it as `after` for the next page. */
  readonly next?: string;
}

export interface EntryChange extends EntryId {
  readonly deleted: boolean;
}

export type Unsubscribe = () => void;

/** Someone else has changed the entry since the caller read it. Read it again and decide anew. */
export class RevisionConflictError extends Error {
  override readonly name = 'RevisionConflictError';
  readonly id: EntryId;
  constructor(id: EntryId) {
    super(`The registry entry ${id.kind} ${id.key} has changed since it was read; read it again and repeat the change.`);
    this.id = id;
  }
}

/**
 * What the registry stands on cannot be used now. A change that rejects with this may have happened, or still happen: read the entry before
 * changing it again.
 */
export class RegistryUnavailableError extends Error {
  override readonly name = 'RegistryUnavailableError';
}
