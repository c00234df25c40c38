import type { DelayTier } from './topic-names.ts';

/** How long a record stays in a delay topic at most, while others wait behind it. */
export const TIER_MS: Readonly<Record<DelayTier, number>> = { '1s': 1_000, '10s': 10_000, '1m': 60_000, '5m': 300_000 };

/** Largest first. */
const TIERS: readonly DelayTier[] = ['5m', '1m', '10s', '1s'];

export interface DelayPlan {
  readonly tier: DelayTier;
  /** By then it leaves the tier, even if it is not due yet. A tier's records leave in the order in which they came, so a topic, which has only one order, can hold them. */
  readonly leaveMs: number;
}

/** Where a record that is not to be delivered before `notBeforeMs` waits from now on: the largest tier that fits. Undefined: nowhere, it is due. */
export function delayPlan(notBeforeMs: number, nowMs: number): DelayPlan | undefined {
  const remainingMs = notBeforeMs - nowMs;
  if (remainingMs <= 0) return undefined;
  const tier = TIERS.find((candidate) => TIER_MS[candidate] <= remainingMs) ?? '1s';
  return { tier, leaveMs: Math.min(notBeforeMs, nowMs + TIER_MS[tier]) };
}
