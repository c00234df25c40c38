import type { ExecutionSpec, FunctionKey } from '../model/execution-spec.ts';
import type { FunctionRecord, FunctionVersion } from '../model/function.ts';

/**
 * The registry's functions, typed, with a bounded view in memory for the hot path.
 */
export interface FunctionCatalogue {
  /** The newest state, straight from the registry. */
  get(account: string, name: string): Promise<FunctionRecord | undefined>;
  /** A version's newest state: `$LATEST` or a number. */
  getVersion(record: FunctionRecord, version: string): Promise<FunctionVersion | undefined>;
  /** Creates; rejects with {@link FunctionExistsError}. */
  create(record: FunctionRecord): Promise<void>;
  /**
   * Reads, changes and writes until no one else came between (with jittered retries). `change` gets the newest record; returning the
   * same object writes nothing. Resolves to the stored record; undefined when the function does not exist. What `change` throws comes through.
   */
  update(account: string, name: string, change: (record: FunctionRecord) => FunctionRecord | Promise<FunctionRecord>): Promise<FunctionRecord | undefined>;
  /** Stores the body of a version that a following `update` will name in `publishedVersions`. */
  putVersionBody(record: FunctionRecord, version: FunctionVersion): Promise<void>;
  /** Removes the function with all its version bodies; false when there was none. */
  delete(account: string, name: string): Promise<boolean>;
  list(account: string, after: string | undefined, limit: number): Promise<{ readonly records: readonly FunctionRecord[]; readonly next?: string }>;
  /**
   * What the view knows, without waiting: undefined where it would have to ask the registry. The hot path asks here first and
   * falls back to `view`.
   */
  peek(account: string, name: string): FunctionRecord | undefined;
  /** Through the view: at most as old as the registry's change feed. */
  view(account: string, name: string): Promise<FunctionRecord | undefined>;
  /** The spec of a version through the view, without waiting where it is known. */
  peekSpec(record: FunctionRecord, version: string): ExecutionSpec | undefined;
  viewSpec(record: FunctionRecord, version: string): Promise<ExecutionSpec | undefined>;
  /** Calls `listener` after a function was created, changed or deleted, once the view shows it no more stale. */
  watch(listener: (key: FunctionKey, account: string, name: string) => void): () => void;
}

export class FunctionExistsError extends Error {
  override readonly name = 'FunctionExistsError';
}
