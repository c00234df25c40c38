import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { after, before, describe, it } from 'node:test';
import {
  CopyObjectCommand,
  CreateBucketCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetBucketLocationCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListObjectsCommand,
  ListObjectsV2Command,
  NoSuchBucket,
  NoSuchKey,
  NotFound,
  PutBucketPolicyCommand,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
  paginateListObjectsV2,
  type ChecksumAlgorithm,
  type ListObjectsCommandOutput,
} from '@aws-sdk/client-s3';
import { startS3Server, type S3Server } from '../support/s3-server.ts';

/** The real SDK, as a function's code uses it: only the endpoint differs. */
describe('S3 by the AWS SDK for JavaScript', () => {
  let s3: S3Server;
  let client: S3Client;
  const Bucket = 'sdk-bucket';

  before(async () => {
    s3 = await startS3Server();
    client = new S3Client({ endpoint: s3.url, region: 'us-east-1', credentials: { accessKeyId: 'a', secretAccessKey: 'b' }, maxAttempts: 1 });
    await client.send(new CreateBucketCommand({ Bucket }));
  });
  after(async () => {
    client.destroy();
    await s3.stop();
  });

  it('makes, finds and lists buckets', async () => {
    await client.send(new CreateBucketCommand({ Bucket: 'another-bucket', CreateBucketConfiguration: { LocationConstraint: 'eu-west-1' } }));
    const { Buckets, Owner } = await client.send(new ListBucketsCommand({}));
    assert.deepEqual(Buckets?.map(({ Name }) => Name), ['another-bucket', Bucket]);
    assert.ok(Buckets?.every(({ CreationDate }) => CreationDate instanceof Date) && Owner?.ID !== undefined);
    const page = await client.send(new ListBucketsCommand({ MaxBuckets: 1 }));
    assert.deepEqual((await client.send(new ListBucketsCommand({ MaxBuckets: 1, ContinuationToken: page.ContinuationToken }))).Buckets?.map(({ Name }) => Name), [Bucket]);
    assert.equal((await client.send(new HeadBucketCommand({ Bucket }))).BucketRegion, 'us-east-1');
    assert.equal((await client.send(new GetBucketLocationCommand({ Bucket }))).LocationConstraint, undefined);
    await assert.rejects(client.send(new HeadBucketCommand({ Bucket: 'no-such-bucket' })), NotFound);
  });

  it('stores and gives back an object with all that describes it', async () => {
    const Key = 'ordner/ä b+c&d=e?f#g%.jpg';
    const Body = randomBytes(300_000);
    const ETag = `"${createHash('md5').update(Body).digest('hex')}"`;
    const put = await client.send(new PutObjectCommand({ Bucket, Key, Body, ContentType: 'image/jpeg', CacheControl: 'max-age=5', ContentDisposition: 'attachment', Metadata: { camera: 'box' } }));
    assert.equal(put.ETag, ETag);
    const got = await client.send(new GetObjectCommand({ Bucket, Key }));
    assert.deepEqual(Buffer.from((await got.Body?.transformToByteArray()) ?? []), Body);
    const head = await client.send(new HeadObjectCommand({ Bucket, Key }));
    for (const described of [got, head]) {
      const { ContentType, ContentLength, CacheControl, ContentDisposition, ContentEncoding, Metadata } = described;
      assert.deepEqual({ ETag: described.ETag, ContentType, ContentLength, CacheControl, ContentDisposition, ContentEncoding, Metadata }, { ETag, ContentType: 'image/jpeg', ContentLength: 300_000, CacheControl: 'max-age=5', ContentDisposition: 'attachment', ContentEncoding: undefined, Metadata: { camera: 'box' } });
      assert.ok(described.LastModified !== undefined && Math.abs(Date.now() - described.LastModified.getTime()) < 60_000);
    }
  });

  it('verifies each checksum that the SDK can send, in headers and in trailers', async () => {
    for (const algorithm of ['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256'] satisfies ChecksumAlgorithm[]) {
      for (const [kind, Body, length] of [
        ['buffer', Buffer.from('0123456789'), undefined],
        ['stream', Readable.from([Buffer.from('01234'), Buffer.from('56789')], { objectMode: false }), 10],
      ] as const) {
        const put = await client.send(new PutObjectCommand({ Bucket, Key: `sum/${algorithm}-${kind}`, Body, ChecksumAlgorithm: algorithm, ...(length === undefined ? {} : { ContentLength: length }) }));
        assert.equal(typeof put[`Checksum${algorithm}`], 'string', `${algorithm} ${kind}`);
        const got = await client.send(new GetObjectCommand({ Bucket, Key: `sum/${algorithm}-${kind}` }));
        assert.equal(await got.Body?.transformToString(), '0123456789');
      }
    }
    const wrong = new PutObjectCommand({ Bucket, Key: 'sum/wrong', Body: 'x', ChecksumCRC32: 'AAAAAA==' });
    await assert.rejects(client.send(wrong), isError('BadDigest', 400));
    await assert.rejects(client.send(new HeadObjectCommand({ Bucket, Key: 'sum/wrong' })), NotFound);
  });

  it('reads ranges and under conditions', async () => {
    const { ETag } = await client.send(new PutObjectCommand({ Bucket, Key: 'digits', Body: '0123456789' }));
    const part = await client.send(new GetObjectCommand({ Bucket, Key: 'digits', Range: 'bytes=2-4' }));
    assert.deepEqual([await part.Body?.transformToString(), part.ContentRange, part.ContentLength, part.$metadata.httpStatusCode], ['234', 'bytes 2-4/10', 3, 206]);
    await assert.rejects(client.send(new GetObjectCommand({ Bucket, Key: 'digits', Range: 'bytes=10-' })), isError('InvalidRange', 416));
    await assert.rejects(client.send(new GetObjectCommand({ Bucket, Key: 'digits', IfMatch: '"x"' })), isError('PreconditionFailed', 412));
    await assert.rejects(client.send(new GetObjectCommand({ Bucket, Key: 'digits', IfNoneMatch: ETag })), (error: S3ServiceException) => error.$metadata.httpStatusCode === 304);
  });

  it('lets one of several conditional writers win', async () => {
    const results = await Promise.allSettled(Array.from({ length: 8 }, (_, n) => client.send(new PutObjectCommand({ Bucket, Key: 'lock', Body: String(n), IfNoneMatch: '*' }))));
    const losers = results.filter((result) => result.status === 'rejected');
    assert.equal(losers.length, 7);
    for (const loser of losers) assert.ok(isError('PreconditionFailed', 412)(loser.reason));
  });

  it('copies', async () => {
    await client.send(new PutObjectCommand({ Bucket, Key: 'from ä+', Body: 'bytes', ContentType: 'text/x', Metadata: { a: '1' } }));
    const copy = await client.send(new CopyObjectCommand({ Bucket, Key: 'to', CopySource: `${Bucket}/${encodeURIComponent('from ä+')}` }));
    assert.equal(copy.CopyObjectResult?.ETag, `"${createHash('md5').update('bytes').digest('hex')}"`);
    assert.deepEqual((await client.send(new HeadObjectCommand({ Bucket, Key: 'to' }))).Metadata, { a: '1' });
    await client.send(new CopyObjectCommand({ Bucket, Key: 'to', CopySource: `/${Bucket}/to`, MetadataDirective: 'REPLACE', ContentType: 'text/y', Metadata: { b: '2' } }));
    const replaced = await client.send(new GetObjectCommand({ Bucket, Key: 'to' }));
    assert.deepEqual([replaced.ContentType, replaced.Metadata, await replaced.Body?.transformToString()], ['text/y', { b: '2' }, 'bytes']);
  });

  it('lists with prefix and delimiter, in pages of any size, as one large page', async () => {
    const keys = ['a.txt', 'b/1', 'b/2', 'b/c/3', 'b-4', 'd/', 'd/e', 'ü ö/1', 'z', 'z z', ...Array.from({ length: 60 }, (_, n) => `many/${n}`)];
    const bucket = { Bucket: 'list-bucket' };
    await client.send(new CreateBucketCommand(bucket));
    for (const Key of keys) await s3.store.put({ bucket: bucket.Bucket, key: Key }, Buffer.from(Key));
    const lines = async (input: { Prefix?: string; Delimiter?: string; StartAfter?: string; MaxKeys?: number; EncodingType?: 'url' }): Promise<readonly string[]> => {
      const found: string[] = [];
      for await (const page of paginateListObjectsV2({ client }, { ...bucket, ...input })) {
        const here = [...(page.Contents ?? []).map(({ Key }) => Key ?? ''), ...(page.CommonPrefixes ?? []).map(({ Prefix }) => Prefix ?? '')];
        assert.equal(page.KeyCount, here.length);
        assert.ok(here.length <= (input.MaxKeys ?? 1_000));
        found.push(...here.sort());
      }
      return found;
    };
    const expected = {
      all: [...keys].sort(),
      top: ['a.txt', 'b-4', 'b/', 'd/', 'many/', 'z', 'z z', 'ü ö/'],
      inB: ['b/1', 'b/2', 'b/c/'],
    };
    for (const MaxKeys of [1, 2, 3, 7, 1_000]) {
      if (MaxKeys > 2) assert.deepEqual(await lines({ MaxKeys }), expected.all);
      assert.deepEqual(await lines({ MaxKeys, Delimiter: '/' }), expected.top);
      assert.deepEqual(await lines({ MaxKeys, Delimiter: '/', Prefix: 'b/' }), expected.inB);
      assert.deepEqual(await lines({ MaxKeys, StartAfter: 'many/58' }), expected.all.filter((key) => key > 'many/58'));
    }
    const encoded = await client.send(new ListObjectsV2Command({ ...bucket, Prefix: 'ü', EncodingType: 'url' }));
    assert.equal(encoded.Contents?.[0]?.Key, '%C3%BC+%C3%B6/1');
    const v1: string[] = [];
    for (let marker: string | undefined = ''; marker !== undefined; ) {
      const page: ListObjectsCommandOutput = await client.send(new ListObjectsCommand({ ...bucket, Delimiter: '/', MaxKeys: 2, Marker: marker }));
      v1.push(...[...(page.Contents ?? []).map(({ Key }) => Key ?? ''), ...(page.CommonPrefixes ?? []).map(({ Prefix }) => Prefix ?? '')].sort());
      marker = page.NextMarker;
    }
    assert.deepEqual(v1, expected.top);
    assert.deepEqual((await client.send(new ListObjectsV2Command({ ...bucket, MaxKeys: 0 }))).IsTruncated, false);
  });

  it('deletes one and many', async () => {
    for (const Key of ['x/1', 'x/2', 'x/3 <&>']) await client.send(new PutObjectCommand({ Bucket, Key, Body: '' }));
    await client.send(new DeleteObjectCommand({ Bucket, Key: 'x/1' }));
    await client.send(new DeleteObjectCommand({ Bucket, Key: 'x/1' }));
    const { Deleted, Errors } = await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key: 'x/2' }, { Key: 'x/3 <&>' }] } }));
    assert.deepEqual([Deleted?.map(({ Key }) => Key), Errors], [['x/2', 'x/3 <&>'], undefined]);
    assert.equal((await client.send(new ListObjectsV2Command({ Bucket, Prefix: 'x/' }))).KeyCount, 0);
  });

  it("raises S3's own errors", async () => {
    await assert.rejects(client.send(new GetObjectCommand({ Bucket, Key: 'absent' })), NoSuchKey);
    await assert.rejects(client.send(new GetObjectCommand({ Bucket: 'no-such-bucket', Key: 'k' })), NoSuchBucket);
    await assert.rejects(client.send(new PutObjectCommand({ Bucket: 'no-such-bucket', Key: 'k', Body: 'x' })), NoSuchBucket);
    await assert.rejects(client.send(new ListObjectsV2Command({ Bucket: 'no-such-bucket' })), NoSuchBucket);
    await assert.rejects(client.send(new CreateBucketCommand({ Bucket: 'Upper' })), isError('InvalidBucketName', 400));
    for (const internal of ['sluice-code', 'sluice-registry', 'sluice-payloads', 'sluice-logs']) {
      await assert.rejects(client.send(new CreateBucketCommand({ Bucket: internal })), isError('BucketAlreadyExists', 409));
      await assert.rejects(client.send(new ListObjectsV2Command({ Bucket: internal })), NoSuchBucket);
      await assert.rejects(client.send(new PutObjectCommand({ Bucket: internal, Key: 'k', Body: 'x' })), NoSuchBucket);
      await assert.rejects(client.send(new GetObjectCommand({ Bucket: internal, Key: 'k' })), NoSuchBucket);
      await assert.rejects(client.send(new CopyObjectCommand({ Bucket, Key: 'stolen', CopySource: `${internal}/k` })), isError('NoSuchBucket', 404));
    }
    await assert.rejects(client.send(new PutBucketPolicyCommand({ Bucket, Policy: '{}' })), isError('NotImplemented', 501));
    await assert.rejects(client.send(new PutObjectCommand({ Bucket, Key: 'k'.repeat(1_025), Body: 'x' })), isError('KeyTooLongError', 400));
  });
});

function isError(name: string, status: number): (error: unknown) => boolean {
  return (error) => error instanceof S3ServiceException && error.name === name && error.$metadata.httpStatusCode === status;
}
