import type { Readable } from 'node:stream';

/**
 * Port: blobs by bucket and key.
 *
 * Atomic: a reader sees a whole object, the one before or the one after a `put`, never a mixture; a `put` that was cut short leaves
 * what was there. A resolved `put` survives a crash.
 *
 * Every method may reject with {@link StoreUnavailableError}. Then it is not known whether a `put` or `delete` has happened, or still will.
 */
export interface ObjectStore {
  /**
   * Stores an object. With `condition`, only if the object is absent or has the given ETag; rejects with
   * {@link PreconditionFailedError} otherwise: of concurrent conditional writers exactly one wins. Rejects with {@link NoSuchBucketError}.
   */
  put(location: ObjectLocation, body: Buffer | Readable, options?: PutOptions): Promise<ObjectSummary>;
  /** The object's summary, or undefined. */
  head(location: ObjectLocation): Promise<ObjectSummary | undefined>;
  /**
   * The object's summary and its bytes, or those of a range. Rejects with {@link NoSuchObjectError}. The stream must be read to the
   * end or destroyed.
   */
  get(location: ObjectLocation, range?: ByteRange): Promise<StoredObject>;
  /** Removes an object; removing what is not there is no error. */
  delete(location: ObjectLocation, options?: DeleteOptions): Promise<void>;
  /** Keys with a prefix, in UTF-8 order, after `after`. Rejects with {@link NoSuchBucketError}. */
  list(query: ObjectQuery): Promise<ObjectPage>;
  /** Makes a bucket. One that exists already is no error; `created` tells. Names follow S3's rules, otherwise {@link InvalidBucketNameError}. */
  createBucket(bucket: string): Promise<{ readonly created: boolean }>;
  /** Buckets by name. */
  listBuckets(): Promise<readonly BucketSummary[]>;
  /**
   * A URL from which anyone can GET the object until it expires, without credentials. Embedded: served by the gateway at `baseUrl`. `reader`: who is to read it;
   * clients may reach the store elsewhere than Sluice's own processes do.
   */
  presignGet(location: ObjectLocation, expiresInSec: number, reader?: 'client' | 'platform'): Promise<string>;
}

export interface ObjectLocation {
  readonly bucket: string;
  /** 1 to 1,024 bytes of UTF-8; any characters: `..`, `//` and leading slashes have no meaning. Otherwise {@link InvalidObjectKeyError}. */
  readonly key: string;
}

export interface PutOptions {
  readonly contentType?: string;
  /** User metadata: lower-case names without the `x-amz-meta-` prefix. At most 2 KiB together. */
  readonly metadata?: Readonly<Record<string, string>>;
  readonly httpHeaders?: StoredHttpHeaders;
  readonly condition?: { readonly kind: 'absent' } | { readonly kind: 'etag'; readonly etag: string };
  /** `all` by default. */
  readonly detail?: SummaryDetail;
}

/**
 * How much of an object's summary a caller needs: `all`; or `essential`, what costs nothing on any driver: key, size and ETag exactly, the
 * time of its last change to a second or two, everything else as it happens to be at hand.
 */
export type SummaryDetail = 'all' | 'essential';

export interface DeleteOptions {
  /**
   * `once`: the removal is never tried again underneath, so that none can arrive after the one that took effect. For callers that rely on
   * nothing being removed that is made after this removal.
   */
  readonly attempts?: 'once';
}

/** Headers that S3 keeps with an object and gives back with it (S3 user guide, "Working with object metadata", system-defined). */
export type StoredHttpHeaders = Readonly<Partial<Record<'cache-control' | 'content-disposition' | 'content-encoding' | 'content-language' | 'expires', string>>>;

export interface ObjectSummary extends ObjectLocation {
  readonly sizeBytes: number;
  /** MD5 of the bytes in hex, without quotes. */
  readonly etag: string;
  readonly lastModifiedMs: number;
  readonly contentType: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly httpHeaders?: StoredHttpHeaders;
}

export interface StoredObject {
  readonly summary: ObjectSummary;
  /** The range delivered; the whole object where none was asked for. */
  readonly range: { readonly start: number; readonly endExclusive: number };
  readonly body: Readable;
}

/** `end` is inclusive as in HTTP; undefined: to the end. `start` undefined: the last `end` bytes. */
export interface ByteRange {
  readonly start?: number;
  readonly end?: number;
}

export interface ObjectQuery {
  readonly bucket: string;
  readonly prefix?: string;
  readonly after?: string;
  /** 1 to 1,000. */
  readonly limit: number;
  /** `all` by default. */
  readonly detail?: SummaryDetail;
}

export interface ObjectPage {
  readonly objects: readonly ObjectSummary[];
  readonly next?: string;
}

export interface BucketSummary {
  readonly name: string;
  readonly createdMs: number;
}

export class NoSuchBucketError extends Error {
  override readonly name = 'NoSuchBucketError';
}
export class NoSuchObjectError extends Error {
  override readonly name = 'NoSuchObjectError';
}
export class PreconditionFailedError extends Error {
  override readonly name = 'PreconditionFailedError';
}
export class InvalidBucketNameError extends Error {
  override readonly name = 'InvalidBucketNameError';
}
/** A key is empty, longer than 1,024 bytes, not well-formed Unicode, or one that this driver cannot keep; the message says which. */
export class InvalidObjectKeyError extends Error {
  override readonly name = 'InvalidObjectKeyError';
}
/** The range begins after the object's end. */
export class InvalidRangeError extends Error {
  override readonly name = 'InvalidRangeError';
}
/** The body is larger than the driver can store as one object; nothing was stored. */
export class ObjectTooLargeError extends Error {
  override readonly name = 'ObjectTooLargeError';
}
/** The store cannot be reached, does not answer in time, or says that it cannot serve now. The message tells the cause and no secret. */
export class StoreUnavailableError extends Error {
  override readonly name = 'StoreUnavailableError';
}
