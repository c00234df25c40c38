import { Agent, request } from 'node:http';
import { rm } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import { ROLE } from '../../support/functions.ts';
import { zip } from '../../support/packages.ts';
import { NODE_SOURCE } from '../functions/handlers.ts';
import { treeMemory } from '../machine.ts';
import type { PartReport, Target } from '../report.ts';
import { median, percentile } from '../statistics.ts';
import { benchFolder, startSluice } from '../subjects/sluice.ts';

const FUNCTIONS = 10_000;
const CREATORS = 16;
const PAGES = 100;
const API = '/2015-03-31/functions/';

interface Page {
  readonly Functions: readonly unknown[];
  readonly NextMarker?: string | null;
}

/** 10,000 functions: creating them, listing them, starting with them. */
export async function scale(say: (what: string) => void): Promise<PartReport> {
  const dataDir = await benchFolder();
  const agent = new Agent({ keepAlive: true, maxSockets: CREATORS });
  try {
    const sluice = await startSluice({ dataDir });
    say(`creating ${FUNCTIONS} functions`);
    const createdPerSecond = await createAll(sluice.url, agent);
    say('listing them');
    const pages = await listPages(sluice.url, agent);
    const memory = treeMemory(sluice.pid);
    await sluice.stop();
    say('starting with them');
    const restarts: number[] = [];
    for (let start = 0; start < 3; start++) {
      const again = await startSluice({ dataDir });
      restarts.push(again.readyMs);
      await again.stop();
    }
    return report(createdPerSecond, pages, restarts, memory?.ownMiB);
  } finally {
    agent.destroy();
    await rm(dataDir, { recursive: true, force: true });
  }
}

async function createAll(url: string, agent: Agent): Promise<number> {
  const ZipFile = (await zip({ 'index.js': NODE_SOURCE })).toString('base64');
  let next = 0;
  const startedAt = performance.now();
  const create = async (): Promise<void> => {
    while (next < FUNCTIONS) {
      const FunctionName = `function-${String(next++).padStart(5, '0')}`;
      await call(url, agent, 'POST', API, JSON.stringify({ FunctionName, Runtime: 'nodejs22.x', Handler: 'index.handler', Role: ROLE, Code: { ZipFile } }), 201);
    }
  };
  await Promise.all(Array.from({ length: CREATORS }, create));
  return (FUNCTIONS / (performance.now() - startedAt)) * 1000;
}

async function listPages(url: string, agent: Agent): Promise<readonly number[]> {
  const times: number[] = [];
  let marker: string | undefined;
  for (let page = 0; page < PAGES; page++) {
    const startedAt = performance.now();
    const body = await call(url, agent, 'GET', `${API}${marker === undefined ? '' : `?Marker=${encodeURIComponent(marker)}`}`, undefined, 200);
    times.push(performance.now() - startedAt);
    const { Functions, NextMarker } = JSON.parse(body) as Page;
    if (Functions.length !== 50) throw new Error(`A page had ${Functions.length} functions and not 50.`);
    marker = NextMarker ?? undefined;
  }
  return times;
}

function call(url: string, agent: Agent, method: string, path: string, body: string | undefined, expected: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const outgoing = request(new URL(path, url), { method, agent, headers: body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) } }, (response) => {
      buffer(response).then((content) => (response.statusCode === expected ? resolve(content.toString()) : reject(new Error(`${method} ${path} answered ${response.statusCode}: ${content.toString()}`))), reject);
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

function report(createdPerSecond: number, pages: readonly number[], restarts: readonly number[], ownMiB: number | undefined): PartReport {
  const targets: Target[] = [
    { what: 'a page of ListFunctions with 10,000 functions', value: median(pages), unit: 'ms', bound: 'at most', limit: 20 },
    { what: 'start with 10,000 functions', value: median(restarts), unit: 'ms', bound: 'at most', limit: 2_000 },
  ];
  const table = {
    title: '10,000 functions',
    columns: [{ title: 'created', digits: 0, unit: '/s' }, { title: 'page p50', digits: 1, unit: 'ms' }, { title: 'page p99', digits: 1, unit: 'ms' }, { title: 'ready again', digits: 0, unit: 'ms' }, { title: 'own RSS', digits: 0, unit: 'MiB' }],
    rows: [{ name: 'Sluice', values: [createdPerSecond, median(pages), percentile(pages, 0.99), median(restarts), ownMiB] }],
  };
  return { tables: [table], targets, notes: [`Pages: ${PAGES} pages of 50, one after the other; creating at ${CREATORS} connections.`], failures: [] };
}
