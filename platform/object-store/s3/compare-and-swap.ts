import { randomUUID } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { PreconditionFailedError, type ObjectLocation, type ObjectStore, type PutOptions } from '../object-store.ts';
import { S3RefusedError } from './failures.ts';

/** Whether an object store keeps the promise that the registry stands on: of concurrent conditional writers exactly one wins. */
export type CompareAndSwapVerdict =
  /** No writer was seen to break it. A server that checks first and writes then can be lucky; it cannot be proven from outside. */
  | { readonly kind: 'holds' }
  /** One line for the operator. */
  | { readonly kind: 'broken'; readonly refusal: string };

export interface ProbeOptions {
  /** An internal bucket; what the probe writes there it removes. */
  readonly bucket: string;
  readonly writers?: number;
  readonly rounds?: number;
}

const WRITERS = 16;
/** Rounds of both conditions. A server that lets several win in every tenth round is found out with 80 %; all of it takes less than a second. */
const ROUNDS = 8;
/** Amazon S3 may turn all of them away (409) where they meet; not often in a row. */
const FRUITLESS_RACES_MAX = 3;

/**
 * Lets writers race for one key: first all to create it, then all to replace what the first race made. Rejects with StoreUnavailableError
 * where the store cannot be reached: nothing is known then.
 */
export async function probeCompareAndSwap(store: ObjectStore, { bucket, writers = WRITERS, rounds = ROUNDS }: ProbeOptions): Promise<CompareAndSwapVerdict> {
  for (let round = 1; round <= rounds; round += 1) {
    const location = { bucket, key: `sluice-probe-${randomUUID()}` };
    try {
      const created = await race(store, location, { kind: 'absent' }, writers);
      if ('fault' in created) return broken(created.fault, bucket);
      const replaced = await race(store, location, { kind: 'etag', etag: created.etag }, writers);
      if ('fault' in replaced) return broken(replaced.fault, bucket);
    } finally {
      await store.delete(location);
    }
  }
  return { kind: 'holds' };
}

function broken(fault: string, bucket: string): CompareAndSwapVerdict {
  return { kind: 'broken', refusal: `${fault} in the bucket ${bucket}: the object store does not keep what several gateways rely on; do not run more than one gateway on it.` };
}

type Outcome = { readonly etag: string } | { readonly fault: string };

async function race(store: ObjectStore, location: ObjectLocation, condition: NonNullable<PutOptions['condition']>, writers: number): Promise<Outcome> {
  const name = condition.kind === 'absent' ? 'If-None-Match' : 'If-Match';
  for (let fruitless = 1; ; fruitless += 1) {
    const bodies = Array.from({ length: writers }, (_, writer) => Buffer.from(`${condition.kind} ${writer} ${fruitless} ${randomUUID()}`));
    const attempts = await Promise.allSettled(bodies.map((body) => store.put(location, body, { condition, detail: 'essential' })));
    const winners: { readonly etag: string; readonly body: Buffer }[] = [];
    for (const [writer, attempt] of attempts.entries()) {
      if (attempt.status === 'fulfilled') winners.push({ etag: attempt.value.etag, body: bodies[writer] as Buffer });
      else if (!isLoss(attempt.reason)) {
        if (!(attempt.reason instanceof S3RefusedError) || attempt.reason.status === 403) throw attempt.reason;
        return { fault: `Conditional writes (${name}) are refused (${attempt.reason.code || attempt.reason.status})` };
      }
    }
    const [winner] = winners;
    if (winners.length > 1) return { fault: `Several writers won a conditional write (${winners.length} of ${writers}, ${name})` };
    if (winner !== undefined) {
      const { summary, body } = await store.get(location);
      const stored = await buffer(body);
      if (summary.etag !== winner.etag || !stored.equals(winner.body)) return { fault: `A conditional write (${name}) was overwritten by one that had lost` };
      return { etag: winner.etag };
    }
    if (fruitless === FRUITLESS_RACES_MAX) return { fault: `No writer won a conditional write whose condition held (${name})` };
  }
}

function isLoss(error: unknown): boolean {
  return error instanceof PreconditionFailedError || (error instanceof S3RefusedError && error.status === 409);
}
