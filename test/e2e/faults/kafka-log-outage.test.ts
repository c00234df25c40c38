/** A broker of the test's own that dies, stands still, or is cut off. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as pace } from 'node:timers/promises';
import { LogUnavailableError, type Delivery, type InvocationLog } from '../../../platform/invocation-log/invocation-log.ts';
import { kafkaBroker, NO_KAFKA_HOME, type KafkaBroker } from '../../support/kafka-broker.ts';
import { kafkaScene, type KafkaScene } from '../../support/kafka-logs.ts';
import { CollectingConsumer, functionPerPartition, invocation } from '../../support/log-consumer.ts';
import { freePort, until } from '../../support/redis-server.ts';
import { tcpProxy, type TcpProxy } from '../../support/tcp-proxy.ts';

const SESSION_MS = 3_000;
const REFUSED_PACE_MS = 5;
const PARTITIONS = 2;

interface Attempts {
  readonly accepted: string[];
  readonly refused: string[];
}

/** Appends one after another until told to stop; what is refused is not tried again. */
function appending(log: InvocationLog, lanes: number): Attempts & { stop(): Promise<void> } {
  const names = functionPerPartition(PARTITIONS, 'outage-');
  const accepted: string[] = [];
  const refused: string[] = [];
  let running = true;
  const lane = async (first: number): Promise<void> => {
    for (let i = first; running; i++) {
      const record = invocation({ functionName: names[i % names.length] ?? '' });
      try {
        await log.append(record);
        accepted.push(record.id);
      } catch (error) {
        assert.ok(error instanceof LogUnavailableError, String(error));
        refused.push(record.id);
        // As fast as a client with some manners; the broker needs the processor to come back.
        await pace(REFUSED_PACE_MS);
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const all = Array.from({ length: lanes }, (_, i) => lane(i));
  return {
    accepted,
    refused,
    async stop() {
      running = false;
      await Promise.all(all);
    },
  };
}

/** Settles everything at once. */
function settling(): { readonly consumer: CollectingConsumer; readonly seen: Map<string, number>; readonly attach: (settle: (delivery: Delivery) => void) => void } {
  const seen = new Map<string, number>();
  let settle: (delivery: Delivery) => void = () => undefined;
  const consumer = new CollectingConsumer(1_000, (delivery) => {
    seen.set(delivery.head.id, (seen.get(delivery.head.id) ?? 0) + 1);
    consumer.deliveries.length = 0;
    settle(delivery);
  });
  return { consumer, seen, attach: (how) => void (settle = how) };
}

describe('kafka log: without its broker', { skip: NO_KAFKA_HOME }, () => {
  let broker: KafkaBroker;
  let scene: KafkaScene;

  before(async () => {
    broker = await kafkaBroker();
    scene = await kafkaScene([broker.plain], { partitions: PARTITIONS });
  });
  after(async () => {
    await scene.dispose();
    await broker.remove();
  });

  it('appends are refused, the next ones at once, until it is back; what was accepted is given out, and what is executed goes on being so', async () => {
    const gateway = await scene.open();
    const controller = await scene.open({ sessionTimeoutMs: SESSION_MS });
    const held: Delivery[] = [];
    const { consumer, seen, attach } = settling();
    const consumption = await controller.consume(consumer);
    attach((delivery) => {
      if (delivery.head.functionName === 'held') held.push(delivery);
      else consumption.settle(delivery);
    });
    const running = invocation({ functionName: 'held' });
    await gateway.append(running);
    await until(() => held.length === 1);
    const epochs = new Map(consumer.owned);

    const traffic = appending(gateway, 4);
    await until(() => traffic.accepted.length > 500);
    await broker.kill();
    await until(() => traffic.refused.length > 0);
    // The circuit is open now: a refusal waits for nothing, not even for a turn of the event loop.
    const refusals: string[] = [];
    for (const kind of ['async', 'sync'] as const) {
      gateway.append(invocation({ kind })).catch(() => refusals.push(kind));
    }
    await Promise.resolve().then(() => Promise.resolve());
    await until(() => refusals.length === 2);
    await until(() => traffic.refused.length > 100);
    // Kafka forgets no member while it is away, but this may take longer than a session.
    await broker.start();
    const before = traffic.accepted.length;
    await until(() => traffic.accepted.length > before + 500);
    await traffic.stop();
    await until(() => traffic.accepted.every((id) => seen.has(id)));
    assert.deepEqual(consumer.owned, epochs, 'nobody else had the partitions, so they were kept');
    const [delivery] = held;
    assert.ok(delivery !== undefined && held.length === 1, 'what was being executed is not given out again');
    assert.equal((await delivery.load()).id, running.id);
    consumption.settle(delivery);
    await controller.close();
    const next = new CollectingConsumer();
    const again = await scene.open();
    await again.consume(next);
    const marker = invocation();
    await again.append(marker);
    await next.until(() => next.ids.includes(marker.id));
    assert.ok(!next.ids.includes(running.id), 'and its settling is kept');
    await Promise.all([gateway.close(), again.close()]);
  });

  it('that stands still: appends are refused within their time, and of those accepted before, during and after none is missing', async () => {
    const gateway = await scene.open();
    const traffic = appending(gateway, 8);
    for (let pause = 0; pause < 2; pause++) {
      const target = traffic.accepted.length + 300;
      await until(() => traffic.accepted.length > target);
      const refusedBefore = traffic.refused.length;
      broker.signal('SIGSTOP');
      await until(() => traffic.refused.length > refusedBefore + 50);
      broker.signal('SIGCONT');
    }
    const target = traffic.accepted.length + 300;
    await until(() => traffic.accepted.length > target);
    await traffic.stop();
    const { consumer, seen, attach } = settling();
    const consumption = await gateway.consume(consumer);
    attach((delivery) => consumption.settle(delivery));
    // A producer that went on with the sequence numbers of a batch of unknown fate would have records confirmed and dropped here.
    await until(() => traffic.accepted.every((id) => seen.has(id)));
    await gateway.close();
  });
});

describe('kafka log: cut off from its broker', { skip: NO_KAFKA_HOME }, () => {
  let broker: KafkaBroker;
  let proxy: TcpProxy;
  let scene: KafkaScene;

  before(async () => {
    // The broker tells its clients the proxy's port, and waits to be reached there itself.
    const plainPort = await freePort();
    proxy = await tcpProxy({ host: '127.0.0.1', port: plainPort });
    broker = await kafkaBroker({ plainPort, advertisedPort: proxy.port });
    scene = await kafkaScene([`127.0.0.1:${proxy.port}`], { partitions: PARTITIONS });
  });
  after(async () => {
    await scene.dispose();
    await proxy.close();
    await broker.remove();
  });

  it('by connections that stay open and bring nothing, it builds new ones and goes on', async () => {
    const log = await scene.open({ sessionTimeoutMs: SESSION_MS });
    const { consumer, seen, attach } = settling();
    const consumption = await log.consume(consumer);
    attach((delivery) => consumption.settle(delivery));
    const first = invocation();
    await log.append(first);
    await until(() => seen.has(first.id));
    const epochs = new Map(consumer.owned);
    const connections = proxy.connections;
    proxy.swallow();
    await assert.rejects(log.append(invocation()), LogUnavailableError);
    // So long that the client has to see for itself that nothing comes any more.
    await until(() => proxy.connections > connections + 2);
    proxy.pass();
    const second = invocation();
    await until(() =>
      log.append(second).then(
        () => true,
        () => false,
      ),
    );
    await until(() => seen.has(second.id));
    assert.deepEqual([...consumer.owned.keys()].sort(), [...epochs.keys()].sort());
    await log.close();
  });
});
