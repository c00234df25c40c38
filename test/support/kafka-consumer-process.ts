/**
 * Consumes the log with the topic prefix given until it is killed or told to `stop` by a line on standard input, or to `hold` until it gets SIGCONT, and says on standard output what happens:
 * `A partition epoch` assigned, `R partition` revoked, `D id partition epoch` given out, `S id` about to be settled, `E` ended.
 * Arguments: brokers, prefix, partitions, and for how long each invocation is executed at most, in milliseconds.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { systemClock } from '../../platform/clock.ts';
import type { Delivery, LogConsumption, PartitionAssignment } from '../../platform/invocation-log/invocation-log.ts';
import { openKafkaLog } from '../../platform/invocation-log/kafka.ts';
import { createLogger } from '../../platform/telemetry/logger.ts';
import { payloadStore, TEST_SESSION_MS, testLogLevel } from './kafka-logs.ts';

const [brokers = '', prefix = '', partitions = '2', executionMs = '5'] = process.argv.slice(2);
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const folder = await mkdtemp(join(tmpdir(), 'sluice-kafka-'));
const log = await openKafkaLog({
  connection: { brokers: brokers.split(','), clientId: 'sluice-test-process' },
  store: await payloadStore(folder),
  clock: systemClock,
  logger: createLogger(testLogLevel()),
  topicPrefix: prefix,
  topics: { partitions: Number(partitions) },
  sessionTimeoutMs: TEST_SESSION_MS,
  fetchWaitMs: 20,
});
let given = 0;
const consumption: LogConsumption = await log.consume({
  maxInFlight: 50,
  inFlightWanted: () => 50,
  assigned({ partitions: list, epoch }: PartitionAssignment) {
    for (const partition of list) say(`A ${partition} ${epoch}`);
    return Promise.resolve();
  },
  revoked(list) {
    for (const partition of list) say(`R ${partition}`);
  },
  deliver(delivery: Delivery) {
    const { head, partition, epoch } = delivery;
    say(`D ${head.id} ${partition} ${epoch}`);
    // Of different lengths, so that settling is out of order.
    setTimeout(
      () => {
        say(`S ${head.id}`);
        consumption.settle(delivery);
      },
      (given++ * 7) % Number(executionMs),
    );
  },
});
createInterface({ input: process.stdin }).on('line', (line) => {
  // By itself, and so not in the middle of giving something out: between the look whether it may and the doing, nobody can be held by a check.
  if (line === 'hold') process.kill(process.pid, 'SIGSTOP');
  else void stop();
});

async function stop(): Promise<void> {
  await log.close();
  await rm(folder, { recursive: true, force: true });
  say('E');
  process.stdin.destroy();
}
