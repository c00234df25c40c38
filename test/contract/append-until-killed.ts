/**
 * Appends to the log in the folder given until it is killed, and says on standard output what it may be held to: `A id` an append
 * was acknowledged; `T id` it is going to be settled; `S id` that has become durable. With `consume` as second argument it consumes,
 * settles most of what it is given and postpones some.
 */
import { openSqliteLog } from '../../platform/invocation-log/sqlite.ts';
import { createLogger } from '../../platform/telemetry/logger.ts';
import { SETTLE_INTERVAL_MS, type LogConsumption } from '../../platform/invocation-log/invocation-log.ts';
import { CollectingConsumer, invocation } from '../support/log-consumer.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const [dataDir = '', consume] = process.argv.slice(2);
const clock = new VirtualClock();
const log = await openSqliteLog({ dataDir, partitions: 3, clock, logger: createLogger('silent') });

const say = (what: 'A' | 'T' | 'S', id: string): void => void process.stdout.write(`${what} ${id}\n`);
/** Some come again in this life, some in the next. */
const DELAY_MS = 10 * SETTLE_INTERVAL_MS;
let settled: string[] = [];

async function settleMost(): Promise<void> {
  let seen = 0;
  const consumer = new CollectingConsumer(100_000, (delivery) => {
    consumer.deliveries.length = 0;
    const turn = seen++ % 7;
    if (turn === 0) return;
    if (turn === 1) {
      void consumption.postpone(delivery, { attempt: 2, throttles: 0 }, clock.now() + DELAY_MS);
      return;
    }
    say('T', delivery.head.id);
    settled.push(delivery.head.id);
    consumption.settle(delivery);
  });
  const consumption: LogConsumption = await log.consume(consumer);
}

async function append(lane: number): Promise<void> {
  for (let i = 0; ; i++) {
    const record = invocation({ functionName: `function-${lane}-${i % 5}`, payload: Buffer.alloc((i * 97) % 3_000, 'x') });
    await log.append(record);
    say('A', record.id);
  }
}

/** Turns the clock, so that what is settled is written down, then waits for an append: it is answered after all that was asked before. */
async function settleDurably(): Promise<void> {
  for (;;) {
    const written = settled;
    settled = [];
    clock.advance(SETTLE_INTERVAL_MS);
    await log.append(invocation({ functionName: 'barrier' }));
    for (const id of written) say('S', id);
  }
}

if (consume === 'consume') await settleMost();
await Promise.all([append(0), append(1), append(2), append(3), settleDurably()]);
