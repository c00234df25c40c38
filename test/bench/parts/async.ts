import { applyLoad, type Load } from '../load.ts';
import type { PartReport } from '../report.ts';
import { deployMeasured, startSluice } from '../subjects/sluice.ts';

const ONE: Load = { connections: 1, warmUpMs: 200, windows: 3, windowMs: 700 };
const MANY: Load = { connections: 32, warmUpMs: 200, windows: 3, windowMs: 1_000 };

/** How fast `Event` invocations are accepted, each durable before its 202, while the accepted ones run. */
export async function asynchronous(say: (what: string) => void): Promise<PartReport> {
  const sluice = await startSluice();
  try {
    const subject = { ...(await deployMeasured(sluice, 'Node')), headers: { 'x-amz-invocation-type': 'Event' } };
    say('one connection');
    const one = await applyLoad(subject, ONE);
    say('32 connections');
    const many = await applyLoad(subject, MANY);
    const ms = (title: string) => ({ title, digits: 2, unit: 'ms' });
    const table = {
      title: 'Event invocations accepted',
      columns: [ms('p50, 1 conn'), ms('p99, 1 conn'), { title: 'rate, 32 conn', digits: 0, unit: '/s' }, ms('p50, 32 conn'), ms('p99, 32 conn')],
      rows: [{ name: 'Sluice', values: [one.p50Ms, one.p99Ms, many.perSecond, many.p50Ms, many.p99Ms] }],
    };
    return { tables: [table], targets: [], notes: ['An Event is answered 202 after it has been synced to disk; accepted ones run at the same time, on the same cores.'], failures: [] };
  } finally {
    await sluice.stop();
  }
}
