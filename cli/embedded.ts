import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { startController, type Controller } from '../controller/start.ts';
import { PendingReplies } from '../gateway/invoke/pending-replies.ts';
import { startGateway } from '../gateway/start.ts';
import { systemClock } from '../platform/clock.ts';
import { SETTINGS, type Settings } from '../platform/configuration/settings.ts';
import { openFileFunctionLogs } from '../platform/function-logs/files.ts';
import { functionCatalogue } from '../platform/functions/registry-catalogue.ts';
import { openSqliteLog } from '../platform/invocation-log/sqlite.ts';
import { fileObjectStore } from '../platform/object-store/file-system.ts';
import { openSqliteRegistry } from '../platform/registry/sqlite.ts';
import { createLogger } from '../platform/telemetry/logger.ts';
import { processPool } from '../platform/worker-pool/process.ts';
import { codeInStore } from '../worker/code/code-source.ts';
import { startWorker, type Worker } from '../worker/start.ts';

/** A whole Sluice in this process. */
export interface Embedded {
  readonly url: string;
  /** Which runtimes there are and what they run on, a line each. */
  readonly runtimes: readonly string[];
  /** What this machine cannot give, and settings that nothing comes of, for the person who starts it. */
  readonly notes: readonly string[];
  /** Ends every role in the order in which work flows, then closes the stores. Idempotent. */
  stop(): Promise<void>;
}

export interface EmbeddedOptions {
  /** Told what a long preparation is doing, such as the first installation of a runtime. */
  readonly onProgress?: (message: string) => void;
}

/** Only its owner may look into the data folder: it holds code, payloads and logs. */
const PRIVATE_FOLDER_MODE = 0o700;

/**
 * Composes the three roles with their embedded drivers: the one place that knows all of them.
 *
 * Rejects when the data folder is in use or the port is taken; nothing is left running then.
 */
export async function startEmbedded(settings: Settings, options: EmbeddedOptions = {}): Promise<Embedded> {
  const logger = createLogger(settings.logLevel);
  const clock = systemClock;
  const closers: (() => Promise<void>)[] = [];
  const closeAll = async (): Promise<void> => {
    for (const close of closers.reverse().splice(0)) await close();
  };
  try {
    await mkdir(settings.dataDir, { recursive: true, mode: PRIVATE_FOLDER_MODE });
    const signingSecret = randomBytes(32);
    let url = '';
    const log = await openSqliteLog({ dataDir: settings.dataDir, clock, logger });
    closers.push(() => log.close());
    const registry = openSqliteRegistry({ dataDir: settings.dataDir });
    closers.push(() => registry.close());
    const catalogue = functionCatalogue({ registry, region: settings.region });
    const store = await fileObjectStore({ dataDir: settings.dataDir, baseUrl: () => url, signingSecret });
    const functionLogs = await openFileFunctionLogs({ dataDir: settings.dataDir, clock, logger });
    closers.push(() => functionLogs.close());

    // Stopping goes the other way round: the gateway first, then the controller with its pool, then the stores.
    const roles: { controller?: Controller; worker?: Worker } = {};
    closers.push(async () => roles.controller?.stop());
    const replies = new PendingReplies({ clock });
    const gateway = await startGateway({ log, catalogue, store, functionLogs, replies, clock, random: Math.random, logger, signingSecret, settings: { ...settings, runsContainerImages: false } });
    closers.push(() => gateway.stop());
    url = gateway.url;

    roles.controller = await startController({
      name: randomBytes(4).toString('hex'),
      log,
      catalogue,
      replies,
      clock,
      atStop: 'drain',
      random: Math.random,
      logger,
      settings,
      createPool: (link) =>
        processPool({
          link,
          startWorker: async (observed) => (roles.worker = await startWorker({ link: observed, replies, code: codeInStore(store), functionLogs, clock, logger, onProgress: options.onProgress ?? (() => {}), settings: { ...settings, endpointUrl: url } })),
          capacity: { maxEnvironments: settings.maxEnvironments, maxMemoryMiB: settings.maxEnvironmentMemoryMiB },
        }),
    });
    let stopped: Promise<void> | undefined;
    return { url, runtimes: (await roles.worker?.runtimes()) ?? [], notes: [roles.worker?.isolation() ?? '', ...unusedServices(settings)], stop: () => (stopped ??= closeAll()) };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

/** Settings that name services, of which one process has no use: whoever set them may take their data to be there. */
export function unusedServices(settings: Settings): string[] {
  const names = (['log', 'store', 'cache'] as const).filter((name) => settings[name] !== SETTINGS[name].defaultText).map((name) => SETTINGS[name].variable);
  return names.length === 0 ? [] : [`${names.join(', ')} ${names.length === 1 ? 'is' : 'are'} not used: one process keeps everything in its data folder; with --processes, or "sluice gateway" and so on, roles use them`];
}
