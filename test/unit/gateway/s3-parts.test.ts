import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { decodeAwsChunked } from '../../../gateway/s3-api/aws-chunked.ts';
import { createChecksum, type ChecksumAlgorithm } from '../../../gateway/s3-api/checksums.ts';
import { conditionOutcome } from '../../../gateway/s3-api/conditions.ts';
import { parseRange } from '../../../gateway/s3-api/objects.ts';
import { OPERATIONS, operationName } from '../../../gateway/s3-api/operations.ts';
import { readXml } from '../../../gateway/s3-api/xml-reader.ts';
import { group, leaf } from '../../../gateway/s3-api/xml-writer.ts';

describe('checksums', () => {
  /** The check values of each CRC in the catalogue of parametrised CRC algorithms: that of the text 123456789. */
  const CHECKS: Readonly<Record<ChecksumAlgorithm, string>> = {
    crc32: 'cbf43926',
    crc32c: 'e3069283',
    crc64nvme: 'ae8b14860a799888',
    sha1: 'f7c3bc1d808e04732adf679965ccc34ca7ae3441',
    sha256: '15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225',
  };

  it('have their published check values, in whatever pieces the bytes come', () => {
    for (const [algorithm, hex] of Object.entries(CHECKS) as [ChecksumAlgorithm, string][]) {
      for (const pieces of [['123456789'], ['1234', '56789'], ['', ...'123456789']]) {
        const checksum = createChecksum(algorithm);
        for (const piece of pieces) checksum.update(Buffer.from(piece));
        assert.equal(Buffer.from(checksum.digest(), 'base64').toString('hex'), hex, algorithm);
      }
    }
  });
});

describe('aws-chunked', () => {
  const decode = async (encoded: Buffer, cuts: readonly number[]): Promise<{ text: string; trailers: Map<string, string> }> => {
    const bounds = [0, ...cuts.map((cut) => cut % (encoded.length + 1)).sort((left, right) => left - right), encoded.length];
    async function* pieces(): AsyncGenerator<Buffer> {
      for (let index = 1; index < bounds.length; index += 1) yield await Promise.resolve(encoded.subarray(bounds[index - 1], bounds[index]));
    }
    const trailers = new Map<string, string>();
    const chunks: Buffer[] = [];
    for await (const chunk of decodeAwsChunked(pieces(), trailers)) chunks.push(chunk);
    return { text: Buffer.concat(chunks).toString(), trailers };
  };

  it('gives the bytes and the trailers back, however the frames are cut in transit', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.string({ minLength: 1, maxLength: 40 }), { maxLength: 5 }), fc.boolean(), fc.array(fc.nat({ max: 400 }), { maxLength: 8 }), async (texts, isSigned, cuts) => {
        const frames = texts.map((text) => `${Buffer.byteLength(text).toString(16)}${isSigned ? `;chunk-signature=${'a'.repeat(64)}` : ''}\r\n${text}\r\n`);
        const { text, trailers } = await decode(Buffer.from(`${frames.join('')}0\r\nX-Amz-Checksum-CRC32: abcd==\r\nx-amz-trailer-signature:${'b'.repeat(64)}\r\n\r\n`), cuts);
        assert.equal(text, texts.join(''));
        assert.deepEqual([...trailers], [['x-amz-checksum-crc32', 'abcd=='], ['x-amz-trailer-signature', 'b'.repeat(64)]]);
      }),
    );
  });

  it('refuses what is cut short or framed wrongly', async () => {
    for (const encoded of ['', '5', '5\r\nhell', '5\r\nhello', '5\r\nhelloX\r\n0\r\n\r\n', 'zz\r\n', '-1\r\n', `${'0'.repeat(2_000)}\r\n`, '5;\r\nhello\r\n', 'x'.repeat(3_000)]) {
      await assert.rejects(decode(Buffer.from(encoded), []), { name: 'S3Error', code: 'IncompleteBody' }, encoded.slice(0, 20));
    }
    for (const encoded of ['0\r\nno colon\r\n\r\n', '0\r\n\r\nand more', `0\r\n${'a:b\r\nc:d\r\n'.repeat(1)}${Array.from({ length: 20 }, (_, n) => `t${n}:v\r\n`).join('')}\r\n`]) {
      await assert.rejects(decode(Buffer.from(encoded), []), { name: 'S3Error', code: 'MalformedTrailerError' }, encoded.slice(0, 20));
    }
  });
});

describe('XML', () => {
  it('reads back what is written, for any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
        assert.deepEqual(readXml(`<?xml version="1.0"?>\n${group('a', [leaf('b', text)])}`), { name: 'a', text: '', children: [{ name: 'b', text, children: [] }] });
      }),
    );
  });

  it('knows namespaces, comments, CDATA and references', () => {
    const root = readXml('\ufeff<?xml version="1.0"?><!-- hi --><s:Delete xmlns:s="urn:x" a=\'b\'><Key>a&amp;<![CDATA[<&>]]>&#x41;&#66;</Key><Empty/></s:Delete>\n');
    assert.deepEqual(root, { name: 'Delete', text: '', children: [{ name: 'Key', text: 'a&<&>AB', children: [] }, { name: 'Empty', text: '', children: [] }] });
  });

  it('refuses everything else', () => {
    const bad = ['', 'text', '<a>', '</a>', '<a></b>', '<a/><b/>', '<a>&nope;</a>', '<a>&#x110000;</a>', '<a>& b</a>', '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', '<a b></a>', '<a b="<"/>', '<', '<a/>x', '<x>'.repeat(20), `<r>${'<a/>'.repeat(10_001)}</r>`];
    for (const text of bad) assert.throws(() => readXml(text), { name: 'XmlSyntaxError' }, text.slice(0, 40));
  });
});

describe('S3 operations', () => {
  it('are told apart by method, level, parameters and header', () => {
    for (const row of OPERATIONS) {
      const query = new URLSearchParams(row.query.map((name): [string, string] => [name, '1']));
      assert.equal(operationName(row.method, row.level, query, row.header === undefined ? {} : { [row.header]: 'x' }), row.name);
    }
    assert.equal(operationName('GET', 'object', new URLSearchParams('x-id=GetObject&X-Amz-Signature=1'), {}), 'GetObject');
    assert.equal(operationName('PATCH', 'object', new URLSearchParams(), {}), undefined);
  });
});

describe('Range', () => {
  it('is read where it is one range of bytes, and ignored otherwise', () => {
    assert.deepEqual(['bytes=0-4', 'bytes=5-', 'bytes=-3', 'bytes= 1 - 2 '].map(parseRange), [{ start: 0, end: 4 }, { start: 5 }, { end: 3 }, { start: 1, end: 2 }]);
    assert.deepEqual(['bytes=-', 'bytes=4-2', 'bytes=0-1,3-4', 'lines=1-2', 'bytes=a-b', '', undefined].map(parseRange), Array(7).fill(undefined));
  });
});

describe('conditions of a read', () => {
  it('decide as S3 documents, the ETag before the time', () => {
    const object = { bucket: 'b', key: 'k', sizeBytes: 1, etag: 'e1', lastModifiedMs: Date.UTC(2026, 0, 2, 3, 4, 5, 678), contentType: '', metadata: {} };
    const same = 'Fri, 02 Jan 2026 03:04:05 GMT';
    const before = 'Fri, 02 Jan 2026 03:04:04 GMT';
    const cases: readonly [Record<string, string>, string][] = [
      [{}, 'met'],
      [{ 'if-match': '"e1"' }, 'met'],
      [{ 'if-match': 'e1' }, 'met'],
      [{ 'if-match': '*' }, 'met'],
      [{ 'if-match': '"x", "e1"' }, 'met'],
      [{ 'if-match': '"x"' }, 'failed'],
      [{ 'if-unmodified-since': before }, 'failed'],
      [{ 'if-unmodified-since': same }, 'met'],
      [{ 'if-match': '"e1"', 'if-unmodified-since': before }, 'met'],
      [{ 'if-none-match': '"e1"' }, 'notModified'],
      [{ 'if-none-match': 'W/"e1"' }, 'notModified'],
      [{ 'if-none-match': '"x"' }, 'met'],
      [{ 'if-modified-since': same }, 'notModified'],
      [{ 'if-modified-since': before }, 'met'],
      [{ 'if-none-match': '"x"', 'if-modified-since': same }, 'met'],
      [{ 'if-modified-since': 'no date' }, 'met'],
    ];
    for (const [headers, kind] of cases) assert.equal(conditionOutcome(headers, '', object).kind, kind, JSON.stringify(headers));
    assert.equal(conditionOutcome({ 'x-amz-copy-source-if-match': '"x"' }, 'x-amz-copy-source-', object).kind, 'failed');
  });
});
