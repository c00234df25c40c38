import { createHash } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { mkdir, open, readdir, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { systemClock, type Clock } from '../clock.ts';
import { ensureFolder, errorCode, isAbsence, moveDurably, removeEmptyFolders, syncFolder, syncRemoval, writeNewFile } from './file-system/durable.ts';
import { KeyLock } from './file-system/key-lock.ts';
import { walkKeys } from './file-system/key-walk.ts';
import { keyToPath } from './file-system/paths.ts';
import { encodeRecords, identityOf, readRecords, sameIdentity, type FileIdentity, type ObjectRecord } from './file-system/records.ts';
import { Staging, type StagedBody } from './file-system/staging.ts';
import { MAX_KEY_BYTES, checkBucketName, checkObjectKey, isBucketName } from './names.ts';
import {
  InvalidObjectKeyError,
  InvalidRangeError,
  NoSuchBucketError,
  NoSuchObjectError,
  PreconditionFailedError,
  type BucketSummary,
  type ByteRange,
  type ObjectLocation,
  type ObjectPage,
  type ObjectQuery,
  type ObjectStore,
  type ObjectSummary,
  type PutOptions,
  type StoredObject,
} from './object-store.ts';
import { presignedPath } from './presigned-url.ts';

export interface FileObjectStoreOptions {
  /** Objects lie in its folder `objects`, by bucket, under names that read like their keys. One process at a time may use it. */
  readonly dataDir: string;
  /** Origin at which the gateway serves {@link ObjectStore.presignGet}'s downloads; without a slash at its end. */
  readonly baseUrl: () => string;
  /** At least 32 bytes. */
  readonly signingSecret: Buffer;
  readonly clock?: Clock;
}

const DEFAULT_CONTENT_TYPE = 'binary/octet-stream';

/** Objects of one page whose files are looked at side by side. */
const PARALLEL_LOOKS = 16;

/**
 * The object store on a file system. The bytes of `photos/thumbs/cat.jpg` are the file `objects/photos/thumbs/cat.jpg`; all else about
 * them is in `objects/.records`. A file that someone placed or restored by hand is an object as well: its ETag is computed when it is
 * first asked for. Resolves when what a crash left behind is removed.
 */
export async function fileObjectStore(options: FileObjectStoreOptions): Promise<ObjectStore> {
  const root = join(options.dataDir, 'objects');
  await ensureFolder(root);
  const staging = new Staging(join(root, '.staging'));
  const interrupted = await staging.open();
  const store = new FileObjectStore(root, staging, options);
  for (const location of interrupted) await store.removeTraces(location);
  await staging.forgetNotes();
  return store;
}

/** Where the parts of one object lie. */
interface Place extends ObjectLocation {
  readonly bytes: string;
  readonly record: string;
}

class FileObjectStore implements ObjectStore {
  readonly #root: string;
  readonly #records: string;
  readonly #staging: Staging;
  readonly #options: FileObjectStoreOptions;
  readonly #clock: Clock;
  readonly #locks = new KeyLock();

  constructor(root: string, staging: Staging, options: FileObjectStoreOptions) {
    this.#root = root;
    this.#records = join(root, '.records');
    this.#staging = staging;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  async put(location: ObjectLocation, body: Buffer | Readable, options: PutOptions = {}): Promise<ObjectSummary> {
    if (!Buffer.isBuffer(body)) body.on('error', () => undefined); // It may fail before anyone reads it; whoever reads it sees the error.
    try {
      checkObjectKey(location.key);
      await this.#requireBucket(location.bucket);
      const staged = await this.#staging.receive(body);
      try {
        return await this.#exclusively(location, (place) => this.#commit(place, staged, options));
      } finally {
        await this.#staging.discard(staged);
      }
    } catch (error) {
      if (!Buffer.isBuffer(body)) body.destroy();
      throw errorCode(error) === 'ENAMETOOLONG' ? new InvalidObjectKeyError(`The path of the object key "${location.key}" is too long for this file system; use a shorter key or a shorter data folder.`) : error;
    }
  }

  async head(location: ObjectLocation): Promise<ObjectSummary | undefined> {
    const place = this.#place(location);
    const stats = place && (await statFile(place.bytes));
    if (place === undefined || stats === undefined) return undefined;
    const record = await this.#findRecord(place, identityOf(stats));
    if (record !== undefined) return toSummary(place, record);
    const found = await this.#openObject(location);
    await found?.handle.close();
    return found?.summary;
  }

  async get(location: ObjectLocation, range?: ByteRange): Promise<StoredObject> {
    const found = await this.#openObject(location);
    if (found === undefined) throw new NoSuchObjectError(`There is no object "${location.key}" in the bucket ${location.bucket}.`);
    const { handle, summary } = found;
    try {
      const { start, endExclusive } = resolveRange(range, summary);
      if (start < endExclusive) return { summary, range: { start, endExclusive }, body: handle.createReadStream({ start, end: endExclusive - 1 }) };
      await handle.close();
      return { summary, range: { start, endExclusive }, body: Readable.from([]) };
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  async delete(location: ObjectLocation): Promise<void> {
    if (this.#place(location) === undefined) return;
    await this.#exclusively(location, async (place) => {
      const stats = await statFile(place.bytes);
      if (stats === undefined) return;
      await this.#findRecord(place, identityOf(stats)); // Refuses a path that is another key's.
      await this.#staging.noted(location, async () => {
        await rm(place.bytes, { force: true });
        await syncRemoval(dirname(place.bytes));
        await this.#removeTraces(place);
      });
    });
  }

  async list(query: ObjectQuery): Promise<ObjectPage> {
    const folder = await this.#requireBucket(query.bucket);
    const keys: string[] = [];
    for await (const key of walkKeys({ root: folder, prefix: query.prefix ?? '', after: query.after, window: query.limit + 1 })) {
      if (Buffer.byteLength(key) > MAX_KEY_BYTES) continue; // A file that someone placed too deep.
      keys.push(key);
      if (keys.length > query.limit) break;
    }
    const page = keys.slice(0, query.limit);
    const objects: ObjectSummary[] = [];
    for (let start = 0; start < page.length; start += PARALLEL_LOOKS) {
      const looks = page.slice(start, start + PARALLEL_LOOKS).map((key) => this.head({ bucket: query.bucket, key }));
      objects.push(...(await Promise.all(looks)).filter((summary) => summary !== undefined));
    }
    const last = page.at(-1);
    return keys.length > query.limit && last !== undefined ? { objects, next: last } : { objects };
  }

  async createBucket(bucket: string): Promise<{ readonly created: boolean }> {
    checkBucketName(bucket);
    try {
      await mkdir(join(this.#root, bucket));
    } catch (error) {
      if (errorCode(error) === 'EEXIST') return { created: false };
      throw error;
    }
    await syncFolder(this.#root);
    return { created: true };
  }

  async listBuckets(): Promise<readonly BucketSummary[]> {
    const names = (await readdir(this.#root, { withFileTypes: true })).filter((entry) => entry.isDirectory() && isBucketName(entry.name)).map((entry) => entry.name);
    return Promise.all(
      names.sort().map(async (name) => {
        const { birthtimeMs, ctimeMs } = await stat(join(this.#root, name));
        return { name, createdMs: Math.floor(birthtimeMs > 0 ? birthtimeMs : ctimeMs) };
      }),
    );
  }

  presignGet(location: ObjectLocation, expiresInSec: number): Promise<string> {
    const { signingSecret, baseUrl } = this.#options;
    return Promise.resolve(`${baseUrl()}${presignedPath({ ...location, expiresInSec, nowMs: this.#clock.now(), secret: signingSecret })}`);
  }

  /** Removes what a change that a crash cut short has left outside of the staging folder. */
  async removeTraces(location: ObjectLocation): Promise<void> {
    const place = this.#place(location);
    if (place === undefined || (await statFile(place.bytes)) !== undefined) return;
    await this.#removeTraces(place);
  }

  async #removeTraces(place: Place): Promise<void> {
    await rm(place.record, { force: true });
    await removeEmptyFolders(dirname(place.record), join(this.#records, place.bucket));
    await removeEmptyFolders(dirname(place.bytes), join(this.#root, place.bucket));
  }

  /** Puts a staged body in place; the caller holds the object's lock. */
  async #commit(place: Place, staged: StagedBody, options: PutOptions): Promise<ObjectSummary> {
    const current = await this.#recordInPlace(place);
    checkCondition(place, current, options.condition);
    const record: ObjectRecord = {
      identity: identityOf(await staged.handle.stat({ bigint: true })),
      etag: staged.etag,
      contentType: options.contentType ?? DEFAULT_CONTENT_TYPE,
      metadata: options.metadata ?? {},
      ...(options.httpHeaders === undefined ? {} : { httpHeaders: options.httpHeaders }),
      lastModifiedMs: this.#clock.now(),
    };
    await this.#staging.noted(place, async () => {
      await Promise.all([staged.handle.sync(), this.#writeRecords(place, current === undefined ? [record] : [record, current])]);
      await moveDurably(staged.path, place.bytes);
    });
    return toSummary(place, record);
  }

  async #writeRecords(place: Place, revisions: readonly ObjectRecord[]): Promise<void> {
    const path = this.#staging.newPath();
    await writeNewFile(path, encodeRecords(place.key, revisions));
    await moveDurably(path, place.record);
  }

  /** Opens an object's bytes together with the record that belongs to just these bytes. */
  async #openObject(location: ObjectLocation): Promise<{ readonly handle: FileHandle; readonly summary: ObjectSummary } | undefined> {
    const place = this.#place(location);
    if (place === undefined) return undefined;
    const atFirst = await this.#openWithRecord(place);
    if (atFirst === undefined) return undefined;
    if (atFirst.record !== undefined) return { handle: atFirst.handle, summary: toSummary(place, atFirst.record) };
    // Either the object was replaced between our two looks, or its bytes came here by other hands. Under the lock only the latter remains.
    await atFirst.handle.close();
    return this.#exclusively(location, async () => {
      const found = await this.#openWithRecord(place);
      if (found === undefined) return undefined;
      try {
        return { handle: found.handle, summary: toSummary(place, found.record ?? (await this.#adopt(place, found.handle))) };
      } catch (error) {
        await found.handle.close();
        throw error;
      }
    });
  }

  async #recordInPlace(place: Place): Promise<ObjectRecord | undefined> {
    const found = await this.#openWithRecord(place);
    if (found === undefined) return undefined;
    try {
      return found.record ?? (await this.#adopt(place, found.handle));
    } finally {
      await found.handle.close();
    }
  }

  async #openWithRecord(place: Place): Promise<{ readonly handle: FileHandle; readonly record: ObjectRecord | undefined } | undefined> {
    const opened = await this.#openInPlace(place);
    if (opened === undefined) return undefined;
    try {
      return { handle: opened.handle, record: await this.#findRecord(place, opened.identity) };
    } catch (error) {
      await opened.handle.close();
      throw error;
    }
  }

  /** The record of the bytes with this identity. */
  async #findRecord(place: Place, identity: FileIdentity): Promise<ObjectRecord | undefined> {
    const { key, revisions } = await readRecords(place.record);
    if (key !== undefined && key !== place.key) throw new InvalidObjectKeyError(`The object key "${place.key}" differs from "${key}" in case only, which this file system does not tell apart; use another key.`);
    return revisions.find((revision) => sameIdentity(revision.identity, identity));
  }

  /** Opens the file in an object's place. */
  async #openInPlace(place: Place): Promise<{ readonly handle: FileHandle; readonly identity: FileIdentity } | undefined> {
    let handle: FileHandle;
    try {
      handle = await open(place.bytes, 'r');
    } catch (error) {
      if (isAbsence(error)) return undefined;
      throw error;
    }
    const stats = await handle.stat({ bigint: true });
    if (stats.isFile()) return { handle, identity: identityOf(stats) };
    await handle.close();
    return undefined;
  }

  /** Makes a record for bytes that have none: a copied data folder keeps its content types, a file placed by hand gets defaults. */
  async #adopt(place: Place, handle: FileHandle): Promise<ObjectRecord> {
    const stats = await handle.stat({ bigint: true });
    const identity = identityOf(stats);
    const hash = createHash('md5');
    for await (const chunk of handle.createReadStream({ start: 0, autoClose: false }) as AsyncIterable<Buffer>) hash.update(chunk);
    const etag = hash.digest('hex');
    const { revisions } = await readRecords(place.record);
    const known = revisions.find((revision) => revision.etag === etag && revision.identity.sizeBytes === identity.sizeBytes);
    const byDefault = { contentType: DEFAULT_CONTENT_TYPE, metadata: {}, lastModifiedMs: Number(stats.mtimeMs) };
    const record: ObjectRecord = { ...(known ?? byDefault), etag, identity };
    await this.#writeRecords(place, [record]);
    return record;
  }

  #exclusively<Result>(location: ObjectLocation, task: (place: Place) => Promise<Result>): Promise<Result> {
    const place = this.#place(location);
    if (place === undefined) throw new NoSuchBucketError(`There is no bucket ${location.bucket}.`);
    return this.#locks.run(place.bytes, () => task(place));
  }

  /** Where an object lies; undefined for names that no object can have, so that none ever reaches a path. */
  #place({ bucket, key }: ObjectLocation): Place | undefined {
    if (!isBucketName(bucket)) return undefined;
    checkObjectKey(key);
    const path = keyToPath(key);
    return { bucket, key, bytes: join(this.#root, bucket, path), record: join(this.#records, bucket, `${path}.json`) };
  }

  /** The bucket's folder. */
  async #requireBucket(bucket: string): Promise<string> {
    const folder = join(this.#root, bucket);
    if (isBucketName(bucket)) {
      const stats = await stat(folder).catch((error: unknown) => {
        if (isAbsence(error)) return undefined;
        throw error;
      });
      if (stats?.isDirectory() === true) return folder;
    }
    throw new NoSuchBucketError(`There is no bucket ${bucket}.`);
  }
}

/** The state of a regular file; undefined where there is none. */
async function statFile(path: string): Promise<BigIntStats | undefined> {
  try {
    const stats = await stat(path, { bigint: true });
    return stats.isFile() ? stats : undefined;
  } catch (error) {
    if (isAbsence(error)) return undefined;
    throw error;
  }
}

function toSummary({ bucket, key }: ObjectLocation, record: ObjectRecord): ObjectSummary {
  const { identity, etag, contentType, metadata, httpHeaders, lastModifiedMs } = record;
  return { bucket, key, sizeBytes: identity.sizeBytes, etag, lastModifiedMs, contentType, metadata, ...(httpHeaders === undefined ? {} : { httpHeaders }) };
}

function checkCondition(location: ObjectLocation, current: ObjectRecord | undefined, condition: PutOptions['condition']): void {
  if (condition === undefined) return;
  const holds = condition.kind === 'absent' ? current === undefined : current?.etag === condition.etag;
  if (holds) return;
  const state = current === undefined ? 'does not exist' : `has the ETag ${current.etag}`;
  throw new PreconditionFailedError(`The object "${location.key}" in the bucket ${location.bucket} ${state}, and the put demands ${condition.kind === 'absent' ? 'that it does not exist' : `the ETag ${condition.etag}`}.`);
}

function resolveRange(range: ByteRange | undefined, { key, sizeBytes }: ObjectSummary): StoredObject['range'] {
  if (range === undefined) return { start: 0, endExclusive: sizeBytes };
  const { start, end } = range;
  const first = start ?? Math.max(0, sizeBytes - (end ?? 0));
  const endExclusive = start === undefined || end === undefined ? sizeBytes : Math.min(sizeBytes, end + 1);
  if (first < endExclusive) return { start: first, endExclusive };
  throw new InvalidRangeError(`The range ${start ?? ''}-${end ?? ''} lies outside of the object "${key}", which has ${sizeBytes} bytes.`);
}
