import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { LambdaClient } from '@aws-sdk/client-lambda';
import { readSettings } from '../../../platform/configuration/settings.ts';
import { deploy } from '../../support/functions.ts';
import { lambdaClient, sluiceVariables } from '../../support/access.ts';
import { NODE_SOURCE, PYTHON_SOURCE } from '../functions/handlers.ts';
import { startChild } from './child-server.ts';
import type { Subject } from './subject.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');

/** `sluice up` in a process and a folder of its own, as a user starts it. */
export interface BenchedSluice {
  readonly url: string;
  readonly pid: number;
  readonly dataDir: string;
  readonly readyMs: number;
  readonly lambda: LambdaClient;
  stop(): Promise<void>;
}

export interface BenchedSluiceOptions {
  readonly variables?: Readonly<Record<string, string>>;
  /** Put before the program: options of node. */
  readonly nodeOptions?: readonly string[];
  /** A folder that is there already and stays. */
  readonly dataDir?: string;
}

/** A new data folder on a disk: a temporary folder may lie in memory, where syncing costs nothing, and no user keeps data there. */
export async function benchFolder(): Promise<string> {
  const { cacheDir } = readSettings(sluiceVariables());
  await mkdir(cacheDir, { recursive: true });
  return mkdtemp(join(cacheDir, 'bench-'));
}

export async function startSluice({ variables = {}, nodeOptions = [], dataDir }: BenchedSluiceOptions = {}): Promise<BenchedSluice> {
  const folder = dataDir ?? (await benchFolder());
  const removeOwn = async (): Promise<void> => {
    if (dataDir === undefined) await rm(folder, { recursive: true, force: true });
  };
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SLUICE_')));
  const child = await startChild({
    command: [process.execPath, ...nodeOptions, join(ROOT, 'cli', 'main.ts'), 'up', '--port', '0', '--data', folder],
    ready: /(http:\/\/127\.0\.0\.1:\d+)/,
    cwd: ROOT,
    environment: { ...inherited, ...sluiceVariables(), ...variables },
  }).catch(async (error: unknown) => {
    await removeOwn();
    throw error;
  });
  const lambda = lambdaClient(child.ready, { maxAttempts: 3 });
  return {
    url: child.ready,
    pid: child.pid,
    dataDir: folder,
    readyMs: child.readyMs,
    lambda,
    async stop() {
      lambda.destroy();
      await child.stop();
      await removeOwn();
    },
  };
}

export function invocationSubject(sluice: BenchedSluice, functionName: string, name: string, headers: Readonly<Record<string, string>> = {}): Subject {
  return { name, url: sluice.url, path: `/2015-03-31/functions/${functionName}/invocations`, headers, stop: () => sluice.stop() };
}

/** Deploys the measured function in a language. */
export async function deployMeasured(sluice: BenchedSluice, language: 'Node' | 'Python'): Promise<Subject> {
  if (language === 'Node') await deploy(sluice.lambda, { name: 'node', files: { 'index.js': NODE_SOURCE } });
  else await deploy(sluice.lambda, { name: 'python', Runtime: 'python3.12', files: { 'index.py': PYTHON_SOURCE } });
  return invocationSubject(sluice, language.toLowerCase(), `Sluice, ${language}`);
}
