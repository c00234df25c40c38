import { applyLoad, type Load, type LoadResult } from '../load.ts';
import { ratioColumn, type PartReport, type Target } from '../report.ts';
import { runtimeApiLoop, startBareHttp, startRuntimeApiFloor } from '../subjects/floors.ts';
import { startServerlessOffline } from '../subjects/serverless-offline.ts';
import { deployMeasured, startSluice } from '../subjects/sluice.ts';
import type { Subject } from '../subjects/subject.ts';

const ONE: Load = { connections: 1, warmUpMs: 500, windows: 3, windowMs: 1_000 };
const MANY: Load = { connections: 32, warmUpMs: 1_000, windows: 3, windowMs: 1_500 };
/** As many runtimes as keep two cores busy. */
const FLOOR_RUNTIMES = 8;
const LOOP = 'Runtime API, bare loop (floor)';
const FRONT = 'Runtime API behind a bare front';
const LOOP_MS = 2_000;

interface Warm {
  readonly name: string;
  readonly one: LoadResult;
  readonly many: LoadResult;
}

async function measure(subject: Subject): Promise<Warm> {
  return { name: subject.name, one: await applyLoad(subject, ONE), many: await applyLoad(subject, MANY) };
}

/** Starts a subject, measures it alone on the machine and stops it. */
async function measureAlone(start: () => Promise<Subject>): Promise<Warm> {
  const subject = await start();
  try {
    return await measure(subject);
  } finally {
    await subject.stop();
  }
}

/** Warm invocations: latency at one connection, throughput at 32. */
export async function warm(say: (what: string) => void): Promise<PartReport> {
  const results: Warm[] = [];
  const failures: string[] = [];
  /** A subject that cannot be measured leaves its row out, and the others stand. */
  const attempt = async (name: string, action: () => Promise<void>): Promise<void> => {
    say(name);
    try {
      await action();
    } catch (error) {
      failures.push(`${name}: ${(error as Error).message}`);
    }
  };
  const take = (name: string, measureIt: () => Promise<Warm>): Promise<void> =>
    attempt(name, async () => {
      results.push(await measureIt());
    });
  await take('bare Node HTTP', () => measureAlone(() => startBareHttp({ express: false })));
  await take(LOOP, async () => ({ name: LOOP, one: await runtimeApiLoop(1, LOOP_MS), many: await runtimeApiLoop(FLOOR_RUNTIMES, LOOP_MS) }));
  await take(FRONT, () => measureAlone(() => startRuntimeApiFloor(FRONT, FLOOR_RUNTIMES)));
  await attempt('serverless-offline', async () => {
    const offline = await startServerlessOffline();
    await take(offline.node.name, () => measure(offline.node));
    await take(offline.python.name, () => measure(offline.python));
    await offline.stop();
  });
  await attempt('Sluice', async () => {
    const sluice = await startSluice();
    for (const language of ['Node', 'Python'] as const) await take(`Sluice, ${language}`, async () => measure(await deployMeasured(sluice, language)));
    await sluice.stop();
  });
  return report(results, failures);
}

function report(results: readonly Warm[], failures: readonly string[]): PartReport {
  const find = (name: string): Warm | undefined => results.find((result) => result.name === name);
  const floor = find(LOOP);
  const front = find(FRONT);
  const offline = find('serverless-offline, Node');
  const sluice = find('Sluice, Node');
  const over = (value: number, base: number | undefined): number | undefined => (base === undefined ? undefined : value / base);
  const targets: Target[] = [];
  if (sluice !== undefined) {
    targets.push({ what: 'warm Invoke at one connection, p50', value: sluice.one.p50Ms, unit: 'ms', bound: 'at most', limit: 0.8 });
    if (floor !== undefined) targets.push({ what: 'warm Invoke at one connection, p50 over the Runtime API floor', value: sluice.one.p50Ms / floor.one.p50Ms, unit: '×', bound: 'at most', limit: 2.5 });
    if (front !== undefined) targets.push({ what: 'the same over the Runtime API behind a bare front', value: sluice.one.p50Ms / front.one.p50Ms, unit: '×', bound: 'at most', limit: 2.5 });
    targets.push({ what: 'invocations at 32 connections', value: sluice.many.perSecond, unit: 'per s', bound: 'at least', limit: 3_000 });
    if (offline !== undefined) targets.push({ what: 'invocations at 32 connections over serverless-offline (Node)', value: sluice.many.perSecond / offline.many.perSecond, unit: '×', bound: 'at least', limit: 1 });
  }
  const ms = (title: string) => ({ title, digits: 2, unit: 'ms' });
  const table = {
    title: 'Warm invocation',
    columns: [ms('p50, 1 conn'), ms('p99, 1 conn'), ratioColumn('p50 / floor'), { title: 'rate, 32 conn', digits: 0, unit: '/s' }, ratioColumn('rate / offline'), ms('p50, 32 conn'), ms('p99, 32 conn'), { title: 'errors', digits: 0, unit: '' }],
    rows: results.map(({ name, one, many }) => ({
      name,
      values: [one.p50Ms, one.p99Ms, over(one.p50Ms, floor?.one.p50Ms), many.perSecond, over(many.perSecond, offline?.many.perSecond), many.p50Ms, many.p99Ms, one.errors + many.errors],
    })),
  };
  const notes = [
    `The floor: Sluice's own Node runtime, driven over the Runtime API by a loop in the server's own process, 1 at once and ${FLOOR_RUNTIMES} at once: no client, no request. Behind a bare front the same runtimes (${FLOOR_RUNTIMES}) get their events from HTTP requests.`,
    'Every row but the loop gets the same requests from the same generator (bare sockets, kept alive, a process of its own); medians of three windows.',
    'On two cores the kernel puts a single-process server and the generator on one core or on two as it likes, which moves the bare rows by up to a factor of two.',
  ];
  return { tables: [table], targets, notes, failures };
}
