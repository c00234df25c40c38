import { randomUUID } from 'node:crypto';
import { systemClock } from '../../platform/clock.ts';
import { internalAgent } from '../../platform/internal-http/client.ts';
import { HttpReplies } from '../../platform/protocol/http-replies.ts';
import { EVERY_WORKER, joinToken } from '../../platform/protocol/wire/tokens.ts';
import { createLogger } from '../../platform/telemetry/logger.ts';
import { Metrics } from '../../platform/telemetry/metrics.ts';
import { ClaimedPayloads } from '../../worker/controllers/claimed-payloads.ts';
import { Controllers } from '../../worker/controllers/controllers.ts';
import { ControllerDirectory } from '../../worker/controllers/directory.ts';
import { registerWorkerMetrics } from '../../worker/metrics.ts';
import { startWorker } from '../../worker/start.ts';
import { Closers, makePrivateFolder, needShared, openCache, openFunctionLogs, openStore, sharedSecret, together, type RoleContext } from './drivers.ts';
import { startInternalListener } from './internal.ts';
import type { StartRole } from './role.ts';
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
    needShared(settings, ['store', 'cache']);
    await makePrivateFolder(settings.dataDir);
    const [store, cache] = await together(openStore(context), openCache(context));
    const functionLogs = await openFunctionLogs(context, store);
    const agent = internalAgent();
    closers.add(() => agent.close());
    const replies = new HttpReplies(agent, logger);
    const room = { maxEnvironments: settings.maxEnvironments, maxMemoryMiB: settings.maxEnvironmentMemoryMiB };
    const controllers = new Controllers({
      worker,
      instance: randomUUID(),
      joinToken: token,
      agent, clock, logger,
      payloads: new ClaimedPayloads(agent, store),
      room,
      dedicated: settings.dedicated === 'on',
    });
    const endpointUrl = settings.endpointUrl ?? `${DEFAULT_ENDPOINT}:${settings.port}`;
    const metrics = new Metrics({ role: 'worker', version: version(), logger });
    const metered = registerWorkerMetrics(metrics, { controllers, room });
    const running = await startWorker({ link: metered(controllers), replies, store, functionLogs, clock, logger, settings: { ...settings, endpointUrl, alone: settings.dedicated === 'on' && settings.maxEnvironments === 1, prestartedFamilies: settings.prestartedRuntimes.split(',') } });
    controllers.attach(running.host);
    const directory = new ControllerDirectory({ fixed: settings.controllers?.split(',') ?? [], cache, partitions: settings.partitions, clock, logger, onChange: (urls) => controllers.known(urls) });
    await directory.start();
    let draining = false;
    const internal = await startInternalListener(context, [], () => (draining ? ['The worker is stopping.'] : controllers.open === 0 ? ['The worker has no session with a controller.'] : []), metrics);
    // Everything that runs ends and is reported and answered before a session is left.
    closers.add(async () => {
      draining = true;
      await controllers.drain(settings.stopPatienceMs);
      await running.stop();
      await replies.idle();
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

/** The worker that a join token names, if it names one. */
function tokenOwner(token: string | undefined): string | undefined {
  const owner = token === undefined ? undefined : /^(?<worker>.+)\.\d+\.[\w-]+$/.exec(token)?.groups?.['worker'];
  return owner === EVERY_WORKER ? undefined : owner;
}
