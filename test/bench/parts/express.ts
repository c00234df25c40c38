import { applyLoad, type Load } from '../load.ts';
import { ratioColumn, type PartReport } from '../report.ts';
import { startBareHttp } from '../subjects/floors.ts';

const ONE: Load = { connections: 1, warmUpMs: 200, windows: 3, windowMs: 700 };
const MANY: Load = { connections: 32, warmUpMs: 200, windows: 3, windowMs: 700 };

/** What express on the way of a request costs, measured on the bare server. */
export async function express(say: (what: string) => void): Promise<PartReport> {
  const rows = [];
  for (const withExpress of [false, true]) {
    say(withExpress ? 'with express' : 'without express');
    const subject = await startBareHttp({ express: withExpress });
    try {
      const one = await applyLoad(subject, ONE);
      const many = await applyLoad(subject, MANY);
      rows.push({ name: subject.name, one, many });
    } finally {
      await subject.stop();
    }
  }
  const [bare] = rows;
  const table = {
    title: 'Express on the path',
    columns: [{ title: 'p50, 1 conn', digits: 3, unit: 'ms' }, { title: 'rate, 32 conn', digits: 0, unit: '/s' }, ratioColumn('rate / bare'), { title: 'added per request', digits: 1, unit: 'µs' }],
    rows: rows.map(({ name, one, many }) => ({ name, values: [one.p50Ms, many.perSecond, many.perSecond / (bare?.many.perSecond ?? Number.NaN), (1 / many.perSecond - 1 / (bare?.many.perSecond ?? Number.NaN)) * 1_000_000] })),
  };
  return { tables: [table], targets: [], notes: ['Express: version 5 with 80 routes beside the one of Invoke, on the bare server; what it adds per request follows from the rates at 32 connections.'], failures: [] };
}
