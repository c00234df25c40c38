import { connect as connectPlain, isIP, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';
import { Kafka, logLevel, type ISocketFactoryArgs, type KafkaConfig, type LogEntry, type RetryOptions } from 'kafkajs';
import type { Logger } from '../../telemetry/logger.ts';
import { LogSetupError } from './setup-error.ts';

/** How the brokers are reached. */
export interface KafkaConnection {
  /** `host:port` of some of them; the rest is found out. */
  readonly brokers: readonly string[];
  /** Off where undefined. PEM texts. */
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string };
  readonly sasl?: KafkaSasl;
  /** Names this process in the brokers' logs and quotas. */
  readonly clientId: string;
}

export interface KafkaSasl {
  readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512';
  readonly username: string;
  readonly password: string;
}

/** The brokers that a log's URL names: `kafka://host:port,host:port`. Throws {@link LogSetupError} for any other text. */
export function brokersOf(url: string): readonly string[] {
  const list = /^kafka:\/\/([^/?#@\s]+)\/?$/.exec(url)?.[1]?.split(',') ?? [];
  const valid = list.length > 0 && list.every((broker) => /^[a-z0-9._-]+:\d{1,5}$/i.test(broker) && Number(broker.split(':')[1]) <= 65_535);
  if (!valid) throw new LogSetupError('SLUICE_LOG', `"${url.replace(/\/\/[^/]*@/, '//…@')}" does not name brokers; write kafka://host:port, further ones behind commas, and user and password into settings of their own`);
  return list;
}

/** A broker that does not answer a connection within this is away. */
const CONNECT_TIMEOUT_MS = 2_000;
/** A request that is not answered within this has failed. Requests that are meant to wait (fetch, join) have their own, longer limit. */
const REQUEST_TIMEOUT_MS = 5_000;
const KEEP_ALIVE_MS = 10_000;
const GIVEN_UP = 'This client has been given up.';

/**
 * kafkajs, and the sockets that it has opened. kafkajs can only be asked to disconnect, waits for its pending requests then, and
 * reconnects when it is in the middle of a retry; `abandon` ends it for certain: no socket is left, and none is opened any more.
 */
export class KafkaClient {
  readonly kafka: Kafka;
  readonly #sockets = new Set<Socket>();
  #abandoned = false;

  constructor(connection: KafkaConnection, logger: Logger, retry: RetryOptions) {
    this.kafka = new Kafka({
      ...commonConfig(connection, logger),
      retry,
      socketFactory: (args) => this.#open(args),
    });
  }

  #open(args: ISocketFactoryArgs): Socket {
    if (this.#abandoned) throw new Error(GIVEN_UP);
    const socket = openSocket(args);
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    return socket;
  }

  /** Idempotent. Whatever is under way in it fails. */
  abandon(): void {
    this.#abandoned = true;
    // With an error: kafkajs does not listen to a mere close, and would keep requests waiting for their time-out.
    for (const socket of this.#sockets) socket.destroy(new Error(GIVEN_UP));
  }

  /** Lets `disconnect` run for so long, then abandons what is left. */
  async end(disconnect: () => Promise<void>, waitMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, waitMs);
    });
    try {
      await Promise.race([disconnect().catch(() => undefined), patience]);
    } finally {
      clearTimeout(timer);
      this.abandon();
    }
  }
}

function openSocket({ host, port, ssl, onConnect }: ISocketFactoryArgs): Socket {
  const tls = ssl as ConnectionOptions | null | undefined;
  const socket =
    tls === null || tls === undefined
      ? connectPlain({ host, port, noDelay: true }, onConnect)
      : connectTls({ host, port, ...(isIP(host) === 0 ? { servername: host } : {}), ...tls }, onConnect);
  socket.setNoDelay(true);
  socket.setKeepAlive(true, KEEP_ALIVE_MS);
  return socket;
}

/** What kafkajs calls an error is often the first of several attempts: it is a warning here; what fails in the end is reported by the driver. */
function logCreator(logger: Logger): NonNullable<KafkaConfig['logCreator']> {
  return () =>
    ({ level, log: { message, groupId, topic, error, broker } }: LogEntry) => {
      // Both are of our own making.
      if (message.startsWith('Consumer group received unsubscribed topics') || message.includes(GIVEN_UP)) return;
      logger[level === logLevel.ERROR ? 'warn' : 'debug']({ groupId: groupId as unknown, topic: topic as unknown, broker: broker as unknown, cause: error as unknown }, `kafka: ${message}`);
    };
}

function commonConfig(connection: KafkaConnection, logger: Logger): KafkaConfig {
  const { brokers, tls, sasl, clientId } = connection;
  return {
    brokers: [...brokers],
    clientId,
    connectionTimeout: CONNECT_TIMEOUT_MS,
    authenticationTimeout: CONNECT_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    logLevel: logLevel.WARN,
    logCreator: logCreator(logger),
    ...(tls === undefined ? {} : { ssl: { ...(tls.ca === undefined ? {} : { ca: tls.ca }), ...(tls.cert === undefined ? {} : { cert: tls.cert }), ...(tls.key === undefined ? {} : { key: tls.key }) } }),
    ...(sasl === undefined ? {} : { sasl: saslOptions(sasl) }),
  };
}

function saslOptions({ mechanism, username, password }: KafkaSasl): NonNullable<KafkaConfig['sasl']> {
  return { mechanism, username, password } as NonNullable<KafkaConfig['sasl']>;
}
