import { tmpdir } from 'node:os';
import type { IncomingMessage } from 'node:http';
import { PassThrough, type Readable } from 'node:stream';
import { systemClock, type Clock } from '../clock.ts';
import type { Logger } from '../telemetry/logger.ts';
import { checkBucketName, checkObjectKey, isBucketName } from './names.ts';
import {
  InvalidBucketNameError,
  InvalidObjectKeyError,
  InvalidRangeError,
  NoSuchBucketError,
  NoSuchObjectError,
  ObjectTooLargeError,
  PreconditionFailedError,
  type BucketSummary,
  type ByteRange,
  type DeleteOptions,
  type ObjectLocation,
  type ObjectPage,
  type ObjectQuery,
  type ObjectStore,
  type ObjectSummary,
  type PutOptions,
  type StoredObject,
} from './object-store.ts';
import { MAX_PRESIGNED_LIFETIME_SEC } from './presigned-url.ts';
import { parseEndpoint } from './s3/endpoint.ts';
import { parseRefusal, type S3RefusedError } from './s3/failures.ts';
import { bareEtag, putHeaders, summaryOf } from './s3/headers.ts';
import { listingQuery, parseBuckets, parseListing, type Listing } from './s3/listing.ts';
import { credentialsOf, S3Requests, signingClient, type S3Credentials } from './s3/requests.ts';
import { bodyOf, MAX_OBJECT_BYTES, spool, type Body } from './s3/spool.ts';
import { escapeXml } from './s3/xml.ts';
import { compareUtf8 } from './utf8-order.ts';

export interface S3ObjectStoreOptions extends S3Credentials {
  /** `http://` or `https://`, host and port. */
  readonly endpoint: string;
  /** As {@link S3ObjectStoreOptions.endpoint}, where those who are given a presigned URL reach the server; the endpoint by default. */
  readonly publicEndpoint?: string;
  readonly region: string;
  /** Put before the name of every bucket on the server, so that several installations share one. */
  readonly bucketPrefix?: string;
  /** Certificates (PEM) to trust instead of the machine's. */
  readonly ca?: string;
  readonly logger: Logger;
  readonly clock?: Clock;
  /** Connections at once; further requests wait for one. */
  readonly maxSockets?: number;
  /** A request fails when nothing moves for so long: no connection becomes free, no byte is taken, none comes. */
  readonly timeoutMs?: number;
  /** Where long bodies wait whose length is not known before their end; the machine's temporary folder by default. */
  readonly spoolDir?: string;
}

export interface S3ObjectStore extends ObjectStore {
  /** Ends connections; requests under way fail. */
  close(): void;
}

/** Enough to keep a disk busy; a server on the same machine answers a request in 1 to 2 ms. */
const MAX_SOCKETS = 64;
const TIMEOUT_MS = 30_000;
/** Objects of one page that are looked at side by side. */
const PARALLEL_LOOKS = 16;
/** Amazon S3 API reference, "ListObjectsV2": keys of one answer. */
const MAX_KEYS = 1_000;
/** Amazon S3 user guide, "Conditional requests": a 409 asks for another try. That often, it is not by chance. */
const CONFLICT_ATTEMPTS_MAX = 5;
/** As MinIO and Amazon S3 say that they cannot keep a key. */
const UNKEEPABLE_KEY = new Set(['XMinioInvalidObjectName', 'XMinioInvalidResourceName', 'XMinioParentIsObject', 'InvalidObjectName', 'InvalidURI', 'KeyTooLongError']);

/**
 * The object store on any server that speaks S3. Connects only when it is used; `setup.ts` is what a start calls.
 *
 * Requests that may be repeated are, once, when their connection is reset: all but conditional puts, of which the first may have taken effect
 * unseen. A conditional put whose answer is lost rejects with StoreUnavailableError, and its caller must look.
 *
 * Throws InvalidEndpointError, and {@link InvalidBucketNameError} for a prefix that no bucket can have.
 */
export function openS3ObjectStore(options: S3ObjectStoreOptions): S3ObjectStore {
  return new MinioObjectStore(options);
}

class MinioObjectStore implements S3ObjectStore {
  readonly #requests: S3Requests;
  readonly #presigners: Readonly<Record<'client' | 'platform', ReturnType<typeof signingClient>>>;
  readonly #prefix: string;
  readonly #region: string;
  readonly #spoolDir: string;
  readonly #logger: Logger;
  readonly #clock: Clock;
  #saidThatEtagsDiffer = false;
  /** Whether the server tells `/a` from `a`; found out when a key begins with a slash. */
  #tellsLeadingSlash: Promise<boolean> | undefined;

  constructor(options: S3ObjectStoreOptions) {
    const { region, bucketPrefix = '', ca, maxSockets = MAX_SOCKETS, timeoutMs = TIMEOUT_MS } = options;
    if (bucketPrefix !== '') checkPrefix(bucketPrefix);
    const credentials = credentialsOf(options);
    this.#requests = new S3Requests({ endpoint: parseEndpoint(options.endpoint), credentials, region, ca, maxSockets, timeoutMs });
    this.#presigners = {
      client: signingClient({ endpoint: parseEndpoint(options.publicEndpoint ?? options.endpoint), credentials, region }),
      platform: signingClient({ endpoint: parseEndpoint(options.endpoint), credentials, region }),
    };
    this.#prefix = bucketPrefix;
    this.#region = region;
    this.#spoolDir = options.spoolDir ?? tmpdir();
    this.#logger = options.logger;
    this.#clock = options.clock ?? systemClock;
  }

  async put(location: ObjectLocation, body: Buffer | Readable, options: PutOptions = {}): Promise<ObjectSummary> {
    if (!Buffer.isBuffer(body)) body.on('error', () => undefined); // It may fail before anyone reads it; whoever reads it sees the error.
    try {
      checkObjectKey(location.key);
      const bucket = this.#bucket(location.bucket);
      await this.#checkLeadingSlash(bucket, location.key);
      const whole = Buffer.isBuffer(body) ? bodyOf(body) : await spool(body, this.#spoolDir);
      try {
        if (whole.sizeBytes > MAX_OBJECT_BYTES) throw new ObjectTooLargeError(`The object "${location.key}" would have ${whole.sizeBytes} bytes; an S3 server stores at most ${MAX_OBJECT_BYTES} as one.`);
        return await this.#store(location, bucket, whole, options);
      } finally {
        await whole.discard();
      }
    } catch (error) {
      if (!Buffer.isBuffer(body)) body.destroy();
      throw error;
    }
  }

  async #store(location: ObjectLocation, bucket: string, body: Body, options: PutOptions): Promise<ObjectSummary> {
    const what = describe('Storing', location);
    const headers = putHeaders(options);
    for (let attempt = 1; ; attempt += 1) {
      const answer = await this.#requests.ask({ method: 'PUT', what, bucket, key: location.key, headers, body, idempotent: options.condition === undefined });
      if (answer.status === 200) return this.#stored(location, body, options, answer.headers);
      const refusal = parseRefusal(what, answer);
      const isPassing = answer.status === 409 && options.condition !== undefined && (refusal.code === 'ConditionalRequestConflict' || refusal.code === 'OperationAborted');
      if (!isPassing || attempt >= CONFLICT_ATTEMPTS_MAX) throw this.#putFailure(location, options, refusal);
    }
  }

  #putFailure(location: ObjectLocation, { condition }: PutOptions, refusal: S3RefusedError): Error {
    // An absent object has no ETag: S3 answers 404 to a demand for one.
    const failsCondition = refusal.status === 412 || (condition?.kind === 'etag' && refusal.status === 404 && refusal.code !== 'NoSuchBucket');
    if (condition === undefined || !failsCondition) return portError(location, refusal);
    return new PreconditionFailedError(`The object "${location.key}" in the bucket ${location.bucket} is not as the put demands: ${condition.kind === 'absent' ? 'it exists' : `its ETag is not ${condition.etag}`}.`, { cause: refusal });
  }

  /** The summary of what was just stored. S3 tells the object's time only to who asks for it. */
  async #stored(location: ObjectLocation, body: Body, { detail = 'all', ...options }: PutOptions, headers: IncomingMessage['headers']): Promise<ObjectSummary> {
    const etag = bareEtag(headers.etag ?? '');
    if (etag !== body.md5.toString('hex') && !this.#saidThatEtagsDiffer) {
      this.#saidThatEtagsDiffer = true;
      this.#logger.warn({ bucket: location.bucket }, 'The S3 server gives ETags that are not the MD5 of the bytes, as servers do that encrypt objects with keys of their own. Conditional puts work; clients that compare MD5s will complain.');
    }
    const { contentType, metadata = {}, httpHeaders } = options;
    const known = summaryOf(location, { ...putHeaders({}), etag, 'last-modified': headers.date ?? '' }, body.sizeBytes);
    const own: ObjectSummary = { ...known, ...(contentType === undefined ? {} : { contentType }), metadata, ...(httpHeaders === undefined ? {} : { httpHeaders }) };
    if (detail === 'essential') return own;
    const stored = await this.head(location);
    return stored?.etag === etag ? stored : own;
  }

  async head(location: ObjectLocation): Promise<ObjectSummary | undefined> {
    checkObjectKey(location.key);
    if (!isBucketName(location.bucket)) return undefined;
    const bucket = this.#bucket(location.bucket);
    if (!(await this.#isKept(bucket, location.key))) return undefined;
    const what = describe('Looking at', location);
    const answer = await this.#requests.ask({ method: 'HEAD', what, bucket, key: location.key, idempotent: true });
    if (answer.status === 200) return summaryOf(location, answer.headers, Number(answer.headers['content-length'] ?? 0));
    if (answer.status === 404) return undefined;
    // An answer to HEAD has no body and so no reason; one to GET has.
    const response = await this.#requests.send({ method: 'GET', what, bucket, key: location.key, headers: { range: 'bytes=0-0' }, idempotent: true });
    const refusal = await this.#requests.refusal(what, response);
    if (refusal.status < 300 || refusal.status === 404 || refusal.status === 416 || UNKEEPABLE_KEY.has(refusal.code)) return undefined;
    throw refusal;
  }

  async get(location: ObjectLocation, range?: ByteRange): Promise<StoredObject> {
    checkObjectKey(location.key);
    if (!isBucketName(location.bucket)) throw noSuchObject(location);
    const bucket = this.#bucket(location.bucket);
    if (!(await this.#isKept(bucket, location.key))) throw noSuchObject(location);
    const what = describe('Reading', location);
    const headers = range === undefined ? {} : { range: `bytes=${range.start ?? ''}-${range.end ?? ''}` };
    const response = await this.#requests.send({ method: 'GET', what, bucket, key: location.key, headers, idempotent: true });
    if (response.statusCode !== 200 && response.statusCode !== 206) {
      const refusal = await this.#requests.refusal(what, response);
      if (refusal.status === 404) throw noSuchObject(location, refusal);
      if (refusal.status === 416) throw outsideOf(location, range, refusal);
      throw portError(location, refusal);
    }
    const delivered = deliveredRange(response, range);
    if (delivered === undefined) {
      response.destroy();
      throw outsideOf(location, range);
    }
    const { sizeBytes, ...bounds } = delivered;
    return { summary: summaryOf(location, response.headers, sizeBytes), range: bounds, body: this.#bodyOf(what, response) };
  }

  /** The bytes of an answer. What breaks them off is the port's error. */
  #bodyOf(what: string, response: IncomingMessage): Readable {
    const body = new PassThrough();
    response.on('error', (error) => body.destroy(this.#requests.broken(what, error)));
    body.on('close', () => response.destroy());
    return response.pipe(body);
  }

  async delete(location: ObjectLocation, options: DeleteOptions = {}): Promise<void> {
    checkObjectKey(location.key);
    if (!isBucketName(location.bucket)) return;
    const bucket = this.#bucket(location.bucket);
    if (!(await this.#isKept(bucket, location.key))) return;
    const what = describe('Removing', location);
    const answer = await this.#requests.ask({ method: 'DELETE', what, bucket, key: location.key, idempotent: options.attempts !== 'once' });
    if (answer.status < 300 || answer.status === 404) return;
    const refusal = parseRefusal(what, answer);
    if (!UNKEEPABLE_KEY.has(refusal.code)) throw portError(location, refusal);
  }

  async list(query: ObjectQuery): Promise<ObjectPage> {
    if (!isBucketName(query.bucket)) throw noSuchBucket(query.bucket);
    if (!Number.isInteger(query.limit) || query.limit < 1 || query.limit > MAX_KEYS) throw new RangeError(`A page of ${query.limit} objects cannot be listed; ask for 1 to ${MAX_KEYS}.`);
    const found: ObjectSummary[] = [];
    // One more than asked for tells whether there are more; `IsTruncated` may be true before nothing.
    for (let token: string | undefined; found.length <= query.limit; ) {
      const listing = await this.#listing(query, token, Math.min(MAX_KEYS, query.limit + 1 - found.length));
      for (const object of listing.objects) if (query.after === undefined || compareUtf8(object.key, query.after) > 0) found.push(object);
      token = listing.token;
      if (token === undefined) break;
    }
    const page = found.slice(0, query.limit);
    const last = page.at(-1);
    const objects = query.detail === 'essential' ? page : await this.#looks(page);
    return found.length > query.limit && last !== undefined ? { objects, next: last.key } : { objects };
  }

  async #listing({ bucket, prefix = '', after }: ObjectQuery, token: string | undefined, limit: number): Promise<Listing> {
    const what = `Listing the bucket ${bucket}`;
    const ask = (startAfter: string | undefined): Promise<{ readonly status: number; readonly headers: IncomingMessage['headers']; readonly text: string }> =>
      this.#requests.ask({ method: 'GET', what, bucket: this.#bucket(bucket), query: listingQuery({ prefix, after: startAfter, token, limit }), idempotent: true });
    let answer = await ask(after);
    if (answer.status === 400 && after !== undefined && token === undefined && UNKEEPABLE_KEY.has(parseRefusal(what, answer).code)) {
      // MinIO does not list after a key that it cannot keep, though others lie behind it: begin before that, and the caller drops what comes too early.
      const harmless = /^[A-Za-z0-9_-]*/.exec(after)?.[0];
      answer = await ask(harmless === '' ? undefined : harmless);
    }
    if (answer.status === 200) return parseListing(bucket, answer.text);
    const refusal = parseRefusal(what, answer);
    if (refusal.status === 404) throw noSuchBucket(bucket, refusal);
    // No key begins so.
    if (UNKEEPABLE_KEY.has(refusal.code)) return { objects: [], token: undefined };
    throw refusal;
  }

  /** Full summaries; without those that were removed meanwhile. */
  async #looks(page: readonly ObjectSummary[]): Promise<readonly ObjectSummary[]> {
    const objects: ObjectSummary[] = [];
    for (let start = 0; start < page.length; start += PARALLEL_LOOKS) {
      const looks = await Promise.all(page.slice(start, start + PARALLEL_LOOKS).map((listed) => this.head(listed)));
      objects.push(...looks.filter((summary) => summary !== undefined));
    }
    return objects;
  }

  async createBucket(bucket: string): Promise<{ readonly created: boolean }> {
    checkBucketName(bucket);
    const name = this.#bucket(bucket);
    if (!isBucketName(name)) throw new InvalidBucketNameError(`The bucket ${bucket} would be called "${name}" on the S3 server, which cannot name a bucket; use a shorter name or a shorter prefix.`);
    const what = `Making the bucket ${bucket}`;
    // Amazon S3 answers 200 in us-east-1 to the making of one's own bucket that exists: so look first.
    const look = await this.#requests.ask({ method: 'HEAD', what, bucket: name, idempotent: true });
    if (look.status === 200) return { created: false };
    const body = this.#region === 'us-east-1' ? '' : `<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>${escapeXml(this.#region)}</LocationConstraint></CreateBucketConfiguration>`;
    const answer = await this.#requests.ask({ method: 'PUT', what, bucket: name, body: bodyOf(Buffer.from(body)), idempotent: true });
    if (answer.status === 200) return { created: true };
    const refusal = parseRefusal(what, answer);
    if (refusal.code === 'BucketAlreadyOwnedByYou') return { created: false };
    if (refusal.code === 'InvalidBucketName') throw new InvalidBucketNameError(refusal.message, { cause: refusal });
    throw refusal;
  }

  async listBuckets(): Promise<readonly BucketSummary[]> {
    const answer = await this.#requests.expect({ method: 'GET', what: 'Listing the buckets', idempotent: true }, [200]);
    return parseBuckets(answer.text)
      .filter(({ name }) => name.startsWith(this.#prefix))
      .map(({ name, createdMs }) => ({ name: name.slice(this.#prefix.length), createdMs }))
      .filter(({ name }) => isBucketName(name))
      .sort((left, right) => compareUtf8(left.name, right.name));
  }

  async presignGet({ bucket, key }: ObjectLocation, expiresInSec: number, reader: 'client' | 'platform' = 'client'): Promise<string> {
    checkObjectKey(key);
    if (!Number.isInteger(expiresInSec) || expiresInSec < 1 || expiresInSec > MAX_PRESIGNED_LIFETIME_SEC) {
      throw new RangeError(`A presigned URL cannot live ${expiresInSec} seconds; give a whole number from 1 to ${MAX_PRESIGNED_LIFETIME_SEC}.`);
    }
    return this.#presigners[reader].presignedUrl('GET', this.#bucket(bucket), key, expiresInSec, {}, new Date(this.#clock.now()));
  }

  close(): void {
    this.#requests.close();
  }

  /** The bucket's name on the server. */
  #bucket(bucket: string): string {
    if (!isBucketName(bucket)) throw noSuchBucket(bucket);
    return this.#prefix + bucket;
  }

  async #checkLeadingSlash(bucket: string, key: string): Promise<void> {
    if (await this.#isKept(bucket, key)) return;
    throw new InvalidObjectKeyError(`The object key "${key}" begins with a slash, which the S3 server drops: it would be the object "${key.slice(1)}". Use a key without it.`);
  }

  /** Whether the server could have an object of just this key: MinIO takes `/a` for `a`. */
  async #isKept(bucket: string, key: string): Promise<boolean> {
    if (!key.startsWith('/')) return true;
    this.#tellsLeadingSlash ??= this.#findOutAboutSlash(bucket).catch((error: unknown) => {
      this.#tellsLeadingSlash = undefined;
      throw error;
    });
    return this.#tellsLeadingSlash;
  }

  async #findOutAboutSlash(bucket: string): Promise<boolean> {
    const name = `sluice-slash-${crypto.randomUUID()}`;
    const what = 'Finding out whether the S3 server keeps a leading slash';
    const slashed = await this.#requests.ask({ method: 'PUT', what, bucket, key: `/${name}`, idempotent: true });
    if (slashed.status !== 200) {
      const refusal = parseRefusal(what, slashed);
      if (refusal.status === 404) throw noSuchBucket(bucket.slice(this.#prefix.length), refusal);
      if (UNKEEPABLE_KEY.has(refusal.code)) return false;
      throw refusal;
    }
    const bare = await this.#requests.ask({ method: 'HEAD', what, bucket, key: name, idempotent: true });
    await this.#requests.ask({ method: 'DELETE', what, bucket, key: `/${name}`, idempotent: true });
    return bare.status === 404;
  }
}

function checkPrefix(prefix: string): void {
  // The shortest name that a bucket can have behind it.
  if (!isBucketName(`${prefix}aaa`)) throw new InvalidBucketNameError(`"${prefix}" cannot begin the names of buckets: use lower-case letters, digits, dots and hyphens, beginning with a letter or digit, at most 60 of them.`);
}

function describe(doing: string, { bucket, key }: ObjectLocation): string {
  return `${doing} "${key.length <= 100 ? key : `${key.slice(0, 100)}…`}" in the bucket ${bucket}`;
}

function noSuchBucket(bucket: string, cause?: Error): NoSuchBucketError {
  return new NoSuchBucketError(`There is no bucket ${bucket}.`, cause === undefined ? {} : { cause });
}

function noSuchObject({ bucket, key }: ObjectLocation, cause?: Error): NoSuchObjectError {
  return new NoSuchObjectError(`There is no object "${key}" in the bucket ${bucket}.`, cause === undefined ? {} : { cause });
}

function outsideOf({ key }: ObjectLocation, range: ByteRange | undefined, cause?: Error): InvalidRangeError {
  return new InvalidRangeError(`The range ${range?.start ?? ''}-${range?.end ?? ''} lies outside of the object "${key}".`, cause === undefined ? {} : { cause });
}

/** A refusal that the port has a name for. */
function portError(location: ObjectLocation, refusal: S3RefusedError): Error {
  if (refusal.code === 'NoSuchBucket') return noSuchBucket(location.bucket, refusal);
  if (UNKEEPABLE_KEY.has(refusal.code)) return new InvalidObjectKeyError(`The S3 server cannot keep an object under the key "${location.key}": ${refusal.message}`, { cause: refusal });
  if (refusal.code === 'EntityTooLarge') return new ObjectTooLargeError(refusal.message, { cause: refusal });
  return refusal;
}

/** Which bytes an answer brings; undefined for none, where some were asked for. */
function deliveredRange(response: IncomingMessage, asked: ByteRange | undefined): { readonly start: number; readonly endExclusive: number; readonly sizeBytes: number } | undefined {
  if (response.statusCode === 206) {
    const match = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(response.headers['content-range'] ?? '');
    return match === null ? undefined : { start: Number(match[1]), endExclusive: Number(match[2]) + 1, sizeBytes: Number(match[3]) };
  }
  const sizeBytes = Number(response.headers['content-length'] ?? 0);
  // A server may answer with the whole where a range covers it; but of nothing there is no range.
  return asked !== undefined && sizeBytes === 0 ? undefined : { start: 0, endExclusive: sizeBytes, sizeBytes };
}
