import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import type { ExecutionSpec } from '../../../platform/model/execution-spec.ts';
import type { Instruction } from '../../../platform/protocol/wire/messages.ts';
import { createLogger } from '../../../platform/telemetry/logger.ts';
import { KubernetesPool, type KubernetesPoolSettings } from '../../../platform/worker-pool/kubernetes/pool.ts';
import type { WorkerSession } from '../../../platform/worker-pool/fleet/worker-session.ts';
import { FakePodCluster } from '../../support/fake-pod-cluster.ts';
import { FakeListener, initialized, specOf } from '../../support/fleet-listener.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

export const SIZE = { memoryMiB: 128, tmpMiB: 512 };
export const ADDRESS = '10.0.0.7';
/** As workers in pods say: how much fits is the pool's to know. */
const ROOM = { maxEnvironments: 10, maxMemoryMiB: 10_000_000 };
const STEP_MS = 1_000;
/** A waiting pod that is taken has its label by then. */
export const ASSIGNED_MS = 200;

/** A controller's pool over a cluster that other controllers may use as well. */
export interface Bench {
  readonly pool: KubernetesPool;
  readonly listener: FakeListener;
  readonly cluster: FakePodCluster;
  readonly clock: VirtualClock;
}

const benches: Bench[] = [];
/** `stream line` of what pools have written to functions' logs. */
export const printed: string[] = [];

/** To be called after each test: a pool that was closed leaves nothing behind. */
export async function closeAll(): Promise<void> {
  printed.length = 0;
  const all = benches.splice(0);
  for (const { pool, clock, cluster } of all) {
    const closing = pool.close();
    await settle();
    clock.advance(60_000);
    await closing;
    await settle();
    assert.equal(clock.pending, all.some((other) => other.clock === clock && !other.pool.fleet.closed) ? clock.pending : 0, 'timers are left');
    if (all.every((other) => other.cluster !== cluster || other.pool.fleet.closed)) assert.equal(cluster.watches, 0, 'watches are left');
  }
}

/** A pool, its controller as fresh as another that has only just been started. */
export async function bench(settings: Partial<KubernetesPoolSettings> = {}, { cluster = new FakePodCluster(), clock = new VirtualClock() }: Partial<Bench> = {}): Promise<Bench> {
  const listener = new FakeListener();
  const pool = await KubernetesPool.open({
    listener, cluster, clock, name: 'c0', logger: createLogger('silent'), functionLogs: { append: (_group, stream, events) => void printed.push(...events.map(({ message }) => `${stream} ${message}`)) }, gatherMs: 0, settings: { maxPods: 100, maxStartingPods: 100, environmentsPerPod: 1, warmPods: new Map(), warmPodMemoryMiB: 128, ...settings },
  });
  const made = { pool, listener, cluster, clock };
  benches.push(made);
  await settle();
  return made;
}

/** Lets everything happen that does not wait for the clock. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 6; i++) await turn();
}

/** So much time passes; workers that have joined are heard meanwhile. */
export async function pass({ clock }: Bench, ms: number, ...sessions: readonly WorkerSession[]): Promise<void> {
  for (let left = ms; left > 0; left -= STEP_MS) {
    clock.advance(Math.min(left, STEP_MS));
    for (const session of sessions) session.heard();
    await settle();
  }
}

/** The worker in this pod has started, and asks for a session. */
export async function join({ pool }: Bench, worker: string, instance = `${worker}-1`): Promise<WorkerSession> {
  const session = pool.fleet.open({ v: 1, worker, instance, room: ROOM });
  await settle();
  return session;
}

/** A warm pod that has joined. */
export async function warmPod(made: Bench, name: string, memoryMiB = 128): Promise<WorkerSession> {
  made.cluster.show(name, { state: 'warm', address: ADDRESS, createdAtMs: made.clock.now(), size: { memoryMiB, tmpMiB: 512 } });
  return join(made, name);
}

/** A pod that was given an environment of the function, which it holds, and says so. */
export async function servingPod(made: Bench, name: string, environmentId: string, spec: ExecutionSpec = specOf('f')): Promise<WorkerSession> {
  const session = await warmPod(made, name, spec.configuration.memoryMiB);
  made.pool.start(environmentId, spec);
  await settle();
  assert.deepEqual(await opened(session), [environmentId]);
  void made.pool.fleet.next(session, environmentId, 0, initialized(environmentId));
  made.pool.fleet.holds(session, 1);
  return session;
}

/** What the worker has been told and has not acknowledged: any number of times the same. */
export async function told(session: WorkerSession): Promise<readonly Instruction[]> {
  // Without anything to say it would be held: the next one takes its place.
  const answer = session.instructions(0);
  await settle();
  void session.instructions(0);
  return (await answer).instructions;
}

/** Environments that the worker was told to open. */
export async function opened(session: WorkerSession): Promise<readonly string[]> {
  return (await told(session)).flatMap((instruction) => (instruction.do === 'open' ? [instruction.environmentId] : []));
}

/** The worker says that the environment has left, and how much it still holds. */
export async function left({ pool }: Bench, session: WorkerSession, environmentId: string, holds = 0): Promise<void> {
  pool.fleet.departed(session, { environmentId, cause: { kind: 'stopped' } });
  await settle();
  pool.fleet.holds(session, holds);
  await settle();
}

export function start({ pool }: Bench, count: number, spec: ExecutionSpec = specOf('f')): Promise<void> {
  for (let i = 0; i < count; i++) pool.start(`${spec.functionName}${i}`, spec);
  return settle();
}

/** `environment cause: message`, in the order in which they were told. */
export function departures({ listener }: Bench): readonly string[] {
  return listener.departures.map(({ environmentId, cause }) => [`${environmentId} ${cause.kind}`, ...('message' in cause && cause.message !== undefined ? [cause.message] : [])].join(': '));
}
