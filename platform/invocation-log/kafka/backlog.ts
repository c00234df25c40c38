import type { Admin } from 'kafkajs';
import type { Clock } from '../../clock.ts';
import type { Logger } from '../../telemetry/logger.ts';
import { LogUnavailableError, type LogBacklog } from '../invocation-log.ts';
import { KafkaClient, type KafkaConnection } from './client.ts';
import type { Consumption } from './consumption.ts';
import type { CommittedOffset } from './group-member.ts';
import { within } from './producer-lane.ts';
import { unsettledIn } from './takeover.ts';
import { DELAY_TIERS, type LogTopic, type TopicNames } from './topic-names.ts';

const ANSWER_WAIT_MS = 5_000;
/** A partition that was made or moved a moment ago is not led yet where the cluster says that it is; kafkajs does not ask again by itself. */
const NOT_LED_ATTEMPTS = 10;
const COUNTED: readonly LogTopic[] = ['async', 'overflow', ...DELAY_TIERS];

export interface BacklogOptions {
  readonly connection: KafkaConnection;
  readonly names: TopicNames;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Counts what waits in the topics, over a connection of its own that is made when it is first asked. */
export class BacklogReader {
  readonly #options: BacklogOptions;
  #live: { readonly client: KafkaClient; readonly admin: Admin; readonly connected: Promise<void> } | undefined;

  constructor(options: BacklogOptions) {
    this.#options = options;
  }

  /** For partitions that `consumption` owns, what it knows counts; for others, what their owners have committed. Rejects with {@link LogUnavailableError}. */
  async read(consumption: Consumption | undefined): Promise<LogBacklog> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#read(consumption);
      } catch (error) {
        if (attempt === NOT_LED_ATTEMPTS || !(error instanceof LogUnavailableError) || !isNotLed(error)) throw error;
      }
    }
  }

  async #read(consumption: Consumption | undefined): Promise<LogBacklog> {
    const { names, clock } = this.#options;
    try {
      const { admin, connected } = this.#connection();
      const [committed, extents] = await within(
        connected.then(() =>
          Promise.all([
            admin.fetchOffsets({ groupId: names.group, topics: COUNTED.map((topic) => names.nameOf(topic)) }),
            Promise.all(COUNTED.map(async (topic) => ({ topic, parts: await admin.fetchTopicOffsets(names.nameOf(topic)) }))),
          ]),
        ),
        ANSWER_WAIT_MS,
        clock,
      );
      const offsets = new Map(
        committed.flatMap(({ topic: name, partitions }) =>
          partitions.map(({ partition, offset, metadata }): [string, CommittedOffset] => {
            const topic = names.topicOf(name) ?? 'async';
            return [`${topic}/${partition}`, { topic, partition, offset: Number(offset) < 0 ? undefined : Number(offset), metadata: metadata ?? '' }];
          }),
        ),
      );
      let waiting = 0;
      let delayed = 0;
      for (const { topic, parts } of extents) {
        for (const { partition, high, low } of parts) {
          const end = Number(high);
          const own = consumption?.local(partition);
          const isDelay = topic !== 'async' && topic !== 'overflow';
          const count =
            own === undefined
              ? unsettledIn(names, topic, partition, { start: Number(low), end }, offsets.get(`${topic}/${partition}`))
              : Math.max(0, end - own.next(topic)) + (isDelay ? own.unsettled(topic) : 0);
          if (isDelay) delayed += count;
          else waiting += count;
        }
      }
      const [{ parts } = { parts: [] }] = extents;
      for (const { partition } of parts) {
        const own = consumption?.local(partition);
        waiting += own?.waiting ?? 0;
        delayed -= own?.leavingDelay ?? 0;
      }
      return { waiting, delayed: Math.max(0, delayed) };
    } catch (error) {
      this.close();
      throw error instanceof LogUnavailableError ? error : new LogUnavailableError(`Kafka does not tell how much is waiting: ${(error as Error).message}`, { cause: error });
    }
  }

  #connection(): { readonly admin: Admin; readonly connected: Promise<void> } {
    if (this.#live === undefined) {
      const client = new KafkaClient(this.#options.connection, this.#options.logger, { retries: 1, initialRetryTime: 100 });
      const admin = client.kafka.admin();
      this.#live = { client, admin, connected: admin.connect() };
    }
    return this.#live;
  }

  close(): void {
    this.#live?.client.abandon();
    this.#live = undefined;
  }
}

function isNotLed({ cause }: Error): boolean {
  return cause instanceof Error && 'type' in cause && cause.type === 'NOT_LEADER_FOR_PARTITION';
}
