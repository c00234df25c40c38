import type { Clock } from '../../clock.ts';
import type { Logger } from '../../telemetry/logger.ts';
import { percentDecoded } from '../../percent-encoding.ts';

/** Where Redis is and how to be let in, as an operator's settings say it. */
export interface RedisSettings {
  /** `SLUICE_CACHE`: `redis://host:port/database`, or `rediss://` for TLS. May carry user and password; those given apart go before. */
  readonly url: string;
  /** `SLUICE_REDIS_USERNAME`: an ACL user; Redis's user `default` without it. */
  readonly username?: string;
  /** `SLUICE_REDIS_PASSWORD`. */
  readonly password?: string;
  /** The certificates in `SLUICE_REDIS_CA_FILE`, PEM, that the server's is checked against; those that Node knows without it. */
  readonly caPem?: string;
}

export interface RedisCacheOptions extends RedisSettings {
  /** Goes before every key and channel, so that several Sluices can share a server. */
  readonly keyPrefix?: string;
  readonly logger: Logger;
  readonly clock: Clock;
  /** 0 up to 1; for the jitter. */
  readonly random?: () => number;
  /** How long to bear with what does not answer. */
  readonly patience?: Partial<Patience>;
}

/** How long to bear with what does not answer, all in milliseconds. */
export interface Patience {
  /** For a connection, its TLS handshake included. */
  readonly connectMs: number;
  /** For a command. Then its connection is taken for dead: Redis answers in order, so everything after it would wait as well. */
  readonly commandMs: number;
  /** A connection is asked for a sign of life so often; nothing else would show that a silent one is dead. */
  readonly heartbeatMs: number;
}

/** An operation that fails costs its caller `commandMs` at the very most: no more than a caller of a function can bear. */
export const PATIENCE: Patience = { connectMs: 2_000, commandMs: 1_000, heartbeatMs: 3_000 };

export const DEFAULT_KEY_PREFIX = 'sluice:';
const DEFAULT_PORT = 6_379;

/**
 * The settings cannot be meant so, or the server that they name has shown that it will never serve them. The message is one line that
 * names the setting and the cause, never a password.
 */
export class CacheSetupError extends Error {
  override readonly name = 'CacheSetupError';
}

/** {@link RedisSettings}, taken apart. */
export interface RedisAddress {
  readonly host: string;
  readonly port: number;
  readonly database: number;
  readonly tls: boolean;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly caPem: string | undefined;
  /** For people: the URL without user and password. */
  readonly shown: string;
}

/** Throws {@link CacheSetupError}. */
export function redisAddress({ url, username, password, caPem }: RedisSettings): RedisAddress {
  const parsed = URL.parse(url);
  // What was given is not repeated: there may be a password in it.
  if (parsed === null || !/^rediss?:$/.test(parsed.protocol) || parsed.hostname === '' || parsed.search !== '' || parsed.hash !== '') {
    throw new CacheSetupError('SLUICE_CACHE is no address of a Redis. Write redis://host:port, or rediss://host:port for TLS.');
  }
  const database = /^\/?(\d{0,6})$/.exec(parsed.pathname)?.[1];
  if (database === undefined || parsed.port === '0') {
    throw new CacheSetupError('SLUICE_CACHE has a port or a database that Redis cannot have. Write redis://host:port/database, with a number for both.');
  }
  const tls = parsed.protocol === 'rediss:';
  if (caPem !== undefined && !tls) {
    throw new CacheSetupError('SLUICE_REDIS_CA_FILE is set, but SLUICE_CACHE begins with redis://, which goes without TLS. Write rediss://, or leave out the file.');
  }
  if (caPem !== undefined && !caPem.includes('-----BEGIN CERTIFICATE-----')) {
    throw new CacheSetupError('SLUICE_REDIS_CA_FILE has no certificate in it. Give a file of certificates in PEM form.');
  }
  return {
    host: parsed.hostname.replace(/^\[(.*)\]$/, '$1'),
    port: parsed.port === '' ? DEFAULT_PORT : Number(parsed.port),
    database: Number(database),
    tls,
    username: username ?? decoded(parsed.username),
    password: password ?? decoded(parsed.password),
    caPem,
    shown: `${parsed.protocol}//${parsed.host}${Number(database) === 0 ? '' : `/${database}`}`,
  };
}

function decoded(text: string): string | undefined {
  if (text === '') return undefined;
  const plain = percentDecoded(text);
  if (plain === undefined) {
    throw new CacheSetupError('SLUICE_CACHE has a user or password with a lone % in it. Write %25 for it, or set SLUICE_REDIS_USERNAME and SLUICE_REDIS_PASSWORD.');
  }
  return plain;
}
