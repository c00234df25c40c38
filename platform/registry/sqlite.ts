import { join } from 'node:path';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { damageOf, openDatabase, type DatabaseFormat } from '../sqlite/database.ts';
import {
  MAX_DOCUMENT_BYTES,
  RevisionConflictError,
  type Entry,
  type EntryChange,
  type EntryId,
  type EntryPage,
  type JsonDocument,
  type ListQuery,
  type Registry,
  type Unsubscribe,
} from './registry.ts';

export interface SqliteRegistryOptions {
  /** Folder that the registry's file lies in; made where it is missing. */
  readonly dataDir: string;
}

/** The registry's file in the data folder. */
export const REGISTRY_FILE = 'registry.sqlite';

/** `Slur`, and the file's format. */
const FORMAT: DatabaseFormat = {
  applicationId: 0x536c7572,
  version: 1,
  schema: `
    CREATE TABLE entry (
      kind TEXT NOT NULL,
      key TEXT NOT NULL,
      revision INTEGER NOT NULL,
      value TEXT NOT NULL,
      PRIMARY KEY (kind, key)
    );
    CREATE TABLE counter (revision INTEGER NOT NULL);
    INSERT INTO counter VALUES (0)`,
};

const KEY_CHARACTERS_MAX = 512;
const LIST_LIMIT_MAX = 10_000;

/**
 * The registry of a Sluice in one process: a SQLite file, used synchronously. A change is rare, takes one fsync, and its listeners
 * have been called when it resolves.
 *
 * Throws DataFolderInUseError while another process has the folder, DataFileError for a file that is damaged, foreign or of a newer
 * release.
 */
export function openSqliteRegistry({ dataDir }: SqliteRegistryOptions): Registry {
  const file = join(dataDir, REGISTRY_FILE);
  return new SqliteRegistry(openDatabase(file, FORMAT), file);
}

class SqliteRegistry implements Registry {
  readonly #database: DatabaseSync;
  readonly #file: string;
  readonly #statements: ReturnType<typeof prepareStatements>;
  readonly #listeners = new Set<(change: EntryChange) => void>();

  constructor(database: DatabaseSync, file: string) {
    this.#database = database;
    this.#file = file;
    this.#statements = prepareStatements(database);
  }

  // The methods are async so that whatever goes wrong rejects.
  // eslint-disable-next-line @typescript-eslint/require-await
  async get(id: EntryId): Promise<Entry | undefined> {
    checkKey(id.key);
    return this.#guarded(() => {
      const row = this.#statements.get.get(id.kind, id.key);
      return row === undefined ? undefined : entryOf(id, row.value, row.revision);
    });
  }

  // eslint-disable-next-line @typescript-eslint/require-await
  async put(id: EntryId, value: JsonDocument, condition: number | 'absent'): Promise<Entry> {
    checkKey(id.key);
    const json = JSON.stringify(value);
    const bytes = Buffer.byteLength(json);
    if (bytes > MAX_DOCUMENT_BYTES) {
      throw new RangeError(`The registry entry ${id.kind} ${id.key} would take ${bytes} bytes; at most ${MAX_DOCUMENT_BYTES} are stored.`);
    }
    const revision = this.#transaction(() => {
      const next = Number(this.#statements.nextRevision.get()?.revision);
      const written =
        condition === 'absent' ? this.#statements.create.run(id.kind, id.key, next, json) : this.#statements.update.run(next, json, id.kind, id.key, condition);
      if (written.changes !== 1) throw new RevisionConflictError(id);
      return next;
    });
    this.#announce({ kind: id.kind, key: id.key, deleted: false });
    return entryOf(id, json, revision);
  }

  // eslint-disable-next-line @typescript-eslint/require-await
  async delete(id: EntryId, condition: number): Promise<void> {
    checkKey(id.key);
    this.#transaction(() => {
      if (this.#statements.delete.run(id.kind, id.key, condition).changes !== 1) throw new RevisionConflictError(id);
    });
    this.#announce({ kind: id.kind, key: id.key, deleted: true });
  }

  // eslint-disable-next-line @typescript-eslint/require-await
  async list({ kind, prefix, after, limit }: ListQuery): Promise<EntryPage> {
    if (!Number.isInteger(limit) || limit < 1 || limit > LIST_LIMIT_MAX) throw new RangeError(`A page of ${limit} entries cannot be listed; ask for 1 to ${LIST_LIMIT_MAX}.`);
    return this.#guarded(() => {
      const rows = this.#statements.list.all(kind, prefix, after === undefined ? '' : `${after}\0`, prefixEnd(prefix), limit + 1);
      const entries = rows.slice(0, limit).map((row) => entryOf({ kind, key: String(row.key) }, row.value, row.revision));
      const last = entries.at(-1);
      return rows.length > limit && last !== undefined ? { entries, next: last.key } : { entries };
    });
  }

  watch(listener: (change: EntryChange) => void): Unsubscribe {
    // A function of its own, so that the same listener may watch twice.
    const registered = (change: EntryChange): void => listener(change);
    this.#listeners.add(registered);
    return () => void this.#listeners.delete(registered);
  }

  #announce(change: EntryChange): void {
    for (const listener of this.#listeners) listener(change);
  }

  #transaction<Result>(action: () => Result): Result {
    return this.#guarded(() => {
      this.#database.exec('BEGIN IMMEDIATE');
      try {
        const result = action();
        this.#database.exec('COMMIT');
        return result;
      } catch (error) {
        // A full disk can have ended the transaction already; a second rollback would hide the cause.
        if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
        throw error;
      }
    });
  }

  #guarded<Result>(action: () => Result): Result {
    try {
      return action();
    } catch (error) {
      throw damageOf(error, this.#file) ?? error;
    }
  }

  close(): Promise<void> {
    this.#listeners.clear();
    if (this.#database.isOpen) this.#database.close();
    return Promise.resolve();
  }
}

function checkKey(key: string): void {
  if (key.length < 1 || key.length > KEY_CHARACTERS_MAX || key.includes('\0') || !key.isWellFormed()) {
    throw new RangeError(`${JSON.stringify(key.slice(0, 80))} cannot be a registry key; 1 to ${KEY_CHARACTERS_MAX} characters of well-formed Unicode without NUL can.`);
  }
}

function entryOf({ kind, key }: EntryId, value: unknown, revision: unknown): Entry {
  return { kind, key, value: JSON.parse(String(value)) as JsonDocument, revision: Number(revision) };
}

const LAST_CODE_POINT = 0x10ffff;
const SURROGATES_START = 0xd800;
const SURROGATES_END = 0xe000;

/** The smallest text, in the order of UTF-8, above all that begin with `prefix`; null where there is none. */
function prefixEnd(prefix: string): string | null {
  const points = Array.from(prefix, (character) => character.codePointAt(0) ?? 0);
  for (let last = points.pop(); last !== undefined; last = points.pop()) {
    if (last < LAST_CODE_POINT) return String.fromCodePoint(...points, last + 1 === SURROGATES_START ? SURROGATES_END : last + 1);
  }
  return null;
}

function prepareStatements(database: DatabaseSync): Readonly<Record<'get' | 'nextRevision' | 'create' | 'update' | 'delete' | 'list', StatementSync>> {
  return {
    get: database.prepare('SELECT value, revision FROM entry WHERE kind = ? AND key = ?'),
    // Counted apart from the entries: one that is deleted and made again must not get a revision back.
    nextRevision: database.prepare('UPDATE counter SET revision = revision + 1 RETURNING revision'),
    create: database.prepare('INSERT INTO entry (kind, key, revision, value) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING'),
    update: database.prepare('UPDATE entry SET revision = ?, value = ? WHERE kind = ? AND key = ? AND revision = ?'),
    delete: database.prepare('DELETE FROM entry WHERE kind = ? AND key = ? AND revision = ?'),
    // One lower bound, so that a late page does not walk through the early ones; a blob is above every text.
    list: database.prepare(`SELECT key, value, revision FROM entry
      WHERE kind = ? AND key >= max(?, ?) AND key < coalesce(?, x'00') ORDER BY key LIMIT ?`),
  };
}
