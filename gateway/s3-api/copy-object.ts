import type { ServerResponse } from 'node:http';
import { isInternalBucket } from '../../platform/model/internal-buckets.ts';
import { PreconditionFailedError } from '../../platform/object-store/object-store.ts';
import { conditionOutcome } from './conditions.ts';
import { S3Error } from './errors.ts';
import { describedObject, putCondition, quote, refuseUnsupportedHeaders } from './object-headers.ts';
import { openObject, refuseVersions } from './objects.ts';
import { checkBucket, checkKey, decodePath, header, sendXml, splitOnce, type S3Context, type S3Request } from './request.ts';
import { MAX_PUT_BYTES } from './upload.ts';
import { leaf, xmlDocument, xmlTime } from './xml-writer.ts';

export async function copyObject(context: S3Context, { bucket, key, incoming }: S3Request, response: ServerResponse): Promise<void> {
  refuseUnsupportedHeaders(incoming);
  const source = parseSource(header(incoming, 'x-amz-copy-source') ?? '');
  const directive = header(incoming, 'x-amz-metadata-directive') ?? 'COPY';
  if (directive !== 'COPY' && directive !== 'REPLACE') throw new S3Error('InvalidArgument', { message: 'Unknown metadata directive.', details: { ArgumentName: 'x-amz-metadata-directive', ArgumentValue: directive } });
  if (directive === 'COPY' && source.bucket === bucket && source.key === key) {
    throw new S3Error('InvalidRequest', {
      message: "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.",
    });
  }
  const condition = putCondition(incoming);
  const { summary, body } = await openObject(context, source, undefined, undefined);
  try {
    const outcome = conditionOutcome(incoming.headers, 'x-amz-copy-source-', summary);
    if (outcome.kind !== 'met') throw new S3Error('PreconditionFailed', { details: { Condition: `x-amz-copy-source-${outcome.kind === 'failed' ? outcome.condition : 'If-None-Match'}` } });
    if (summary.sizeBytes > MAX_PUT_BYTES) throw new S3Error('InvalidRequest', { message: `The specified copy source is larger than the maximum allowable size for a copy source: ${MAX_PUT_BYTES}` });
    const { contentType, metadata, httpHeaders } = summary;
    const described = directive === 'REPLACE' ? describedObject(incoming) : { contentType, metadata, ...(httpHeaders === undefined ? {} : { httpHeaders }) };
    const copy = await context.store.put({ bucket, key }, body, { ...described, ...condition });
    sendXml(response, xmlDocument('CopyObjectResult', [leaf('LastModified', xmlTime(copy.lastModifiedMs)), leaf('ETag', quote(copy.etag))]));
  } catch (error) {
    throw error instanceof PreconditionFailedError ? new S3Error('PreconditionFailed', { details: { Condition: condition.condition?.kind === 'etag' ? 'If-Match' : 'If-None-Match' } }) : error;
  } finally {
    body.destroy();
  }
}

/** `bucket/key`, percent-encoded, with or without a slash before it and a version behind it. */
function parseSource(value: string): { readonly bucket: string; readonly key: string } {
  const [path = '', query = ''] = splitOnce(value, '?');
  const [bucket = '', key = ''] = splitOnce(decodePath(path).replace(/^\//, ''), '/');
  if (key === '') throw new S3Error('InvalidArgument', { message: 'Invalid copy source object key', details: { ArgumentName: 'x-amz-copy-source', ArgumentValue: value } });
  refuseVersions(new URLSearchParams(query));
  checkBucket(bucket);
  checkKey(key);
  if (isInternalBucket(bucket)) throw new S3Error('NoSuchBucket', { details: { BucketName: bucket } });
  return { bucket, key };
}
