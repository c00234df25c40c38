/**
 * `npm test`: type check, lint and every test but the end-to-end ones (`npm run e2e`), side by side.
 * `npm test -- PATTERN…` runs only test files whose paths contain one of the patterns, without type check and lint.
 */
import { spawn } from 'node:child_process';
import { glob, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');
interface Suite {
  readonly folders: readonly string[];
  /** A suite of its own. */
  readonly without?: string;
  /** Files that run side by side: more than a small machine has cores, since many wait more than they compute. What kills services and fills the machine with load runs alone. */
  readonly concurrency: number;
}

const SUITES: Readonly<Record<string, Suite>> = {
  test: { folders: ['unit', 'contract', 'simulation', 'conformance'], concurrency: 4 },
  e2e: { folders: ['e2e'], without: 'e2e/kubernetes', concurrency: 1 },
  'e2e:kubernetes': { folders: ['e2e/kubernetes'], concurrency: 1 },
};

/** A test that hangs fails, rather than holding up everything after it. Far above what the longest takes on a busy machine. */
const TEST_TIMEOUT_MS = 600_000;

interface Step {
  readonly name: string;
  readonly command: readonly string[];
}

/** Runs a step; its output is shown as it comes if `live`, otherwise only when it fails. */
function run(step: Step, live = false): Promise<boolean> {
  const [command = '', ...args] = step.command;
  const startedMs = performance.now();
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: ROOT, stdio: ['ignore', live ? 'inherit' : 'pipe', live ? 'inherit' : 'pipe'] });
    const output: Buffer[] = [];
    child.stdout?.on('data', (chunk: Buffer) => output.push(chunk));
    child.stderr?.on('data', (chunk: Buffer) => output.push(chunk));
    child.on('close', (code) => {
      const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
      if (code !== 0) process.stdout.write(Buffer.concat(output));
      process.stdout.write(`${code === 0 ? '✔' : '✖'} ${step.name} (${seconds} s)\n`);
      resolve(code === 0);
    });
  });
}

async function testFiles(suite: string, patterns: readonly string[]): Promise<string[]> {
  const files: string[] = [];
  for (const folder of SUITES[suite]?.folders ?? []) {
    for await (const file of glob(`test/${folder}/**/*.test.ts`, { cwd: ROOT })) files.push(file);
  }
  const { without } = SUITES[suite] ?? {};
  const own = files.filter((file) => without === undefined || !file.startsWith(`test/${without}/`));
  return own.filter((file) => patterns.length === 0 || patterns.some((pattern) => file.includes(pattern))).sort();
}

const [suite = 'test', ...patterns] = process.argv.slice(2);
if (!(suite in SUITES)) {
  process.stderr.write(`There is no suite ${suite}; give one of ${Object.keys(SUITES).join(', ')}.\n`);
  process.exit(2);
}
const files = await testFiles(suite, patterns);
if (files.length === 0) {
  process.stderr.write(`No test file of the suite ${suite} matches ${patterns.join(', ')}.\n`);
  process.exit(2);
}
// Hundreds of processes load much of the same: what one has stripped of types and compiled, the others need not. For this run alone, so that nothing grows or grows old.
const compiled = await mkdtemp(join(tmpdir(), 'sluice-compiled-'));
process.env['NODE_COMPILE_CACHE'] = compiled;
try {
  const { concurrency = 1 } = SUITES[suite] ?? {};
  // In the order of their paths, which begins with what waits and ends with many short ones.
  const steps = [run({ name: `${files.length} test files`, command: [process.execPath, '--test', `--test-concurrency=${concurrency}`, `--test-timeout=${TEST_TIMEOUT_MS}`, ...files] }, true)];
  if (suite === 'test' && patterns.length === 0) {
    steps.push(run({ name: 'type check', command: [process.execPath, 'node_modules/typescript/bin/tsc', '--noEmit'] }));
    steps.push(run({ name: 'lint', command: [process.execPath, 'node_modules/eslint/bin/eslint.js', '.'] }));
  }
  process.exitCode = (await Promise.all(steps)).every(Boolean) ? 0 : 1;
} finally {
  await rm(compiled, { recursive: true, force: true });
}
