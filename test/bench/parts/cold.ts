import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { glob, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { readSettings } from '../../../platform/configuration/settings.ts';
import { deploy } from '../../support/functions.ts';
import { send } from '../../support/raw-http.ts';
import { sluiceVariables } from '../../support/access.ts';
import { paddedNodeSource, paddedPythonSource } from '../functions/handlers.ts';
import { ratioColumn, type PartReport, type Target } from '../report.ts';
import { median, percentile } from '../statistics.ts';
import { startSluice, type BenchedSluice } from '../subjects/sluice.ts';

const STARTS = 15;
const SOURCE_BYTES = 5_000;
/** Between two cold starts the processes started ahead are replaced; they need far less. */
const REFILL_MS = 400;
const RUNTIME_DIR = join(import.meta.dirname, '..', '..', '..', 'worker', 'runtimes', 'node');

type Language = 'Node' | 'Python';
const RUNTIMES = { Node: { runtime: 'nodejs22.x', file: 'index.js' }, Python: { runtime: 'python3.12', file: 'index.py' } } as const;
const source: Readonly<Record<Language, (salt: string) => string>> = {
  Node: (salt) => paddedNodeSource(SOURCE_BYTES, salt),
  Python: (salt) => paddedPythonSource(SOURCE_BYTES, salt),
};

/** Milliseconds from starting a process until its first byte of output. */
async function bareStart(command: readonly string[]): Promise<number> {
  const [file = '', ...args] = command;
  const startedAt = performance.now();
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  const elapsedMs = performance.now() - startedAt;
  await once(child, 'close');
  return elapsedMs;
}

/** The interpreter, the modules that its runtime client needs, the function: everything that a fresh start cannot avoid. */
async function bareCommands(folder: string): Promise<Readonly<Record<Language, readonly string[]>>> {
  const modules = ['loop', 'connection', 'handler', 'console', 'streaming', 'errors'].map((name) => `require(${JSON.stringify(join(RUNTIME_DIR, `${name}.cjs`))});`).join('\n');
  await writeFile(join(folder, 'index.js'), source.Node('bare'));
  await writeFile(join(folder, 'bare.cjs'), `${modules}\nrequire('./index.js').handler({}).then((result) => process.stdout.write(JSON.stringify(result)));\n`);
  await writeFile(join(folder, 'index.py'), source.Python('bare'));
  await writeFile(join(folder, 'bare.py'), 'import sys, json\nimport awslambdaric.bootstrap\nimport index\nsys.stdout.write(json.dumps(index.handler({}, None)))\nsys.stdout.flush()\n');
  return { Node: [process.execPath, join(folder, 'bare.cjs')], Python: [await runtimePython(), join(folder, 'bare.py')] };
}

/** The private Python in which Sluice has installed AWS's runtime client; there since Sluice ran once. */
async function runtimePython(): Promise<string> {
  const { cacheDir } = readSettings(sluiceVariables());
  for await (const installed of glob('**/site-packages/awslambdaric', { cwd: cacheDir })) return join(cacheDir, installed.replace(/lib\/.*$/, ''), 'bin', 'python');
  throw new Error(`No Python with awslambdaric below ${cacheDir}.`);
}

/** The first invocation of a function that was never run before, in milliseconds. */
async function coldStart(sluice: BenchedSluice, language: Language, name: string): Promise<number> {
  const { runtime, file } = RUNTIMES[language];
  await deploy(sluice.lambda, { name, Runtime: runtime, files: { [file]: source[language](`${name} ${sluice.pid}`) } });
  await delay(REFILL_MS);
  const startedAt = performance.now();
  const answer = await send(sluice.url, { path: `/2015-03-31/functions/${name}/invocations`, body: '{}' });
  const elapsedMs = performance.now() - startedAt;
  if (answer.status !== 200 || answer.headers['x-amz-function-error'] !== undefined) throw new Error(`A cold start of ${language} answered ${answer.status}: ${answer.text}`);
  return elapsedMs;
}

interface Times {
  readonly bare: number[];
  readonly fresh: number[];
  readonly ahead: number[];
}

/** The three in turn, so that a machine that is busy for a while is so for all of them. */
async function measure(language: Language, fresh: BenchedSluice, ahead: BenchedSluice, folder: string): Promise<Times> {
  const times: Times = { bare: [], fresh: [], ahead: [] };
  // The first two start what is started but once, and let the processes ahead be made.
  for (let index = -2; index < STARTS; index++) {
    const name = `cold-${language}-${index + 2}`;
    const freshMs = await coldStart(fresh, language, name);
    const aheadMs = await coldStart(ahead, language, name);
    // Only now: the first start of a Python function has made the Python that the bare start runs.
    const bareMs = await bareStart((await bareCommands(folder))[language]);
    if (index < 0) continue;
    times.bare.push(bareMs);
    times.fresh.push(freshMs);
    times.ahead.push(aheadMs);
  }
  return times;
}

/** First invocations: from a process started ahead, and from nothing, beside the bare start of the interpreter. */
export async function cold(say: (what: string) => void): Promise<PartReport> {
  const rows: { name: string; values: number[] }[] = [];
  const targets: Target[] = [];
  const folder = await mkdtemp(join(tmpdir(), 'sluice-bench-cold-'));
  const fresh = await startSluice({ variables: { SLUICE_PRESTARTED: '0' } });
  const ahead = await startSluice({ variables: { SLUICE_PRESTARTED: '2' } });
  try {
    for (const language of ['Node', 'Python'] as const) {
      say(language);
      const times = await measure(language, fresh, ahead, folder);
      const bareMs = median(times.bare);
      const row = (name: string, values: readonly number[]) => ({ name: `${language}, ${name}`, values: [median(values), percentile(values, 0.95), median(values) / bareMs] });
      rows.push(row('bare start with imports', times.bare), row('Sluice, from nothing', times.fresh), row('Sluice, process started ahead', times.ahead));
      targets.push(
        { what: `cold start of ${language} from nothing over its bare start`, value: median(times.fresh) / bareMs, unit: '×', bound: 'at most', limit: 1.3 },
        { what: `cold start of ${language} from a process started ahead`, value: median(times.ahead), unit: 'ms', bound: 'at most', limit: 12 },
      );
    }
  } finally {
    await Promise.all([fresh.stop(), ahead.stop()]);
    await rm(folder, { recursive: true, force: true });
  }
  const table = { title: 'Cold start (first Invoke, to its answer)', columns: [{ title: 'median', digits: 1, unit: 'ms' }, { title: 'p95', digits: 1, unit: 'ms' }, ratioColumn('/ bare start')], rows };
  return { tables: [table], targets, notes: [`Cold starts: ${STARTS} functions with ${SOURCE_BYTES / 1000} kB of code each, none of which ran before; the bare start runs the interpreter with the modules of the runtime client, loads the function and calls it, in turn with the others.`], failures: [] };
}
