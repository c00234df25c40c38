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

/** For everything that one count takes, repetitions included. */
export const ANSWER_WAIT_MS = 5_000;
/** Between repetitions: at first, doubled each time, and at most; jitter takes up to half of it away, since all controllers ask when a broker comes back. */
const PAUSE_FIRST_MS = 50;
const PAUSE_MAX_MS = 500;
/** A partition that was made or moved a moment ago is not led yet where the cluster says that it is; kafkajs does not ask again by itself. */
const NOT_LED: ReadonlySet<unknown> = new Set(['NOT_LEADER_FOR_PARTITION', 'LEADER_NOT_AVAILABLE']);
const COUNTED: readonly LogTopic[] = ['async', 'overflow', ...DELAY_TIERS];

export interface BacklogOptions {
  readonly names: TopicNames;
  readonly clock: Clock;
  readonly random?: () => number;
  /** A connection of the reader's own; it asks for another one after each failure, which may have left the first unusable or misinformed. */
  readonly open: () => BacklogConnection;
}

export interface BacklogConnection {
  readonly admin: Pick<Admin, 'connect' | 'fetchOffsets' | 'fetchTopicOffsets'>;
  /** Idempotent; whatever is under way fails. */
  readonly abandon: () => void;
}

export function openBacklogConnection(connection: KafkaConnection, logger: Logger): BacklogConnection {
  const client = new KafkaClient(connection, logger, { retries: 1, initialRetryTime: 100 });
  return { admin: client.kafka.admin(), abandon: () => client.abandon() };
}

type Live = BacklogConnection & { readonly connected: Promise<void> };

/** Counts what waits in the topics, over a connection of its own that is made when it is first asked. */
export class BacklogReader {
  readonly #options: BacklogOptions;
  readonly #random: () => number;
  readonly #closed = new AbortController();
  #live: Live | undefined;

  constructor(options: BacklogOptions) {
    this.#options = options;
    this.#random = options.random ?? Math.random;
  }

  /**
   * For partitions that `consumption` owns, what it knows counts; for others, what their owners have committed. Rejects with {@link LogUnavailableError},
   * after {@link ANSWER_WAIT_MS} at the latest.
   */
  async read(consumption: Consumption | undefined): Promise<LogBacklog> {
    const { clock } = this.#options;
    const deadlineMs = clock.now() + ANSWER_WAIT_MS;
    for (let attempt = 1; ; attempt++) {
      if (this.#closed.signal.aborted) throw new LogUnavailableError('The invocation log is closed.');
      const live = this.#connection();
      try {
        return await this.#read(consumption, live, deadlineMs);
      } catch (error) {
        this.#drop(live);
        const pauseMs = Math.ceil(Math.min(PAUSE_MAX_MS, PAUSE_FIRST_MS * 2 ** (attempt - 1)) * (1 - this.#random() / 2));
        if (!isNotLed(error) || this.#closed.signal.aborted || clock.now() + pauseMs >= deadlineMs) {
          throw new LogUnavailableError(`Kafka does not tell how much is waiting: ${(error as Error).message}`, { cause: error });
        }
        await this.#pause(pauseMs);
      }
    }
  }

  /** Final and idempotent: what is under way fails, and nothing is opened any more. */
  close(): void {
    this.#closed.abort();
    if (this.#live !== undefined) this.#drop(this.#live);
  }

  async #read(consumption: Consumption | undefined, { admin, connected }: Live, deadlineMs: number): Promise<LogBacklog> {
    const { names, clock } = this.#options;
    const [committed, extents] = await within(
      connected.then(() =>
        Promise.all([
          admin.fetchOffsets({ groupId: names.group, topics: COUNTED.map((topic) => names.nameOf(topic)) }),
          Promise.all(COUNTED.map(async (topic) => ({ topic, parts: await admin.fetchTopicOffsets(names.nameOf(topic)) }))),
        ]),
      ),
      Math.max(1, deadlineMs - clock.now()),
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
  }

  #connection(): Live {
    if (this.#live === undefined) {
      const opened = this.#options.open();
      this.#live = { ...opened, connected: opened.admin.connect() };
    }
    return this.#live;
  }

  #drop(live: Live): void {
    live.abandon();
    if (this.#live === live) this.#live = undefined;
  }

  #pause(ms: number): Promise<void> {
    const { clock } = this.#options;
    return new Promise((resolve) => {
      const end = (): void => {
        timer.cancel();
        this.#closed.signal.removeEventListener('abort', end);
        resolve();
      };
      const timer = clock.at(clock.now() + ms, end);
      this.#closed.signal.addEventListener('abort', end);
    });
  }
}

/** Where kafkajs has tried it again itself, the error that it had each time is the cause of the one it throws. */
function isNotLed(error: unknown): boolean {
  return error instanceof Error && (('type' in error && NOT_LED.has(error.type)) || isNotLed(error.cause));
}
