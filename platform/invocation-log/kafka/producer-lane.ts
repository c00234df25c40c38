import type { Producer, RecordMetadata } from 'kafkajs';
import type { Clock, Timer } from '../../clock.ts';
import type { Logger } from '../../telemetry/logger.ts';
import { LogUnavailableError } from '../invocation-log.ts';
import { KafkaClient, type KafkaConnection } from './client.ts';
import { Fifo } from './function-queues.ts';
import { OFFSET_UNKNOWN, toMessage, type EncodedRecord } from './record-format.ts';
import { MESSAGE_BYTES_MAX } from './topics.ts';

/** Records in one request. kafkajs sorts a request's messages by partition in time that grows with their square; up to here that is nothing. */
const BATCH_RECORDS_MAX = 500;
/** And their bytes: a request's records of one partition must fit into one batch of the topic. A larger record goes alone. */
const BATCH_BYTES_MAX = MESSAGE_BYTES_MAX - 64 * 1024;
/** What may wait behind the request that is under way: what a broker takes in the time that an append may wait. */
export const LANE_RECORDS_MAX = 20_000;
export const LANE_BYTES_MAX = 64 * 1024 * 1024;
/** An append that the brokers have not confirmed after this long is refused; so are those behind it, and those that come until the brokers answer again. */
export const APPEND_WAIT_MS = 1_500;
/** While the brokers are away, they are asked again this often, and each attempt is given this long. */
const PROBE_INTERVAL_MS = 500;
const PROBE_WAIT_MS = 3_000;
/** Letting go of a connection that works. */
const DISCONNECT_WAIT_MS = 2_000;

/** `durable`: all in-sync replicas have it when the append resolves, and a request that is repeated writes nothing twice. `fast`: the leader has it. */
export type LaneKind = 'durable' | 'fast';

export interface ProducerLaneOptions {
  readonly kind: LaneKind;
  readonly connection: KafkaConnection;
  /** Real time: brokers know no other. */
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called after the lane has found the brokers again; leaders may have moved meanwhile. */
  readonly onReconnected: () => Promise<void>;
}

interface Pending {
  readonly topic: string;
  readonly partition: number;
  readonly record: EncodedRecord;
  readonly done: (offset: number) => void;
  readonly failed: (error: LogUnavailableError) => void;
}

/**
 * Appends to the partitions that one broker leads. One request is under way at a time, and what is appended meanwhile goes with the next: an append to an idle
 * lane waits for nothing, and under load the requests grow by themselves.
 *
 * The lane is *closed* as an electric circuit is: appends flow. When a request fails or is not answered in time, it is *open*: everything
 * that waits and all that comes is refused at once, while a new producer is tried until one connects. A producer is never used again after a
 * failure whose outcome is unknown: kafkajs gives the failed batch's sequence numbers to the next one, and a broker that had stored the first would
 * take the next for a repetition of it, confirm it, and drop it.
 */
export class ProducerLane {
  readonly #options: ProducerLaneOptions;
  readonly #queue = new Fifo<Pending>();
  #queuedBytes = 0;
  #live: { readonly client: KafkaClient; readonly producer: Producer } | undefined;
  #sending: Promise<void> | undefined;
  #scheduled = false;
  /** Why appends are refused; undefined while they flow. */
  #open: string | undefined = 'the connection to the brokers is being made';
  #probing: Promise<void> | undefined;
  #probeTimer: Timer | undefined;
  #wakeProbe: () => void = () => undefined;
  #ended = false;

  constructor(options: ProducerLaneOptions) {
    this.#options = options;
  }

  /** Connects once; rejects with kafkajs's error if that fails. */
  async connect(): Promise<void> {
    const client = new KafkaClient(this.#options.connection, this.#options.logger, { retries: 3, initialRetryTime: 100, maxRetryTime: 1_000 });
    const producer = client.kafka.producer({
      idempotent: this.#options.kind === 'durable',
      allowAutoTopicCreation: false,
      createPartitioner: () => ({ message }) => message.partition ?? 0,
      // Explicit, or kafkajs retries an idempotent producer for ever.
      retry: { retries: 3, initialRetryTime: 100, maxRetryTime: 1_000 },
    });
    try {
      await within(producer.connect(), PROBE_WAIT_MS, this.#options.clock);
    } catch (error) {
      client.abandon();
      throw error;
    }
    if (this.#ended) {
      client.abandon();
      return;
    }
    this.#live = { client, producer };
    this.#open = undefined;
  }

  /** Connects, and goes on trying if that fails. */
  start(): void {
    this.connect().catch((error: unknown) => {
      this.#options.logger.warn({ err: error, lane: this.#options.kind }, 'Kafka cannot be reached; it is tried again');
      this.#probing = this.#probe();
    });
  }

  /** Resolves with the offset at which the record lies; {@link OFFSET_UNKNOWN} where the broker confirms it without telling. Rejects with {@link LogUnavailableError}. */
  append(topic: string, partition: number, record: EncodedRecord): Promise<number> {
    if (this.#open !== undefined) return Promise.reject(new LogUnavailableError(`Kafka takes no records now: ${this.#open}.`));
    if (this.#queue.length >= LANE_RECORDS_MAX || this.#queuedBytes + record.bytes > LANE_BYTES_MAX) {
      return Promise.reject(new LogUnavailableError(`${this.#queue.length} records with ${this.#queuedBytes} bytes are waiting for Kafka already; try again later.`));
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ topic, partition, record, done: resolve, failed: reject });
      this.#queuedBytes += record.bytes;
      this.#sendSoon();
    });
  }

  /** After this turn, so that what is appended in it goes together. */
  #sendSoon(): void {
    if (this.#scheduled || this.#sending !== undefined) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      if (this.#sending === undefined && this.#queue.length > 0 && this.#live !== undefined) {
        this.#sending = this.#send(this.#live.producer).finally(() => {
          this.#sending = undefined;
          this.#sendSoon();
        });
      }
    });
  }

  #takeBatch(): Pending[] {
    const batch: Pending[] = [];
    let bytes = 0;
    for (let next = this.#queue.peek(); next !== undefined; next = this.#queue.peek()) {
      if (batch.length === BATCH_RECORDS_MAX || (batch.length > 0 && bytes + next.record.bytes > BATCH_BYTES_MAX)) break;
      this.#queue.shift();
      bytes += next.record.bytes;
      batch.push(next);
    }
    this.#queuedBytes -= bytes;
    return batch;
  }

  async #send(producer: Producer): Promise<void> {
    const batch = this.#takeBatch();
    const byTopic = new Map<string, Pending[]>();
    for (const pending of batch) {
      const list = byTopic.get(pending.topic);
      if (list === undefined) byTopic.set(pending.topic, [pending]);
      else list.push(pending);
    }
    const topicMessages = [...byTopic].map(([topic, list]) => ({ topic, messages: list.map(({ record, partition }) => toMessage(record, partition)) }));
    try {
      const request: Promise<RecordMetadata[]> = producer.sendBatch({ acks: this.#options.kind === 'durable' ? -1 : 1, timeout: APPEND_WAIT_MS, topicMessages });
      const answers = await within(request, APPEND_WAIT_MS, this.#options.clock);
      const offsets = confirmedOffsets(batch, answers);
      batch.forEach(({ done }, i) => offsets[i] !== undefined && done(offsets[i]));
      if (offsets.includes(undefined)) throw new Error('the brokers have answered for other partitions only');
    } catch (error) {
      const reason = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
      const refusal = new LogUnavailableError(`Kafka has not confirmed the record: ${reason}.`, { cause: error });
      for (const { failed } of batch) failed(refusal);
      if (isRecordsFault(error) && (await this.#renewed(producer))) return;
      this.#interrupt(reason);
    }
  }

  /** A record's own fault is no reason to refuse others, but other partitions of its request may have been written: the producer is replaced all the same. */
  async #renewed(producer: Producer): Promise<boolean> {
    const old = this.#live;
    if (old?.producer !== producer) return false;
    this.#live = undefined;
    old.client.abandon();
    return this.connect().then(
      () => this.#live !== undefined,
      () => false,
    );
  }

  #interrupt(reason: string): void {
    if (this.#ended || this.#open !== undefined) return;
    this.#open = reason;
    this.#options.logger.warn({ lane: this.#options.kind, reason }, 'Kafka takes no records; appends are refused until it does again');
    this.#live?.client.abandon();
    this.#live = undefined;
    this.#refuseQueued(`Kafka takes no records now: ${reason}.`);
    this.#probing = this.#probe();
  }

  #refuseQueued(message: string): void {
    const refusal = new LogUnavailableError(message);
    for (let pending = this.#queue.shift(); pending !== undefined; pending = this.#queue.shift()) pending.failed(refusal);
    this.#queuedBytes = 0;
  }

  async #probe(): Promise<void> {
    for (;;) {
      await new Promise<void>((resolve) => {
        this.#wakeProbe = resolve;
        this.#probeTimer = this.#options.clock.at(this.#options.clock.now() + PROBE_INTERVAL_MS, resolve);
        if (this.#ended) resolve();
      });
      if (this.#ended) return;
      try {
        await this.#options.onReconnected();
        await this.connect();
        this.#options.logger.info({ lane: this.#options.kind }, 'Kafka takes records again');
        return;
      } catch (error) {
        this.#options.logger.debug({ err: error, lane: this.#options.kind }, 'Kafka still takes no records');
      }
    }
  }

  /** Lets what was appended go out, as long as an append may wait, then lets go of the connection. */
  async end(): Promise<void> {
    const deadlineMs = this.#options.clock.now() + APPEND_WAIT_MS;
    while ((this.#queue.length > 0 || this.#scheduled || this.#sending !== undefined) && this.#open === undefined && this.#options.clock.now() < deadlineMs) {
      await (this.#sending ?? Promise.resolve());
    }
    this.#ended = true;
    this.#open = 'the log is closed';
    this.#refuseQueued('The invocation log is closed.');
    this.#probeTimer?.cancel();
    this.#wakeProbe();
    await this.#probing;
    const live = this.#live;
    this.#live = undefined;
    await live?.client.end(() => live.producer.disconnect(), DISCONNECT_WAIT_MS);
  }
}

/**
 * Where the records of a request lie: the brokers tell the first offset of each partition, and the others follow in the order of the request. Undefined: no broker has answered for its
 * partition. kafkajs resolves all the same where it sends a request to two brokers, one fails, and the other leads its partitions when it tries again: it takes that one as answered.
 */
export function confirmedOffsets(batch: readonly Pick<Pending, 'topic' | 'partition'>[], answers: readonly RecordMetadata[]): (number | undefined)[] {
  const next = new Map(answers.map(({ topicName, partition, baseOffset }) => [`${topicName}/${partition}`, Number(baseOffset ?? OFFSET_UNKNOWN)]));
  return batch.map(({ topic, partition }) => {
    const offset = next.get(`${topic}/${partition}`);
    if (offset === undefined) return undefined;
    if (!Number.isSafeInteger(offset) || offset < 0) return OFFSET_UNKNOWN;
    next.set(`${topic}/${partition}`, offset + 1);
    return offset;
  });
}

/** The broker is well, the record is not. Nothing was written, and the next may be. */
function isRecordsFault(error: unknown): boolean {
  const fault = /MESSAGE_TOO_LARGE|RECORD_LIST_TOO_LARGE|INVALID_RECORD|TOPIC_AUTHORIZATION_FAILED/;
  for (let link: unknown = error; link instanceof Error; link = link.cause) {
    if (fault.test((link as { type?: string }).type ?? '')) return true;
  }
  return false;
}

/** The promise's outcome, or a rejection after so long; a later outcome is ignored. */
export function within<T>(promise: Promise<T>, waitMs: number, clock: Clock): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.at(clock.now() + waitMs, () => reject(new Error(`no answer within ${waitMs} ms`)));
    promise.then(resolve, reject).finally(() => timer.cancel());
  });
}
