/**
 * The Runtime API floor: Sluice's own Node runtime processes, fed by the barest server that speaks the Runtime API. No gateway, no log, no
 * scheduler, no records of anything.
 *
 * Listens twice: a POST on the front waits for a free runtime and answers what it returned; with `--loop N MS` nothing comes over
 * the front, but N runtimes are fed one event after the other from here for MS, and the figures are printed.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { NODE_SOURCE } from '../functions/handlers.ts';
import { percentile } from '../statistics.ts';

const ARN = 'arn:aws:lambda:us-east-1:000000000000:function:floor';
const BOOTSTRAP = join(import.meta.dirname, '..', '..', '..', 'worker', 'runtimes', 'node', 'bootstrap.cjs');

interface Job {
  readonly event: Buffer;
  readonly done: (result: Buffer) => void;
}

const jobs: Job[] = [];
const pollers: ServerResponse[] = [];
const running = new Map<string, Job>();
let ids = 0;

function submit(job: Job): void {
  const poller = pollers.pop();
  if (poller === undefined) jobs.push(job);
  else dispatch(poller, job);
}

function dispatch(poller: ServerResponse, job: Job): void {
  const id = `00000000-0000-4000-8000-${String(ids++).padStart(12, '0')}`;
  running.set(id, job);
  poller.writeHead(200, {
    'content-type': 'application/json',
    'content-length': job.event.length,
    'lambda-runtime-aws-request-id': id,
    'lambda-runtime-deadline-ms': Date.now() + 3_000,
    'lambda-runtime-invoked-function-arn': ARN,
    'lambda-runtime-trace-id': 'Root=1-00000000-000000000000000000000000;Sampled=0',
  });
  poller.end(job.event);
}

function read(request: IncomingMessage, done: (body: Buffer) => void): void {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => done(Buffer.concat(chunks)));
}

const runtimeApi = createServer((request, response) => {
  const url = request.url ?? '';
  if (url.endsWith('/next')) {
    const job = jobs.shift();
    if (job === undefined) pollers.push(response);
    else dispatch(response, job);
    return;
  }
  read(request, (body) => {
    response.writeHead(202, { 'content-length': 0 });
    response.end();
    const id = url.split('/')[4] ?? '';
    running.get(id)?.done(body);
    running.delete(id);
  });
});

const front = createServer((request, response) => {
  read(request, (event) =>
    submit({
      event,
      done: (result) => {
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': result.length });
        response.end(result);
      },
    }),
  );
});

const taskRoot = mkdtempSync(join(tmpdir(), 'sluice-bench-floor-'));
writeFileSync(join(taskRoot, 'index.js'), NODE_SOURCE);

function startRuntimes(count: number): void {
  const { port } = runtimeApi.address() as AddressInfo;
  for (let index = 0; index < count; index++) {
    const child = spawn(process.execPath, [BOOTSTRAP], { stdio: ['ignore', 'inherit', 'inherit', 'pipe'] });
    const order = { environment: { PATH: process.env['PATH'] ?? '', AWS_LAMBDA_FUNCTION_NAME: 'floor', AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '128' }, taskRoot, handler: 'index.handler', runtimeApi: `127.0.0.1:${port}` };
    (child.stdio[3] as Writable).end(`${JSON.stringify(order)}\n`);
  }
}

function loop(count: number, durationMs: number): void {
  const event = Buffer.from('{"n":1}');
  const latencies: number[] = [];
  const warmUpUntil = performance.now() + 1_000;
  const until = warmUpUntil + durationMs;
  const feed = (): void => {
    const startedAt = performance.now();
    submit({
      event,
      done: () => {
        const now = performance.now();
        if (startedAt > warmUpUntil) latencies.push(now - startedAt);
        if (now < until) feed();
        else finish();
      },
    });
  };
  let finished = false;
  const finish = (): void => {
    if (finished) return;
    finished = true;
    process.stdout.write(`result ${JSON.stringify({ perSecond: (latencies.length / durationMs) * 1000, p50Ms: percentile(latencies, 0.5), p99Ms: percentile(latencies, 0.99), errors: 0 })}\n`);
  };
  for (let index = 0; index < count; index++) feed();
}

process.on('exit', () => rmSync(taskRoot, { recursive: true, force: true }));
process.on('SIGTERM', () => process.exit(0));
runtimeApi.keepAliveTimeout = 0;
runtimeApi.listen(0, '127.0.0.1', () => {
  const [mode, count = '1', durationMs = '0'] = process.argv.slice(2);
  startRuntimes(Number(count));
  if (mode === '--loop') return loop(Number(count), Number(durationMs));
  front.listen(0, '127.0.0.1', () => process.stdout.write(`ready http://127.0.0.1:${(front.address() as AddressInfo).port}\n`));
});
