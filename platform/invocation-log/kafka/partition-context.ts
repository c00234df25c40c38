import type { Clock } from '../../clock.ts';
import type { Logger } from '../../telemetry/logger.ts';
import type { LogConsumer } from '../invocation-log.ts';
import type { EncodedRecord } from './record-format.ts';
import type { LogTopic } from './topic-names.ts';

/** What one owned partition needs of the rest of the driver. */
export interface PartitionContext {
  readonly index: number;
  readonly epoch: number;
  readonly consumer: LogConsumer;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly memory: MemoryBudget;
  /** The partition is owned beyond doubt, its consumer has looked through what it inherits, and has not asked to stop. */
  mayDeliver(): boolean;
  /**
   * Durable when it resolves, with the offset at which the record lies: that very record, so that it may be settled there before it is met; `OFFSET_UNKNOWN` where that
   * is not certain. Rejects with LogUnavailableError; the record may be in the topic all the same.
   */
  write(topic: LogTopic, record: EncodedRecord): Promise<number>;
  writeDead(record: EncodedRecord): Promise<unknown>;
  /** Something is to be committed, or to be looked at again, soon. */
  attend(): void;
  /** Another topic of the partition is to be fetched, or not any more. */
  fetchingChanged(topic: LogTopic): void;
}

/** Bytes that all partitions of a log handle hold together; each has a fixed share of what may wait, so that none can take another's. */
export class MemoryBudget {
  /** Payloads of async deliveries that are given out and not settled. */
  deliveredBytes = 0;
  readonly #bufferBytes: number;
  /** Partitions that share it. */
  partitions = 1;

  constructor(bufferBytes: number) {
    this.#bufferBytes = bufferBytes;
  }

  /** What a partition may keep of records that wait: fetched, and not given out. */
  get share(): number {
    return this.#bufferBytes / Math.max(1, this.partitions);
  }
}
