import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';

/** Base64 of the digest of the bytes given so far. */
export interface Checksum {
  update(bytes: Buffer): void;
  digest(): string;
}

/** S3 user guide, "Checking object integrity": the algorithms by the end of their header, `x-amz-checksum-…`. */
export const CHECKSUM_ALGORITHMS = ['crc32', 'crc32c', 'crc64nvme', 'sha1', 'sha256'] as const;
export type ChecksumAlgorithm = (typeof CHECKSUM_ALGORITHMS)[number];

export function createChecksum(algorithm: ChecksumAlgorithm): Checksum {
  switch (algorithm) {
    case 'crc32':
      return nativeCrc32();
    case 'crc32c':
      return tableCrc32c();
    case 'crc64nvme':
      return tableCrc64();
    default:
      return digestOf(algorithm);
  }
}

export function digestOf(algorithm: 'md5' | 'sha1' | 'sha256'): Checksum {
  const hash = createHash(algorithm);
  return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest('base64') };
}

function nativeCrc32(): Checksum {
  let crc = 0;
  return {
    update: (bytes) => void (crc = crc32(bytes, crc)),
    digest: () => bigEndian(crc),
  };
}

/** CRC-32C (RFC 3720, appendix B.4), bits reflected. */
const CRC32C_POLYNOMIAL = 0x82f63b78;
let crc32cTable: Uint32Array | undefined;

function tableCrc32c(): Checksum {
  const table = (crc32cTable ??= Uint32Array.from({ length: 256 }, (_, byte) => {
    let value = byte;
    for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ CRC32C_POLYNOMIAL : value >>> 1;
    return value;
  }));
  let crc = 0xffffffff;
  return {
    update(bytes) {
      let value = crc;
      for (let index = 0; index < bytes.length; index += 1) value = (value >>> 8) ^ (table[(value ^ (bytes[index] ?? 0)) & 0xff] ?? 0);
      crc = value;
    },
    digest: () => bigEndian(~crc),
  };
}

/** CRC-64/NVME (NVM Command Set Specification, "64b CRC"), bits reflected, in two halves since JavaScript's integers have 32 bits. */
const CRC64_POLYNOMIAL = 0x9a6c9329ac4bc9b5n;
let crc64Table: { readonly high: Uint32Array; readonly low: Uint32Array } | undefined;

function tableCrc64(): Checksum {
  const { high, low } = (crc64Table ??= makeCrc64Table());
  let crcHigh = 0xffffffff;
  let crcLow = 0xffffffff;
  return {
    update(bytes) {
      let upper = crcHigh;
      let lower = crcLow;
      for (let index = 0; index < bytes.length; index += 1) {
        const at = (lower ^ (bytes[index] ?? 0)) & 0xff;
        lower = ((lower >>> 8) | (upper << 24)) ^ (low[at] ?? 0);
        upper = (upper >>> 8) ^ (high[at] ?? 0);
      }
      crcHigh = upper;
      crcLow = lower;
    },
    digest: () => bigEndian(~crcHigh, ~crcLow),
  };
}

function makeCrc64Table(): { readonly high: Uint32Array; readonly low: Uint32Array } {
  const values = Array.from({ length: 256 }, (_, byte) => {
    let value = BigInt(byte);
    for (let bit = 0; bit < 8; bit += 1) value = value & 1n ? (value >> 1n) ^ CRC64_POLYNOMIAL : value >> 1n;
    return value;
  });
  return { high: Uint32Array.from(values, (value) => Number(value >> 32n)), low: Uint32Array.from(values, (value) => Number(value & 0xffffffffn)) };
}

function bigEndian(...words: readonly number[]): string {
  const bytes = Buffer.alloc(words.length * 4);
  words.forEach((word, index) => bytes.writeUInt32BE(word >>> 0, index * 4));
  return bytes.toString('base64');
}
