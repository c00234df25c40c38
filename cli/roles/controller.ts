import { randomBytes } from 'node:crypto';
import { Announcer } from '../../controller/announcer.ts';
import { registerControllerMetrics } from '../../controller/metrics.ts';
import { Peers } from '../../controller/peers.ts';
import { startController, type Controller } from '../../controller/start.ts';
import { systemClock } from '../../platform/clock.ts';
import { internalAgent } from '../../platform/internal-http/client.ts';
import { HttpReplies } from '../../platform/protocol/http-replies.ts';
import { createLogger } from '../../platform/telemetry/logger.ts';
import { Metrics } from '../../platform/telemetry/metrics.ts';
import { fleetRoutes } from '../../platform/worker-pool/fleet/routes.ts';
import { Closers, needShared, processName, sharedSecret, together, type RoleContext } from './context.ts';
import { openCache, openCatalogue, openFunctionLogs, openLog, openStore } from './drivers.ts';
import { startInternalListener, type InternalListener } from './internal.ts';
import { openPool, type OpenedPool } from './pool.ts';
import type { StartRole } from './role.ts';
import { version } from '../version.ts';

/** Starts a controller against the services of the settings. Nothing is left running where it rejects. */
export const startControllerRole: StartRole = async (settings) => {
  const context: RoleContext = { settings, logger: createLogger(settings.logLevel), closers: new Closers() };
  const { logger, closers } = context;
  const clock = systemClock;
  try {
    const secret = sharedSecret(settings);
    needShared(settings, ['log', 'store', 'cache']);
    const [store, cache] = await together(openStore(context), openCache(context));
    const [catalogue, log] = await together(openCatalogue(context, store, cache), openLog(context, store, processName('controller')));
    const functionLogs = await openFunctionLogs(context, store);
    const agent = internalAgent();
    closers.add(() => agent.close());
    const replies = new HttpReplies(agent, logger);
    closers.add(() => replies.idle());
    // Short, since it begins the id of every environment.
    const name = randomBytes(4).toString('hex');
    let internal: InternalListener | undefined;
    let consuming = false;
    let pool: OpenedPool | undefined;
    const metrics = new Metrics({ role: 'controller', version: version(), logger });
    registerControllerMetrics(metrics, { controller: () => (consuming ? controller : undefined), fleet: () => pool?.fleet, pool: () => pool?.pool, pods: () => pool?.pods, log, clock });
    const controller: Controller = await startController({
      name, log, catalogue, replies, clock, random: Math.random, logger, settings, atStop: 'handOver',
      async createPool(listener) {
        pool = await openPool({ settings, controller: name, secret, listener, clock, logger, functionLogs });
        internal = await startInternalListener(context, fleetRoutes({ fleet: pool.fleet, secret, controller: name, partitions: log.partitions, store, functionLogs, clock }), () => (consuming ? [] : ['The controller has not joined the others yet, or is stopping.']), metrics);
        const { fleet } = pool;
        const announcer = new Announcer({ controller: name, url: internal.url, cache, clock, logger, owned: () => controllerOwned(), workers: () => fleet.workersThere });
        await announcer.start();
        closers.add(() => announcer.stop());
        const peers = new Peers({ controller: name, cache, clock, logger, onNew: (url) => fleet.meet(url) });
        closers.add(() => peers.stop());
        await peers.start();
        // Functions that it takes over are others' until then: what they run is found at once, instead of started anew.
        await fleet.gather(peers.workers);
        return pool.pool;
      },
    });
    function controllerOwned(): ReadonlyMap<number, number> {
      return consuming ? controller.owned() : new Map();
    }
    closers.add(() => controller.stop());
    consuming = true;
    let stopped: Promise<void> | undefined;
    const stop = (): Promise<void> => {
      consuming = false;
      return (stopped ??= closers.close());
    };
    return { role: 'controller', internalUrl: internal?.url ?? '', notes: [], stop };
  } catch (error) {
    await closers.close();
    throw error;
  }
};
