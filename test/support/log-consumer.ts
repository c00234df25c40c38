import { randomUUID } from 'node:crypto';
import { partitionOf, type Delivery, type InvocationLog, type LogConsumer, type LogConsumption, type PartitionAssignment } from '../../platform/invocation-log/invocation-log.ts';
import type { InvocationRecord } from '../../platform/model/invocation.ts';

export const ACCOUNT = '000000000000';

export function invocation(change: Partial<InvocationRecord> = {}): InvocationRecord {
  const functionName = change.functionName ?? 'thumbnail';
  return {
    v: 1,
    id: randomUUID(),
    kind: 'async',
    account: ACCOUNT,
    functionName,
    functionUid: 'uid-1',
    version: '$LATEST',
    invokedArn: `arn:aws:lambda:us-east-1:${ACCOUNT}:function:${functionName}`,
    acceptedAtMs: 1_000,
    expiresAtMs: 2_000,
    attempt: 1,
    throttles: 0,
    traceId: 'Root=1-5759e988-bd862e3fe1be46a994272793',
    logTail: false,
    payload: Buffer.from('{}'),
    ...change,
  };
}

/** A consumer that keeps what it is given and settles when told. */
export class CollectingConsumer implements LogConsumer {
  readonly maxInFlight: number;
  readonly deliveries: Delivery[] = [];
  readonly assignments: PartitionAssignment[] = [];
  /** Partitions that it has now, with their epochs. */
  readonly owned = new Map<number, number>();
  #waiters: { readonly condition: () => boolean; readonly met: () => void }[] = [];
  readonly #onDelivery: ((delivery: Delivery) => void) | undefined;

  constructor(maxInFlight = 1_000, onDelivery?: (delivery: Delivery) => void) {
    this.maxInFlight = maxInFlight;
    this.#onDelivery = onDelivery;
  }

  inFlightWanted(): number {
    return this.maxInFlight;
  }

  assigned(assignment: PartitionAssignment): Promise<void> {
    this.assignments.push(assignment);
    for (const partition of assignment.partitions) this.owned.set(partition, assignment.epoch);
    this.#look();
    return Promise.resolve();
  }

  revoked(partitions: readonly number[]): void {
    for (const partition of partitions) this.owned.delete(partition);
    this.#look();
  }

  deliver(delivery: Delivery): void {
    this.deliveries.push(delivery);
    this.#onDelivery?.(delivery);
    this.#look();
  }

  #look(): void {
    this.#waiters = this.#waiters.filter(({ condition, met }) => {
      if (!condition()) return true;
      met();
      return false;
    });
  }

  get ids(): string[] {
    return this.deliveries.map(({ head }) => head.id);
  }

  /** Resolves once a delivery or a change of ownership has made the condition true. */
  until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((met) => this.#waiters.push({ condition, met }));
  }

  async untilCount(count: number): Promise<Delivery[]> {
    await this.until(() => this.deliveries.length >= count);
    return this.deliveries;
  }
}

const MARKER = 'marker-';

/** A function name for each partition. */
export function functionPerPartition(partitions: number, prefix = MARKER): string[] {
  const names: string[] = [];
  for (let i = 0, found = 0; found < partitions; i++) {
    const partition = partitionOf(`${ACCOUNT}/${prefix}${i}`, partitions);
    if (names[partition] !== undefined) continue;
    names[partition] = `${prefix}${i}`;
    found++;
  }
  return names;
}

/**
 * Waits until everything that the log held was delivered: behind it one marker goes into each partition, and a partition's order is kept.
 * Settles the markers and returns what else was delivered. Wants a `maxInFlight` that all of it fits into.
 */
export async function drained(log: InvocationLog, consumer: CollectingConsumer, consumption: LogConsumption): Promise<Delivery[]> {
  const markers = functionPerPartition(log.partitions).map((functionName) => invocation({ functionName }));
  await Promise.all(markers.map((marker) => log.append(marker)));
  const wanted = new Set(markers.map(({ id }) => id));
  const arrived = (): Delivery[] => consumer.deliveries.filter(({ head }) => wanted.has(head.id));
  await consumer.until(() => arrived().length === wanted.size);
  for (const delivery of arrived()) consumption.settle(delivery);
  return consumer.deliveries.filter(({ head }) => !head.functionName.startsWith(MARKER));
}
