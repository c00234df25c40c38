/**
 * A message between processes: a head in JSON and bytes that belong to it, so that a payload travels as it is. Four bytes with the length of the head,
 * the head, the rest.
 */
export interface Frame {
  readonly head: unknown;
  readonly body: Buffer;
}

const LENGTH_BYTES = 4;
const NO_BYTES = Buffer.alloc(0);

export function encodeFrame(head: object, body: Buffer = NO_BYTES): Buffer {
  const json = JSON.stringify(head);
  const headBytes = Buffer.byteLength(json);
  const frame = Buffer.allocUnsafe(LENGTH_BYTES + headBytes + body.length);
  frame.writeUInt32BE(headBytes, 0);
  frame.write(json, LENGTH_BYTES);
  body.copy(frame, LENGTH_BYTES + headBytes);
  return frame;
}

/** Undefined for what is no frame, or not a whole one. The body is a view of `bytes`. */
export function decodeFrame(bytes: Buffer): Frame | undefined {
  if (bytes.length < LENGTH_BYTES) return undefined;
  const end = LENGTH_BYTES + bytes.readUInt32BE(0);
  if (bytes.length < end) return undefined;
  try {
    return { head: JSON.parse(bytes.toString('utf8', LENGTH_BYTES, end)), body: bytes.subarray(end) };
  } catch {
    return undefined;
  }
}
