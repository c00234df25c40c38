/** Start-of-frame markers (ITU-T T.81, table B.1) that say how the picture is coded; C4, C8 and CC are other things. */
const FRAMES = new Map([
  [0xc0, 'baseline'],
  [0xc1, 'extended sequential'],
  [0xc2, 'progressive'],
  [0xc3, 'lossless'],
]);
const COLOUR_SPACES = new Map([
  [1, 'greyscale'],
  [3, 'YCbCr'],
  [4, 'CMYK'],
]);
const FIRST_SEGMENT = 2;

/** Width, height and coding of a JPEG, from its frame header. */
export function readFrame(bytes) {
  if (bytes.readUInt16BE(0) !== 0xffd8) throw new Error('not a JPEG: it does not begin with FF D8');
  for (let at = FIRST_SEGMENT; at + 9 < bytes.length; at += 2 + bytes.readUInt16BE(at + 2)) {
    if (bytes[at] !== 0xff) throw new Error(`damaged JPEG: no marker at byte ${at}`);
    const coding = FRAMES.get(bytes[at + 1]);
    if (coding === undefined) continue;
    return {
      width: bytes.readUInt16BE(at + 7),
      height: bytes.readUInt16BE(at + 5),
      bitsPerSample: bytes[at + 4],
      colourSpace: COLOUR_SPACES.get(bytes[at + 9]) ?? `${bytes[at + 9]} components`,
      coding,
    };
  }
  throw new Error('damaged JPEG: it has no frame');
}
