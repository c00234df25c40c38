import type { InvocationKind, InvocationRecord } from '../../model/invocation.ts';
import { LogUnavailableError, type Delivery, type InvocationHead } from '../invocation-log.ts';
import { recordOf } from '../record-head.ts';

/** What the partition that made a delivery does with it. */
export interface DeliveryOwner {
  settle(delivery: KafkaDelivery): void;
  postpone(delivery: KafkaDelivery, change: Pick<InvocationRecord, 'attempt' | 'throttles'>, notBeforeMs: number): Promise<void>;
}

export interface DeliveryFacts {
  readonly kind: InvocationKind;
  readonly partition: number;
  readonly offset: number;
  readonly epoch: number;
  readonly inherited: boolean;
  readonly head: InvocationHead;
  readonly payload: Buffer;
  readonly owner: DeliveryOwner;
}

export class KafkaDelivery implements Delivery {
  readonly kind: InvocationKind;
  readonly partition: number;
  readonly offset: number;
  readonly epoch: number;
  readonly inherited: boolean;
  readonly head: InvocationHead;
  readonly owner: DeliveryOwner;
  /** `postponing`: its successor is being written, and it is settled when that is done. */
  state: 'unsettled' | 'postponing' | 'settled' = 'unsettled';
  #payload: Buffer | undefined;

  constructor({ kind, partition, offset, epoch, inherited, head, payload, owner }: DeliveryFacts) {
    this.kind = kind;
    this.partition = partition;
    this.offset = offset;
    this.epoch = epoch;
    this.inherited = inherited;
    this.head = head;
    this.owner = owner;
    this.#payload = payload;
  }

  /** What it holds in memory. */
  get payload(): Buffer {
    return this.#payload ?? Buffer.alloc(0);
  }

  load(): Promise<InvocationRecord> {
    if (this.#payload === undefined) return Promise.reject(new LogUnavailableError(`Invocation ${this.head.id} is not in the log any more: it was settled.`));
    return Promise.resolve(recordOf(this.head, this.#payload));
  }

  /** Gives the memory back. */
  finish(): void {
    this.state = 'settled';
    this.#payload = undefined;
  }
}
