import { EventEmitter, once } from 'node:events';
import { startController, type Controller } from '../../../controller/start.ts';
import type { FunctionCatalogue } from '../../../platform/functions/function-catalogue.ts';
import { LogUnavailableError, type Delivery, type InvocationLog, type LogConsumer, type LogConsumption, type PartitionAssignment } from '../../../platform/invocation-log/invocation-log.ts';
import { executionSpec, functionKey, type ExecutionSpec, type FunctionKey } from '../../../platform/model/execution-spec.ts';
import type { FunctionRecord } from '../../../platform/model/function.ts';
import type { InvocationRecord } from '../../../platform/model/invocation.ts';
import type { Assignment, EnvironmentDeparture } from '../../../platform/protocol/controller-link.ts';
import type { Reply } from '../../../platform/protocol/reply.ts';
import { createLogger } from '../../../platform/telemetry/logger.ts';
import type { PoolListener, WorkerPool } from '../../../platform/worker-pool/worker-pool.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

export const ACCOUNT = '000000000000';

export function functionRecord(name: string, change: { readonly revision?: string; readonly uid?: string; readonly reservedConcurrency?: number; readonly memoryMiB?: number } = {}): FunctionRecord {
  return {
    account: ACCOUNT,
    name,
    uid: change.uid ?? `uid-of-${name}`,
    latest: {
      version: '$LATEST',
      revisionId: change.revision ?? 'r1',
      lastModifiedMs: 0,
      state: 'Active',
      lastUpdateStatus: 'Successful',
      configuration: {
        runtime: 'nodejs24.x', handler: 'index.handler', role: '', description: '', timeoutSec: 3, memoryMiB: change.memoryMiB ?? 128, ephemeralStorageMiB: 512, environment: undefined, architecture: 'x86_64',
        tracingMode: 'PassThrough', logGroup: '', code: { sha256: '', sizeBytes: 0, objectKey: '' },
      },
    },
    publishedVersions: [],
    nextVersion: 1,
    aliases: [],
    tags: {},
    ...(change.reservedConcurrency === undefined ? {} : { reservedConcurrency: change.reservedConcurrency }),
  };
}

/** Functions in memory. `peek` knows what was asked for before, and forgets it with every change, as a view does. */
export class FakeCatalogue implements FunctionCatalogue {
  private readonly records = new Map<FunctionKey, FunctionRecord>();
  private readonly viewed = new Map<FunctionKey, FunctionRecord>();
  private readonly listeners = new Set<(key: FunctionKey, account: string, name: string) => void>();
  /** Set: the registry cannot be asked. */
  broken: Error | undefined;

  set(record: FunctionRecord): void {
    this.change(record.name, () => this.records.set(functionKey(ACCOUNT, record.name), record));
  }

  remove(name: string): void {
    this.change(name, () => this.records.delete(functionKey(ACCOUNT, name)));
  }

  peek(account: string, name: string): FunctionRecord | undefined {
    return this.viewed.get(functionKey(account, name));
  }

  async get(account: string, name: string): Promise<FunctionRecord | undefined> {
    await Promise.resolve();
    if (this.broken !== undefined) throw this.broken;
    return this.records.get(functionKey(account, name));
  }

  async view(account: string, name: string): Promise<FunctionRecord | undefined> {
    const record = await this.get(account, name);
    if (record !== undefined) this.viewed.set(functionKey(account, name), record);
    return record;
  }

  peekSpec(record: FunctionRecord, version: string): ExecutionSpec | undefined {
    return version === '$LATEST' ? executionSpec(record, record.latest, 'us-east-1') : undefined;
  }

  viewSpec(record: FunctionRecord, version: string): Promise<ExecutionSpec | undefined> {
    return Promise.resolve(this.peekSpec(record, version));
  }

  list(): Promise<{ readonly records: readonly FunctionRecord[] }> {
    return Promise.resolve({ records: [...this.records.values()] });
  }

  watch(listener: (key: FunctionKey, account: string, name: string) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  getVersion = unused;
  create = unused;
  update = unused;
  putVersionBody = unused;
  delete = unused;

  private change(name: string, write: () => void): void {
    const key = functionKey(ACCOUNT, name);
    write();
    this.viewed.delete(key);
    for (const listener of this.listeners) listener(key, ACCOUNT, name);
  }
}

function unused(): never {
  throw new Error('The controller only reads functions.');
}

export interface Postponed {
  readonly id: string;
  readonly attempt: number;
  readonly throttles: number;
  readonly notBeforeMs: number;
}

/** A log without delay that delivers what it is given and notes what becomes of it. */
export class FakeLog implements InvocationLog {
  readonly partitions = 1;
  readonly settled: string[] = [];
  readonly postponed: Postponed[] = [];
  /** Set: `load` and `postpone` reject. */
  unavailable = false;
  stopped = false;
  epoch = 7;
  /** What is appended from now on passes for something that an earlier owner may have given out. */
  inherited = false;
  consumer: LogConsumer | undefined;
  private readonly noted: EventEmitter;

  constructor(noted: EventEmitter) {
    this.noted = noted;
  }

  append(record: InvocationRecord): Promise<void> {
    const { payload, ...rest } = record;
    const delivery: Delivery = {
      kind: record.kind, partition: 0, offset: 0, epoch: this.epoch, inherited: this.inherited, head: { ...rest, payloadBytes: payload.length },
      load: () => (this.unavailable ? Promise.reject(new LogUnavailableError('unavailable')) : Promise.resolve(record)),
    };
    this.consumer?.deliver(delivery);
    return Promise.resolve();
  }

  async consume(consumer: LogConsumer): Promise<LogConsumption> {
    this.consumer = consumer;
    await consumer.assigned({ partitions: [0], epoch: this.epoch });
    return {
      settle: ({ head }) => {
        this.settled.push(head.id);
        this.noted.emit('settled', head.id);
      },
      postpone: ({ head }, change, notBeforeMs) => {
        if (this.unavailable) return Promise.reject(new LogUnavailableError('unavailable'));
        this.postponed.push({ id: head.id, ...change, notBeforeMs });
        this.noted.emit('postponed', head.id);
        return Promise.resolve();
      },
      undecided: () => undefined,
      stop: () => {
        this.stopped = true;
        return Promise.resolve();
      },
    };
  }

  backlog = unused;
  close = unused;
}

/** A pool whose environments do what the test says. */
export class FakePool implements WorkerPool {
  readonly capacity = { maxEnvironments: 3, maxMemoryMiB: 1_024, largestMiB: 1_024 };
  readonly claims: PartitionAssignment[] = [];
  readonly handedOver: string[] = [];
  readonly started: string[] = [];
  readonly specs = new Map<string, ExecutionSpec>();
  readonly stopped: string[] = [];
  readonly expected: string[] = [];
  readonly link: PoolListener;
  private readonly noted: EventEmitter;
  private readonly open = new Set<string>();

  constructor(link: PoolListener, noted: EventEmitter) {
    this.link = link;
    this.noted = noted;
  }

  start(environmentId: string, spec: ExecutionSpec): void {
    this.started.push(environmentId);
    this.specs.set(environmentId, spec);
    this.open.add(environmentId);
    this.noted.emit('started', environmentId);
  }

  stop(environmentId: string): void {
    this.stopped.push(environmentId);
    this.noted.emit('stopped', environmentId);
  }

  expect({ configuration }: ExecutionSpec): void {
    this.expected.push(configuration.runtime);
    this.noted.emit('expected', configuration.runtime);
  }

  /** What a claim waits for. */
  answered: Promise<void> = Promise.resolve();

  claim(assignment: PartitionAssignment): Promise<void> {
    this.claims.push(assignment);
    return this.answered;
  }

  handOver(environmentId: string): void {
    this.handedOver.push(environmentId);
    this.open.delete(environmentId);
  }

  gone(environmentId: string, cause: EnvironmentDeparture['cause'], completion?: EnvironmentDeparture['completion']): void {
    this.open.delete(environmentId);
    this.link.gone({ environmentId, cause, ...(completion && { completion }) });
  }

  close(): Promise<void> {
    for (const environmentId of [...this.open]) this.gone(environmentId, { kind: 'stopped' });
    return Promise.resolve();
  }
}

/** A controller between fakes, and short words for what a test does with it. */
export interface Bench {
  readonly controller: Controller;
  readonly clock: VirtualClock;
  readonly catalogue: FakeCatalogue;
  readonly log: FakeLog;
  readonly pool: FakePool;
  readonly replies: Map<string, Reply>;
  readonly invoke: (id: string, change?: Partial<InvocationRecord>) => void;
  /** Resolves with the argument of the next such note: settled, postponed, started, stopped, expected, replied. */
  readonly next: (note: string) => Promise<string>;
  readonly initialized: (environmentId: string) => Promise<Assignment>;
  readonly initFailed: (environmentId: string, errorBody: Buffer) => Promise<Assignment>;
  readonly completed: (environmentId: string, assignment: Assignment, outcome?: 'success' | 'functionError') => Promise<Assignment>;
}

export async function bench(options: { readonly accountConcurrency?: number; readonly atStop?: 'drain' | 'handOver' } = {}): Promise<Bench> {
  const clock = new VirtualClock();
  const noted = new EventEmitter();
  const catalogue = new FakeCatalogue();
  const log = new FakeLog(noted);
  const replies = new Map<string, Reply>();
  let pool: FakePool | undefined;
  const controller = await startController({
    name: 'c', atStop: options.atStop ?? 'drain', log, catalogue, clock,
    replies: {
      reply: ({ id }, reply) => {
        if (!replies.has(id)) replies.set(id, reply);
        noted.emit('replied', id);
      },
      awaited: ({ id }) => Promise.resolve(!replies.has(id)),
    },
    random: () => 0,
    logger: createLogger('silent'),
    settings: { accountConcurrency: options.accountConcurrency ?? 10, asyncRetryBaseMs: 60_000, keepAliveMinMs: 60_000, keepAliveMaxMs: 900_000 },
    createPool: (link) => Promise.resolve((pool = new FakePool(link, noted))),
  });
  if (pool === undefined) throw new Error('startController did not create its pool.');
  const { link } = controller;
  return {
    controller, clock, catalogue, log, pool, replies,
    invoke(id, change = {}) {
      const record: InvocationRecord = {
        v: 1, id, kind: 'sync', account: ACCOUNT, functionName: 'f', functionUid: `uid-of-${change.functionName ?? 'f'}`, version: '$LATEST', invokedArn: '', acceptedAtMs: clock.now(), expiresAtMs: clock.now() + 60_000,
        attempt: 1, throttles: 0, traceId: '', logTail: false, payload: Buffer.from('{}'), ...change,
      };
      void log.append(record);
    },
    next: async (note) => String(((await once(noted, note)) as unknown[])[0]),
    initialized: (environmentId) => link.next({ kind: 'initialized', environmentId, initDurationMs: 1 }),
    initFailed: (environmentId, errorBody) => link.next({ kind: 'initFailed', environmentId, errorBody }),
    completed(environmentId, assignment, outcome = 'success') {
      if (assignment.kind !== 'invoke') throw new Error('Only an invocation can be completed.');
      return link.next({ kind: 'completed', environmentId, completion: { invocationId: assignment.invocation.id, epoch: assignment.epoch, deliveryId: assignment.deliveryId, outcome, durationMs: 1 } });
    },
  };
}
