import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import type { TestContext } from 'node:test';
import { pino } from 'pino';
import type { FunctionLogs, LogQuery, StoredLogEvent } from '../../platform/function-logs/function-logs.ts';
import { LOGS_BUCKET, openObjectFunctionLogs, type ObjectFunctionLogsOptions } from '../../platform/function-logs/object-store.ts';
import { SEGMENTS } from '../../platform/function-logs/object-store/names.ts';
import type { ObjectStore } from '../../platform/object-store/object-store.ts';
import type { Logger } from '../../platform/telemetry/logger.ts';
import { interceptedStore, type InterceptedStore } from './intercepted-store.ts';
import { openFiles } from './object-registries.ts';
import { VirtualClock } from './virtual-clock.ts';

export const GROUP = '/aws/lambda/thing';
export const SECOND_MS = 1_000;
export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;

export interface Scene {
  readonly store: InterceptedStore;
  readonly clock: VirtualClock;
  readonly said: string[];
  readonly open: (options?: Partial<ObjectFunctionLogsOptions>) => Promise<FunctionLogs>;
}

export async function scene(context: TestContext): Promise<Scene> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-logs-'));
  const clock = new VirtualClock();
  const store = interceptedStore(await openFiles(dataDir, clock));
  const said: string[] = [];
  const logger: Logger = pino({ level: 'warn' }, new Writable({ write: (line: Buffer, _, done) => (said.push(line.toString()), done()) }));
  const opened: FunctionLogs[] = [];
  context.after(async () => {
    store.intercept = (_, proceed) => proceed();
    await Promise.all(opened.map((logs) => logs.close()));
    assert.equal(clock.pending, 0, 'no timer is left');
    await rm(dataDir, { recursive: true });
  });
  return {
    store,
    clock,
    said,
    open: async (options = {}) => {
      const logs = await openObjectFunctionLogs({ store, clock, logger, ...options });
      opened.push(logs);
      return logs;
    },
  };
}

export const event = (message: string, timestampMs = 1_700_000_000_000): { readonly timestampMs: number; readonly message: string } => ({ timestampMs, message });

export async function readAll(logs: FunctionLogs, query: Partial<LogQuery> = {}): Promise<StoredLogEvent[]> {
  const events: StoredLogEvent[] = [];
  for (let { cursor } = query; ; ) {
    const page = await logs.filter({ group: GROUP, limit: 10_000, ...query, ...(cursor === undefined ? {} : { cursor }) });
    events.push(...page.events);
    if (page.cursor === undefined) return events;
    cursor = page.cursor;
  }
}

export const messagesOf = (events: readonly StoredLogEvent[]): readonly string[] => events.map(({ message }) => message);
export const messages = async (logs: FunctionLogs, query: Partial<LogQuery> = {}): Promise<readonly string[]> => messagesOf(await readAll(logs, query));
export const segmentsIn = async (store: ObjectStore): Promise<readonly string[]> => (await store.list({ bucket: LOGS_BUCKET, prefix: SEGMENTS, limit: 1_000 })).objects.map(({ key }) => key);

/** Reads on by the id of the last event read, as a client does that follows. */
export function follower(logs: FunctionLogs): { readonly read: StoredLogEvent[]; readonly more: () => Promise<void> } {
  const read: StoredLogEvent[] = [];
  return {
    read,
    more: async () => {
      const last = read.at(-1)?.id;
      read.push(...(await readAll(logs, last === undefined ? {} : { cursor: last })));
    },
  };
}
