import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Clock } from '../platform/clock.ts';
import type { FunctionCatalogue } from '../platform/functions/function-catalogue.ts';
import type { FunctionLogs } from '../platform/function-logs/function-logs.ts';
import type { InvocationLog } from '../platform/invocation-log/invocation-log.ts';
import type { ObjectStore } from '../platform/object-store/object-store.ts';
import type { Logger } from '../platform/telemetry/logger.ts';
import type { InvocationLimiter } from './admission/invocation-limiter.ts';
import { frontDoor } from './http/front-door.ts';
import type { InvocationMeter } from './invoke/invocation-meter.ts';
import { InvokeHandler } from './invoke/invoke-handler.ts';
import type { PendingReplies } from './invoke/pending-replies.ts';
import { TargetResolver } from './invoke/target-resolver.ts';
import { createLambdaApi } from './lambda-api/handle.ts';
import { createLogsApi } from './logs-api/handle.ts';
import { createS3Api } from './s3-api/handle.ts';

export interface GatewayOptions {
  readonly log: InvocationLog;
  readonly catalogue: FunctionCatalogue;
  readonly store: ObjectStore;
  readonly functionLogs: FunctionLogs;
  readonly replies: PendingReplies;
  /** Lambda's request rates, which gateways share; absent where there is but one and its machine is the limit. */
  readonly limiter?: InvocationLimiter;
  /** Counts Invoke requests; absent where nobody asks for metrics. */
  readonly meter?: InvocationMeter;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  /** Verifies presigned downloads. */
  readonly signingSecret: Buffer;
  /**
   * A stop first answers whatever still comes for so long, and asks each client to close its connection: one that is kept alive and idle may have a request on its
   * way at the moment at which it is closed. 0 by default.
   */
  readonly lingerMs?: number;
  readonly settings: {
    readonly host: string;
    readonly port: number;
    readonly account: string;
    readonly region: string;
    readonly accountConcurrency: number;
    readonly maxWaitingSync: number;
    /** See `ApiSettings.runsContainerImages`. */
    readonly runsContainerImages: boolean;
  };
}

export interface Gateway {
  /** Where clients reach it. */
  readonly url: string;
  /** Takes no more requests, answers those that it has, within {@link STOP_PATIENCE_MS}. Idempotent. */
  stop(): Promise<void>;
}

/** Headers must be there by then: a client that sends them drop by drop holds a connection for nothing. */
const HEADERS_TIMEOUT_MS = 10_000;
/** How often node:http looks for connections past these limits. */
const TIMEOUT_CHECK_INTERVAL_MS = 2_000;
/** A whole request, including the upload of a large object. */
const REQUEST_TIMEOUT_MS = 15 * 60_000;
/** Idle connections are kept longer than the AWS SDKs keep theirs, so that the client closes first and no request meets a closing socket. */
const KEEP_ALIVE_TIMEOUT_MS = 65_000;
/** Connections at once; further ones are refused by closing them. */
const MAX_CONNECTIONS = 20_000;
/** How long a stop waits for running invocations. */
const STOP_PATIENCE_MS = 30_000;

/** Starts the front door. Rejects when the address is taken. */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const { catalogue, store, functionLogs, replies, clock, logger, settings, signingSecret } = options;
  const home = { account: settings.account, region: settings.region };
  const lambdaApi = createLambdaApi({ catalogue, store, settings, clock, logger });
  const invoke = new InvokeHandler({
    log: options.log,
    targets: new TargetResolver({ catalogue, home, clock, random: options.random, heal: (record) => lambdaApi.heal(record) }),
    replies,
    clock,
    logger,
    home,
    maxWaitingSync: settings.maxWaitingSync,
    limiter: options.limiter,
    meter: options.meter,
  });
  const answer = frontDoor({
    invoke,
    lambdaApi,
    s3Api: createS3Api({ store, logger, region: settings.region, signingSecret }),
    logsApi: createLogsApi({ functionLogs, account: settings.account, region: settings.region, logger }),
    logger,
  });
  const server = createServer({ headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS, connectionsCheckingInterval: TIMEOUT_CHECK_INTERVAL_MS, keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS, noDelay: true });
  server.maxConnections = MAX_CONNECTIONS;
  let stopping = false;
  server.on('request', (request, response) => {
    if (stopping) response.shouldKeepAlive = false;
    answer(request, response);
  });
  server.on('clientError', answerUnreadable);
  const address = await listen(server, settings.host, settings.port);
  let stopped: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    stopping = true;
    const { lingerMs = 0 } = options;
    if (lingerMs > 0) await new Promise<void>((resolve) => void clock.at(clock.now() + lingerMs, resolve));
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeIdleConnections();
    const patience = clock.at(clock.now() + STOP_PATIENCE_MS, () => replies.close());
    await replies.idle();
    patience.cancel();
    replies.close();
    server.closeIdleConnections();
    const force = clock.at(clock.now() + 1_000, () => server.closeAllConnections());
    await closed;
    force.cancel();
    await lambdaApi.idle();
  };
  return { url: `http://${settings.host.includes(':') ? `[${settings.host}]` : settings.host}:${address.port}`, stop: () => (stopped ??= stop()) };
}

function listen(server: Server, host: string, port: number): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.removeListener('error', reject);
      resolve(server.address() as AddressInfo);
    });
  });
}

/** Bytes that are no HTTP request: too slow, too large or not HTTP at all. The connection carries nothing after that. */
function answerUnreadable(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const [status, code, message] = unreadable(error.code);
  const body = JSON.stringify({ Type: 'User', message });
  socket.end(`HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nx-amzn-ErrorType: ${code}\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`);
}

function unreadable(code: string | undefined): readonly [string, string, string] {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return ['431 Request Header Fields Too Large', 'RequestHeaderFieldsTooLargeException', 'The headers of the request are larger than 16 KiB.'];
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return ['408 Request Timeout', 'RequestTimeoutException', 'The request did not arrive in time.'];
    default:
      return ['400 Bad Request', 'BadRequestException', 'The request is not valid HTTP/1.1.'];
  }
}
