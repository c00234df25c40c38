import { mkdir, rm } from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { Clock, Timer } from '../../platform/clock.ts';
import type { Logger } from '../../platform/telemetry/logger.ts';
import { bareVariables } from '../environment/variables.ts';
import type { RuntimeFamily, RuntimeInstallation } from '../runtimes/runtime.ts';
import type { Isolation } from './isolation.ts';
import { RuntimeProcess } from './runtime-process.ts';

/** Lambda's /tmp unless the function asks for more (Lambda quotas). Processes started ahead have this. */
const DEFAULT_TMP_MIB = 512;
/** A process that was started ahead costs some 30 to 50 MiB: without any start in this time, they go. */
const IDLE_POOL_MS = 5 * 60_000;
/** A refill waits this long after a start, so that it takes no time from the start's own first work. */
const REFILL_DELAY_MS = 20;

export interface LaunchRequest {
  readonly family: RuntimeFamily;
  readonly installation: RuntimeInstallation;
  readonly tmpMiB: number;
  /** Set exactly where the process must have its whole environment when it starts. */
  readonly startEnvironment: Readonly<Record<string, string>> | undefined;
  /** Lambda's AWS_LAMBDA_EXEC_WRAPPER: a program that starts the runtime. */
  readonly wrapper: string | undefined;
}

/** A process waiting for its order, and what must be cleaned up after it. */
export interface LaunchedProcess {
  readonly process: RuntimeProcess;
  readonly prestarted: boolean;
  /** Its temporary folder, where /tmp is shared with everybody. */
  readonly temporaryDir: string | undefined;
  /** Kills it and removes what it leaves. Idempotent. */
  dispose(): Promise<void>;
}

interface Pool {
  readonly ready: LaunchedProcess[];
  /** Processes that were handed out and live. */
  inUse: number;
  filling: boolean;
  refill: Timer | undefined;
  expiry: Timer | undefined;
}

/**
 * Starts processes, and keeps some ahead per family of runtimes: they have their interpreter and client loaded and wait for the order that makes
 * them a function's.
 */
export class Launcher {
  readonly #options: { readonly isolation: Isolation; readonly dataDir: string; readonly prestartedPerRuntime: number; readonly clock: Clock; readonly logger: Logger };
  readonly #pools = new Map<RuntimeFamily, Pool>();
  /** Families whose pool stays. */
  readonly #kept = new Set<RuntimeFamily>();
  /** Starts ahead that are under way; `stop` waits for them. */
  readonly #fills = new Set<Promise<void>>();
  #stopped = false;

  constructor(options: { readonly isolation: Isolation; readonly dataDir: string; readonly prestartedPerRuntime: number; readonly clock: Clock; readonly logger: Logger }) {
    this.#options = options;
  }

  /** A process that can become what is asked for: one started ahead if there is one and it would do, otherwise a new one. */
  async launch(request: LaunchRequest): Promise<LaunchedProcess> {
    await this.#options.isolation.clear();
    return this.#handedOut(request.family, await this.#take(request));
  }

  async #take(request: LaunchRequest): Promise<LaunchedProcess> {
    if (request.startEnvironment === undefined && request.wrapper === undefined && request.tmpMiB === DEFAULT_TMP_MIB) {
      const pool = this.#pools.get(request.family);
      for (let ready = pool?.ready.shift(); ready !== undefined; ready = pool?.ready.shift()) {
        if (ready.process.alive) return ready;
        void ready.dispose();
      }
    }
    return this.#start(request, false);
  }

  #handedOut(family: RuntimeFamily, launched: LaunchedProcess): LaunchedProcess {
    const pool = this.#poolOf(family);
    pool.inUse++;
    let ended: Promise<void> | undefined;
    return {
      ...launched,
      dispose: () =>
        (ended ??= launched.dispose().finally(() => {
          pool.inUse--;
          if (this.#oneAtATime) this.expect(family);
        })),
    };
  }

  /** There is never more than one environment here: the next process is of use when that has left, and would take the processor from it before. */
  get #oneAtATime(): boolean {
    return this.#options.isolation.kind === 'wholeTmp';
  }

  #poolOf(family: RuntimeFamily): Pool {
    const pool = this.#pools.get(family) ?? { ready: [], inUse: 0, filling: false, refill: undefined, expiry: undefined };
    this.#pools.set(family, pool);
    return pool;
  }

  /** Fills the pool of a family now, and does not empty it for want of use. */
  keep(family: RuntimeFamily): void {
    this.#kept.add(family);
    this.expect(family);
  }

  /** Fills the pool of a family soon: called when its runtimes are expected, and after each start. */
  expect(family: RuntimeFamily): void {
    if (this.#stopped || this.#options.prestartedPerRuntime === 0) return;
    const pool = this.#poolOf(family);
    const { clock } = this.#options;
    pool.expiry?.cancel();
    pool.expiry = this.#kept.has(family) ? undefined : clock.at(clock.now() + IDLE_POOL_MS, () => this.#empty(family, pool));
    pool.refill ??= clock.at(clock.now() + REFILL_DELAY_MS, () => {
      pool.refill = undefined;
      if (pool.filling) return;
      const fill = this.#fill(family, pool).finally(() => this.#fills.delete(fill));
      this.#fills.add(fill);
    });
  }

  /** Resolves when nothing is being started ahead. */
  async filled(): Promise<void> {
    await Promise.all(this.#fills);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const pool of this.#pools.values()) {
      pool.refill?.cancel();
      pool.expiry?.cancel();
    }
    await this.filled();
    await Promise.all([...this.#pools.values()].flatMap((pool) => pool.ready.splice(0).map((ready) => ready.dispose())));
  }

  /** One after the other: several interpreters starting at once would take the processor from running functions. */
  async #fill(family: RuntimeFamily, pool: Pool): Promise<void> {
    const wanted = (): boolean => !this.#stopped && this.#pools.get(family) === pool;
    pool.filling = true;
    try {
      const installation = await family.prepare();
      while (wanted() && pool.ready.length + (this.#oneAtATime ? pool.inUse : 0) < this.#options.prestartedPerRuntime) {
        const launched = await this.#start({ family, installation, tmpMiB: DEFAULT_TMP_MIB, startEnvironment: undefined, wrapper: undefined }, true);
        if (wanted()) pool.ready.push(launched);
        else await launched.dispose();
      }
    } catch (error) {
      this.#options.logger.warn({ err: error, family: family.name }, 'No process could be started ahead; functions start theirs when they need one.');
    } finally {
      pool.filling = false;
    }
  }

  #empty(family: RuntimeFamily, pool: Pool): void {
    pool.refill?.cancel();
    this.#pools.delete(family);
    for (const ready of pool.ready.splice(0)) void ready.dispose();
  }

  async #start(request: LaunchRequest, prestarted: boolean): Promise<LaunchedProcess> {
    const { isolation, dataDir } = this.#options;
    const { installation } = request;
    const temporaryDir = isolation.kind === 'temporaryFolder' ? join(dataDir, 'tmp', randomUUID()) : undefined;
    if (temporaryDir !== undefined) await mkdir(temporaryDir, { recursive: true });
    const wrapped = request.wrapper === undefined ? installation.command : [request.wrapper, ...installation.command];
    const process = await RuntimeProcess.start({
      command: isolation.wrap(wrapped, { tmpMiB: request.tmpMiB, keep: [join(dataDir, 'code'), ...installation.folders] }),
      environment: request.startEnvironment ?? bareVariables(installation),
      cwd: '/',
    });
    return {
      process,
      prestarted,
      temporaryDir,
      async dispose() {
        await process.kill();
        if (temporaryDir !== undefined) await rm(temporaryDir, { recursive: true, force: true });
      },
    };
  }
}
