/**
 * Compares two well-formed strings as S3 orders keys: by their UTF-8 bytes, which is the order of code points. JavaScript's own
 * order differs where surrogate pairs (U+10000 and above) meet U+E000 to U+FFFF.
 */
export function compareUtf8(left: string, right: string): number {
  const shared = Math.min(left.length, right.length);
  for (let index = 0; index < shared; index += 1) {
    const a = left.charCodeAt(index);
    const b = right.charCodeAt(index);
    if (a === b) continue;
    const aIsSurrogate = a >= 0xd800 && a <= 0xdfff;
    const bIsSurrogate = b >= 0xd800 && b <= 0xdfff;
    if (aIsSurrogate === bIsSurrogate) return a - b;
    return aIsSurrogate ? 1 : -1;
  }
  return left.length - right.length;
}
