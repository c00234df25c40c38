import { randomUUID } from 'node:crypto';
import type { Cache } from '../../platform/cache/cache.ts';
import { memoryCache } from '../../platform/cache/memory.ts';
import { systemClock } from '../../platform/clock.ts';
import { SETTINGS, type Settings } from '../../platform/configuration/settings.ts';
import { internalAgent } from '../../platform/internal-http/client.ts';
import { sendBytes, type InternalRoute } from '../../platform/internal-http/server.ts';
import { DRAINED_PATH } from '../../platform/protocol/wire/messages.ts';
import { HttpReplies } from '../../platform/protocol/http-replies.ts';
import { EVERY_WORKER, joinToken } from '../../platform/protocol/wire/tokens.ts';
import { createLogger } from '../../platform/telemetry/logger.ts';
import { Metrics } from '../../platform/telemetry/metrics.ts';
import { Controllers } from '../../worker/controllers/controllers.ts';
import { ControllerDirectory } from '../../worker/controllers/directory.ts';
import { registerWorkerMetrics } from '../../worker/metrics.ts';
import { containerMemoryLimitMiB } from '../../worker/process/memory-limit.ts';
import { startWorker, type ContainerSettings } from '../../worker/start.ts';
import { Closers, makePrivateFolder, readPem, sharedSecret, type RoleContext } from './context.ts';
import { startInternalListener } from './internal.ts';
import type { StartRole } from './role.ts';
import { CliError, EXIT } from '../errors.ts';
import { version } from '../version.ts';

/** A token that a worker makes for itself lives as long as a process well may; `sluice token` makes shorter ones. */
const OWN_TOKEN_LIFETIME_MS = 10 * 365 * 86_400_000;
/** What functions call when nothing else is set: a gateway on this machine. */
const DEFAULT_ENDPOINT = 'http://127.0.0.1';

/** Starts a worker against the services of the settings. Nothing is left running where it rejects. */
export const startWorkerRole: StartRole = async (settings) => {
  const context: RoleContext = { settings, logger: createLogger(settings.logLevel), closers: new Closers() };
  const { logger, closers } = context;
  const clock = systemClock;
  try {
    const worker = tokenOwner(settings.joinToken) ?? settings.workerName;
    const token = settings.joinToken ?? joinToken(sharedSecret(settings), { worker, expiresAtMs: clock.now() + OWN_TOKEN_LIFETIME_MS });
    const cache = await openNews(context);
    await makePrivateFolder(settings.dataDir);
    const agent = internalAgent();
    closers.add(() => agent.close());
    const storeAgent = internalAgent({ caPem: settings.s3CaFile === undefined ? undefined : await readPem('s3CaFile', settings.s3CaFile) });
    closers.add(() => storeAgent.close());
    const replies = new HttpReplies(agent, logger);
    const room = { maxEnvironments: settings.maxEnvironments, maxMemoryMiB: settings.maxEnvironmentMemoryMiB };
    const controllers: Controllers = new Controllers({
      worker,
      instance: randomUUID(),
      joinToken: token,
      agent, clock, logger,
      storeAgent,
      room,
      dedicated: settings.dedicated === 'on',
      memoryLimitMiB: containerMemoryLimitMiB,
      onMet: (url) => directory.met(url),
    });
    const endpointUrl = settings.endpointUrl ?? `${DEFAULT_ENDPOINT}:${settings.port}`;
    const metrics = new Metrics({ role: 'worker', version: version(), logger });
    const metered = registerWorkerMetrics(metrics, { controllers, room });
    const running = await startWorker({ link: metered(controllers), replies, code: controllers.code, functionLogs: controllers.logs, clock, logger, settings: { ...settings, endpointUrl, alone: settings.dedicated === 'on' && settings.maxEnvironments === 1, prestartedFamilies: settings.prestartedRuntimes.split(','), rehearsal: settings.rehearse === 'on', container: containerOf(settings) } });
    controllers.attach(running.host);
    const directory: ControllerDirectory = new ControllerDirectory({ fixed: settings.controllers?.split(',') ?? [], cache, partitions: settings.partitions, clock, logger, onChange: (urls) => controllers.known(urls) });
    let draining = false;
    // A runtime in another container may be long in coming: health is answered meanwhile.
    const joined = running.ready.then(() => (draining ? undefined : directory.start()));
    if (settings.containerRuntimePort === 0) await joined;
    const drained = Promise.withResolvers<undefined>();
    const internal = await startInternalListener(context, [drainedRoute(drained.promise)], () => (draining ? ['The worker is stopping.'] : controllers.open === 0 ? ['The worker has no session with a controller.'] : []), metrics);
    // Everything that runs ends and is reported and answered before a session is left.
    closers.add(async () => {
      draining = true;
      await controllers.drain(settings.stopPatienceMs);
      drained.resolve(undefined);
      await running.stop();
      await replies.idle();
      await controllers.logs.flush();
      await directory.stop();
      await controllers.stop();
    });
    let stopped: Promise<void> | undefined;
    return { role: 'worker', internalUrl: internal.url, notes: [running.isolation()], stop: () => (stopped ??= closers.close()) };
  } catch (error) {
    await closers.close();
    throw error;
  }
};

function containerOf({ containerRuntimePort: runtimeApiPort, containerLogStream: logStream }: Settings): ContainerSettings | undefined {
  if (runtimeApiPort === 0) return undefined;
  if (logStream === undefined) throw new CliError('SLUICE_CONTAINER_RUNTIME_PORT needs SLUICE_CONTAINER_LOG_STREAM: the log stream of the function in that container.', EXIT.usage);
  return { runtimeApiPort, logStream };
}

/** Answers once nothing runs here any more: what holds back the end of a container that runs a function until then. */
function drainedRoute(drained: Promise<undefined>): InternalRoute {
  return {
    method: 'GET',
    path: DRAINED_PATH,
    handle: async (_request, response) => {
      await drained;
      sendBytes(response, 200, 'text/plain', 'drained\n');
    },
  };
}

/**
 * Where a worker hears of controllers that come and go. None is needed where their names are set: a worker has no use for credentials then, which what it runs
 * could find.
 */
async function openNews(context: RoleContext): Promise<Cache> {
  const { settings } = context;
  if (settings.cache !== SETTINGS.cache.defaultText) return (await import('./drivers.ts')).openCache(context);
  if (settings.controllers === undefined) {
    throw new CliError('A worker has to be told where controllers are: set SLUICE_CONTROLLERS=http://host:port, or SLUICE_CACHE=redis://host:port, through which it hears of them.', EXIT.usage);
  }
  return memoryCache({ clock: systemClock });
}

/** The worker that a join token names, if it names one. */
function tokenOwner(token: string | undefined): string | undefined {
  const owner = token === undefined ? undefined : /^(?<worker>.+)\.\d+\.[\w-]+$/.exec(token)?.groups?.['worker'];
  return owner === EVERY_WORKER ? undefined : owner;
}
