import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isolatedServices } from '../../support/isolated-services.ts';
import { startProcesses, type SluiceProcesses } from '../../support/sluice-processes.ts';

export interface ProcessesSubject {
  readonly sluice: SluiceProcesses;
  /** Ends the processes and removes what they left. */
  end(): Promise<void>;
}

/** A gateway, a controller and a worker on the real services; undefined where a service is missing. */
export async function processesOnServices(): Promise<ProcessesSubject | undefined> {
  const services = await isolatedServices();
  if (services === undefined) return undefined;
  const dataDir = await mkdtemp(join(tmpdir(), 'sluice-bench-'));
  const clean = async (): Promise<void> => {
    await rm(dataDir, { recursive: true, force: true });
    await services.remove();
  };
  try {
    const sluice = await startProcesses({ plan: 'gateway=1,controller=1,worker=1', dataDir, variables: { ...services.variables, SLUICE_LOG_LEVEL: 'error', SLUICE_MAX_ENVIRONMENTS: '64' } });
    return {
      sluice,
      async end() {
        await sluice.terminate();
        await clean();
      },
    };
  } catch (error) {
    await clean();
    throw error;
  }
}
