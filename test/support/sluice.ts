import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LambdaClient } from '@aws-sdk/client-lambda';
import { startEmbedded } from '../../cli/embedded.ts';
import { readSettings } from '../../platform/configuration/settings.ts';
import { lambdaClient, sluiceVariables } from './access.ts';
import { isolatedServices } from './isolated-services.ts';
import { startProcesses } from './sluice-processes.ts';

/** A whole Sluice in this process, on a free port and in a folder of its own. */
export interface TestSluice {
  readonly url: string;
  readonly dataDir: string;
  /** Does not repeat requests: a test sees what the first answer was. */
  readonly lambda: LambdaClient;
  /** Stops it and removes its folder. Idempotent. */
  stop(): Promise<void>;
}

/**
 * Starts a Sluice with these variables set on top of what tests need: quiet, free port, own folder. With `SLUICE_TEST_MODE=processes` it is one process per role on real
 * services, and the same tests hold for it.
 */
export function startSluice(variables: Readonly<Record<string, string>> = {}): Promise<TestSluice> {
  return process.env['SLUICE_TEST_MODE'] === 'processes' ? startInProcesses(variables) : startEmbeddedSluice(variables);
}

async function startInProcesses(variables: Readonly<Record<string, string>>): Promise<TestSluice> {
  const services = await isolatedServices();
  if (services === undefined) throw new Error('SLUICE_TEST_MODE=processes needs Kafka, an S3 server and Redis; see what was said before.');
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-test-'));
  const cleanUp = async (): Promise<void> => {
    await rm(dataDir, { recursive: true, force: true });
    await services.remove();
  };
  const running = await startProcesses({ plan: 'gateway=1,controller=1,worker=1', dataDir, variables: { ...services.variables, SLUICE_LOG_LEVEL: 'error', ...variables } }).catch(async (error: unknown) => {
    await cleanUp();
    throw error;
  });
  const lambda = lambdaClient(running.url);
  let stopped: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    lambda.destroy();
    await running.terminate();
    await cleanUp();
  };
  return { url: running.url, dataDir, lambda, stop: () => (stopped ??= stop()) };
}

async function startEmbeddedSluice(variables: Readonly<Record<string, string>>): Promise<TestSluice> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-test-'));
  const settings = readSettings({ ...sluiceVariables(), SLUICE_PORT: '0', SLUICE_DATA: dataDir, SLUICE_LOG_LEVEL: 'error', ...variables });
  const running = await startEmbedded(settings).catch(async (error: unknown) => {
    await rm(dataDir, { recursive: true, force: true });
    throw error;
  });
  const lambda = lambdaClient(running.url);
  let stopped: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    lambda.destroy();
    await running.stop();
    await rm(dataDir, { recursive: true, force: true });
  };
  return { url: running.url, dataDir, lambda, stop: () => (stopped ??= stop()) };
}
