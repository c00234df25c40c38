import { closeSync, existsSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** Another process uses the data folder. */
export class DataFolderInUseError extends Error {
  override readonly name = 'DataFolderInUseError';
  readonly folder: string;
  constructor(folder: string) {
    super(`The data folder ${folder} is in use by another Sluice. Stop that one, or give this one a folder of its own (--data DIR or SLUICE_DATA).`);
    this.folder = folder;
  }
}

/** A file in the data folder cannot be read as what it should be. Nothing was changed in it. */
export class DataFileError extends Error {
  override readonly name = 'DataFileError';
  readonly file: string;
  /** What is wrong, to be read after the file's name. */
  readonly problem: string;
  readonly remedy: string;
  constructor(file: string, problem: string, remedy: string, cause?: unknown) {
    super(`${file} ${problem}. ${remedy}`, { cause });
    this.file = file;
    this.problem = problem;
    this.remedy = remedy;
  }
}

export interface DatabaseFormat {
  /** SQLite's `application_id`: tells this file from every other database. */
  readonly applicationId: number;
  /** SQLite's `user_version`: a file of a higher one is refused. */
  readonly version: number;
  /** Statements that make the tables in an empty file. */
  readonly schema: string;
}

/** Larger write-ahead logs are cut back to this after a checkpoint, so that one burst does not hold its disk space for ever. */
const WAL_BYTES_KEPT = 64 * 1024 * 1024;

/**
 * Opens a database for this process alone, durable: a committed transaction has survived a loss of power. Makes file and folder
 * where they are missing. A file left by a crash opens as it was at its last commit.
 * Throws {@link DataFolderInUseError} or {@link DataFileError}.
 */
export function openDatabase(file: string, format: DatabaseFormat): DatabaseSync {
  const folder = dirname(file);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const isNew = !existsSync(file);
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(file);
    // Exclusive before WAL: the lock is then held until close, also against readers, and no shared memory file is needed.
    database.exec('PRAGMA locking_mode = EXCLUSIVE');
    // Before anything is written: another program's file stays as it is.
    const isEmpty = inspect(database, file, format);
    database.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA journal_size_limit = ${WAL_BYTES_KEPT}; BEGIN EXCLUSIVE`);
    if (isEmpty) database.exec(`${format.schema}; PRAGMA application_id = ${format.applicationId}; PRAGMA user_version = ${format.version}`);
    database.exec('COMMIT');
    if (isNew) syncFolder(folder);
    return database;
  } catch (error) {
    database?.close();
    throw openError(error, file, folder);
  }
}

/** Whether the file is still empty; throws when it is not ours to use. */
function inspect(database: DatabaseSync, file: string, format: DatabaseFormat): boolean {
  const version = pragma(database, 'user_version');
  const applicationId = pragma(database, 'application_id');
  if (version === 0 && applicationId === 0 && database.prepare('SELECT 1 FROM sqlite_schema LIMIT 1').get() === undefined) return true;
  if (applicationId !== format.applicationId) {
    throw new DataFileError(file, 'is a database of another program', 'Move it away, or choose another data folder (--data DIR or SLUICE_DATA).');
  }
  if (version > format.version) {
    throw new DataFileError(file, `has format ${version}; this release knows ${format.version}`, 'Start the newer release that wrote it, or choose another data folder.');
  }
  return false;
}

function pragma(database: DatabaseSync, name: string): number {
  return Number(database.prepare(`PRAGMA ${name}`).get()?.[name] ?? 0);
}

/** The new file's name is durable only once its folder is. */
function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/** SQLite's primary result codes (sqlite.org, "Result and Error Codes"). */
const BUSY = 5;
const LOCKED = 6;
const CORRUPT = 11;
const NOT_A_DATABASE = 26;

function resultCode(error: unknown): number | undefined {
  return error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' ? error.errcode & 0xff : undefined;
}

function openError(error: unknown, file: string, folder: string): unknown {
  switch (resultCode(error)) {
    case BUSY:
    case LOCKED:
      return new DataFolderInUseError(folder);
    case CORRUPT:
    case NOT_A_DATABASE:
      return damagedFile(file, error);
    case undefined:
      return error;
    default:
      return new DataFileError(file, `cannot be opened (${error instanceof Error ? error.message : String(error)})`, 'Check that the folder exists, is writable and has space left.', error);
  }
}

/** For damage met after opening; undefined where the error is something else. */
export function damageOf(error: unknown, file: string): DataFileError | undefined {
  const code = resultCode(error);
  return code === CORRUPT || code === NOT_A_DATABASE ? damagedFile(file, error) : undefined;
}

function damagedFile(file: string, cause: unknown): DataFileError {
  return new DataFileError(file, 'is damaged', `Restore it from a backup, or move it and ${file}-wal away to begin with an empty one; what it held is then lost.`, cause);
}
