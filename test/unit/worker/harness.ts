import { createHash, randomUUID } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import type { TestContext } from 'node:test';
import { ZipFile } from 'yazl';
import { systemClock, type Clock } from '../../../platform/clock.ts';
import type { FunctionLogs, LogEvent } from '../../../platform/function-logs/function-logs.ts';
import type { ExecutionSpec } from '../../../platform/model/execution-spec.ts';
import type { VersionConfiguration } from '../../../platform/model/function.ts';
import type { InvocationRecord } from '../../../platform/model/invocation.ts';
import type { Assignment, ControllerLink, EnvironmentDeparture, EnvironmentPoll } from '../../../platform/protocol/controller-link.ts';
import type { Reply, StreamedReply } from '../../../platform/protocol/reply.ts';
import { createLogger } from '../../../platform/telemetry/logger.ts';
import { startWorker, type ContainerSettings, type Worker } from '../../../worker/start.ts';

const FIXTURES = join(import.meta.dirname, '../../fixtures/functions');

/** What one environment said to its controller, and a hand to answer it. */
export interface OpenedEnvironment {
  readonly id: string;
  /** Its next poll. */
  polled(): Promise<EnvironmentPoll>;
  /** Its next poll, which says that init has failed: the error object. */
  initError(): Promise<{ readonly errorType: string; readonly errorMessage: string }>;
  assign(assignment: Assignment): void;
  readonly departure: Promise<EnvironmentDeparture>;
  readonly departures: EnvironmentDeparture[];
}

export interface Harness {
  readonly worker: Worker;
  readonly dataDir: string;
  readonly lines: LogEvent[];
  open(configuration: Partial<VersionConfiguration> & { readonly folder: string }): Promise<OpenedEnvironment>;
  /** Invokes: resolves to the reply and, once polled or gone, what followed. */
  invoke(environment: OpenedEnvironment, payload: unknown, options?: Partial<InvocationRecord>): Promise<Extract<Reply, { kind: 'success' | 'functionError' }>>;
  reply(invocationId: string): Promise<Reply>;
  /** The beginning of a response that is streamed. */
  stream(invocationId: string): Promise<StreamedReply>;
}

export function invocation(payload: unknown, options: Partial<InvocationRecord> = {}): InvocationRecord {
  return {
    v: 1,
    id: randomUUID(),
    kind: 'sync',
    account: '000000000000',
    functionName: 'trial',
    functionUid: 'uid',
    version: '$LATEST',
    invokedArn: 'arn:aws:lambda:us-east-1:000000000000:function:trial',
    acceptedAtMs: Date.now(),
    expiresAtMs: Date.now() + 60_000,
    attempt: 1,
    throttles: 0,
    traceId: 'Root=1-5759e988-bd862e3fe1be46a994272793',
    logTail: false,
    payload: Buffer.from(JSON.stringify(payload)),
    ...options,
  };
}

const zips = new Map<string, Promise<Buffer>>();

function zipOf(folder: string): Promise<Buffer> {
  let zip = zips.get(folder);
  if (zip === undefined) zips.set(folder, (zip = pack(join(FIXTURES, folder))));
  return zip;
}

async function pack(folder: string): Promise<Buffer> {
  const zip = new ZipFile();
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    zip.addBuffer(await readFile(path), path.slice(folder.length + 1));
  }
  zip.end();
  return buffer(zip.outputStream as Readable);
}

/** A worker with everything around it in memory; gone with the test. */
export async function startHarness(test: Pick<TestContext, 'after'>, overrides: { readonly prestartedPerRuntime?: number; readonly cacheDir?: string; readonly python?: string; readonly clock?: Clock; readonly container?: ContainerSettings } = {}): Promise<Harness> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-worker-'));
  const lines: LogEvent[] = [];
  const replies = new Map<string, PromiseWithResolvers<Reply>>();
  const streams = new Map<string, PromiseWithResolvers<StreamedReply>>();
  const streamTo = (id: string): PromiseWithResolvers<StreamedReply> => {
    let waiting = streams.get(id);
    if (waiting === undefined) streams.set(id, (waiting = Promise.withResolvers<StreamedReply>()));
    return waiting;
  };
  const replyTo = (id: string): PromiseWithResolvers<Reply> => {
    let waiting = replies.get(id);
    if (waiting === undefined) replies.set(id, (waiting = Promise.withResolvers<Reply>()));
    return waiting;
  };
  const environments = new Map<string, Opened>();
  const link: ControllerLink = {
    next: (poll) => (environments.get(poll.environmentId) as Opened).poll(poll),
    responded: () => undefined,
    gone: (departure) => (environments.get(departure.environmentId) as Opened).depart(departure),
  };
  const functionLogs = { append: (_group, _stream, events) => void lines.push(...events) } as Partial<FunctionLogs> as FunctionLogs;
  const worker = await startWorker({
    link,
    replies: { reply: ({ id }, reply) => replyTo(id).resolve(reply), stream: ({ id }, streamed) => streamTo(id).resolve(streamed) },
    code: ({ objectKey }) => zipOf(objectKey),
    functionLogs,
    clock: overrides.clock ?? systemClock,
    logger: createLogger('error'),
    settings: {
      dataDir,
      cacheDir: overrides.cacheDir ?? join(dataDir, 'cache'),
      region: 'us-east-1',
      account: '000000000000',
      endpointUrl: 'http://127.0.0.1:9400',
      prestartedPerRuntime: overrides.prestartedPerRuntime ?? 0,
      python: overrides.python ?? 'python3',
      container: overrides.container,
    },
  });
  test.after(async () => {
    await worker.stop();
    await rm(dataDir, { recursive: true, force: true });
  });
  return {
    worker,
    dataDir,
    lines,
    async open({ folder, ...configuration }) {
      const opened = new Opened(randomUUID());
      environments.set(opened.id, opened);
      const zip = await zipOf(folder);
      worker.host.open(opened.id, spec(folder, createHash('sha256').update(zip).digest('base64'), zip.length, configuration));
      return opened;
    },
    async invoke(environment, payload, options) {
      const record = invocation(payload, options);
      environment.assign({ kind: 'invoke', invocation: record, epoch: 1, deliveryId: 1 });
      const reply = await replyTo(record.id).promise;
      if (reply.kind === 'rejected') throw new Error(`rejected: ${reply.rejection.code}`);
      return reply;
    },
    reply: (id) => replyTo(id).promise,
    stream: (id) => streamTo(id).promise,
  };
}

class Opened implements OpenedEnvironment {
  readonly id: string;
  readonly departures: EnvironmentDeparture[] = [];
  readonly #departure = Promise.withResolvers<EnvironmentDeparture>();
  readonly #polls: EnvironmentPoll[] = [];
  #waiting: ((poll: EnvironmentPoll) => void) | undefined;
  #answer: ((assignment: Assignment) => void) | undefined;

  constructor(id: string) {
    this.id = id;
  }

  get departure(): Promise<EnvironmentDeparture> {
    return this.#departure.promise;
  }

  poll(poll: EnvironmentPoll): Promise<Assignment> {
    if (this.#waiting !== undefined) this.#waiting(poll);
    else this.#polls.push(poll);
    this.#waiting = undefined;
    return new Promise((resolve) => (this.#answer = resolve));
  }

  depart(departure: EnvironmentDeparture): void {
    this.departures.push(departure);
    this.#departure.resolve(departure);
  }

  polled(): Promise<EnvironmentPoll> {
    const poll = this.#polls.shift();
    if (poll !== undefined) return Promise.resolve(poll);
    const early = this.#departure.promise.then((departure) => {
      throw new Error(`The environment departed instead of polling: ${JSON.stringify(departure.cause)}`);
    });
    return Promise.race([new Promise<EnvironmentPoll>((resolve) => (this.#waiting = resolve)), early]);
  }

  async initError(): ReturnType<OpenedEnvironment['initError']> {
    const poll = await this.polled();
    if (poll.kind !== 'initFailed') throw new Error(`Init has not failed: ${poll.kind}.`);
    return JSON.parse(poll.errorBody.toString()) as Awaited<ReturnType<OpenedEnvironment['initError']>>;
  }

  assign(assignment: Assignment): void {
    this.#answer?.(assignment);
  }
}

function spec(objectKey: string, sha256: string, sizeBytes: number, configuration: Partial<VersionConfiguration>): ExecutionSpec {
  return {
    id: `000000000000/trial/uid/$LATEST/${randomUUID()}`,
    account: '000000000000',
    functionName: 'trial',
    functionUid: 'uid',
    version: '$LATEST',
    versionArn: 'arn:aws:lambda:us-east-1:000000000000:function:trial:$LATEST',
    configuration: {
      runtime: 'nodejs22.x',
      handler: 'index.ok',
      role: 'arn:aws:iam::000000000000:role/trial',
      description: '',
      timeoutSec: 10,
      memoryMiB: 256,
      ephemeralStorageMiB: 512,
      environment: undefined,
      architecture: 'x86_64',
      tracingMode: 'PassThrough',
      logGroup: '/aws/lambda/trial',
      code: { sha256, sizeBytes, objectKey },
      ...configuration,
    },
  };
}
