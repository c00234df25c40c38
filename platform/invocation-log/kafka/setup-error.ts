import { connect as connectPlain } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { KafkaConnection } from './client.ts';

/** The setting that is to be corrected. */
export type KafkaSetting =
  | 'SLUICE_LOG'
  | 'SLUICE_KAFKA_TLS'
  | 'SLUICE_KAFKA_CA_FILE'
  | 'SLUICE_KAFKA_SASL'
  | 'SLUICE_KAFKA_USERNAME'
  | 'SLUICE_KAFKA_PASSWORD'
  | 'SLUICE_PARTITIONS'
  | 'SLUICE_KAFKA_SESSION_MS';

/** The log cannot be used as it is set up. One line that names the setting, what is wrong and what to do; trying again without a change is of no use. */
export class LogSetupError extends Error {
  override readonly name = 'LogSetupError';
  readonly setting: KafkaSetting;

  constructor(setting: KafkaSetting, problem: string, cause?: unknown) {
    super(`${setting}: ${problem}`, { cause });
    this.setting = setting;
  }
}

/** A broker that does not say anything to a probe within this is not going to. */
const PROBE_MS = 1_500;

/** What went wrong between us and the brokers, from kafkajs's error and, where that says too little, from asking the port itself. */
export async function diagnose(error: unknown, connection: KafkaConnection): Promise<LogSetupError> {
  if (error instanceof LogSetupError) return error;
  const { brokers, tls, sasl } = connection;
  const chain = causes(error);
  const text = chain.map(({ message }) => message).join(' | ');
  const types = chain.map((link) => (link as { type?: string }).type ?? '').join(' ');
  const who = sasl === undefined ? 'this client (no SASL user is set)' : `user "${sasl.username}"`;

  if (/AUTHORIZATION_FAILED/.test(types)) {
    const what = /TOPIC/.test(types) ? 'the topics (Create, Describe, DescribeConfigs, Read, Write)' : /GROUP/.test(types) ? 'the consumer group (Describe, Read)' : 'the cluster (Create, IdempotentWrite)';
    return new LogSetupError('SLUICE_KAFKA_USERNAME', `${who} has no permission for ${what}: ${firstLine(text)}`, error);
  }
  if (/mechanism is not supported|UNSUPPORTED_SASL_MECHANISM/.test(text + types)) {
    return new LogSetupError('SLUICE_KAFKA_SASL', `the broker does not offer ${sasl?.mechanism ?? 'this mechanism'}: ${firstLine(text)}`, error);
  }
  if (chain.some(({ name }) => name === 'KafkaJSSASLAuthenticationError') || /SASL_AUTHENTICATION_FAILED/.test(types)) {
    return new LogSetupError('SLUICE_KAFKA_PASSWORD', `the broker refuses ${who}, or the password: ${firstLine(text)}`, error);
  }
  if (/ILLEGAL_SASL_STATE/.test(types)) {
    return new LogSetupError('SLUICE_KAFKA_SASL', `the broker does not authenticate with SASL on this address, but ${sasl?.mechanism ?? 'SASL'} is set`, error);
  }
  if (/certificate|CERT_|altnames|self.signed/i.test(text)) {
    return new LogSetupError('SLUICE_KAFKA_CA_FILE', `the broker's certificate is not trusted: ${firstLine(text)}`, error);
  }
  if (/INVALID_SESSION_TIMEOUT/.test(types)) {
    return new LogSetupError('SLUICE_KAFKA_SESSION_MS', "the brokers allow no such session time-out; they have group.min.session.timeout.ms (6 s unless set) and group.max.session.timeout.ms", error);
  }
  if (/INCONSISTENT_GROUP_PROTOCOL/.test(types)) {
    return new LogSetupError('SLUICE_LOG', 'another program consumes under the name of the group of controllers; stop it, or choose another topic prefix', error);
  }
  return diagnoseByProbe(error, { brokers, tls: tls !== undefined, sasl: sasl !== undefined }, text);
}

async function diagnoseByProbe(error: unknown, { brokers, tls, sasl }: { readonly brokers: readonly string[]; readonly tls: boolean; readonly sasl: boolean }, text: string): Promise<LogSetupError> {
  const list = brokers.join(', ');
  const answers = await Promise.all(brokers.map((broker) => probe(broker)));
  const reached = answers.filter(({ tcp }) => tcp === 'connected');
  if (reached.length === 0) {
    return new LogSetupError('SLUICE_LOG', `no broker can be reached at ${list}: ${answers[0]?.tcp ?? 'no address is given'}`, error);
  }
  const speaksTls = reached.some((answer) => answer.tls);
  if (tls && !speaksTls) return new LogSetupError('SLUICE_KAFKA_TLS', `TLS is set, but ${list} does not speak it`, error);
  if (!tls && speaksTls) return new LogSetupError('SLUICE_KAFKA_TLS', `${list} speaks TLS, but it is not set`, error);
  if (!sasl && /closed|ECONNRESET|Not connected/i.test(text)) {
    return new LogSetupError('SLUICE_KAFKA_SASL', `${list} closes the connection of a client that does not authenticate; if it is a Kafka broker, it wants SASL`, error);
  }
  return new LogSetupError('SLUICE_LOG', `the brokers at ${list}, or the addresses that they advertise, do not answer as Kafka: ${firstLine(text)}`, error);
}

interface ProbeAnswer {
  /** `connected`, or why not. */
  readonly tcp: string;
  readonly tls: boolean;
}

async function probe(broker: string): Promise<ProbeAnswer> {
  const colon = broker.lastIndexOf(':');
  const host = broker.slice(0, colon);
  const port = Number(broker.slice(colon + 1));
  const tcp = await new Promise<string>((resolve) => {
    const socket = connectPlain({ host, port, timeout: PROBE_MS });
    const done = (answer: string): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => done('connected'));
    socket.once('timeout', () => done(`${broker} does not answer within ${PROBE_MS} ms`));
    socket.once('error', (error: Error) => done(error.message));
  });
  if (tcp !== 'connected') return { tcp, tls: false };
  const tls = await new Promise<boolean>((resolve) => {
    // Only whether TLS is spoken at all: nothing is sent, and whom one speaks to is not the question here.
    const socket = connectTls({ host, port, timeout: PROBE_MS, rejectUnauthorized: false });
    const done = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('secureConnect', () => done(true));
    socket.once('timeout', () => done(false));
    // An alert is an answer in TLS: for example a demand for the client's certificate.
    socket.once('error', (error: NodeJS.ErrnoException) => done(/ALERT/.test(error.code ?? '') && !/WRONG_VERSION/.test(error.code ?? '')));
    socket.once('close', () => done(false));
  });
  return { tcp, tls };
}

function causes(error: unknown): Error[] {
  const chain: Error[] = [];
  for (let link: unknown = error; link instanceof Error && !chain.includes(link) && chain.length < 8; link = link.cause) {
    chain.push(link);
    const { errors } = link as { errors?: readonly unknown[] };
    for (const inner of errors ?? []) if (inner instanceof Error) chain.push(inner);
  }
  return chain;
}

function firstLine(text: string): string {
  return (text.split('\n')[0] ?? '').slice(0, 300);
}
