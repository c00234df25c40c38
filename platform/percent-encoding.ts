/** What percent-encoded text stands for; undefined where it stands for nothing: a lone `%`, or bytes that are no UTF-8. Never throws. */
export function percentDecoded(text: string): string | undefined {
  // Most texts have none, and this runs for every request.
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
