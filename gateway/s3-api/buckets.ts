import type { ServerResponse } from 'node:http';
import { isInternalBucket } from '../../platform/model/internal-buckets.ts';
import { S3Error } from './errors.ts';
import { requireBucket } from './objects.ts';
import { readDocument } from './read-document.ts';
import { sendXml, type S3Context, type S3Request } from './request.ts';
import { group, leaf, xmlDocument, xmlTime } from './xml-writer.ts';

/** S3 API reference, "CreateBucket" and "ListBuckets". */
const REGION_PATTERN = /^[a-z]{2}(-[a-z]+)+-\d$/;
const MAX_BUCKETS = 10_000;
/** The region that takes a repeated CreateBucket for a success, and whose name is written as nothing. */
const FIRST_REGION = 'us-east-1';
const MAX_CONFIGURATION_BYTES = 64 * 1024;

export async function listBuckets({ store, region }: S3Context, { query }: S3Request, response: ServerResponse): Promise<void> {
  const prefix = query.get('prefix') ?? '';
  const after = Buffer.from(query.get('continuation-token') ?? '', 'base64url').toString();
  const maxBuckets = query.get('max-buckets') ?? String(MAX_BUCKETS);
  if (!/^\d{1,5}$/.test(maxBuckets) || Number(maxBuckets) < 1 || Number(maxBuckets) > MAX_BUCKETS) {
    throw new S3Error('InvalidArgument', { message: `Argument max-buckets must be an integer between 1 and ${MAX_BUCKETS}`, details: { ArgumentName: 'max-buckets', ArgumentValue: maxBuckets } });
  }
  const all = (await store.listBuckets()).filter(({ name }) => !isInternalBucket(name) && name.startsWith(prefix) && name > after);
  const page = all.slice(0, Number(maxBuckets));
  const last = page.at(-1);
  sendXml(
    response,
    xmlDocument('ListAllMyBucketsResult', [
      group('Owner', [leaf('ID', 'sluice')]),
      group('Buckets', page.map(({ name, createdMs }) => group('Bucket', [leaf('Name', name), leaf('CreationDate', xmlTime(createdMs)), leaf('BucketRegion', region)]))),
      ...(all.length > page.length && last !== undefined ? [leaf('ContinuationToken', Buffer.from(last.name).toString('base64url'))] : []),
      ...(prefix === '' ? [] : [leaf('Prefix', prefix)]),
    ]),
  );
}

export async function createBucket({ store, region }: S3Context, { bucket, incoming }: S3Request, response: ServerResponse): Promise<void> {
  const document = await readDocument(incoming, MAX_CONFIGURATION_BYTES);
  if (document !== undefined && document.name !== 'CreateBucketConfiguration') throw new S3Error('MalformedXML');
  const constraint = document?.children.find(({ name }) => name === 'LocationConstraint')?.text.trim();
  // There is one region here, so each well-formed name stands for it: what was written for another region runs as it is.
  if (constraint !== undefined && constraint !== 'EU' && !REGION_PATTERN.test(constraint)) throw new S3Error('InvalidLocationConstraint', { details: { LocationConstraint: constraint } });
  if (isInternalBucket(bucket)) throw new S3Error('BucketAlreadyExists', { details: { BucketName: bucket } });
  const { created } = await store.createBucket(bucket);
  if (!created && region !== FIRST_REGION) throw new S3Error('BucketAlreadyOwnedByYou', { details: { BucketName: bucket } });
  response.writeHead(200, { Location: `/${bucket}`, 'Content-Length': 0 }).end();
}

export async function headBucket({ store, region }: S3Context, { bucket }: S3Request, response: ServerResponse): Promise<void> {
  await requireBucket(store, bucket);
  response.writeHead(200, { 'x-amz-bucket-region': region, 'Content-Type': 'application/xml' }).end();
}

export async function getBucketLocation({ store, region }: S3Context, { bucket }: S3Request, response: ServerResponse): Promise<void> {
  await requireBucket(store, bucket);
  sendXml(response, xmlDocument('LocationConstraint', region === FIRST_REGION ? [] : [region]));
}
