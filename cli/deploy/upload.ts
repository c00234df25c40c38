import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import type { LambdaClient } from '@aws-sdk/client-lambda';
import { MAX_UPLOAD_BYTES } from '../../gateway/lambda-api/limits.ts';
import { s3Client, type Connection } from '../client.ts';
import type { CommandContext } from '../context.ts';
import { formatBytes } from '../terminal/format.ts';
import { showProgress } from '../terminal/progress.ts';
import type { Archive } from './archive.ts';

/** The `Code` of CreateFunction and the code members of UpdateFunctionCode. */
export interface UploadedCode {
  readonly ZipFile?: Uint8Array;
  readonly S3Bucket?: string;
  readonly S3Key?: string;
}

const DEPLOYMENT_BUCKET = 'sluice-deployments';
/** Small enough for the bar to move. */
const CHUNK_BYTES = 256 * 1024;

/**
 * Sends a package and lets `use` name it in a call of the Lambda API: within that call where it is small enough, by way of a bucket
 * otherwise. The object in the bucket is removed afterwards: Lambda keeps a copy of its own.
 */
export async function uploadCode(context: CommandContext, to: Connection, client: LambdaClient, name: string, archive: Archive, use: (code: UploadedCode) => Promise<void>): Promise<void> {
  const progress = showProgress(context, `uploading ${name}`);
  try {
    if (archive.bytes.length <= MAX_UPLOAD_BYTES) {
      reportRequestBodies(client, (fraction) => progress.update(fraction));
      await use({ ZipFile: archive.bytes });
    } else {
      await byBucket(to, name, archive, (fraction) => progress.update(fraction), use);
    }
  } catch (error) {
    progress.fail();
    throw error;
  }
  progress.done(`${formatBytes(archive.bytes.length)}${archive.bytes.length > MAX_UPLOAD_BYTES ? ` by way of the bucket ${DEPLOYMENT_BUCKET}` : ''}`);
}

async function byBucket(to: Connection, name: string, archive: Archive, onProgress: (fraction: number) => void, use: (code: UploadedCode) => Promise<void>): Promise<void> {
  const { CreateBucketCommand, DeleteObjectCommand, PutObjectCommand } = await import('@aws-sdk/client-s3');
  const client = await s3Client(to);
  try {
    await client.send(new CreateBucketCommand({ Bucket: DEPLOYMENT_BUCKET }));
  } catch (error) {
    if (!(error instanceof Error) || !['BucketAlreadyOwnedByYou', 'BucketAlreadyExists'].includes(error.name)) throw error;
  }
  const object = { Bucket: DEPLOYMENT_BUCKET, Key: `${name}/${createHash('sha256').update(archive.bytes).digest('hex')}.zip` };
  await client.send(new PutObjectCommand({ ...object, Body: countedStream(archive.bytes, onProgress), ContentLength: archive.bytes.length, ContentType: 'application/zip' }));
  await use({ S3Bucket: object.Bucket, S3Key: object.Key });
  await client.send(new DeleteObjectCommand(object));
}

/** Has the client send large request bodies piece by piece, and tells how much of one is sent. The SDK itself does not tell. */
function reportRequestBodies(client: LambdaClient, onProgress: (fraction: number) => void): void {
  client.middlewareStack.add(
    (next) => (args) => {
      const request = args.request as { readonly body?: unknown };
      if (typeof request.body !== 'string' || request.body.length <= CHUNK_BYTES) return next(args);
      // A copy, since a retry begins with the request as it was.
      const streamed: unknown = Object.assign(Object.create(Object.getPrototypeOf(request) as object) as object, request, { body: countedStream(Buffer.from(request.body), onProgress) });
      return next({ ...args, request: streamed });
    },
    // After signing and the headers, directly before the request goes out.
    { step: 'deserialize', priority: 'low', name: 'reportRequestBodies', override: true },
  );
}

function countedStream(bytes: Buffer, onProgress: (fraction: number) => void): Readable {
  let sent = 0;
  return new Readable({
    read() {
      const chunk = bytes.subarray(sent, sent + CHUNK_BYTES);
      sent += chunk.length;
      onProgress(sent / bytes.length);
      this.push(chunk.length === 0 ? null : chunk);
    },
  });
}
