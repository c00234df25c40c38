import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { LambdaClient } from '@aws-sdk/client-lambda';
import type { RoleName } from '../../../cli/roles/role.ts';
import { inheritedVariables, lambdaClient } from '../../support/access.ts';
import { deploy, result } from '../../support/functions.ts';
import type { IsolatedServices } from '../../support/isolated-services.ts';
import { Observer, REPORTING_FUNCTION } from '../../support/observer.ts';
import { startProcesses, type SluiceProcesses } from '../../support/sluice-processes.ts';
import { faultTable, runFault, type FaultRow } from './fault-run.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const FUNCTION = 'reporter';
const PER_SEC = 200;
const TIMEOUT_SEC = 5;
const WARM_UP = 24;
/** Above what gathers while a controller is missed, so that no throttle stands between the fault and its cost. */
const ACCOUNT_CONCURRENCY = '8000';
/** The patience for a start (10 s), the function's time-out for that and for its run, and the gateway's margin (5 s), with room for a busy machine. */
const DEADLINE_MS = (10 + 2 * TIMEOUT_SEC + 5 + 2) * 1_000;

export interface FaultySluiceOptions {
  readonly services: IsolatedServices;
  readonly plan?: string;
  readonly variables?: Readonly<Record<string, string>>;
}

/** A Sluice in several processes with one function that reports every run, to be damaged under load. */
export class FaultySluice {
  readonly sluice: SluiceProcesses;
  readonly lambda: LambdaClient;
  readonly #services: IsolatedServices;
  readonly #settings: Readonly<Record<string, string>>;
  readonly #observer: Observer;
  readonly #dataDir: string;
  readonly #rows: FaultRow[] = [];
  readonly #joined: ChildProcess[] = [];

  private constructor(services: IsolatedServices, settings: Readonly<Record<string, string>>, sluice: SluiceProcesses, observer: Observer, dataDir: string) {
    this.#services = services;
    this.#settings = settings;
    this.sluice = sluice;
    this.#observer = observer;
    this.#dataDir = dataDir;
    this.lambda = lambdaClient(sluice.url);
  }

  static async start({ services, plan = 'gateway=2,controller=2,worker=2', variables = {} }: FaultySluiceOptions): Promise<FaultySluice> {
    const observer = await Observer.start();
    const dataDir = await mkdtemp(join(tmpdir(), 'sluice-faults-'));
    const settings = { ...services.variables, SLUICE_ASYNC_RETRY_BASE_MS: '500', SLUICE_MAX_ENVIRONMENTS: '32', SLUICE_ACCOUNT_CONCURRENCY: ACCOUNT_CONCURRENCY, ...variables };
    const sluice = await startProcesses({ plan, dataDir, variables: settings });
    const faulty = new FaultySluice(services, settings, sluice, observer, dataDir);
    await deploy(faulty.lambda, { name: FUNCTION, files: { 'index.js': REPORTING_FUNCTION }, variables: { OBSERVER: observer.url }, Timeout: TIMEOUT_SEC });
    // Environments for the load to come: what is looked at here is not the cold start.
    await Promise.all(Array.from({ length: WARM_UP }, () => result(faulty.lambda, FUNCTION, { mark: 'warm-up', pauseMs: 200 })));
    return faulty;
  }

  /** Does the damage under load and counts what became of invocations. */
  async fault(name: string, inject: () => Promise<void>, calmMs?: number): Promise<FaultRow> {
    const gateways = (await this.sluice.table()).flatMap(({ role, url }) => (role === 'gateway' && url !== undefined ? [url] : []));
    const row = await runFault({ fault: name, observer: this.#observer, gateways, functionName: FUNCTION, perSec: PER_SEC, deadlineMs: DEADLINE_MS, inject, ...(calmMs === undefined ? {} : { calmMs }) });
    this.#rows.push(row);
    return row;
  }

  /** Sends a signal to a process of the role; resolves to its number. */
  async signal(role: RoleName, signal: NodeJS.Signals, which = 0): Promise<number> {
    const ready = await this.sluice.ready(role);
    const pid = ready[which % ready.length]?.pid;
    assert.ok(pid !== undefined, `a ${role} is ready`);
    process.kill(pid, signal);
    return pid;
  }

  /** Kills a process of the role and waits until another one has taken its place. */
  async kill(role: RoleName, which = 0): Promise<void> {
    const ready = await this.sluice.ready(role);
    const victim = ready[which % ready.length];
    assert.ok(victim?.pid !== undefined, `a ${role} is ready`);
    process.kill(victim.pid, 'SIGKILL');
    await this.sluice.replaced(victim.name, victim.pid);
  }

  /** Starts one more controller beside those of the plan; resolves when it is ready, to what stops it in an orderly way. */
  async joined(): Promise<() => Promise<void>> {
    const child = spawn(process.execPath, [join(ROOT, 'cli', 'main.ts'), 'controller'], {
      cwd: ROOT,
      env: { ...inheritedVariables(), SLUICE_LOG_LEVEL: 'warn', ...this.#settings, SLUICE_DATA: join(this.#dataDir, 'joined') },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#joined.push(child);
    const ended = once(child, 'exit');
    await new Promise<void>((resolve, reject) => {
      createInterface({ input: child.stdout }).on('line', (line) => line.includes('The controller is ready') && resolve());
      child.on('exit', (code) => reject(new Error(`The controller ended with ${code} before it was ready.`)));
    });
    return async () => {
      child.kill('SIGTERM');
      assert.deepEqual(await ended, [0, null]);
    };
  }

  /** Restarts every process of the role in an orderly way, one after the other. */
  async restart(role: RoleName): Promise<void> {
    for (const { name, pid } of await this.sluice.ready(role)) {
      if (pid === undefined) continue;
      process.kill(pid, 'SIGTERM');
      await this.sluice.replaced(name, pid);
    }
  }

  async end(): Promise<void> {
    process.stdout.write(`\n${faultTable(this.#rows)}\n\n`);
    this.lambda.destroy();
    this.sluice.end();
    for (const child of this.#joined) child.kill('SIGKILL');
    await this.#observer.close();
    await rm(this.#dataDir, { recursive: true, force: true, maxRetries: 5 });
    await this.#services.remove();
  }
}
