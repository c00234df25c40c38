import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../platform/clock.ts';
import type { FunctionLogs } from '../platform/function-logs/function-logs.ts';
import type { ExecutionSpec } from '../platform/model/execution-spec.ts';
import type { ControllerLink, EnvironmentHost } from '../platform/protocol/controller-link.ts';
import type { WorkerReplies } from '../platform/protocol/reply.ts';
import type { Logger } from '../platform/telemetry/logger.ts';
import { CodeCache } from './code/code-cache.ts';
import type { CodeSource } from './code/code-source.ts';
import { ContainerRuntime } from './container/container-runtime.ts';
import { Environment, type EnvironmentContext } from './environment/environment.ts';
import { startProcess, type RuntimeStart } from './environment/start-runtime.ts';
import { probeIsolation } from './process/isolation.ts';
import { Launcher } from './process/launcher.ts';
import { MemoryWatch } from './process/memory-watch.ts';
import { rehearse } from './rehearsal.ts';
import { createRuntimeApi } from './runtime-api/server.ts';
import { nodeFamily } from './runtimes/node/family.ts';
import { pythonFamily } from './runtimes/python/family.ts';
import { RuntimeUnavailableError, type RuntimeFamily } from './runtimes/runtime.ts';

export interface WorkerOptions {
  readonly link: ControllerLink;
  readonly replies: WorkerReplies;
  readonly code: CodeSource;
  readonly functionLogs: Pick<FunctionLogs, 'append'>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Says what a long preparation is doing, for a person who waits: a Python runtime being installed. */
  readonly onProgress?: (message: string) => void;
  readonly settings: {
    readonly dataDir: string;
    readonly cacheDir: string;
    readonly region: string;
    readonly account: string;
    /** What functions get as AWS_ENDPOINT_URL: the gateway. */
    readonly endpointUrl: string;
    readonly prestartedPerRuntime: number;
    /** Python interpreter: a command or a path. */
    readonly python: string;
    /** There is never more than one environment here, and /tmp is for it. */
    readonly alone?: boolean;
    /** Names of families of which processes are started ahead at once. */
    readonly prestartedFamilies?: readonly string[];
    /** Whether a start is rehearsed with each of these. */
    readonly rehearsal?: boolean;
    /** The one environment that there will be has its runtime in another container of this pod. */
    readonly container?: ContainerSettings | undefined;
  };
}

export interface ContainerSettings {
  /** Where that container's runtime finds the Runtime API. */
  readonly runtimeApiPort: number;
  /** What it prints is written there by others: what the platform adds goes to the same. */
  readonly logStream: string;
}

export interface Worker {
  readonly host: EnvironmentHost;
  /** Which runtimes there are and on what they run, one line per family: `nodejs20.x, nodejs22.x, nodejs24.x on Node v24.21.0`. */
  runtimes(): Promise<readonly string[]>;
  /** Resolves when an environment may be placed here: at once, except where a runtime in another container has to be there first, or starts are rehearsed. Never rejects. */
  readonly ready: Promise<void>;
  /** One line: how far environments are kept apart from this machine. */
  isolation(): string;
  /** Stops every environment and every process; resolves when none is left. `open` after it is a departure. */
  stop(): Promise<void>;
}

const TMP = '/tmp';

/** Starts the role that runs functions. It starts no process until it is asked for an environment or told to expect one. */
export async function startWorker(options: WorkerOptions): Promise<Worker> {
  const { link, logger, clock, settings } = options;
  // What environments of a crashed worker left behind.
  await rm(join(settings.dataDir, 'tmp'), { recursive: true, force: true });
  const code = await CodeCache.open({ folder: join(settings.dataDir, 'code'), source: options.code, logger });
  const isolation = probeIsolation(settings.dataDir, { alone: settings.alone === true ? TMP : undefined });
  const launcher = new Launcher({ isolation, clock, logger, dataDir: settings.dataDir, prestartedPerRuntime: settings.prestartedPerRuntime });
  const memory = new MemoryWatch(clock);
  const runtimeApi = createRuntimeApi();
  const container = settings.container === undefined ? undefined : await ContainerRuntime.open(runtimeApi, settings.container.runtimeApiPort, clock);
  const logStream = settings.container?.logStream;
  const context: EnvironmentContext = { ...options, code, launcher, memory, runtimeApi, region: settings.region, endpointUrl: settings.endpointUrl, ...(logStream === undefined ? {} : { logStream }) };
  const families = [nodeFamily(settings), pythonFamily({ ...settings, logger, onProgress: options.onProgress ?? (() => undefined) })];
  const familyOf = new Map(families.flatMap((family) => family.runtimes.map((name): [string, RuntimeFamily] => [name, family])));
  const environments = new Map<string, Environment>();
  const kept = families.filter(({ name }) => settings.prestartedFamilies?.includes(name) === true);
  for (const family of kept) launcher.keep(family);
  const ready = container?.ready ?? (settings.rehearsal === true ? Promise.all(kept.map((family) => rehearse(context, family, settings.dataDir))).then(() => undefined) : Promise.resolve());
  let stopped: { readonly whenEmpty: () => void } | undefined;

  /** How the function's runtime is started, or why it cannot be. */
  const startOf = ({ configuration: { image, runtime } }: ExecutionSpec): RuntimeStart | string => {
    if (image !== undefined) return container === undefined ? `This worker has no container of the image ${image.uri}.` : ({ calls }) => container.attach(calls);
    const family = familyOf.get(runtime);
    if (container !== undefined) return 'This worker is for the container image beside it.';
    return family === undefined ? `The runtime ${runtime} is not one that this worker runs: ${[...familyOf.keys()].join(', ')}.` : (request) => startProcess(family, request);
  };

  const open = (environmentId: string, spec: ExecutionSpec): void => {
    const start = stopped !== undefined ? 'The worker is stopping.' : startOf(spec);
    if (typeof start === 'string') {
      // Not before `open` has returned: the caller may still be writing down that it called.
      queueMicrotask(() => link.gone({ environmentId, cause: { kind: 'cannotStart', message: start } }));
      return;
    }
    const environment = new Environment(environmentId, spec, context, () => {
      environments.delete(environmentId);
      if (environments.size === 0) stopped?.whenEmpty();
    });
    environments.set(environmentId, environment);
    environment.start(start);
  };

  return {
    host: {
      open,
      close: (environmentId) => environments.get(environmentId)?.close(),
      runtimeEnded: (exit) => container?.ended(exit),
      expect({ configuration }) {
        const family = familyOf.get(configuration.runtime);
        if (family === undefined || stopped !== undefined) return;
        launcher.expect(family);
        code.prefetch(configuration.code);
      },
    },
    async runtimes() {
      return Promise.all(families.map(async (family) => `${namesOf(family)} on ${await versionOf(family)}`));
    },
    ready,
    isolation: () => isolation.description,
    async stop() {
      await new Promise<void>((resolve) => {
        stopped = { whenEmpty: resolve };
        if (environments.size === 0) resolve();
        for (const environment of [...environments.values()]) environment.close();
      });
      memory.stop();
      await code.idle();
      await launcher.stop();
      await container?.close();
      await runtimeApi.close();
    },
  };
}

function namesOf(family: RuntimeFamily): string {
  return family.runtimes.join(', ');
}

/** What the family's interpreter says it is, or why it cannot be used. */
async function versionOf(family: RuntimeFamily): Promise<string> {
  try {
    return await family.version();
  } catch (error) {
    if (error instanceof RuntimeUnavailableError) return `nothing: ${error.message}`;
    throw error;
  }
}
