import { createHmac, randomBytes } from 'node:crypto';
import { InvocationLimiter } from '../../gateway/admission/invocation-limiter.ts';
import { PendingReplies } from '../../gateway/invoke/pending-replies.ts';
import { registerGatewayMetrics } from '../../gateway/metrics.ts';
import { replyRoutes } from '../../gateway/replies/reply-routes.ts';
import { ReplyUrls } from '../../gateway/replies/reply-url.ts';
import { startGateway } from '../../gateway/start.ts';
import { systemClock } from '../../platform/clock.ts';
import { createLogger } from '../../platform/telemetry/logger.ts';
import { Metrics } from '../../platform/telemetry/metrics.ts';
import { Closers, needShared, processName, sharedSecret, together, type RoleContext } from './context.ts';
import { checkCompareAndSwap, openCache, openCatalogue, openFunctionLogs, openLog, openStore } from './drivers.ts';
import { startInternalListener } from './internal.ts';
import type { StartRole } from './role.ts';
import { version } from '../version.ts';

/** Time enough for a busy client's next request, which is told to close its connection. */
const LINGER_MS = 1_000;

/** Starts a gateway against the services of the settings. Nothing is left running where it rejects. */
export const startGatewayRole: StartRole = async (settings) => {
  const context: RoleContext = { settings, logger: createLogger(settings.logLevel), closers: new Closers() };
  const { logger, closers } = context;
  const clock = systemClock;
  try {
    const secret = sharedSecret(settings);
    needShared(settings, ['log', 'store', 'cache']);
    const [store, cache] = await together(openStore(context), openCache(context));
    await checkCompareAndSwap(store);
    const [catalogue, functionLogs, log] = await together(openCatalogue(context, store, cache), openFunctionLogs(context, store), openLog(context, store, processName('gateway')));
    // Before the gateway's own end nothing of what callers wait for may go: replies come in by this listener.
    let internalUrl = '';
    const urls = new ReplyUrls(randomBytes(32), () => internalUrl);
    const replies = new PendingReplies({ clock, addressOf: urls.of });
    const limiter = new InvocationLimiter({ cache, clock, logger, accountConcurrency: settings.accountConcurrency });
    closers.add(() => limiter.close());
    const metrics = new Metrics({ role: 'gateway', version: version(), logger });
    const meter = registerGatewayMetrics(metrics, { replies, limiter });
    let serving = false;
    const internal = await startInternalListener(context, replyRoutes({ replies, urls, clock }), () => (serving ? [] : ['The gateway is starting or stopping.']), metrics);
    internalUrl = internal.url;
    const gateway = await startGateway({
      log, catalogue, store, functionLogs, replies, limiter, meter, clock, random: Math.random, logger,
      settings: { ...settings, runsContainerImages: settings.pool.startsWith('kubernetes:') },
      signingSecret: createHmac('sha256', secret).update('object urls').digest(),
      lingerMs: LINGER_MS,
    });
    closers.add(() => gateway.stop());
    serving = true;
    let stopped: Promise<void> | undefined;
    const stop = (): Promise<void> => {
      serving = false;
      return (stopped ??= closers.close());
    };
    return { role: 'gateway', url: gateway.url, internalUrl: internal.url, notes: [], stop };
  } catch (error) {
    await closers.close();
    throw error;
  }
};
