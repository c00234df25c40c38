import type { IncomingHttpHeaders } from 'node:http';
import type { INVOCATION_OUTCOMES, INVOCATION_TYPES } from '../../platform/telemetry/metrics/catalogue.ts';
import type { IncomingReply } from '../replies/incoming-reply.ts';

export type MeteredType = (typeof INVOCATION_TYPES)[number];
export type MeteredOutcome = (typeof INVOCATION_OUTCOMES)[number];
export type OutcomeCounts = Record<MeteredOutcome, number>;

export interface InvocationMeterOptions {
  /** Told of every synchronous invocation that ran. */
  readonly onDuration: (seconds: number) => void;
  /** Told of every event that the log has taken. */
  readonly onAppend: (seconds: number) => void;
}

/** Counts what becomes of Invoke requests: each in one outcome. Plain numbers and one observation for each, since it stands in the way of every invocation. */
export class InvocationMeter {
  readonly counts: Readonly<Record<MeteredType, OutcomeCounts>> = { RequestResponse: zero(), Event: zero(), DryRun: zero(), unknown: zero() };
  readonly #options: InvocationMeterOptions;

  constructor(options: InvocationMeterOptions) {
    this.#options = options;
  }

  /** The log has an event, `sinceMs` on the clock of `performance.now()` after it was asked to take it. */
  appended(sinceMs: number): void {
    this.counts.Event.accepted++;
    this.#options.onAppend((performance.now() - sinceMs) / 1_000);
  }

  /** Nothing was to be run. */
  dryRun(): void {
    this.counts.DryRun.accepted++;
  }

  /** A synchronous caller, whose request came at `sinceMs`, is answered. */
  replied(reply: IncomingReply, sinceMs: number): void {
    const counts = this.counts.RequestResponse;
    switch (reply.kind) {
      case 'success':
        counts.succeeded++;
        break;
      case 'functionError':
        counts.function_error++;
        break;
      case 'rejected':
        if (reply.rejection.code === 'throttled') counts.throttled++;
        else if (reply.rejection.code === 'functionGone') counts.refused++;
        else counts.failed++;
        return;
    }
    this.#options.onDuration((performance.now() - sinceMs) / 1_000);
  }

  /** A synchronous caller, whose request came at `sinceMs`, gets the beginning of a streamed answer. */
  streaming(sinceMs: number): void {
    this.#options.onDuration((performance.now() - sinceMs) / 1_000);
  }

  /** A streamed answer that had begun is over; `rejected`: cut short by the platform. */
  streamed(kind: IncomingReply['kind']): void {
    this.counts.RequestResponse[kind === 'success' ? 'succeeded' : kind === 'functionError' ? 'function_error' : 'failed']++;
  }

  /** The request is answered with an error of the API. */
  refused(headers: IncomingHttpHeaders, status: number): void {
    this.counts[typeOf(headers)][status === 429 ? 'throttled' : status >= 500 ? 'failed' : 'refused']++;
  }

  /** The caller broke off before its request was whole. */
  abandoned(headers: IncomingHttpHeaders): void {
    this.counts[typeOf(headers)].abandoned++;
  }
}

function typeOf(headers: IncomingHttpHeaders): MeteredType {
  const type = headers['x-amz-invocation-type'];
  if (type === undefined) return 'RequestResponse';
  return type === 'RequestResponse' || type === 'Event' || type === 'DryRun' ? type : 'unknown';
}

function zero(): OutcomeCounts {
  return { accepted: 0, succeeded: 0, function_error: 0, throttled: 0, refused: 0, failed: 0, abandoned: 0 };
}
