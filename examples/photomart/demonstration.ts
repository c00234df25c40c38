import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { LambdaClient } from '@aws-sdk/client-lambda';
import type { S3Client } from '@aws-sdk/client-s3';
import { CliError } from '../../cli/errors.ts';

export interface Photo {
  readonly bucket: string;
  readonly key: string;
}

export interface Thumbnail extends Photo {
  readonly width: number;
  readonly height: number;
  readonly bytes: number;
}

export type Metadata = Readonly<Record<string, unknown>>;

export interface Moderation {
  readonly verdict: string;
  readonly reason: string;
  readonly measured: Readonly<Record<string, number>>;
}

export interface CatalogEntry {
  readonly bucket: string;
  readonly key: string;
  readonly entry: Readonly<Record<string, unknown>>;
}

export interface Demonstration {
  readonly photo: Photo;
  readonly thumbnails: readonly (Thumbnail & { readonly file: string; readonly bytesOnDisk: number })[];
  readonly metadata: Metadata;
  readonly moderation: Moderation;
  readonly catalogEntry: CatalogEntry;
  /** Milliseconds from the request to the answer, by function. */
  readonly tookMs: ReadonlyMap<string, number>;
}

const UPLOAD_BUCKET = 'photomart-uploads';

/** Uploads a photograph, sends it through the functions, and fetches what they made into `outputFolder`. */
export async function demonstrate(s3: S3Client, lambda: LambdaClient, photoFile: string, outputFolder: string): Promise<Demonstration> {
  const { PutObjectCommand } = await import('@aws-sdk/client-s3');
  const photo: Photo = { bucket: UPLOAD_BUCKET, key: basename(photoFile) };
  const body = await readFile(photoFile);
  const { ETag: eTag } = await s3.send(new PutObjectCommand({ Bucket: photo.bucket, Key: photo.key, Body: body, ContentType: 'image/jpeg' }));

  const tookMs = new Map<string, number>();
  const call = async <Result>(name: string, event: unknown): Promise<Result> => {
    const startedAt = performance.now();
    const result = await invoke<Result>(lambda, name, event);
    tookMs.set(name, performance.now() - startedAt);
    return result;
  };
  const event = uploadEvent(photo, body.length, eTag);
  const [{ thumbnails }, metadata, moderation] = await Promise.all([
    call<{ thumbnails: Thumbnail[] }>('photomart-thumbnails', event),
    call<Metadata>('photomart-metadata', event),
    call<Moderation>('photomart-moderation', event),
  ]);
  const catalogEntry = await call<CatalogEntry>('photomart-catalog', { photo, thumbnails, metadata, moderation });
  await fetchTo(s3, catalogEntry, outputFolder);
  return { photo, metadata, moderation, catalogEntry, tookMs, thumbnails: await Promise.all(thumbnails.map((thumbnail) => onDisk(s3, thumbnail, outputFolder))) };
}

/** What S3 sends for a new object: S3 user guide, "Event message structure". */
function uploadEvent(photo: Photo, size: number, eTag: string | undefined): unknown {
  const key = encodeURIComponent(photo.key).replaceAll('%20', '+');
  return {
    Records: [
      {
        eventVersion: '2.1',
        eventSource: 'aws:s3',
        awsRegion: 'us-east-1',
        eventTime: new Date().toISOString(),
        eventName: 'ObjectCreated:Put',
        s3: {
          s3SchemaVersion: '1.0',
          bucket: { name: photo.bucket, arn: `arn:aws:s3:::${photo.bucket}` },
          object: { key, size, eTag: eTag?.replaceAll('"', '') },
        },
      },
    ],
  };
}

async function invoke<Result>(lambda: LambdaClient, name: string, event: unknown): Promise<Result> {
  const { InvokeCommand } = await import('@aws-sdk/client-lambda');
  const response = await lambda.send(new InvokeCommand({ FunctionName: name, Payload: JSON.stringify(event), LogType: 'Tail' }));
  const result = Buffer.from(response.Payload ?? []).toString('utf8');
  if (response.FunctionError !== undefined) {
    throw new CliError(`${name} returned an error: ${result}\n${Buffer.from(response.LogResult ?? '', 'base64').toString('utf8')}`);
  }
  return JSON.parse(result) as Result;
}

async function onDisk(s3: S3Client, thumbnail: Thumbnail, folder: string): Promise<Demonstration['thumbnails'][number]> {
  const file = await fetchTo(s3, thumbnail, folder);
  return { ...thumbnail, file, bytesOnDisk: (await stat(file)).size };
}

async function fetchTo(s3: S3Client, object: Photo, folder: string): Promise<string> {
  const { GetObjectCommand } = await import('@aws-sdk/client-s3');
  const { Body: body } = await s3.send(new GetObjectCommand({ Bucket: object.bucket, Key: object.key }));
  if (body === undefined) throw new CliError(`s3://${object.bucket}/${object.key} came without a body.`);
  await mkdir(folder, { recursive: true });
  const file = join(folder, object.key.replaceAll('/', '-'));
  await writeFile(file, await body.transformToByteArray());
  return file;
}
