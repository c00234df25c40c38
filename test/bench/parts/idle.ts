import { setTimeout as delay } from 'node:timers/promises';
import { treeMemory } from '../machine.ts';
import type { PartReport, Target } from '../report.ts';
import { median } from '../statistics.ts';
import { startSluice } from '../subjects/sluice.ts';

const STARTS = 5;
const SETTLE_MS = 4_000;

/** How soon `sluice up` answers, and what it takes while nobody asks. */
export async function idle(say: (what: string) => void): Promise<PartReport> {
  const readyMs: number[] = [];
  for (let start = 0; start < STARTS; start++) {
    say(`start ${start + 1} of ${STARTS}`);
    const sluice = await startSluice();
    readyMs.push(sluice.readyMs);
    await sluice.stop();
  }
  say('memory');
  const sluice = await startSluice();
  await delay(SETTLE_MS);
  const memory = treeMemory(sluice.pid);
  await sluice.stop();
  const targets: Target[] = [{ what: '`sluice up` ready', value: median(readyMs), unit: 'ms', bound: 'at most', limit: 1_000 }];
  if (memory !== undefined) targets.push({ what: 'idle memory of `sluice up`, all its processes', value: memory.treeProportionalMiB ?? memory.treeMiB, unit: 'MiB', bound: 'at most', limit: 150 });
  const mib = (title: string) => ({ title, digits: 0, unit: 'MiB' });
  const table = {
    title: '`sluice up`, idle',
    columns: [{ title: 'ready', digits: 0, unit: 'ms' }, mib('own RSS'), mib('RSS of all'), mib('PSS of all'), { title: 'processes', digits: 0, unit: '' }],
    rows: [{ name: 'on an empty folder', values: [median(readyMs), memory?.ownMiB, memory?.treeMiB, memory?.treeProportionalMiB, memory?.processes] }],
  };
  return { tables: [table], targets, notes: ['RSS counts a page that processes share once for each of them, PSS divides it among them.'], failures: [] };
}
