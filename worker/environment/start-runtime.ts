import type { ExecutionSpec } from '../../platform/model/execution-spec.ts';
import type { CodeCache } from '../code/code-cache.ts';
import type { LaunchedProcess, Launcher } from '../process/launcher.ts';
import type { ExitStatus, OutputListener } from '../process/runtime-process.ts';
import type { RuntimeCalls } from '../runtime-api/runtime-calls.ts';
import type { RuntimeApi } from '../runtime-api/server.ts';
import type { RuntimeFamily } from '../runtimes/runtime.ts';
import { processVariables } from './variables.ts';

/** A smaller package is compiled in less time than opening the compile cache takes: 0.7 ms more for a handler of 5 kB, 15 ms less for an S3 client. */
const COMPILE_CACHE_FROM_BYTES = 64 * 1024;

export interface StartRequest {
  readonly spec: ExecutionSpec;
  readonly calls: RuntimeCalls;
  readonly logStream: string;
  readonly runtimeApi: RuntimeApi;
  readonly code: CodeCache;
  readonly launcher: Launcher;
  readonly region: string;
  readonly endpointUrl: string;
}

/** What an environment needs of the process, or processes, of its runtime. */
export interface RuntimeHandle {
  /** Undefined: it is not among the processes that are seen here. */
  readonly pid: number | undefined;
  /** Resolves when it has ended, where that is seen here. */
  readonly exited: Promise<ExitStatus>;
  /** Gets everything that it prints from now on, where that comes here. Once only. */
  listen(listener: OutputListener): void;
  /** Idempotent. */
  kill(): Promise<void>;
}

/** A runtime that waits for its order, with everything it needs in place. */
export interface StartedRuntime {
  readonly process: RuntimeHandle;
  /** `Node v24.21.0`; undefined: it is not the platform's. */
  readonly version: string | undefined;
  /** When its start began, on the clock of `performance.now()`: what comes before (fetching code) is not the function's init. */
  readonly startedAt: number;
  /** Gives the order. */
  begin(): void;
  /** Kills it and gives back what it held. */
  dispose(): Promise<void>;
}

/** How an environment comes by its runtime. What it has acquired is given back where it rejects. */
export type RuntimeStart = (request: StartRequest) => Promise<StartedRuntime>;

/** Brings together code, Runtime API address and process, all at once where the process need not know the code. What it has acquired is given back where it rejects. */
export async function startProcess(family: RuntimeFamily, request: StartRequest): Promise<StartedRuntime> {
  const { spec, launcher } = request;
  const undo: (() => void)[] = [];
  try {
    const installation = await family.prepare();
    const own = spec.configuration.environment ?? {};
    const atStart = Object.keys(own).some((variable) => family.actsAtStart(variable));
    const wrapper = own.AWS_LAMBDA_EXEC_WRAPPER;
    const launch = async (startEnvironment: Readonly<Record<string, string>> | undefined): Promise<LaunchedProcess> => {
      const launched = await launcher.launch({ family, installation, tmpMiB: spec.configuration.ephemeralStorageMiB, startEnvironment, wrapper: wrapper === '' ? undefined : wrapper });
      undo.push(() => void launched.dispose());
      return launched;
    };
    const beganAt = performance.now();
    const [code, address, early] = await allOf(
      request.code.acquire(spec.configuration.code).then((folder) => (undo.push(() => folder.release()), folder)),
      request.runtimeApi.open(request.calls).then((opened) => (undo.push(() => opened.close()), opened)),
      atStart ? Promise.resolve(undefined) : launch(undefined),
    );
    const inPlaceAt = performance.now();
    const variables = processVariables({ spec, installation, taskRoot: code.path, logStream: request.logStream, region: request.region, endpointUrl: request.endpointUrl, runtimeApi: address.address });
    const launched = early ?? (await launch(variables));
    const environment = launched.temporaryDir === undefined ? variables : { ...variables, TMPDIR: launched.temporaryDir };
    return {
      process: launched.process,
      version: installation.version,
      // A process that began together with the fetching of code was starting all the while.
      startedAt: early?.prestarted === false ? beganAt : inPlaceAt,
      begin() {
        const compileCacheDir = spec.configuration.code.sizeBytes >= COMPILE_CACHE_FROM_BYTES ? installation.compileCacheDir : undefined;
        launched.process.order({ environment, taskRoot: code.path, handler: spec.configuration.handler, runtimeApi: address.address, ...(compileCacheDir === undefined ? {} : { compileCacheDir }) });
        launcher.expect(family);
      },
      async dispose() {
        address.close();
        await launched.dispose();
        code.release();
      },
    };
  } catch (error) {
    for (const step of undo) step();
    throw error;
  }
}

/** Like `Promise.all`, but settles only when all have: nothing is acquired after a failure was handled. */
async function allOf<A, B, C>(a: Promise<A>, b: Promise<B>, c: Promise<C>): Promise<[A, B, C]> {
  await Promise.allSettled([a, b, c]);
  return Promise.all([a, b, c]);
}
