import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Kafka, logLevel, type Admin } from 'kafkajs';
import { systemClock, type Clock } from '../../platform/clock.ts';
import type { InvocationLog } from '../../platform/invocation-log/invocation-log.ts';
import { openKafkaLog, type KafkaLogOptions } from '../../platform/invocation-log/kafka.ts';
import { LOG_TOPICS, topicNames } from '../../platform/invocation-log/kafka/topic-names.ts';
import { PAYLOAD_BUCKET } from '../../platform/model/invocation.ts';
import { fileObjectStore } from '../../platform/object-store/file-system.ts';
import type { ObjectStore } from '../../platform/object-store/object-store.ts';
import { createLogger } from '../../platform/telemetry/logger.ts';

/** A log of one test in a Kafka that others use too: topics with a prefix of their own. */
export interface KafkaScene {
  readonly brokers: readonly string[];
  readonly prefix: string;
  readonly store: ObjectStore;
  open(change?: Partial<KafkaLogOptions>): Promise<InvocationLog>;
  dispose(): Promise<void>;
}

/** Short, so that a test need not wait long; Kafka allows no less than `group.min.session.timeout.ms`, 6 s. */
export const TEST_SESSION_MS = 6_000;

export async function kafkaScene(brokers: readonly string[], { partitions = 2, clock = systemClock, prefix = `test-${randomUUID().slice(0, 8)}` }: { readonly partitions?: number; readonly clock?: Clock; readonly prefix?: string } = {}): Promise<KafkaScene> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-kafka-'));
  const store = await payloadStore(folder);
  const opened = new Set<InvocationLog>();
  return {
    brokers,
    prefix,
    store,
    async open(change = {}) {
      const log = await openKafkaLog({
        connection: { brokers, clientId: 'sluice-test' },
        store,
        clock,
        logger: createLogger(testLogLevel()),
        topicPrefix: prefix,
        topics: { partitions },
        sessionTimeoutMs: TEST_SESSION_MS,
        fetchWaitMs: 20,
        ...change,
      });
      opened.add(log);
      return log;
    },
    async dispose() {
      await Promise.all([...opened].map((log) => log.close()));
      await removeTopics(brokers, prefix);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export async function payloadStore(folder: string): Promise<ObjectStore> {
  const store = await fileObjectStore({ dataDir: folder, baseUrl: () => 'http://store.invalid', signingSecret: Buffer.alloc(32, 's') });
  await store.createBucket(PAYLOAD_BUCKET);
  return store;
}

/** `SLUICE_TEST_LOG=debug` shows what the driver says. */
export function testLogLevel(): 'debug' | 'silent' {
  return process.env.SLUICE_TEST_LOG === 'debug' ? 'debug' : 'silent';
}

export function plainKafka(brokers: readonly string[]): Kafka {
  return new Kafka({ brokers: [...brokers], clientId: 'sluice-test-side', logLevel: logLevel.NOTHING });
}

export async function withAdmin<T>(brokers: readonly string[], run: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = plainKafka(brokers).admin({ retry: { retries: 0 } });
  await admin.connect();
  try {
    return await run(admin);
  } finally {
    await admin.disconnect();
  }
}

export function removeTopics(brokers: readonly string[], prefix: string): Promise<void> {
  const names = topicNames(prefix);
  return withAdmin(brokers, async (admin) => {
    await admin.deleteTopics({ topics: [...LOG_TOPICS.map((topic) => names.nameOf(topic)), names.dead] });
    await admin.deleteGroups([names.group]).catch(() => undefined);
  });
}
