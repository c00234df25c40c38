import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { PutFunctionConcurrencyCommand, type LambdaClient } from '@aws-sdk/client-lambda';
import { lambdaClient } from '../../support/access.ts';
import { deploy } from '../../support/functions.ts';
import { kafkaService } from '../../support/services.ts';
import type { SluiceProcesses } from '../../support/sluice-processes.ts';
import { NODE_SOURCE } from '../functions/handlers.ts';
import { applyLoad, type Load, type LoadResult } from '../load.ts';
import { ratioColumn, type PartReport, type Target } from '../report.ts';
import { processesOnServices } from '../subjects/processes.ts';
import { rawKafka, type RawKafka } from '../subjects/raw-kafka.ts';
import type { Subject } from '../subjects/subject.ts';

const ONE: Load = { connections: 1, warmUpMs: 3_000, windows: 3, windowMs: 2_000 };
/** Sixty-four runtimes each compile what is hot: that takes its time on two cores. */
const MANY: Load = { connections: 64, warmUpMs: 40_000, windows: 3, windowMs: 3_000 };
const ENQUEUE: Load = { connections: 64, warmUpMs: 2_000, windows: 3, windowMs: 2_000 };
/** A neighbour that is called now and then, not one that loads the machine by itself. */
const NEIGHBOUR: Load = { connections: 1, warmUpMs: 1_000, windows: 3, windowMs: 3_000 };
const RAW_ROUNDS = 2_000;
const NOISY_EVENTS = 100_000;
const NOISY_CONCURRENCY = 4;
const FEED: Load = { connections: 128, warmUpMs: 0, windows: 1, windowMs: 2_000 };
const MEMORY_EVERY_MS = 250;
const MISSING = 'KAFKA_BROKERS, S3_ENDPOINT and REDIS_URL must name running services, or Docker must be able to start them';

/** The three roles in processes of their own on the real services, beside what kafkajs alone takes. `backlogEvents`: how many are queued and then drained. */
export async function kafka(say: (what: string) => void, backlogEvents: number): Promise<PartReport> {
  const service = await kafkaService();
  if (service === undefined) throw new Error(MISSING);
  say('raw kafkajs');
  const raw = await rawKafka(service.brokers, `bench${process.pid}`, RAW_ROUNDS);
  say('starting a gateway, a controller and a worker');
  const processes = await processesOnServices();
  if (processes === undefined) throw new Error(MISSING);
  try {
    return await measure(processes.sluice, raw, backlogEvents, say);
  } finally {
    await processes.end();
  }
}

async function measure(sluice: SluiceProcesses, raw: RawKafka, backlogEvents: number, say: (what: string) => void): Promise<PartReport> {
  const lambda = lambdaClient(sluice.url, { maxAttempts: 3 });
  try {
    for (const name of ['node', 'neighbour', 'noisy', 'queued']) await deploy(lambda, { name, files: { 'index.js': NODE_SOURCE } });
    say('warm, one connection');
    const one = await applyLoad(subject(sluice, 'node'), ONE);
    say('warm, 64 connections');
    const many = await applyLoad(subject(sluice, 'node'), MANY);
    say('events');
    const events = await applyLoad(subject(sluice, 'node', 'Event'), ENQUEUE);
    await drained(sluice);
    say('a neighbour, alone');
    const alone = await applyLoad(subject(sluice, 'neighbour'), NEIGHBOUR);
    say(`${NOISY_EVENTS.toLocaleString('en-US')} events of a noisy function`);
    const beside = await besideNoise(sluice, lambda);
    say(`a backlog of ${backlogEvents.toLocaleString('en-US')} events`);
    const backlog = await drainBacklog(sluice, backlogEvents, say);
    return report({ raw, one, many, events, alone, beside, backlog, backlogEvents });
  } finally {
    lambda.destroy();
  }
}

function subject(sluice: SluiceProcesses, functionName: string, type: 'RequestResponse' | 'Event' = 'RequestResponse'): Subject {
  return { name: `Sluice over Kafka, ${functionName}`, url: sluice.url, path: `/2015-03-31/functions/${functionName}/invocations`, headers: { 'x-amz-invocation-type': type }, stop: () => Promise.resolve() };
}

/** Queues so many events; their number is exact to a few thousand, since they are sent in stretches of time. */
async function enqueue(sluice: SluiceProcesses, functionName: string, count: number): Promise<number> {
  let queued = 0;
  while (queued < count) queued += Math.round((await applyLoad(subject(sluice, functionName, 'Event'), FEED)).perSecond * (FEED.windowMs / 1_000));
  return queued;
}

async function besideNoise(sluice: SluiceProcesses, lambda: LambdaClient): Promise<LoadResult> {
  await lambda.send(new PutFunctionConcurrencyCommand({ FunctionName: 'noisy', ReservedConcurrentExecutions: NOISY_CONCURRENCY }));
  await enqueue(sluice, 'noisy', NOISY_EVENTS);
  return applyLoad(subject(sluice, 'neighbour'), NEIGHBOUR);
}

interface Backlog {
  readonly queued: number;
  readonly perSecond: number;
  readonly controllerPeakMiB: number;
}

/** Queues events faster than they run, and drains them; the controller's largest resident memory meanwhile. */
async function drainBacklog(sluice: SluiceProcesses, count: number, say: (what: string) => void): Promise<Backlog> {
  const [controller] = await sluice.ready('controller');
  const pid = controller?.pid ?? 0;
  let peakMiB = 0;
  const watching = setInterval(() => (peakMiB = Math.max(peakMiB, residentMiB(pid))), MEMORY_EVERY_MS);
  try {
    const queued = await enqueue(sluice, 'queued', count);
    const before = await waiting(sluice);
    const startedAt = performance.now();
    await drained(sluice, (left) => say(`${left.toLocaleString('en-US')} left`));
    return { queued, perSecond: before / ((performance.now() - startedAt) / 1_000), controllerPeakMiB: peakMiB };
  } finally {
    clearInterval(watching);
  }
}

function residentMiB(pid: number): number {
  const kib = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kib ?? 0) / 1_024;
}

/** Events that wait, by the controller's own metric. */
async function waiting(sluice: SluiceProcesses): Promise<number> {
  const [controller] = await sluice.ready('controller');
  const text = await (await fetch(`${controller?.internalUrl}/metrics`)).text();
  const values = [...text.matchAll(/^sluice_log_backlog\S* (\d+)/gm)].map((match) => Number(match[1]));
  if (values.length === 0) throw new Error('The controller has no metric of the backlog.');
  return values.reduce((sum, value) => sum + value, 0);
}

async function drained(sluice: SluiceProcesses, tell: (left: number) => void = () => undefined): Promise<void> {
  for (let quiet = 0; quiet < 2; ) {
    await delay(2_000);
    const left = await waiting(sluice);
    tell(left);
    quiet = left === 0 ? quiet + 1 : 0;
  }
}

interface Measured {
  readonly raw: RawKafka;
  readonly one: LoadResult;
  readonly many: LoadResult;
  readonly events: LoadResult;
  readonly alone: LoadResult;
  readonly beside: LoadResult;
  readonly backlog: Backlog;
  readonly backlogEvents: number;
}

function report({ raw, one, many, events, alone, beside, backlog, backlogEvents }: Measured): PartReport {
  const ms = (title: string) => ({ title, digits: 2, unit: 'ms' });
  const rate = (title: string) => ({ title, digits: 0, unit: '/s' });
  const targets: Target[] = [
    { what: 'warm Invoke over Kafka at one connection, p50 above raw Kafka', value: one.p50Ms - raw.p50Ms, unit: 'ms', bound: 'at most', limit: 1.5 },
    { what: 'the same, p99', value: one.p99Ms, unit: 'ms', bound: 'at most', limit: 25 },
    { what: 'invocations over Kafka at 64 connections', value: many.perSecond, unit: 'per s', bound: 'at least', limit: 2_000 },
    { what: 'events accepted by one gateway', value: events.perSecond, unit: 'per s', bound: 'at least', limit: 5_000 },
    { what: 'a neighbour\'s p99 beside a noisy function', value: beside.p99Ms / alone.p99Ms, unit: '×', bound: 'at most', limit: 2 },
    { what: `controller's memory with a backlog of ${backlogEvents.toLocaleString('en-US')} events`, value: backlog.controllerPeakMiB, unit: 'MiB', bound: 'at most', limit: 400 },
  ];
  return {
    tables: [
      {
        title: 'Over Kafka, MinIO and Redis',
        columns: [ms('p50'), ms('p99'), ratioColumn('p50 / raw'), rate('rate')],
        rows: [
          { name: 'raw kafkajs, produce to delivery, 1 at a time', values: [raw.p50Ms, raw.p99Ms, 1, undefined] },
          { name: 'warm Invoke, 1 connection', values: [one.p50Ms, one.p99Ms, one.p50Ms / raw.p50Ms, one.perSecond] },
          { name: 'warm Invoke, 64 connections', values: [many.p50Ms, many.p99Ms, undefined, many.perSecond] },
          { name: 'Event, 64 connections, while they run', values: [events.p50Ms, events.p99Ms, undefined, events.perSecond] },
          { name: 'neighbour alone', values: [alone.p50Ms, alone.p99Ms, undefined, undefined] },
          { name: `neighbour beside ${NOISY_EVENTS.toLocaleString('en-US')} queued events of another function`, values: [beside.p50Ms, beside.p99Ms, undefined, undefined] },
          { name: `a backlog of ${backlog.queued.toLocaleString('en-US')} events, drained`, values: [undefined, undefined, undefined, backlog.perSecond] },
        ],
      },
    ],
    targets,
    notes: ['One gateway, one controller and one worker, Kafka, MinIO, Redis and the load generator share two cores.', `The noisy function has a reserved concurrency of ${NOISY_CONCURRENCY}.`],
    failures: [],
  };
}
