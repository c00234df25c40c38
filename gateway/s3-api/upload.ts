import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { decodeAwsChunked } from './aws-chunked.ts';
import { CHECKSUM_ALGORITHMS, createChecksum, digestOf, type Checksum, type ChecksumAlgorithm } from './checksums.ts';
import { S3Error } from './errors.ts';
import { notImplemented } from './object-headers.ts';
import { header } from './request.ts';

/** S3 user guide, "Uploading objects": the most that one put takes. */
export const MAX_PUT_BYTES = 5 * 1024 ** 3;

/** A client that sends nothing for so long is gone. */
const UPLOAD_IDLE_MS = 60_000;

export interface Upload {
  /** The object's bytes. Fails with {@link S3Error} when they are not what the headers and trailers promise. */
  readonly body: Readable;
  /** Checksums that were given and found right, by header, once the body was read to its end. */
  readonly verified: ReadonlyMap<string, string>;
}

/** One promise about the body, and how it is kept. */
interface Expectation {
  readonly checksum: Checksum;
  /** Base64. Undefined: in a trailer. */
  readonly expected: string | undefined;
  /** Header or trailer that it came by. */
  readonly name: string;
  readonly failure: () => S3Error;
}

/** Opens the body of a put. Throws {@link S3Error} for headers that cannot be met, before anything is read. */
export function openUpload(incoming: IncomingMessage): Upload {
  const contentSha256 = header(incoming, 'x-amz-content-sha256');
  const isFramed = contentSha256?.startsWith('STREAMING-') === true || (header(incoming, 'content-encoding') ?? '').split(',').some((part) => part.trim() === 'aws-chunked');
  const sizeBytes = declaredSize(incoming, isFramed);
  const expectations = expectationsOf(incoming, isFramed, contentSha256);
  const verified = new Map<string, string>();
  incoming.setTimeout(UPLOAD_IDLE_MS, () => incoming.destroy());
  return { body: Readable.from(verify(incoming, isFramed, sizeBytes, expectations, verified), { objectMode: false }), verified };
}

async function* verify(incoming: IncomingMessage, isFramed: boolean, sizeBytes: number, expectations: readonly Expectation[], verified: Map<string, string>): AsyncGenerator<Buffer> {
  // The connection must outlive a body that is refused half-way: the answer goes over it.
  const source = incoming.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>;
  const trailers = new Map<string, string>();
  let received = 0;
  for await (const chunk of isFramed ? decodeAwsChunked(source, trailers) : source) {
    received += chunk.length;
    if (received > sizeBytes) break;
    for (const { checksum } of expectations) checksum.update(chunk);
    yield chunk;
  }
  if (received !== sizeBytes) throw new S3Error('IncompleteBody');
  for (const { checksum, expected, name, failure } of expectations) {
    const promised = expected ?? trailers.get(name);
    if (promised === undefined) throw new S3Error('MalformedTrailerError');
    const found = checksum.digest();
    if (found !== promised) throw failure();
    verified.set(name, found);
  }
}

/** Size of the object that the headers announce. */
function declaredSize(incoming: IncomingMessage, isFramed: boolean): number {
  const name = isFramed ? 'x-amz-decoded-content-length' : 'content-length';
  const value = header(incoming, name);
  if (value === undefined) {
    if (incoming.headers['transfer-encoding'] !== undefined) throw notImplemented('Transfer-Encoding');
    throw new S3Error('MissingContentLength');
  }
  if (!/^\d{1,15}$/.test(value)) throw new S3Error('InvalidArgument', { message: `${name} must be a number of bytes`, details: { ArgumentName: name, ArgumentValue: value } });
  const sizeBytes = Number(value);
  if (sizeBytes > MAX_PUT_BYTES) throw new S3Error('EntityTooLarge', { details: { ProposedSize: sizeBytes, MaxSizeAllowed: MAX_PUT_BYTES } });
  return sizeBytes;
}

function expectationsOf(incoming: IncomingMessage, isFramed: boolean, contentSha256: string | undefined): readonly Expectation[] {
  const expectations: Expectation[] = [];
  const md5 = header(incoming, 'content-md5');
  if (md5 !== undefined) {
    if (Buffer.from(md5, 'base64').toString('base64') !== md5 || md5.length !== 24) throw new S3Error('InvalidDigest', { details: { 'Content-MD5': md5 } });
    expectations.push({ checksum: digestOf('md5'), expected: md5, name: 'content-md5', failure: () => new S3Error('BadDigest', { details: { ExpectedDigest: md5 } }) });
  }
  if (contentSha256 !== undefined && /^[0-9a-f]{64}$/.test(contentSha256)) {
    const expected = Buffer.from(contentSha256, 'hex').toString('base64');
    expectations.push({ checksum: digestOf('sha256'), expected, name: 'x-amz-content-sha256', failure: () => new S3Error('XAmzContentSHA256Mismatch', { details: { ClientComputedContentSHA256: contentSha256 } }) });
  }
  const trailer = isFramed ? (header(incoming, 'x-amz-trailer') ?? '').toLowerCase() : '';
  for (const algorithm of CHECKSUM_ALGORITHMS) {
    const name = `x-amz-checksum-${algorithm}`;
    const expected = header(incoming, name);
    const inTrailer = trailer.split(',').some((part) => part.trim() === name);
    if (expected === undefined && !inTrailer) continue;
    expectations.push({ checksum: createChecksum(algorithm), expected, name, failure: () => wrongChecksum(algorithm) });
  }
  return expectations;
}

function wrongChecksum(algorithm: ChecksumAlgorithm): S3Error {
  return new S3Error('BadDigest', { message: `The ${algorithm.toUpperCase()} you specified did not match the calculated checksum.` });
}
