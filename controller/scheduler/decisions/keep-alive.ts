export interface KeepAliveSnapshot {
  /** Smoothed time for which this version had nothing to do before it was called again; undefined while that never happened. */
  readonly idleGapMs: number | undefined;
  /** Smoothed distance of the single gaps from {@link idleGapMs}. */
  readonly idleGapDeviationMs: number;
  readonly minMs: number;
  readonly maxMs: number;
}

/** As in the retransmission timer of TCP (RFC 6298): mean plus four deviations covers all but rare gaps. */
const DEVIATIONS = 4;

/**
 * How long an idle environment is kept: long enough for the next call to find it, as far as the calls so far tell. A function whose calls
 * come further apart than `maxMs` would not be helped by waiting, so its environments go after `minMs`.
 */
export function keepAliveMs(snapshot: KeepAliveSnapshot): number {
  const { idleGapMs, minMs, maxMs } = snapshot;
  if (idleGapMs === undefined || idleGapMs > maxMs) return minMs;
  return Math.min(maxMs, Math.max(minMs, idleGapMs + DEVIATIONS * snapshot.idleGapDeviationMs));
}
