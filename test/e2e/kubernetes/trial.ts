import assert from 'node:assert/strict';
import type { LambdaClient } from '@aws-sdk/client-lambda';
import { CreateBucketCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { CREDENTIALS, lambdaClient } from '../../support/access.ts';
import { deploy } from '../../support/functions.ts';
import { kubectl, ReleasedSluice } from '../../support/kubernetes.ts';
import { until } from '../../support/until.ts';
import { steadyLoad, type LoadReport } from '../faults/load.ts';

const PER_SEC = 20;
const TIMEOUT_SEC = 30;
/** The patience for a start (10 s), the function's time-out for that and for its run, and the gateway's margin (5 s), with room for a busy machine. */
const DEADLINE_MS = (10 + 2 * TIMEOUT_SEC + 5 + 2) * 1_000;

/** Settings with which a whole Sluice fits on a small machine. */
export const SMALL = [
  'persistence.enabled=false', 'gateway.replicas=2', 'controller.replicas=2', 'functions.warmPodMemoryMiB=128', 'functions.resources.requests.cpu=5m', 'gateway.resources.requests.cpu=20m',
  'controller.resources.requests.cpu=20m', 'kafka.bundled.resources.requests.cpu=20m', 's3.bundled.resources.requests.cpu=20m',
] as const;

/** Leaves the mark of each invocation in a bucket, where they can be counted. */
const MARKS = `
exports.handler = async (event) => {
  if (event.mark) {
    // As an SDK does: a gateway that is gone without a word is not waited for, and a machine on which many pods start at once is slow for a while.
    for (let attempt = 1; ; attempt++) {
      try {
        const { status } = await fetch(process.env.AWS_ENDPOINT_URL + '/marks/' + event.mark, { method: 'PUT', body: 'ran', signal: AbortSignal.timeout(2000) });
        if (status === 200) break;
        throw new Error('The mark was not taken: ' + status);
      } catch (error) {
        if (attempt === 12) throw error;
      }
    }
  }
  return { name: process.env.AWS_LAMBDA_FUNCTION_NAME };
};`;

/** A release of the chart on a cluster, with a function `marks` by which what ran is counted, and a table of what came of each test. */
export class Trial {
  readonly release = new ReleasedSluice();
  readonly #table: string[] = [];
  #lambda: LambdaClient | undefined;
  #s3: S3Client | undefined;

  get lambda(): LambdaClient {
    if (this.#lambda === undefined) throw new Error('Nothing is installed.');
    return this.#lambda;
  }

  say(what: string, counts: Readonly<Record<string, number | string>>): void {
    const line = `${what}: ${Object.entries(counts).map(([name, count]) => `${name} ${count}`).join(', ')}`;
    this.#table.push(line);
    process.stderr.write(`${line}\n`);
  }

  async install(values: readonly string[], chart?: string): Promise<void> {
    const startedAt = performance.now();
    await this.release.install(values, chart);
    this.say('install', { seconds: Math.round((performance.now() - startedAt) / 1_000) });
    this.#lambda = lambdaClient(this.release.url);
    this.#s3 = new S3Client({ endpoint: this.release.url, region: 'us-east-1', credentials: CREDENTIALS, forcePathStyle: true });
    await this.#s3.send(new CreateBucketCommand({ Bucket: 'marks' }));
    await deploy(this.lambda, { name: 'marks', files: { 'index.js': MARKS }, Timeout: TIMEOUT_SEC });
  }

  async end(): Promise<void> {
    this.#lambda?.destroy();
    this.#s3?.destroy();
    process.stderr.write(`\n${this.#table.map((line) => `  ${line}\n`).join('')}`);
    await kubectl('delete', 'namespace', this.release.namespace, this.release.functionsNamespace, '--ignore-not-found', '--wait=false');
  }

  async mark(name: string): Promise<void> {
    await this.#s3?.send(new PutObjectCommand({ Bucket: 'marks', Key: name, Body: 'here' }));
  }

  async marks(): Promise<ReadonlySet<string>> {
    const keys: string[] = [];
    for (let token: string | undefined; ; ) {
      const page = await this.#s3?.send(new ListObjectsV2Command({ Bucket: 'marks', ...(token === undefined ? {} : { ContinuationToken: token }) }));
      keys.push(...(page?.Contents ?? []).map(({ Key = '' }) => Key));
      token = page?.NextContinuationToken;
      if (token === undefined) return new Set(keys);
    }
  }

  /** Steady load while something happens, and then until all of what was accepted has run. */
  async under(what: string, happening: () => Promise<void>): Promise<LoadReport> {
    const stop = new AbortController();
    const load = steadyLoad({ gateways: [this.release.url], functionName: 'marks', perSec: PER_SEC, deadlineMs: DEADLINE_MS, signal: stop.signal });
    try {
      await happening();
    } finally {
      stop.abort();
    }
    const report = await load;
    const executed = await until('every accepted event has run', async () => {
      const seen = await this.marks();
      return report.accepted.every((mark) => seen.has(mark)) ? report.accepted.length : undefined;
    });
    this.say(what, { sent: report.sent, answered: report.syncAnswered, accepted: report.accepted.length, executed, failed: [...report.errors].map(([error, count]) => `${count} × ${error}`).join(', ') || 0, 'slowest ms': Math.round(report.slowestSyncMs) });
    assert.equal(report.late, 0, 'nobody waited beyond the deadline');
    return report;
  }
}
