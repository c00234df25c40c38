import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Settings } from '../../platform/configuration/settings.ts';
import type { RoleReady } from '../commands/role.ts';
import type { Output } from '../context.ts';
import { CliError } from '../errors.ts';
import { NODE_FLAGS, ROLES, type RoleName } from '../roles/role.ts';
import type { ProcessPlan } from './process-plan.ts';
import { ProcessTable, type ProcessEntry } from './process-table.ts';

/** One that dies at once is started again after this long, then after twice as long, up to the longest. */
const RESTART_FIRST_MS = 200;
const RESTART_MAX_MS = 10_000;
/** One that has lived this long begins anew with the shortest wait. */
const HEALTHY_MS = 30_000;
/** The start of a role ends within this, well or with a reason. */
const START_MS_MAX = 60_000;
/** Longer than a worker lets running invocations finish. */
const STOP_MARGIN_MS = 10_000;

export interface SupervisorOptions {
  readonly plan: ProcessPlan;
  readonly settings: Settings;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Where the processes' own log lines go. */
  readonly stderr: Output;
}

/**
 * The processes of one Sluice on this machine. It starts what the plan says, starts again what dies, and stops workers last, so that what was accepted is still run. Their
 * addresses stay the same over a restart, since others may know them.
 */
export class Supervisor {
  readonly #table: ProcessTable;
  readonly #places: Place[];
  #stopping = false;

  constructor(options: SupervisorOptions) {
    this.#table = new ProcessTable(options.settings.dataDir);
    const { plan, settings, environment, stderr } = options;
    this.#places = ROLES.flatMap((role) =>
      Array.from({ length: plan[role] }, (_, index) => new Place({ role, index, settings, environment, stderr, endpointUrl: () => this.url, onChange: () => void this.#write() })),
    );
  }

  /** Of the first gateway. */
  get url(): string {
    return this.#places.find(({ role }) => role === 'gateway')?.url ?? '';
  }

  get entries(): readonly ProcessEntry[] {
    return this.#places.map((place) => place.entry);
  }

  /** Resolves when all are ready; rejects with a {@link CliError} when one cannot start, and has stopped the others then. */
  async start(): Promise<void> {
    try {
      // Gateways first: what functions are told of them is in the workers' environment.
      for (const roles of [['gateway'], ['controller', 'worker']] as const) {
        await Promise.all(this.#places.filter(({ role }) => roles.some((candidate) => candidate === role)).map((place) => place.start()));
      }
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Stops gateways, then controllers, then workers, each once the former have ended. Idempotent. */
  async stop(): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    for (const role of ROLES) await Promise.all(this.#places.filter((place) => place.role === role).map((place) => place.stop()));
    await this.#table.remove();
  }

  async #write(): Promise<void> {
    if (!this.#stopping) await this.#table.write(this.entries);
  }
}

interface PlaceOptions {
  readonly role: RoleName;
  readonly index: number;
  readonly settings: Settings;
  readonly environment: SupervisorOptions['environment'];
  readonly stderr: Output;
  readonly endpointUrl: () => string;
  readonly onChange: () => void;
}

/**
 * One of the plan's processes and its successors: *starting* until it says that it is ready, *ready*, *waiting* between its death and the next start, *stopping* for good.
 */
class Place {
  readonly role: RoleName;
  readonly #name: string;
  readonly #options: PlaceOptions;
  #state: ProcessEntry['state'] = 'waiting';
  #child: ChildProcess | undefined;
  #ready: RoleReady | undefined;
  /** Kept over restarts, once they are known. */
  #port: number | undefined;
  #internalPort: number | undefined;
  #restarts = 0;
  #quickDeaths = 0;
  #startedAtMs = 0;
  #restart: NodeJS.Timeout | undefined;
  #stopping = false;

  constructor(options: PlaceOptions) {
    this.role = options.role;
    this.#name = `${options.role}-${options.index + 1}`;
    this.#options = options;
    if (options.role === 'gateway' && options.settings.port !== 0) this.#port = options.settings.port + options.index;
  }

  get url(): string | undefined {
    return this.#ready?.url;
  }

  get entry(): ProcessEntry {
    const { url, internalUrl } = this.#ready ?? {};
    return {
      name: this.#name, role: this.role, state: this.#state, restarts: this.#restarts, startedAtMs: this.#startedAtMs,
      ...(this.#child?.pid === undefined ? {} : { pid: this.#child.pid }),
      ...(url === undefined ? {} : { url }),
      ...(internalUrl === undefined ? {} : { internalUrl }),
    };
  }

  /** Resolves when the process is ready. Rejects with a {@link CliError} that has its last words. */
  async start(): Promise<void> {
    const child = this.#spawn();
    const words: string[] = [];
    const lines = createInterface({ input: child.stderr as NodeJS.ReadableStream });
    lines.on('line', (line) => {
      words.push(line);
      if (words.length > 5) words.shift();
      this.#options.stderr.write(`${this.#name}: ${line}\n`);
    });
    const exited = once(child, 'exit');
    const ready = new Promise<RoleReady>((resolve) => {
      createInterface({ input: child.stdout as NodeJS.ReadableStream }).once('line', (line) => resolve(JSON.parse(line) as RoleReady));
    });
    const timeout = AbortSignal.timeout(START_MS_MAX);
    const outcome = await Promise.race([ready, exited.then(() => undefined), once(timeout, 'abort').then(() => undefined)]);
    if (outcome === undefined) {
      child.kill('SIGKILL');
      throw new CliError(words.at(-1)?.replace(/^sluice: /, '') ?? `${this.#name} did not start within ${START_MS_MAX / 1_000} s.`);
    }
    this.#ready = outcome;
    this.#port = outcome.url === undefined ? this.#port : Number(new URL(outcome.url).port);
    this.#internalPort = Number(new URL(outcome.internalUrl).port);
    if (!this.#stopping) this.#to('ready');
    void exited.then(() => this.#died());
  }

  #spawn(): ChildProcess {
    const { settings, environment, role, index, endpointUrl } = this.#options;
    const child = spawn(process.execPath, [...NODE_FLAGS, join(import.meta.dirname, '..', 'main.ts'), role, '--output', 'json'], {
      env: {
        ...environment,
        SLUICE_DATA: join(settings.dataDir, this.#name),
        SLUICE_PORT: String(this.#port ?? 0),
        SLUICE_INTERNAL_PORT: String(this.#internalPort ?? 0),
        ...(role === 'worker' ? { SLUICE_WORKER_NAME: `${settings.workerName}-${index + 1}`, SLUICE_ENDPOINT_URL: settings.endpointUrl ?? endpointUrl() } : {}),
      },
      stdio: ['ignore', 'pipe', 'pipe'],
      // Ctrl-C is for the supervisor, which knows in which order to stop.
      detached: true,
    });
    this.#child = child;
    this.#startedAtMs = Date.now();
    this.#to('starting');
    return child;
  }

  #died(): void {
    this.#child = undefined;
    if (this.#stopping) return;
    this.#quickDeaths = Date.now() - this.#startedAtMs > HEALTHY_MS ? 0 : this.#quickDeaths + 1;
    this.#to('waiting');
    this.#restart = setTimeout(() => {
      this.#restarts++;
      this.start().catch(() => this.#died());
    }, Math.min(RESTART_MAX_MS, RESTART_FIRST_MS * 2 ** Math.min(this.#quickDeaths, 16)));
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#restart);
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    this.#to('stopping');
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    const force = setTimeout(() => child.kill('SIGKILL'), this.#options.settings.stopPatienceMs + STOP_MARGIN_MS);
    await exited;
    clearTimeout(force);
  }

  #to(state: ProcessEntry['state']): void {
    this.#state = state;
    this.#options.onChange();
  }
}
