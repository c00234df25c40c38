import type { Timer } from '../../clock.ts';
import type { InvocationRecord } from '../../model/invocation.ts';
import { LogUnavailableError } from '../invocation-log.ts';
import { Fifo } from './function-queues.ts';
import { KafkaDelivery, type DeliveryOwner } from './kafka-delivery.ts';
import type { PartitionContext } from './partition-context.ts';
import type { ReadRecord } from './record-format.ts';
import type { TopicTrack } from './topic-track.ts';

/** Sync records of a partition in memory, given out or not. Their callers are fewer: a gateway bounds those it lets wait. */
const SYNC_RECORDS_MAX = 5_000;
/** And their payloads. */
const SYNC_BYTES_MAX = 16 * 1024 * 1024;
/** An expired record that has lain in the topic for this long had its caller answered long ago: the longest function timeout is 15 minutes. */
const FORGOTTEN_MS = 15 * 60_000;

type Readable = Extract<ReadRecord, { kind: 'record' }>;

/** The synchronous invocations of one owned partition: given out as they come, whatever the asynchronous ones do. */
export class SyncIntake {
  readonly #context: PartitionContext;
  readonly #owner: DeliveryOwner;
  readonly #track: TopicTrack;
  readonly #waiting = new Fifo<KafkaDelivery>();
  readonly #unsettled = new Set<KafkaDelivery>();
  readonly #postponed = new Set<Timer>();
  #bytes = 0;

  constructor(context: PartitionContext, owner: DeliveryOwner, track: TopicTrack) {
    this.#context = context;
    this.#owner = owner;
    this.#track = track;
  }

  accepts(): boolean {
    return this.#track.unsettledCount < SYNC_RECORDS_MAX && this.#bytes < SYNC_BYTES_MAX;
  }

  take(offset: number, { head, payload }: Readable, appendedMs: number): void {
    const nowMs = this.#context.clock.now();
    if (head.expiresAtMs < nowMs && appendedMs < nowMs - FORGOTTEN_MS) {
      this.#track.settle(offset);
      this.#context.attend();
      return;
    }
    this.#bytes += payload.length;
    this.#offer(this.#delivery(offset, { ...head, payload }));
  }

  #delivery(offset: number, { payload, payloadBytes, ...rest }: InvocationRecord & { readonly payloadBytes: number }): KafkaDelivery {
    const { index, epoch } = this.#context;
    return new KafkaDelivery({ kind: 'sync', partition: index, offset, epoch, inherited: this.#track.inherited(offset), head: { ...rest, payloadBytes }, payload, owner: this.#owner });
  }

  #offer(delivery: KafkaDelivery): void {
    this.#unsettled.add(delivery);
    if (this.#waiting.length === 0 && this.#context.mayDeliver()) this.#context.consumer.deliver(delivery);
    else this.#waiting.push(delivery);
  }

  pump(): void {
    while (this.#waiting.length > 0 && this.#context.mayDeliver()) {
      const delivery = this.#waiting.shift();
      if (delivery !== undefined) this.#context.consumer.deliver(delivery);
    }
  }

  settle(delivery: KafkaDelivery): void {
    if (!this.#release(delivery)) return;
    this.#track.settle(delivery.offset);
    this.#context.attend();
  }

  #release(delivery: KafkaDelivery): boolean {
    if (!this.#unsettled.delete(delivery)) return false;
    this.#bytes -= delivery.payload.length;
    delivery.finish();
    if (this.#track.pausedFor('buffer') && this.#track.unsettledCount <= SYNC_RECORDS_MAX / 2 && this.#bytes <= SYNC_BYTES_MAX / 2) {
      this.#track.resume('buffer');
      this.#context.fetchingChanged('sync');
    }
    return true;
  }

  /** In memory: a sync record need live no longer than its caller, and another owner gives it out as it was first. */
  postpone(delivery: KafkaDelivery, change: Pick<InvocationRecord, 'attempt' | 'throttles'>, notBeforeMs: number): Promise<void> {
    if (!this.#unsettled.has(delivery) || delivery.state !== 'unsettled') {
      return Promise.reject(new LogUnavailableError(`Invocation ${delivery.head.id} cannot be postponed: its delivery is settled.`));
    }
    const { head, payload, offset } = delivery;
    this.#unsettled.delete(delivery);
    delivery.finish();
    const timer = this.#context.clock.at(notBeforeMs, () => {
      this.#postponed.delete(timer);
      this.#offer(this.#delivery(offset, { ...head, ...change, payload }));
    });
    this.#postponed.add(timer);
    return Promise.resolve();
  }

  end(): void {
    for (const timer of this.#postponed) timer.cancel();
    this.#postponed.clear();
    for (const delivery of this.#unsettled) delivery.finish();
    this.#unsettled.clear();
  }
}

