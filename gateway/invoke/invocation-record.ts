import type { InvocationRecord } from '../../platform/model/invocation.ts';
import { INIT_LIMIT_MS, MAX_EVENT_AGE_MS } from '../../platform/model/limits.ts';
import type { InvokeParameters } from './parameters.ts';
import type { InvokeTarget } from './target-resolver.ts';

/** An accepted request as it goes to the log: of type RequestResponse, or Event under what the function's owner has said of its events. */
export function invocationRecord(id: string, parameters: InvokeParameters, target: InvokeTarget, payload: Buffer, nowMs: number): InvocationRecord {
  const { record, eventInvokeConfig: { maximumRetryAttempts, maximumEventAgeSec } = {} } = target;
  const sync = parameters.type === 'RequestResponse';
  const eventAgeMs = maximumEventAgeSec === undefined ? MAX_EVENT_AGE_MS : maximumEventAgeSec * 1_000;
  return {
    v: 1,
    id,
    kind: sync ? 'sync' : 'async',
    account: record.account,
    functionName: record.name,
    functionUid: record.uid,
    version: target.version,
    invokedArn: target.invokedArn,
    acceptedAtMs: nowMs,
    // A sync caller waits for a start at most as long as an init and a run of its own may take.
    expiresAtMs: nowMs + (sync ? INIT_LIMIT_MS + target.timeoutMs : eventAgeMs),
    attempt: 1,
    throttles: 0,
    ...(sync || maximumRetryAttempts === undefined ? {} : { maxRetries: maximumRetryAttempts }),
    ...(parameters.clientContext === undefined ? {} : { clientContext: parameters.clientContext }),
    traceId: parameters.traceId,
    logTail: parameters.logTail && sync,
    payload,
  };
}
