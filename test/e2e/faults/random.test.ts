/** Fifty faults in a row, one upon the other, from a seed: nothing that was accepted is lost, nobody waits beyond the deadline, and nothing is left over. */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { after, before, describe, test } from 'node:test';
import { Redis } from 'ioredis';
import type { RoleName } from '../../../cli/roles/role.ts';
import { isolatedServices, type IsolatedServices } from '../../support/isolated-services.ts';
import { descendants, survivors } from '../../support/processes.ts';
import { seededRandom } from '../../support/seeded-random.ts';
import { serviceControl } from '../../support/service-control.ts';
import { redisService } from '../../support/services.ts';
import { FaultySluice } from './faulty-sluice.ts';

const FAULTS = 50;
/** Between two faults at most; often less than a process takes to start. */
const PAUSE_MS_MAX = 1_500;
/** Long enough to be noticed, short enough that others go on. */
const HALT_MS_MAX = 4_000;
const AWAY_MS_MAX = 2_000;

const services = await isolatedServices();
const control = serviceControl();

describe('fifty random faults', { timeout: 900_000, skip: services === undefined && 'Kafka, an S3 server and Redis are needed' }, () => {
  let faulty: FaultySluice;
  let redis: Redis;
  before(async () => {
    redis = new Redis((await redisService())?.url ?? '');
    redis.on('error', () => undefined);
    faulty = await FaultySluice.start({ services: services as IsolatedServices, plan: 'gateway=2,controller=3,worker=3' });
  });
  after(async () => {
    redis.disconnect();
    await faulty.end();
  });

  test('leave every accepted event executed and every caller answered', async (t) => {
    const seed = Number(process.env['FAULT_SEED'] ?? randomInt(2 ** 31));
    t.diagnostic(`seed ${seed}; repeat with FAULT_SEED=${seed}`);
    const dice = seededRandom(seed);
    const roles: readonly RoleName[] = ['gateway', 'controller', 'worker'];
    const role = (): RoleName => roles[Math.floor(dice() * roles.length)] ?? 'worker';
    const done = new Map<string, number>();
    const faults: readonly (readonly [string, (role: RoleName, amount: number) => Promise<unknown>])[] = [
      ['killed', (of, amount) => signalSome(of, 'SIGKILL', amount)],
      ['stopped', (of, amount) => signalSome(of, 'SIGTERM', amount)],
      ['halted', async (of, amount) => {
        const pid = await signalSome(of, 'SIGSTOP', amount);
        await delay(amount * HALT_MS_MAX);
        if (pid !== undefined) signalIfAlive(pid, 'SIGCONT');
      }],
      ['cache emptied', () => redis.flushall().catch(() => undefined)],
      ...(control === undefined ? [] : (['redis', 'minio'] as const).map((name) => [`${name} killed`, async (_of: RoleName, amount: number) => {
        await control.kill(name);
        await delay(amount * AWAY_MS_MAX);
        await control.start(name);
      }] as const)),
    ];
    const signalSome = async (of: RoleName, signal: NodeJS.Signals, amount: number): Promise<number | undefined> => {
      const ready = await faulty.sluice.ready(of);
      const pid = ready[Math.floor(amount * ready.length)]?.pid;
      if (pid !== undefined) signalIfAlive(pid, signal);
      return pid;
    };
    await faulty.fault(`${FAULTS} random faults, seed ${seed}`, async () => {
      for (let i = 0; i < FAULTS; i++) {
        const [name, inject] = faults[Math.floor(dice() * faults.length)] ?? ['', () => Promise.resolve()];
        const of = role();
        const label = name.includes(' ') ? name : `${of} ${name}`;
        done.set(label, (done.get(label) ?? 0) + 1);
        await inject(of, dice());
        await delay(dice() * PAUSE_MS_MAX);
      }
      await allReady();
    });
    t.diagnostic([...done].map(([label, count]) => `${count} × ${label}`).join(', '));
    const after = await faulty.fault('none, afterwards', () => delay(1_000));
    assert.equal(after.clientErrors, '0');
    assert.equal(after.duplicates, 0);
  });

  test('and no process or environment is left over', async () => {
    const processes = descendants(faulty.sluice.pid);
    assert.equal(await faulty.sluice.terminate(), 0);
    assert.deepEqual(survivors(processes), []);
  });

  const allReady = async (): Promise<void> => {
    while ((await faulty.sluice.table()).some(({ state }) => state !== 'ready')) await delay(100);
  };
});

function signalIfAlive(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended meanwhile by another fault.
  }
}
