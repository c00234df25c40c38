import { randomBytes } from 'node:crypto';

const HEX = randomBytes(8).toString('hex');
let counter = 0;

/**
 * A new `X-Amzn-Trace-Id` in the form that X-Ray documents: `Root=1-{8 hex digits of epoch seconds}-{24 hex digits}`. Unsampled.
 * The 24 digits are 64 random bits of this process and a counter: unique without asking the kernel for every invocation.
 */
export function newTraceId(nowMs: number): string {
  counter = (counter + 1) >>> 0;
  return `Root=1-${Math.floor(nowMs / 1000).toString(16).padStart(8, '0')}-${HEX}${counter.toString(16).padStart(8, '0')};Sampled=0`;
}
