import type { Metrics } from '../platform/telemetry/metrics.ts';
import { INVOCATION_OUTCOMES, INVOCATION_TYPES } from '../platform/telemetry/metrics/catalogue.ts';
import type { InvocationLimiter, RateReason } from './admission/invocation-limiter.ts';
import { InvocationMeter } from './invoke/invocation-meter.ts';
import type { PendingReplies } from './invoke/pending-replies.ts';

export interface GatewayMetricSources {
  readonly replies: Pick<PendingReplies, 'size'>;
  readonly limiter: Pick<InvocationLimiter, 'statistics'>;
}

/** Registers the metrics of a gateway; its Invoke counts with the result. */
export function registerGatewayMetrics(metrics: Metrics, { replies, limiter }: GatewayMetricSources): InvocationMeter {
  const meter = new InvocationMeter({
    onDuration: metrics.histogram('sluice_invocation_duration_seconds'),
    onAppend: metrics.histogram('sluice_event_append_duration_seconds'),
  });
  metrics.read('sluice_invocations_total', () => INVOCATION_TYPES.flatMap((type) => INVOCATION_OUTCOMES.map((outcome) => [meter.counts[type][outcome], { type, outcome }] as const)));
  metrics.value('sluice_waiting_callers', () => replies.size);
  metrics.read('sluice_rate_refusals_total', () => (Object.entries(limiter.statistics.refused) as [RateReason, number][]).map(([reason, count]) => [count, { reason }] as const));
  metrics.value('sluice_rate_limiter_alone', () => Number(limiter.statistics.alone));
  return meter;
}
