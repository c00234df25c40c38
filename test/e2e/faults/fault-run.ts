import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { Observer } from '../../support/observer.ts';
import { steadyLoad, timesSeen, type LoadReport } from './load.ts';

/** One row of the fault table. */
export interface FaultRow {
  readonly fault: string;
  readonly sent: number;
  readonly accepted: number;
  readonly executed: number;
  /** Events that ran more than once. */
  readonly duplicates: number;
  /** When each of these ran last, in milliseconds since the epoch. */
  readonly repeatedAtMs: readonly number[];
  readonly syncAnswered: number;
  readonly clientErrors: string;
  /** From the fault to the last error that a client saw. */
  readonly recoverySec: number;
  readonly slowestSyncMs: number;
  /** The longest time in which no sync caller was answered. */
  readonly longestPauseMs: number;
}

export interface FaultOptions {
  readonly fault: string;
  readonly observer: Observer;
  readonly gateways: readonly string[];
  readonly functionName: string;
  readonly perSec: number;
  readonly deadlineMs: number;
  /** Does the damage, waits for what has to come back by itself, and brings back what does not. */
  readonly inject: () => Promise<void>;
  /** How long load goes on before the fault and after its end. */
  readonly calmMs?: number;
}

const CALM_MS = 2_000;
/** Of the events that ran more than once, so many are shown with their runs. */
const REPEATED_SHOWN_MAX = 5;

/**
 * A fault under load. Rejects where an accepted event did not run, or a caller had no answer by its deadline; waits for as long as the test may take for what is accepted and
 * has not run yet.
 */
export async function runFault({ fault, observer, gateways, functionName, perSec, deadlineMs, inject, calmMs = CALM_MS }: FaultOptions): Promise<FaultRow> {
  const ending = new AbortController();
  const load = steadyLoad({ gateways, functionName, perSec, deadlineMs, signal: ending.signal });
  await delay(calmMs);
  const injectedAt = performance.now();
  await inject();
  await delay(calmMs);
  ending.abort();
  const report = await load;
  const accepted = new Set(report.accepted);
  const seen = new Set(observer.sightings.map(({ mark }) => mark));
  let missing = report.accepted.filter((mark) => !seen.has(mark));
  await observer.until(() => {
    missing = missing.filter((mark) => !observer.has(mark));
    return missing.length === 0;
  });
  await observer.settle();
  const times = timesSeen(observer);
  const repeated = [...times].filter(([mark, count]) => count > 1 && accepted.has(mark));
  for (const [mark, count] of repeated.slice(0, REPEATED_SHOWN_MAX)) {
    const runs = observer.sightings.filter((sighting) => sighting.mark === mark).map(({ requestId, pid, atMs }) => `${requestId} in process ${pid} at ${new Date(atMs ?? 0).toISOString()}`);
    process.stdout.write(`${fault}: ran ${count} times: ${runs.join(', ')}\n`);
  }
  const row = rowOf(fault, report, injectedAt, {
    executed: report.accepted.filter((mark) => times.has(mark)).length,
    duplicates: repeated.length,
    repeatedAtMs: repeated.map(([mark]) => Math.max(...observer.sightings.filter((sighting) => sighting.mark === mark).map(({ atMs }) => atMs ?? 0))),
  });
  assert.equal(row.executed, row.accepted, `${fault}: every event that was answered 202 ran`);
  assert.equal(report.late, 0, `${fault}: every sync caller had an answer within ${deadlineMs} ms; the slowest took ${report.slowestSyncMs.toFixed(0)} ms`);
  return row;
}

function rowOf(fault: string, report: LoadReport, injectedAt: number, counts: Pick<FaultRow, 'executed' | 'duplicates' | 'repeatedAtMs'>): FaultRow {
  return {
    fault,
    sent: report.sent,
    accepted: report.accepted.length,
    ...counts,
    syncAnswered: report.syncAnswered,
    clientErrors: report.errors.size === 0 ? '0' : [...report.errors].map(([what, count]) => `${count} × ${what}`).join('; '),
    recoverySec: report.lastErrorAt === undefined ? 0 : Math.max(0, (report.lastErrorAt - injectedAt) / 1_000),
    slowestSyncMs: report.slowestSyncMs,
    longestPauseMs: report.longestPauseMs,
  };
}

/** The table as it stands in the documentation. */
export function faultTable(rows: readonly FaultRow[]): string {
  return [
    '| fault | sent | accepted | executed | ran twice | sync answered | errors to clients | recovery | slowest sync | longest pause |',
    '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |',
    ...rows.map((row) => `| ${row.fault} | ${row.sent} | ${row.accepted} | ${row.executed} | ${row.duplicates} | ${row.syncAnswered} | ${row.clientErrors} | ${row.recoverySec.toFixed(1)} s | ${row.slowestSyncMs.toFixed(0)} ms | ${row.longestPauseMs.toFixed(0)} ms |`),
  ].join('\n');
}
