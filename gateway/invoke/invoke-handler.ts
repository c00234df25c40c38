import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from '../../platform/clock.ts';
import { LogUnavailableError, type InvocationLog } from '../../platform/invocation-log/invocation-log.ts';
import type { Home } from '../../platform/model/function-reference.ts';
import type { InvocationRecord } from '../../platform/model/invocation.ts';
import type { Logger } from '../../platform/telemetry/logger.ts';
import type { InvokeRoute } from '../http/invoke-route.ts';
import { readBody } from '../http/read-body.ts';
import type { InvocationLimiter } from '../admission/invocation-limiter.ts';
import { ERRORS, payloadTooLarge, type LambdaApiError } from '../lambda-api/errors.ts';
import { sendError, sendReply, sendStatus } from './answers.ts';
import { EventFraming } from './event-framing.ts';
import * as faults from './faults.ts';
import type { InvocationMeter } from './invocation-meter.ts';
import { invocationRecord } from './invocation-record.ts';
import { readParameters } from './parameters.ts';
import { MAX_ASYNC_PAYLOAD_BYTES, MAX_SYNC_PAYLOAD_BYTES } from './limits.ts';
import type { PendingReplies } from './pending-replies.ts';
import { StreamedAnswer } from './streamed-answer.ts';
import type { InvokeTarget, TargetResolver } from './target-resolver.ts';
import { newTraceId } from './trace-id.ts';

/** What the way back may take after the function's own time is over, before the gateway answers in its place. */
const REPLY_MARGIN_MS = 5_000;

/** What Lambda gives a function that was invoked without a payload. */
const NO_PAYLOAD = Buffer.from('{}');

export interface InvokeOptions {
  readonly log: InvocationLog;
  readonly targets: TargetResolver;
  readonly replies: PendingReplies;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Synchronous callers that may wait at once; further ones are throttled. */
  readonly maxWaitingSync: number;
  readonly home: Home;
  readonly limiter?: InvocationLimiter | undefined;
  readonly meter?: InvocationMeter | undefined;
}

/**
 * The operations Invoke and InvokeWithResponseStream: those that must be fast. They stand apart from the table-driven operations, because generic routing and
 * (de)serialisation would be a good part of a warm invocation; their errors come from the same catalogue.
 */
export class InvokeHandler {
  readonly #options: InvokeOptions;

  constructor(options: InvokeOptions) {
    this.#options = options;
  }

  /**
   * Answers one request for an invocation. Never rejects: whatever happens becomes an answer.
   */
  async handle(request: IncomingMessage, response: ServerResponse, route: InvokeRoute): Promise<void> {
    const requestId = randomUUID();
    let error: LambdaApiError | undefined;
    try {
      error = await this.#invoke(request, response, requestId, route);
    } catch (thrown) {
      this.#options.logger.error({ err: thrown, requestId }, 'invoke failed');
      error = faults.internalError(thrown);
    }
    if (error === undefined) return;
    this.#options.meter?.refused(request.headers, ERRORS[error.code].status);
    sendError(response, requestId, error);
  }

  async #invoke(request: IncomingMessage, response: ServerResponse, requestId: string, { reference, qualifier, operation }: InvokeRoute): Promise<LambdaApiError | undefined> {
    const { clock, targets, meter } = this.#options;
    const nowMs = clock.now();
    const receivedAt = performance.now();
    const parameters = readParameters(request.headers, operation, () => newTraceId(nowMs));
    if ('fault' in parameters) return faults.parameterFault(parameters.fault);

    const limitBytes = parameters.type === 'Event' ? MAX_ASYNC_PAYLOAD_BYTES : MAX_SYNC_PAYLOAD_BYTES;
    const outcome = await readBody(request, limitBytes);
    if (outcome.kind === 'cutShort') {
      meter?.abandoned(request.headers);
      return undefined;
    }
    if (outcome.kind === 'tooLarge') {
      const bytes = Number(request.headers['content-length']);
      return payloadTooLarge(limitBytes, bytes > limitBytes ? { type: parameters.type === 'Event' ? 'Event' : 'RequestResponse', bytes } : undefined);
    }
    if (outcome.kind === 'tooSlow') return faults.tooSlow();
    const payload = outcome.body.length === 0 ? NO_PAYLOAD : outcome.body;
    const jsonFault = faults.jsonFault(payload);
    if (jsonFault !== undefined) return jsonFault;

    const target = targets.peek(reference, qualifier) ?? (await targets.resolve(reference, qualifier));
    if (target.kind === 'error') return target.error;
    if (parameters.type === 'DryRun') {
      meter?.dryRun();
      sendStatus(response, 204, requestId, target.version);
      return undefined;
    }
    const record = invocationRecord(requestId, parameters, target, payload, nowMs);
    if (parameters.type === 'Event') return this.#enqueue(response, record);
    return this.#run(response, operation === 'InvokeWithResponseStream' ? { ...record, responseStream: true } : record, target, receivedAt);
  }

  async #enqueue(response: ServerResponse, record: InvocationRecord): Promise<LambdaApiError | undefined> {
    const { log, meter } = this.#options;
    const askedAt = performance.now();
    try {
      await log.append(record);
    } catch (error) {
      if (error instanceof LogUnavailableError) return faults.logUnavailable();
      throw error;
    }
    meter?.appended(askedAt);
    sendStatus(response, 202, record.id, undefined);
    return undefined;
  }

  async #run(response: ServerResponse, invocation: InvocationRecord, target: InvokeTarget, receivedAt: number): Promise<LambdaApiError | undefined> {
    const { replies, log, maxWaitingSync, home, limiter, meter } = this.#options;
    if (replies.size >= maxWaitingSync) return faults.tooManyWaiting();
    const throttle = limiter?.take(target.record);
    if (throttle !== undefined) return faults.rateExceeded(throttle);
    const deadlineMs = invocation.expiresAtMs + target.timeoutMs + REPLY_MARGIN_MS;
    const record = replies.addressed(invocation, deadlineMs);
    if (record.responseStream === true) {
      const answer = new StreamedAnswer({ response, invocation: record, home, framing: await EventFraming.load(), meter, receivedAt, onEnd: () => replies.forget(record.id) });
      replies.expect(record, deadlineMs, (reply) => answer.answer(reply), (streamed) => answer.begin(streamed));
    } else {
      replies.expect(record, deadlineMs, (reply) => {
        meter?.replied(reply, receivedAt);
        sendReply(response, record, reply, home);
      });
    }
    try {
      await log.append(record);
      return undefined;
    } catch (error) {
      replies.forget(record.id);
      if (error instanceof LogUnavailableError) return faults.logUnavailable();
      throw error;
    }
  }
}
