import { randomUUID } from 'node:crypto';
import { Agent, request } from 'node:http';
import type { Observer } from '../../support/observer.ts';

/** What callers came to see of one stretch of load. */
export interface LoadReport {
  readonly sent: number;
  /** Events that were answered 202. */
  readonly accepted: readonly string[];
  /** Events whose answer was an error or none: nobody knows whether they were accepted. */
  readonly unknown: readonly string[];
  readonly syncAnswered: number;
  readonly errors: ReadonlyMap<string, number>;
  /** Sync callers whose answer came later than it may. */
  readonly late: number;
  /** On the clock of `performance.now()`. */
  readonly lastErrorAt: number | undefined;
  readonly slowestSyncMs: number;
  /** The longest time in which no sync caller was answered. */
  readonly longestPauseMs: number;
}

export interface LoadOptions {
  readonly gateways: readonly string[];
  readonly functionName: string;
  /** Invocations per second, half of them events. */
  readonly perSec: number;
  /** The longest that a sync caller may wait: its function's time-out, its patience for a start, and the gateway's margin. */
  readonly deadlineMs: number;
  readonly signal: AbortSignal;
}

interface Answer {
  readonly status: number;
  readonly functionError: boolean;
  readonly body: string;
}

const TICK_MS = 20;
/**
 * A connection that nothing was sent on for so long is not used again: a gateway that stops ends connections that are idle, after it has said so in answers for a second, and a client that has not been
 * in turn for a moment would send on one that is closed already.
 */
const IDLE_MS = 500;

/** Sends invocations at a steady rate, whatever becomes of them, until the signal; resolves when the last is answered. */
export async function steadyLoad({ gateways, functionName, perSec, deadlineMs, signal }: LoadOptions): Promise<LoadReport> {
  const agent = new Agent({ keepAlive: true, maxSockets: 512, timeout: IDLE_MS });
  const accepted: string[] = [];
  const unknown: string[] = [];
  const errors = new Map<string, number>();
  const underWay = new Set<Promise<void>>();
  let [sent, syncAnswered, late, slowestSyncMs, longestPauseMs] = [0, 0, 0, 0, 0];
  let answeredAt = performance.now();
  let lastErrorAt: number | undefined;
  const failed = (what: string): void => {
    errors.set(what, (errors.get(what) ?? 0) + 1);
    lastErrorAt = performance.now();
  };
  const invoke = async (sync: boolean): Promise<void> => {
    const mark = randomUUID();
    const url = `${gateways[sent++ % gateways.length]}/2015-03-31/functions/${functionName}/invocations`;
    const startedAt = performance.now();
    try {
      const { status, functionError, body } = await post(agent, url, JSON.stringify({ mark }), sync ? 'RequestResponse' : 'Event', deadlineMs * 2);
      if (sync) {
        longestPauseMs = Math.max(longestPauseMs, performance.now() - answeredAt);
        answeredAt = performance.now();
      }
      if (sync && status === 200 && !functionError) syncAnswered++;
      else if (!sync && status === 202) accepted.push(mark);
      else {
        failed(`${status}${functionError ? ' function error' : ''} ${/"(?:errorM|m|M)essage":"([^"]{0,60})/.exec(body)?.[1] ?? ''}`.trim());
        if (!sync) unknown.push(mark);
      }
    } catch (error) {
      failed((error as NodeJS.ErrnoException).code ?? (error as Error).message);
      if (!sync) unknown.push(mark);
    }
    if (!sync) return;
    const tookMs = performance.now() - startedAt;
    slowestSyncMs = Math.max(slowestSyncMs, tookMs);
    if (tookMs > deadlineMs) late++;
  };
  const startedAt = performance.now();
  await new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      if (signal.aborted) {
        clearInterval(timer);
        resolve();
        return;
      }
      const due = ((performance.now() - startedAt) / 1_000) * perSec;
      while (sent < due) {
        const one = invoke(sent % 2 === 0).finally(() => underWay.delete(one));
        underWay.add(one);
      }
    }, TICK_MS);
  });
  await Promise.all(underWay);
  agent.destroy();
  return { sent, accepted, unknown, syncAnswered, errors, late, lastErrorAt, slowestSyncMs, longestPauseMs };
}

function post(agent: Agent, url: string, body: string, type: string, timeoutMs: number): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { method: 'POST', agent, headers: { 'X-Amz-Invocation-Type': type, 'Content-Length': Buffer.byteLength(body) }, signal: AbortSignal.timeout(timeoutMs) }, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, functionError: response.headers['x-amz-function-error'] !== undefined, body: text }));
      response.on('error', reject);
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** How often functions saw each mark. */
export function timesSeen(observer: Observer): ReadonlyMap<string, number> {
  const times = new Map<string, number>();
  for (const { mark } of observer.sightings) times.set(mark, (times.get(mark) ?? 0) + 1);
  return times;
}
