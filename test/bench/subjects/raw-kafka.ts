import { Kafka, logLevel, type IHeaders } from 'kafkajs';
import { percentile } from '../statistics.ts';

/** What kafkajs alone takes from a produce to its delivery, one at a time: the floor of an invocation that travels over Kafka. */
export interface RawKafka {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const PAYLOAD = Buffer.alloc(1_000, 97);
const HEADERS: IHeaders = {};

export async function rawKafka(brokers: readonly string[], name: string, rounds: number): Promise<RawKafka> {
  const kafka = new Kafka({ brokers: [...brokers], logLevel: logLevel.NOTHING });
  const topic = `${name}.raw`;
  const admin = kafka.admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic, numPartitions: 1 }], waitForLeaders: true });
  const producer = kafka.producer();
  const consumer = kafka.consumer({ groupId: `${name}.raw` });
  try {
    await producer.connect();
    await consumer.connect();
    // From the beginning: where "latest" is, is only asked at the first fetch, which a first record may come before.
    await consumer.subscribe({ topic, fromBeginning: true });
    let arrived: (() => void) | undefined;
    const joined = new Promise<void>((resolve) => {
      consumer.on('consumer.group_join', () => resolve());
    });
    await consumer.run({ autoCommit: false, eachMessage: () => Promise.resolve(arrived?.()) });
    await joined;
    const times: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const startedAt = performance.now();
      const delivered = new Promise<void>((resolve) => {
        arrived = resolve;
      });
      await producer.send({ topic, acks: 1, messages: [{ value: PAYLOAD, headers: HEADERS }] });
      await delivered;
      // The first rounds pay for connections and code that is not compiled yet.
      if (round >= rounds / 4) times.push(performance.now() - startedAt);
    }
    times.sort((a, b) => a - b);
    return { p50Ms: percentile(times, 0.5), p99Ms: percentile(times, 0.99) };
  } finally {
    await consumer.disconnect();
    await producer.disconnect();
    await admin.deleteTopics({ topics: [topic] });
    await admin.disconnect();
  }
}
