/**
 * A heuristic, not a classifier: it knows colours and brightness, not what a picture shows. It serves to keep what is certainly of no
 * use out of a catalog, and to send to a person what has much skin in it. Sand, wood and faces look alike to it.
 */

/** Above this share of skin-coloured pixels a person should look. */
const SKIN_SHARE_REVIEW = 0.35;
/** Mean brightness, of 0 to 1, outside of which a picture is hard to see anything on. */
const DARK = 0.06;
const BRIGHT = 0.94;
/** Bits of the histogram of brightness; a photograph has 6 to 7.8, a picture of one colour 0. */
const ENTROPY_BLANK = 2;

/** `rgb`: three bytes a pixel. */
export function measure(rgb) {
  const histogram = new Array(256).fill(0);
  const pixels = rgb.length / 3;
  let skin = 0;
  let brightness = 0;
  for (let at = 0; at < rgb.length; at += 3) {
    const [r, g, b] = [rgb[at], rgb[at + 1], rgb[at + 2]];
    const luma = 0.2126 * r + 0.7152 * g + 0.0722 * b; // Rec. 709
    histogram[Math.round(luma)] += 1;
    brightness += luma / 255;
    if (isSkin(r, g, b)) skin += 1;
  }
  const entropy = histogram.filter((count) => count > 0).reduce((bits, count) => bits - (count / pixels) * Math.log2(count / pixels), 0);
  return { pixels, skinShare: round(skin / pixels), brightness: round(brightness / pixels), entropyBits: round(entropy) };
}

export function judge({ skinShare, brightness, entropyBits }) {
  if (entropyBits < ENTROPY_BLANK) return { verdict: 'rejected', reason: `almost one colour (${entropyBits} bits of brightness)` };
  if (brightness < DARK || brightness > BRIGHT) return { verdict: 'review', reason: `too ${brightness < DARK ? 'dark' : 'bright'} to see anything (${brightness})` };
  if (skinShare > SKIN_SHARE_REVIEW) return { verdict: 'review', reason: `${Math.round(skinShare * 100)} % of the pixels have a colour of skin` };
  return { verdict: 'approved', reason: 'nothing conspicuous in colours, brightness or contrast' };
}

/** The rule for daylight of Kovač, Peer and Solina, "Human skin color clustering for face detection" (EUROCON 2003). */
function isSkin(r, g, b) {
  return r > 95 && g > 40 && b > 20 && Math.max(r, g, b) - Math.min(r, g, b) > 15 && Math.abs(r - g) > 15 && r > g && r > b;
}

function round(value) {
  return Math.round(value * 1000) / 1000;
}
