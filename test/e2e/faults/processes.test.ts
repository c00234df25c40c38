/** What becomes of invocations when processes of Sluice die, hang or are restarted, under load (invariants 1 to 4 from outside). */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { after, before, describe, test } from 'node:test';
import type { LambdaClient } from '@aws-sdk/client-lambda';
import type { RoleName } from '../../../cli/roles/role.ts';
import { lambdaClient } from '../../support/access.ts';
import { deploy, result } from '../../support/functions.ts';
import { isolatedServices, type IsolatedServices } from '../../support/isolated-services.ts';
import { Observer, REPORTING_FUNCTION } from '../../support/observer.ts';
import { descendants, survivors } from '../../support/processes.ts';
import { startProcesses, type SluiceProcesses } from '../../support/sluice-processes.ts';
import { faultTable, runFault, type FaultRow } from './fault-run.ts';

const FUNCTION = 'reporter';
const PER_SEC = 200;
/** The function's time-out, the patience for a start (10 s and the time-out again) and the gateway's margin (5 s). */
const TIMEOUT_SEC = 5;
const DEADLINE_MS = (10 + 2 * TIMEOUT_SEC + 5 + 2) * 1_000;
/** Longer than Kafka waits for a sign of life of a controller. */
const ZOMBIE_MS = 15_000;

const services = await isolatedServices();

describe('processes that die under load', { timeout: 600_000, skip: services === undefined && 'Kafka, an S3 server and Redis are needed' }, () => {
  const isolated = services as IsolatedServices;
  const rows: FaultRow[] = [];
  let observer: Observer;
  let dataDir: string;
  let sluice: SluiceProcesses;
  let lambda: LambdaClient;
  let gateways: readonly string[];

  before(async () => {
    observer = await Observer.start();
    dataDir = await mkdtemp(join(tmpdir(), 'sluice-faults-'));
    sluice = await startProcesses({ plan: 'gateway=2,controller=2,worker=2', dataDir, variables: { ...isolated.variables, SLUICE_ASYNC_RETRY_BASE_MS: '500', SLUICE_MAX_ENVIRONMENTS: '32' } });
    gateways = (await sluice.ready('gateway')).flatMap(({ url }) => url ?? []);
    lambda = lambdaClient(sluice.url);
    await deploy(lambda, { name: FUNCTION, files: { 'index.js': REPORTING_FUNCTION }, variables: { OBSERVER: observer.url }, Timeout: TIMEOUT_SEC });
    await result(lambda, FUNCTION, { mark: 'first' });
  });
  after(async () => {
    process.stdout.write(`\n${faultTable(rows)}\n\n`);
    lambda.destroy();
    sluice.end();
    await observer.close();
    await rm(dataDir, { recursive: true, force: true, maxRetries: 5 });
    await isolated.remove();
  });

  const fault = async (name: string, inject: () => Promise<void>): Promise<FaultRow> => {
    const row = await runFault({ fault: name, observer, gateways, functionName: FUNCTION, perSec: PER_SEC, deadlineMs: DEADLINE_MS, inject });
    rows.push(row);
    return row;
  };
  /** Sends a signal to a process of the role and waits until another one has taken its place. */
  const kill = async (role: RoleName): Promise<void> => {
    const [victim] = await sluice.ready(role);
    assert.ok(victim?.pid !== undefined, `a ${role} is ready`);
    process.kill(victim.pid, 'SIGKILL');
    await sluice.replaced(victim.name, victim.pid);
  };
  const restart = async (role: RoleName): Promise<void> => {
    for (const { name, pid } of await sluice.ready(role)) {
      if (pid === undefined) continue;
      process.kill(pid, 'SIGTERM');
      await sluice.replaced(name, pid);
    }
  };

  test('without a fault nothing is lost, repeated or refused', async () => {
    const row = await fault('none', () => delay(3_000));
    assert.equal(row.clientErrors, '0');
    assert.equal(row.duplicates, 0);
  });

  test('a gateway is killed', async () => {
    await fault('kill -9 of a gateway', () => kill('gateway'));
  });

  test('a worker is killed', async () => {
    await fault('kill -9 of a worker', () => kill('worker'));
  });

  test('a controller is killed', async () => {
    await fault('kill -9 of a controller', () => kill('controller'));
  });

  test('a controller that was halted for longer than its session does not dispatch what is another one’s by then', async () => {
    await fault(`SIGSTOP of a controller for ${ZOMBIE_MS / 1_000} s`, async () => {
      const [victim] = await sluice.ready('controller');
      assert.ok(victim?.pid !== undefined);
      process.kill(victim.pid, 'SIGSTOP');
      await delay(ZOMBIE_MS);
      process.kill(victim.pid, 'SIGCONT');
      await delay(3_000);
    });
  });

  for (const role of ['worker', 'controller', 'gateway'] as const) {
    test(`every ${role} is restarted in turn: no request fails`, async () => {
      const row = await fault(`rolling restart of every ${role}`, () => restart(role));
      const errors = role === 'gateway' ? row.clientErrors.replace(/\d+ × (ECONNREFUSED|ECONNRESET|EPIPE)(; )?/g, '') : row.clientErrors;
      assert.ok(errors === '0' || errors === '', errors);
      assert.equal(row.duplicates, 0);
    });
  }

  test('a stop leaves no process behind', async () => {
    const processes = descendants(sluice.pid);
    assert.ok(processes.length > 6);
    assert.equal(await sluice.terminate(), 0);
    assert.deepEqual(survivors(processes), []);
  });
});
