import { Redis } from 'ioredis';
import type { Patience, RedisAddress } from './settings.ts';

/** A discarded client's socket is destroyed after so long, if its server has not closed it by then. */
const DISCONNECT_MS = 100;

/**
 * A client that lives as long as one connection, and has not begun it yet. Everything by which ioredis would itself carry on is off: it would
 * queue without a bound, send an increment a second time, or hold what was under way when the connection broke until a later one stands.
 */
export function newClient(address: RedisAddress, { connectMs, commandMs }: Pick<Patience, 'connectMs' | 'commandMs'>, connectionName: string): Redis {
  return new Redis({
    host: address.host,
    port: address.port,
    db: address.database,
    ...(address.username === undefined ? {} : { username: address.username }),
    ...(address.password === undefined ? {} : { password: address.password }),
    ...(address.tls ? { tls: address.caPem === undefined ? {} : { ca: address.caPem } } : {}),
    connectionName,
    // RESP3 gains nothing on connections of one purpose each, and what stands in for a Redis has RESP2 at least.
    protocol: 2,
    lazyConnect: true,
    connectTimeout: connectMs,
    commandTimeout: commandMs,
    disconnectTimeout: DISCONNECT_MS,
    enableOfflineQueue: false,
    enableReadyCheck: false,
    autoResubscribe: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
    disableClientInfo: true,
  });
}
