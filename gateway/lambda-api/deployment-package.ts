import { createHash } from 'node:crypto';
import { setImmediate as othersFirst } from 'node:timers/promises';
import { CodeArchiveError } from '../../platform/code-archive/errors.ts';
import { verify } from '../../platform/code-archive/inspect.ts';
import { CODE_BUCKET, type CodeReference } from '../../platform/model/function.ts';
import { isInternalBucket } from '../../platform/model/internal-buckets.ts';
import { InvalidBucketNameError, NoSuchBucketError, NoSuchObjectError, PreconditionFailedError, type ObjectLocation, type ObjectStore } from '../../platform/object-store/object-store.ts';
import { invalidParameter, LambdaApiError } from './errors.ts';
import { MAX_UPLOAD_BYTES } from './limits.ts';
import { readObject } from './read-object.ts';

/** Length of an object's key (S3 user guide, "Naming Amazon S3 objects"). */
const MAX_KEY_BYTES = 1_024;

/** Where a request says its code is. */
export interface CodeSource {
  readonly ZipFile?: Uint8Array | undefined;
  readonly S3Bucket?: string | undefined;
  readonly S3Key?: string | undefined;
  readonly S3ObjectVersion?: string | undefined;
  readonly ImageUri?: string | undefined;
  readonly SourceKMSKeyArn?: string | undefined;
}

/** A package that has been checked but not stored. */
export interface CheckedPackage {
  readonly reference: CodeReference;
  readonly bytes: Buffer;
}

/** Fetches a package and unpacks it to nowhere, so that what is stored can be run. Throws `LambdaApiError` for whatever is wrong with it; stores nothing. */
export async function checkPackage(source: CodeSource, verb: 'creating' | 'updating', store: ObjectStore): Promise<CheckedPackage> {
  const bytes = await packageBytes(source, verb, store);
  try {
    await verify(bytes);
  } catch (error) {
    if (error instanceof CodeArchiveError) throw invalidParameter(error.message);
    throw error;
  }
  const digest = await sha256(bytes);
  return { bytes, reference: { sha256: digest.toString('base64'), sizeBytes: bytes.length, objectKey: `${digest.toString('hex')}.zip` } };
}

/** Hashed at a time: about 2 ms in which nobody else is served. */
const HASH_SLICE_BYTES = 1024 * 1024;

async function sha256(bytes: Buffer): Promise<Buffer> {
  const hash = createHash('sha256');
  for (let start = 0; start < bytes.length; start += HASH_SLICE_BYTES) {
    if (start > 0) await othersFirst();
    hash.update(bytes.subarray(start, start + HASH_SLICE_BYTES));
  }
  return hash.digest();
}

/** Stores a package under its hash. Storing it again is no error and writes nothing. */
export async function storePackage({ reference, bytes }: CheckedPackage, store: ObjectStore): Promise<void> {
  const put = (): Promise<unknown> =>
    store.put({ bucket: CODE_BUCKET, key: reference.objectKey }, bytes, { contentType: 'application/zip', condition: { kind: 'absent' } });
  try {
    await put().catch(async (error: unknown) => {
      if (!(error instanceof NoSuchBucketError)) throw error;
      await store.createBucket(CODE_BUCKET);
      await put();
    });
  } catch (error) {
    if (!(error instanceof PreconditionFailedError)) throw error;
  }
}

async function packageBytes(source: CodeSource, verb: 'creating' | 'updating', store: ObjectStore): Promise<Buffer> {
  if (source.ImageUri !== undefined) throw invalidParameter(`Please don't provide ImageUri when ${verb} a function with packageType Zip.`);
  if (source.SourceKMSKeyArn) throw invalidParameter('SourceKMSKeyArn is not supported by Sluice yet: upload the package unencrypted.');
  const fromStore = source.S3Bucket !== undefined || source.S3Key !== undefined || source.S3ObjectVersion !== undefined;
  if (source.ZipFile !== undefined) {
    if (fromStore) throw invalidParameter('Please do not provide other FunctionCode parameters when providing a ZipFile.');
    return uploaded(source.ZipFile);
  }
  if (!fromStore) throw invalidParameter('Please provide a source for function code.');
  if (source.S3Bucket === undefined || source.S3Key === undefined) throw invalidParameter('Please provide both S3Bucket and S3Key.');
  if (source.S3ObjectVersion !== undefined) throw invalidParameter('S3ObjectVersion is not supported: buckets of Sluice keep one version of an object. Leave it out to use that one.');
  return fetched({ bucket: source.S3Bucket, key: source.S3Key }, store);
}

function uploaded(zip: Uint8Array): Buffer {
  if (zip.length > MAX_UPLOAD_BYTES) throw new LambdaApiError('RequestEntityTooLargeException', `Zipped size must be smaller than ${MAX_UPLOAD_BYTES} bytes`);
  if (zip.length === 0) throw invalidParameter('Uploaded file must be a non-empty zip');
  return Buffer.from(zip.buffer, zip.byteOffset, zip.byteLength);
}

async function fetched(location: ObjectLocation, store: ObjectStore): Promise<Buffer> {
  const noBucket = (): LambdaApiError => getObjectError('NoSuchBucket', 'The specified bucket does not exist');
  const noKey = (): LambdaApiError => getObjectError('NoSuchKey', 'The specified key does not exist.');
  // Packages of other functions are reached by no name.
  if (isInternalBucket(location.bucket)) throw noBucket();
  // The model counts characters, the store bytes.
  if (Buffer.byteLength(location.key) > MAX_KEY_BYTES) throw noKey();
  try {
    return await readObject(store, location);
  } catch (error) {
    if (error instanceof NoSuchBucketError || error instanceof InvalidBucketNameError) throw noBucket();
    if (error instanceof CodeArchiveError) throw invalidParameter(error.message);
    if (!(error instanceof NoSuchObjectError)) throw error;
    const buckets = await store.listBuckets();
    throw buckets.some(({ name }) => name === location.bucket) ? noKey() : noBucket();
  }
}

/** In the service's words. */
function getObjectError(code: string, message: string): LambdaApiError {
  return invalidParameter(`Error occurred while GetObject. S3 Error Code: ${code}. S3 Error Message: ${message}`);
}
