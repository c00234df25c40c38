import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { LoadOrder, LoadReport } from './load-generator.ts';
import { median } from './statistics.ts';
import type { Subject } from './subjects/subject.ts';

const run = promisify(execFile);

export interface Load {
  readonly connections: number;
  readonly warmUpMs: number;
  readonly windows: number;
  readonly windowMs: number;
}

export interface LoadResult {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly errors: number;
}

/** Loads a subject from a process of its own; the medians of the windows. Rejects where most answers were errors: that is no figure. */
export async function applyLoad(subject: Subject, load: Load): Promise<LoadResult> {
  const order: LoadOrder = { url: subject.url, method: 'POST', path: subject.path, headers: subject.headers, body: '{"n":1}', ...load };
  const { stdout } = await run(process.execPath, [join(import.meta.dirname, 'load-generator.ts'), JSON.stringify(order)]);
  const report = JSON.parse(stdout) as LoadReport;
  const errors = report.windows.reduce((sum, window) => sum + window.errors, 0);
  const requests = report.windows.reduce((sum, window) => sum + window.requests, 0);
  if (errors * 2 > requests || requests === 0) throw new Error(`${subject.name} answered ${errors} of ${requests} requests with errors, first: ${report.firstError ?? 'none at all'}`);
  return {
    perSecond: median(report.windows.map((window) => window.perSecond)),
    p50Ms: median(report.windows.map((window) => window.p50Ms)),
    p99Ms: median(report.windows.map((window) => window.p99Ms)),
    errors,
  };
}
