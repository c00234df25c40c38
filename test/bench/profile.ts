import { mkdtemp, readdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { applyLoad } from './load.ts';
import { deployMeasured, startSluice } from './subjects/sluice.ts';

const TOP = 20;
const LOAD = { connections: 32, warmUpMs: 3_000, windows: 3, windowMs: 2_000 };

/** The parts of Chrome's .cpuprofile that are read here. */
interface CpuProfile {
  readonly nodes: readonly { readonly id: number; readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number } }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

export interface SelfTime {
  readonly where: string;
  readonly ms: number;
  readonly share: number;
}

/** Time that each function spent in itself, most first; idle time does not count. */
export function selfTimes(profile: CpuProfile): SelfTime[] {
  const names = new Map(profile.nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => [id, `${functionName || '(anonymous)'}  ${url === '' ? '' : `${url.replace(/^file:.*?\/(?=gateway|controller|worker|platform|cli|node_modules)/, '')}:${lineNumber + 1}`}`]));
  const times = new Map<string, number>();
  let busyMs = 0;
  for (const [index, id] of profile.samples.entries()) {
    const where = names.get(id) ?? '(unknown)';
    const ms = (profile.timeDeltas[index] ?? 0) / 1000;
    if (where.startsWith('(idle)') || where.startsWith('(root)')) continue;
    busyMs += ms;
    times.set(where, (times.get(where) ?? 0) + ms);
  }
  return [...times].map(([where, ms]) => ({ where: where.trim(), ms, share: ms / busyMs })).sort((a, b) => b.ms - a.ms);
}

export type ProfiledLoad = 'warm' | 'async';

/** Loads a Sluice that writes a CPU profile, keeps the profile in a folder of its own and prints where the time went. */
export async function profileUnder(kind: ProfiledLoad, say: (what: string) => void): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-profile-'));
  const sluice = await startSluice({ nodeOptions: ['--cpu-prof', `--cpu-prof-dir=${folder}`, '--cpu-prof-interval=200'] });
  const measured = await deployMeasured(sluice, 'Node');
  const subject = kind === 'async' ? { ...measured, headers: { 'x-amz-invocation-type': 'Event' } } : measured;
  say(`${kind} load under the profiler`);
  const { perSecond } = await applyLoad(subject, LOAD).finally(() => sluice.stop());
  const lines = [`${Math.round(perSecond).toLocaleString('en-US')} invocations/s at 32 connections, under the profiler`];
  // One file for each thread.
  for (const name of await readdir(folder)) {
    const file = join(folder, name);
    const times = selfTimes(JSON.parse(await readFile(file, 'utf8')) as CpuProfile);
    lines.push('', `${file} (open it in a browser's developer tools)`, ...times.slice(0, TOP).map(({ where, ms, share }) => `${ms.toFixed(0).padStart(7)} ms ${(share * 100).toFixed(1).padStart(5)} %  ${where}`));
  }
  return `${lines.join('\n')}\n`;
}
