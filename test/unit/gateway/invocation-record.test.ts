import assert from 'node:assert/strict';
import { test } from 'node:test';
import { invocationRecord } from '../../../gateway/invoke/invocation-record.ts';
import type { InvokeParameters } from '../../../gateway/invoke/parameters.ts';
import type { InvokeTarget } from '../../../gateway/invoke/target-resolver.ts';
import type { EventInvokeConfig, FunctionRecord } from '../../../platform/model/function.ts';
import { INIT_LIMIT_MS, MAX_EVENT_AGE_MS } from '../../../platform/model/limits.ts';

const NOW = 1_700_000_000_000;
const TIMEOUT_MS = 7_000;

function made(type: InvokeParameters['type'], config?: Omit<EventInvokeConfig, 'lastModifiedMs'>): readonly [expiresInMs: number, maxRetries: number | undefined] {
  const parameters: InvokeParameters = { type, logTail: false, clientContext: undefined, traceId: 'Root=1' };
  const record = { account: '000000000000', name: 'f', uid: 'u' } as FunctionRecord;
  const target: InvokeTarget = { kind: 'target', record, version: '1', invokedArn: 'arn', timeoutMs: TIMEOUT_MS, eventInvokeConfig: config && { ...config, lastModifiedMs: 0 } };
  const { expiresAtMs, maxRetries } = invocationRecord('id', parameters, target, Buffer.alloc(0), NOW);
  return [expiresAtMs - NOW, maxRetries];
}

test('an event is as old and tried as often as its qualifier says, otherwise as Lambda has it', () => {
  assert.deepEqual(made('Event'), [MAX_EVENT_AGE_MS, undefined]);
  assert.deepEqual(made('Event', { maximumEventAgeSec: 60 }), [60_000, undefined]);
  assert.deepEqual(made('Event', { maximumRetryAttempts: 0 }), [MAX_EVENT_AGE_MS, 0]);
});

test('whoever waits for an answer is not concerned by that', () => {
  assert.deepEqual(made('RequestResponse', { maximumEventAgeSec: 60, maximumRetryAttempts: 0 }), [INIT_LIMIT_MS + TIMEOUT_MS, undefined]);
});
