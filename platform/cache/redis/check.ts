import { newClient } from './client.ts';
import { probe } from './probe.ts';
import { CacheSetupError, DEFAULT_KEY_PREFIX, redisAddress, type RedisAddress, type RedisSettings } from './settings.ts';

export type RedisCheck =
  | { readonly kind: 'ready' }
  /** It may come, and the driver finds it then. `warning` is one line for the operator. */
  | { readonly kind: 'unreachable'; readonly warning: string };

export interface RedisCheckOptions extends RedisSettings {
  readonly keyPrefix?: string;
}

/** Together below 10 s: a connection, a command that gets no answer, and both probes. */
const CONNECT_MS = 2_500;
const COMMAND_MS = 2_000;
const PROBE_MS = 2_000;
/** The key that the check writes goes by itself. */
const TRACE_MS = 1_000;

/**
 * Looks, at a start, whether the settings lead to a Redis that will serve the cache; does once whatever the driver will do. Within 10 s.
 *
 * The rule: what *answers* may refuse a start, what does not answer may not. A start is refused, by a {@link CacheSetupError}, where the settings
 * contradict themselves, or where something answered and its answer shows that it will not serve these settings however long one waits:
 * wrong or missing password, a user without the rights, a database that there is not, a certificate that is not accepted, TLS on one side only,
 * something that is no Redis, a Redis Cluster. Where nothing answers (no such host, refused, silent, closed without a word) the settings may be
 * right and Redis away, and what it says of its own state (loading, out of memory, too many clients, a replica) may pass: that is a warning, and the
 * cache is empty until it is there. A name that does not resolve counts as away, since the names of stopped containers do not.
 */
export async function checkRedis({ keyPrefix = DEFAULT_KEY_PREFIX, ...settings }: RedisCheckOptions): Promise<RedisCheck> {
  const address = redisAddress(settings);
  const failure = await rehearse(address, keyPrefix);
  if (failure === undefined) return { kind: 'ready' };
  const refusal = refusalOf(address, failure) ?? (failure.reachable ? await refusalByProbe(address) : undefined);
  if (refusal !== undefined) throw new CacheSetupError(refusal);
  return { kind: 'unreachable', warning: `The cache at ${address.shown} (SLUICE_CACHE) cannot be used yet: ${failure.message}. Sluice goes on without it until it can.` };
}

interface Failure {
  /** What Redis answered, if it did. */
  readonly answer: string | undefined;
  /** Of Node or OpenSSL. */
  readonly code: string | undefined;
  readonly message: string;
  /** There was a connection, or it is not known that there was none; and no answer of Redis. */
  readonly reachable: boolean;
}

/** Does once what the driver does. What went wrong, or undefined. */
async function rehearse(address: RedisAddress, prefix: string): Promise<Failure | undefined> {
  const client = newClient(address, { connectMs: CONNECT_MS, commandMs: COMMAND_MS }, 'sluice-cache-check');
  // The first error says why; what follows from it says only that the connection is closed.
  let first: Error | undefined;
  const { promise: failed, reject } = Promise.withResolvers<never>();
  failed.catch(() => undefined);
  client.on('error', (error: Error) => {
    first ??= error;
    reject(error);
  });
  const ended = new Promise<void>((resolve) => client.once('end', () => resolve()));
  const key = `${prefix}check`;
  try {
    await client.connect();
    await Promise.race([failed, client.set(key, '0', 'PX', TRACE_MS)]);
    await client.eval("return redis.call('INCRBY', KEYS[1], 1)", 1, key);
    await client.get(key);
    await client.del(key);
    await client.publish(key, '');
    await client.subscribe(key);
    return undefined;
  } catch (error) {
    return failureOf(first ?? (error as Error));
  } finally {
    client.disconnect();
    await ended;
  }
}

const UNREACHABLE = new Set(['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENOTFOUND', 'EAI_AGAIN', 'EACCES', 'EADDRNOTAVAIL']);

function failureOf(error: Error & { readonly code?: string }): Failure {
  const answered = error.name === 'ReplyError';
  return {
    answer: answered ? error.message : undefined,
    code: error.code,
    message: answered ? `it answers ${error.message}` : error.message.replace(/\.$/, ''),
    reachable: !answered && !UNREACHABLE.has(error.code ?? ''),
  };
}

/** OpenSSL's and Node's names for a certificate that is not accepted. */
const CERTIFICATE = /CERT|SELF_SIGNED|ISSUER|INVALID_CA|CRL|PATH_LENGTH|INVALID_PURPOSE/;

/** Why the start is refused, or undefined where the failure by itself is no reason to. */
function refusalOf(address: RedisAddress, { answer, code = '', message }: Failure): string | undefined {
  const at = `Redis at ${address.shown}`;
  if (answer !== undefined) return refusalByAnswer(address, answer);
  if (message.startsWith('Unknown RESP type')) return notRedis(address);
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return `SLUICE_CACHE names a host for which the certificate of ${at} was not made: ${message}.`;
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID') return `SLUICE_CACHE leads to a Redis whose certificate is not valid at this time: ${at}: ${message}.`;
  if (/ALERT_CERTIFICATE_REQUIRED|ALERT_HANDSHAKE_FAILURE|ALERT_BAD_CERTIFICATE/.test(code)) {
    return `SLUICE_CACHE leads to a Redis that asks for a client certificate, which Sluice does not have: ${at}. Set its tls-auth-clients to no.`;
  }
  if (/^ERR_SSL_|^EPROTO$/.test(code)) return undefined;
  if (CERTIFICATE.test(code)) {
    return address.caPem === undefined
      ? `SLUICE_REDIS_CA_FILE is not set, and the certificate of ${at} is by no authority that Node knows: ${message}.`
      : `SLUICE_REDIS_CA_FILE has not the authority of the certificate of ${at}: ${message}.`;
  }
  return undefined;
}

function refusalByAnswer({ shown, username }: RedisAddress, answer: string): string | undefined {
  const said = `Redis at ${shown} answers ${answer.replace(/\.$/, '')}.`;
  if (/^NOAUTH/.test(answer)) return `SLUICE_REDIS_PASSWORD is not set: ${said}`;
  if (/^WRONGPASS|invalid password/.test(answer)) return `${username === undefined ? '' : 'SLUICE_REDIS_USERNAME or '}SLUICE_REDIS_PASSWORD is wrong: ${said}`;
  if (/^NOPERM/.test(answer)) return `SLUICE_REDIS_USERNAME is a user without the rights that the cache needs: ${said}`;
  if (/^DENIED/.test(answer)) return `SLUICE_CACHE leads to a Redis in protected mode, which serves its own machine only: ${shown}. Give it a password, and SLUICE_REDIS_PASSWORD the same.`;
  if (/DB index|^ERR invalid DB/.test(answer)) return `SLUICE_CACHE names a database that there is not: ${said}`;
  if (/^MOVED|^CLUSTERDOWN|cluster mode/.test(answer)) return `SLUICE_CACHE leads to a Redis Cluster; give a Redis that stands alone: ${said}`;
  if (/^ERR unknown command/.test(answer)) return `SLUICE_CACHE leads to a server without a command that the cache needs: ${said}`;
  return undefined;
}

/** Where the failure does not say what answered, if anything did. */
async function refusalByProbe(address: RedisAddress): Promise<string | undefined> {
  const finding = await probe(address, PROBE_MS);
  if (finding === 'other') return notRedis(address);
  if (finding === 'tls' && !address.tls) return `SLUICE_CACHE begins with redis://, but what is at ${address.shown} speaks TLS. Write rediss://.`;
  if (finding === 'redis' && address.tls) return `SLUICE_CACHE begins with rediss://, but Redis at ${address.shown} does not speak TLS. Write redis://.`;
  return undefined;
}

function notRedis({ shown }: RedisAddress): string {
  return `SLUICE_CACHE leads to something that is no Redis: ${shown}.`;
}
