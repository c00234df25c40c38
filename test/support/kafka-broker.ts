import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { plainKafka } from './kafka-logs.ts';
import { freePort, until, type Certificate } from './redis-server.ts';

/** A Kafka broker of the test's own, on loopback, which it may stop and kill. Its data is kept until `remove`. */
export interface KafkaBroker {
  /** Without authentication or encryption. */
  readonly plain: string;
  /** SASL without encryption; set where users are. */
  readonly sasl: string;
  /** TLS; set where a certificate is. */
  readonly tls: string;
  /** Resolves once it answers. */
  start(): Promise<void>;
  kill(): Promise<void>;
  /** Holds and continues the process. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void;
  remove(): Promise<void>;
}

export interface KafkaBrokerOptions {
  /** What the plain listener says its port is: that of a proxy before it. */
  readonly advertisedPort?: number;
  /** Of the plain listener; any that is free where undefined. */
  readonly plainPort?: number;
  /** By name their passwords, for PLAIN and SCRAM; only `admin`, and who comes without a name, may do anything. */
  readonly users?: Readonly<Record<string, string>>;
  readonly certificate?: Certificate;
  readonly minSessionTimeoutMs?: number;
}

/** Why tests that need a Kafka of their own are skipped, or false; said loudly, once. `KAFKA_HOME` names an unpacked Kafka: a folder with `libs`. */
export const NO_KAFKA_HOME: string | false = lackOfKafka();

function lackOfKafka(): string | false {
  const home = process.env.KAFKA_HOME;
  if (home !== undefined && existsSync(join(home, 'libs'))) return false;
  const reason = 'KAFKA_HOME does not name an unpacked Kafka: tests that start a broker of their own are skipped. Set it to run them.';
  process.stderr.write(`${reason}\n`);
  return reason;
}

const CLUSTER_ID = 'c2x1aWNlLXRlc3RzLW93bg';

export async function kafkaBroker(options: KafkaBrokerOptions = {}): Promise<KafkaBroker> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-broker-'));
  const [plain, sasl, tls, controller] = [options.plainPort ?? (await freePort()), await freePort(), await freePort(), await freePort()];
  const file = join(folder, 'server.properties');
  await writeFile(file, await properties(options, { folder, plain, sasl, tls, controller }));
  const scram = Object.entries(options.users ?? {}).flatMap(([name, password]) => ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((mechanism) => ['--add-scram', `${mechanism}=[name=${name},password=${password}]`]));
  await ended(java(['kafka.tools.StorageTool', 'format', '-t', CLUSTER_ID, '-c', file, ...scram]));
  let child: ChildProcess | undefined;
  const atExit = (): void => void child?.kill('SIGKILL');
  process.once('exit', atExit);
  // A test runner ends a file that takes too long by this signal, and the broker would outlive it.
  const atTerm = (): void => process.exit(143);
  process.once('SIGTERM', atTerm);
  const broker: KafkaBroker = {
    plain: `127.0.0.1:${plain}`,
    sasl: `127.0.0.1:${sasl}`,
    tls: `127.0.0.1:${tls}`,
    async start() {
      child = java(['kafka.Kafka', file]);
      await until(async () => answers(`127.0.0.1:${plain}`));
    },
    async kill() {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    },
    signal: (signal) => void child?.kill(signal),
    async remove() {
      await broker.kill();
      process.off('exit', atExit);
      process.off('SIGTERM', atTerm);
      await rm(folder, { recursive: true, force: true });
    },
  };
  await broker.start();
  return broker;
}

function java(args: readonly string[]): ChildProcess {
  const home = process.env.KAFKA_HOME ?? '';
  const archive = join(home, 'classes.jsa');
  return spawn('java', ['-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', ...(existsSync(archive) ? [`-XX:SharedArchiveFile=${archive}`] : []), '-cp', join(home, 'libs', '*'), ...args], { stdio: 'ignore' });
}

async function ended(child: ChildProcess): Promise<void> {
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`${child.spawnargs.slice(-3).join(' ')} has failed with code ${code}`);
}

/** Whether a client is told of a broker that leads something: before, topics cannot be made. */
async function answers(address: string): Promise<boolean> {
  const admin = plainKafka([address]).admin({ retry: { retries: 0 } });
  try {
    await admin.connect();
    const { brokers, controller } = await admin.describeCluster();
    return brokers.length > 0 && controller !== null;
  } catch {
    return false;
  } finally {
    await admin.disconnect().catch(() => undefined);
  }
}

interface Places {
  readonly folder: string;
  readonly plain: number;
  readonly sasl: number;
  readonly tls: number;
  readonly controller: number;
}

async function properties({ advertisedPort, users, certificate, minSessionTimeoutMs = 1_000 }: KafkaBrokerOptions, { folder, plain, sasl, tls, controller }: Places): Promise<string> {
  const listeners = [`PLAIN://127.0.0.1:${plain}`, `CONTROLLER://127.0.0.1:${controller}`];
  const advertised = [`PLAIN://127.0.0.1:${advertisedPort ?? plain}`];
  const more: string[] = [];
  if (users !== undefined) {
    listeners.push(`SASL://127.0.0.1:${sasl}`);
    advertised.push(`SASL://127.0.0.1:${sasl}`);
    const known = Object.entries(users).map(([name, password]) => `user_${name}="${password}"`);
    more.push(
      'listener.name.sasl.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512',
      `listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required ${known.join(' ')};`,
      'listener.name.sasl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;',
      'listener.name.sasl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;',
      'authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer',
      'super.users=User:ANONYMOUS;User:admin',
    );
  }
  if (certificate !== undefined) {
    listeners.push(`TLS://127.0.0.1:${tls}`);
    advertised.push(`TLS://127.0.0.1:${tls}`);
    const store = join(folder, 'keystore.pem');
    await writeFile(store, `${await readFile(certificate.keyFile, 'utf8')}${certificate.pem}`);
    more.push('listener.name.tls.ssl.keystore.type=PEM', `listener.name.tls.ssl.keystore.location=${store}`);
  }
  return [
    'process.roles=broker,controller',
    'node.id=1',
    `controller.quorum.voters=1@127.0.0.1:${controller}`,
    'controller.listener.names=CONTROLLER',
    'inter.broker.listener.name=PLAIN',
    'listener.security.protocol.map=PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL',
    `listeners=${listeners.join(',')}`,
    `advertised.listeners=${advertised.join(',')}`,
    `log.dirs=${join(folder, 'data')}`,
    'auto.create.topics.enable=false',
    // One that was killed is let in again only after its former session has ended.
    'broker.session.timeout.ms=2000',
    'broker.heartbeat.interval.ms=500',
    'offsets.topic.replication.factor=1',
    'offsets.topic.num.partitions=1',
    'transaction.state.log.replication.factor=1',
    'transaction.state.log.min.isr=1',
    'share.coordinator.state.topic.replication.factor=1',
    'share.coordinator.state.topic.min.isr=1',
    'group.initial.rebalance.delay.ms=0',
    `group.min.session.timeout.ms=${minSessionTimeoutMs}`,
    'log.cleaner.dedupe.buffer.size=8388608',
    ...more,
  ].join('\n');
}
