import { setTimeout as delay } from 'node:timers/promises';
import { executionSpec, functionKey, type ExecutionSpec, type FunctionKey } from '../model/execution-spec.ts';
import type { FunctionRecord, FunctionVersion, PublishedVersion } from '../model/function.ts';
import { RevisionConflictError, type Entry, type EntryChange, type EntryId, type Registry } from '../registry/registry.ts';
import { BoundedView } from './bounded-view.ts';
import { FunctionExistsError, type FunctionCatalogue } from './function-catalogue.ts';

export interface CatalogueOptions {
  readonly registry: Registry;
  /** For the ARNs in specs. */
  readonly region: string;
  /** Functions that the view holds at most; a further one costs a look into the registry. */
  readonly maxFunctions?: number;
  /** The same for specs of published versions. */
  readonly maxSpecs?: number;
  /** 0 up to 1; for the jitter. */
  readonly random?: () => number;
  readonly wait?: (ms: number) => Promise<void>;
}

/** Some 2 kB each. */
const VIEW_ENTRIES = 10_000;
/** Everyone who loses a round was beaten by someone who won it: so many in a row means something else is wrong. */
const CHANGE_ATTEMPTS_MAX = 100;
const BACKOFF_FIRST_MS = 2;
const BACKOFF_MAX_MS = 100;
const VERSION_PAGE = 1_000;

/** {@link FunctionCatalogue} over any registry. Not to be used any more once the registry is closed. */
export function functionCatalogue(options: CatalogueOptions): FunctionCatalogue {
  return new RegistryCatalogue(options);
}

class RegistryCatalogue implements FunctionCatalogue {
  readonly #registry: Registry;
  readonly #region: string;
  readonly #random: () => number;
  readonly #wait: (ms: number) => Promise<void>;
  readonly #functions: BoundedView<FunctionRecord>;
  /** Specs of `$LATEST` belong to one state of the record and go with it. */
  readonly #latestSpecs = new WeakMap<FunctionRecord, ExecutionSpec>();
  /** Specs of published versions, which never change, by the key of their body. */
  readonly #versionSpecs: BoundedView<ExecutionSpec>;
  /** Loads under way. A change takes a load out: what it brings may be old, and must neither be kept nor shared. */
  readonly #functionLoads = new Map<FunctionKey, Promise<FunctionRecord | undefined>>();
  readonly #specLoads = new Map<string, Promise<ExecutionSpec | undefined>>();
  readonly #listeners = new Set<(key: FunctionKey, account: string, name: string) => void>();

  constructor({ registry, region, maxFunctions = VIEW_ENTRIES, maxSpecs = VIEW_ENTRIES, random = Math.random, wait = (ms) => delay(ms) }: CatalogueOptions) {
    this.#registry = registry;
    this.#region = region;
    this.#random = random;
    this.#wait = wait;
    this.#functions = new BoundedView(maxFunctions);
    this.#versionSpecs = new BoundedView(maxSpecs);
    registry.watch((change) => this.#changed(change));
  }

  #changed({ kind, key }: EntryChange): void {
    if (kind === 'version') {
      this.#specLoads.delete(key);
      this.#versionSpecs.delete(key);
    } else if (kind === 'function') {
      this.#functionLoads.delete(key);
      this.#functions.delete(key);
      const slash = key.indexOf('/');
      for (const listener of this.#listeners) listener(key, key.slice(0, slash), key.slice(slash + 1));
    }
  }

  async get(account: string, name: string): Promise<FunctionRecord | undefined> {
    return (await this.#registry.get(functionEntry(account, name)))?.value as FunctionRecord | undefined;
  }

  async getVersion(record: FunctionRecord, version: string): Promise<FunctionVersion | undefined> {
    if (version === '$LATEST') return record.latest;
    const published = publishedVersion(record, version);
    if (published === undefined) return undefined;
    return (await this.#registry.get(versionEntry(record, published)))?.value as FunctionVersion | undefined;
  }

  async create(record: FunctionRecord): Promise<void> {
    try {
      await this.#registry.put(functionEntry(record.account, record.name), record, 'absent');
    } catch (error) {
      if (error instanceof RevisionConflictError) {
        throw new FunctionExistsError(`The function ${record.name} exists already in account ${record.account}; update it, or delete it first.`, { cause: error });
      }
      throw error;
    }
  }

  update(account: string, name: string, change: (record: FunctionRecord) => FunctionRecord | Promise<FunctionRecord>): Promise<FunctionRecord | undefined> {
    return this.#changeEntry(functionEntry(account, name), async (entry) => {
      const record = entry.value as FunctionRecord;
      const changed = await change(record);
      if (changed !== record) await this.#registry.put(entry, changed, entry.revision);
      return changed;
    });
  }

  /** Applies `change` to the newest state of an entry until no one else came between; undefined when there is none. */
  async #changeEntry<Result>(id: EntryId, change: (entry: Entry) => Promise<Result>): Promise<Result | undefined> {
    for (let attempt = 1; ; attempt++) {
      const entry = await this.#registry.get(id);
      if (entry === undefined) return undefined;
      try {
        return await change(entry);
      } catch (error) {
        // Only a conflict about this very entry: `change` may speak with the registry itself.
        const lost = error instanceof RevisionConflictError && error.id.kind === id.kind && error.id.key === id.key;
        if (!lost || attempt >= CHANGE_ATTEMPTS_MAX) throw error;
        await this.#wait(this.#random() * Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** (attempt - 1)));
      }
    }
  }

  async putVersionBody(record: FunctionRecord, version: FunctionVersion): Promise<void> {
    await this.#registry.put(versionEntry(record, version), version, 'absent');
  }

  async delete(account: string, name: string): Promise<boolean> {
    const removed = await this.#changeEntry(functionEntry(account, name), async (entry) => {
      await this.#registry.delete(entry, entry.revision);
      return entry.value as FunctionRecord;
    });
    if (removed === undefined) return false;
    // The function is gone already; bodies that a crash leaves behind here belong to no one and are never seen again.
    await this.#deleteBodies(`${functionKey(account, name)}/${removed.uid}/`);
    return true;
  }

  async #deleteBodies(prefix: string): Promise<void> {
    for (let after: string | undefined; ; ) {
      const page = await this.#registry.list({ kind: 'version', prefix, limit: VERSION_PAGE, ...(after === undefined ? {} : { after }) });
      for (const entry of page.entries) {
        try {
          await this.#registry.delete(entry, entry.revision);
        } catch (error) {
          // Someone else has removed it: that is what was wanted.
          if (!(error instanceof RevisionConflictError)) throw error;
        }
      }
      if (page.next === undefined) return;
      after = page.next;
    }
  }

  async list(account: string, after: string | undefined, limit: number): Promise<{ readonly records: readonly FunctionRecord[]; readonly next?: string }> {
    const prefix = `${account}/`;
    const page = await this.#registry.list({ kind: 'function', prefix, limit, ...(after === undefined ? {} : { after: prefix + after }) });
    const records = page.entries.map((entry) => entry.value as FunctionRecord);
    return page.next === undefined ? { records } : { records, next: page.next.slice(prefix.length) };
  }

  peek(account: string, name: string): FunctionRecord | undefined {
    return this.#functions.get(functionKey(account, name));
  }

  view(account: string, name: string): Promise<FunctionRecord | undefined> {
    const key = functionKey(account, name);
    return this.#through(this.#functions, this.#functionLoads, key, () => this.get(account, name));
  }

  peekSpec(record: FunctionRecord, version: string): ExecutionSpec | undefined {
    if (version === '$LATEST') return this.#latestSpec(record);
    const published = publishedVersion(record, version);
    return published === undefined ? undefined : this.#versionSpecs.get(versionEntry(record, published).key);
  }

  async viewSpec(record: FunctionRecord, version: string): Promise<ExecutionSpec | undefined> {
    if (version === '$LATEST') return this.#latestSpec(record);
    const published = publishedVersion(record, version);
    if (published === undefined) return undefined;
    return this.#through(this.#versionSpecs, this.#specLoads, versionEntry(record, published).key, async () => {
      const body = await this.getVersion(record, version);
      return body === undefined ? undefined : executionSpec(record, body, this.#region);
    });
  }

  #latestSpec(record: FunctionRecord): ExecutionSpec {
    let spec = this.#latestSpecs.get(record);
    if (spec === undefined) {
      spec = executionSpec(record, record.latest, this.#region);
      this.#latestSpecs.set(record, spec);
    }
    return spec;
  }

  /** Reads through a view. Whoever asks while a load is under way shares it, unless a change was announced since it began. */
  #through<Value extends object>(
    view: BoundedView<Value>,
    loads: Map<string, Promise<Value | undefined>>,
    key: string,
    load: () => Promise<Value | undefined>,
  ): Promise<Value | undefined> {
    const known = view.get(key);
    if (known !== undefined) return Promise.resolve(known);
    const underWay = loads.get(key);
    if (underWay !== undefined) return underWay;
    const started: Promise<Value | undefined> = load().then(
      (value) => {
        if (loads.get(key) === started) {
          loads.delete(key);
          if (value !== undefined) view.set(key, value);
        }
        return value;
      },
      (error: unknown) => {
        if (loads.get(key) === started) loads.delete(key);
        throw error;
      },
    );
    loads.set(key, started);
    return started;
  }

  watch(listener: (key: FunctionKey, account: string, name: string) => void): () => void {
    const registered: typeof listener = (key, account, name) => listener(key, account, name);
    this.#listeners.add(registered);
    return () => void this.#listeners.delete(registered);
  }
}

function functionEntry(account: string, name: string): EntryId {
  return { kind: 'function', key: functionKey(account, name) };
}

function versionEntry(record: FunctionRecord, { revisionId }: Pick<PublishedVersion, 'revisionId'>): EntryId {
  return { kind: 'version', key: `${functionKey(record.account, record.name)}/${record.uid}/${revisionId}` };
}

/** From the newest backwards: that is where aliases point. */
function publishedVersion(record: FunctionRecord, version: string): PublishedVersion | undefined {
  return record.publishedVersions.findLast((published) => published.version === version);
}
