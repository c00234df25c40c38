/** Pods of functions that are in security groups: a pod serves one function with one set of them, so that what is open to one revision is not open to another. */
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { functionIdOf, type ExecutionSpec } from '../../../platform/model/execution-spec.ts';
import type { WorkerSession } from '../../../platform/worker-pool/fleet/worker-session.ts';
import { heldEnvironment, inGroups, specOf } from '../../support/fleet-listener.ts';
import { ADDRESS, ASSIGNED_MS, bench, closeAll, join, left, opened, pass, settle, start, warmPod, type Bench } from './pools.ts';

const F = specOf('f');
const ONE = inGroups(F, 'sg-1');
const TWO = inGroups(F, 'sg-2', 'sg-1');

afterEach(closeAll);

test('what a pod serves is the function with its security groups, in whatever order they were given', () => {
  assert.equal(functionIdOf(TWO), `${functionIdOf(F)}/sg-1,sg-2`);
  assert.equal(functionIdOf(inGroups(F, 'sg-1', 'sg-2', 'sg-1')), functionIdOf(TWO));
  assert.equal(functionIdOf(inGroups(F)), functionIdOf(F), 'taken out again, it is as if it had never been in any');
});

/** A pod with room for two, which has one environment of this revision. */
async function half(made: Bench, spec: ExecutionSpec): Promise<WorkerSession> {
  const session = await warmPod(made, 'p', 256);
  made.pool.start('e', spec);
  await settle();
  assert.deepEqual(await opened(session), ['e']);
  return session;
}

for (const [what, before, after] of [['other security groups', ONE, TWO], ['security groups for the first time', F, ONE], ['none any more', ONE, F]] as const) {
  test(`a revision with ${what} gets a pod of its own, and the earlier one's goes when it is empty`, async () => {
    const made = await bench({ environmentsPerPod: 2 });
    const session = await half(made, before);
    await start(made, 1, after);
    const [own] = made.cluster.created;
    assert.deepEqual([await opened(session), made.cluster.created.length], [['e'], 1]);
    made.cluster.show(own?.name ?? '', { address: ADDRESS });
    assert.deepEqual(await opened(await join(made, own?.name ?? '')), ['f0']);
    await pass(made, ASSIGNED_MS, session);
    assert.deepEqual(['p', own?.name ?? ''].map((name) => made.cluster.pod(name)?.functionId), [functionIdOf(before), functionIdOf(after)]);
    await left(made, session, 'e');
    assert.deepEqual(made.cluster.removed, ['p']);
  });
}

test('a pod of security groups is labelled before anything else happens; one without has time', async () => {
  const made = await bench();
  await warmPod(made, 'p');
  await start(made, 1, ONE);
  assert.deepEqual(made.cluster.assigned, ['p f']);
});

test('a counter-test: a revision with the same ones shares the pod', async () => {
  const made = await bench({ environmentsPerPod: 2 });
  const session = await half(made, TWO);
  await start(made, 1, { ...inGroups(F, 'sg-1', 'sg-2'), id: 'another revision' });
  assert.deepEqual([await opened(session), made.cluster.created, made.cluster.assigned], [['e', 'f0'], [], ['p f']]);
});

test('a controller that starts finds in the labels what a pod serves, and puts nothing else there', async () => {
  const before = await bench({ environmentsPerPod: 2 });
  await half(before, ONE);
  const made = await bench({ environmentsPerPod: 2 }, { cluster: before.cluster });
  const session = await join(made, 'p');
  assert.deepEqual(await made.pool.fleet.held(session, undefined, [heldEnvironment('e', ONE)]), ['e']);
  made.pool.fleet.holds(session, 1);
  await start(made, 1, F);
  await pass(made, 2_000, session);
  assert.deepEqual([made.cluster.created.length, made.cluster.pod('p')?.functionId, made.cluster.assigned], [1, functionIdOf(ONE), ['p f']]);
});
