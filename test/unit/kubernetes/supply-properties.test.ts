/** Whatever pods there are and whatever waits: what a plan never does. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { JOIN_MS, planSupply, START_MAX_MS, type Need, type SupplyPlan, type SupplyPod, type SupplySnapshot } from '../../../platform/worker-pool/kubernetes/supply.ts';

const NOW = 1_700_000_000_000;
/** Everything in a plan that could be done about needs: no limit stands in the way. */
const UNLIMITED = 1_000;

const family = fc.constantFrom('nodejs', 'python');
const functionId = fc.constantFrom('f', 'g', 'h');
const agoMs = fc.constantFrom(0, 1, 4_999, 5_000, 9_999, 10_000, 30_000, 60_000, 299_999, 300_000, 10_000_000);
const atMs = agoMs.map((ms) => NOW - ms);
const size = fc.record({ memoryMiB: fc.constantFrom(128, 256, 512), tmpMiB: fc.constantFrom(512, 1_024) });

const need: fc.Arbitrary<Omit<Need, 'environmentId'>> = fc.record({ functionId, family, size });
const needs = fc.array(need, { maxLength: 8 }).map((several) => several.map((one, index): Need => ({ ...one, environmentId: `e${index}` })));

const trouble = fc.option(fc.record({ message: fc.constant('Trouble.'), lasting: fc.boolean(), sinceMs: atMs }), { nil: undefined, freq: 3 });
const unheard: fc.Arbitrary<Omit<SupplyPod, 'name'>> = fc.record({
  family, size, trouble, state: fc.constantFrom('warm', 'spare', 'serving'), functionId, resizingTo: fc.constant(undefined), resizeRefused: fc.constant(false), leaving: fc.boolean(),
  death: fc.option(fc.constant('Dead.'), { nil: undefined, freq: 4 }), createdAtMs: atMs, joinedAtMs: fc.constant(undefined), heardAtMs: atMs, heardBefore: fc.constant(false), environments: fc.constant(0), emptySinceMs: fc.constant(undefined), vacated: fc.constant(false), madeFor: fc.option(functionId, { nil: undefined }), containerSinceMs: fc.constant(undefined),
});
/** What could be placed has been: those that are empty are too small for whatever waits. */
const joined: fc.Arbitrary<Omit<SupplyPod, 'name'>> = fc.record({
  family, trouble: fc.constant(undefined), state: fc.constantFrom('warm', 'spare', 'serving'), functionId, size: fc.record({ memoryMiB: fc.constant(64), tmpMiB: fc.constantFrom(512, 1_024) }),
  resizingTo: fc.option(size, { nil: undefined }), resizeRefused: fc.boolean(), leaving: fc.boolean(), death: fc.option(fc.constant('Dead.'), { nil: undefined, freq: 4 }), createdAtMs: atMs, joinedAtMs: atMs,
  heardAtMs: fc.constant(NOW), heardBefore: fc.constant(true), environments: fc.nat(2), emptySinceMs: atMs, vacated: fc.boolean(), madeFor: fc.option(functionId, { nil: undefined }), containerSinceMs: fc.constant(undefined),
});
const pods = fc.array(fc.oneof(unheard, joined), { maxLength: 8 }).map((several) => several.map((pod, index): SupplyPod => ({ ...pod, name: `p${index}`, functionId: pod.state === 'serving' ? pod.functionId : undefined })));
const snapshots: fc.Arbitrary<SupplySnapshot> = fc.record({ needs, pods, maxPods: fc.oneof(fc.nat(8), fc.constant(UNLIMITED)), maxStartingPods: fc.oneof(fc.integer({ min: 1, max: 8 }), fc.constant(UNLIMITED)), environmentsPerPod: fc.integer({ min: 1, max: 3 }), nowMs: fc.constant(NOW) });

function always(what: string, holds: (snapshot: SupplySnapshot, plan: SupplyPlan) => void): void {
  test(what, () => fc.assert(fc.property(snapshots, (snapshot) => holds(snapshot, planSupply(snapshot))), { numRuns: 1_000 }));
}

/** What there is once the plan has been carried out, and nothing else has happened. */
function after({ pods: before, needs: waiting, ...rest }: SupplySnapshot, plan: SupplyPlan): SupplySnapshot {
  const given = new Set(plan.giveUp.map(({ environmentId }) => environmentId));
  const made = plan.create.map((ordered, index): SupplyPod => ({
    name: `made${index}`, family: ordered.family, size: ordered.size, state: 'spare', functionId: undefined, madeFor: ordered.functionId, resizingTo: undefined, resizeRefused: false, leaving: false, death: undefined, createdAtMs: NOW,
    joinedAtMs: undefined, heardAtMs: NOW, heardBefore: false, environments: 0, emptySinceMs: undefined, vacated: false, trouble: undefined, containerSinceMs: undefined,
  }));
  const kept = before.map((pod): SupplyPod => ({ ...pod, leaving: pod.leaving || plan.remove.includes(pod.name), ...grown(pod, plan) }));
  return { ...rest, needs: waiting.filter(({ environmentId }) => !given.has(environmentId)), pods: [...kept, ...made] };
}

function grown({ name, resizingTo, madeFor }: SupplyPod, { resize }: SupplyPlan): Pick<SupplyPod, 'resizingTo' | 'madeFor'> {
  const order = resize.find((one) => one.name === name);
  return order === undefined ? { resizingTo, madeFor } : { resizingTo: order.size, madeFor: order.functionId };
}

const unique = (names: readonly string[]): boolean => new Set(names).size === names.length;
const counted = (all: readonly SupplyPod[]): number => all.filter(({ state, leaving, death }) => state !== 'warm' && !leaving && death === undefined).length;

always('no pod is made beyond the limit', (snapshot, plan) => {
  if (plan.create.length > 0) assert.ok(counted(snapshot.pods) + plan.create.length <= snapshot.maxPods);
});

always('no need has two things done for it', ({ needs: waiting }, { create, resize, giveUp, remove }) => {
  assert.ok(unique([...create, ...giveUp].map(({ environmentId }) => environmentId)));
  assert.ok(unique([...resize.map(({ name }) => name), ...remove]));
  assert.ok(create.length + resize.length + giveUp.length <= waiting.length);
  for (const { environmentId, family: of, size: large } of create) {
    const first = waiting.find((one) => one.environmentId === environmentId);
    assert.deepEqual([of, large], [first?.family, first?.size]);
  }
});

always('no pod is removed that holds something, unless it is dead, and none twice', (snapshot, plan) => {
  for (const name of plan.remove) {
    const pod = snapshot.pods.find((one) => one.name === name);
    assert.ok(pod?.leaving === false && (pod.death !== undefined || pod.environments === 0));
  }
  for (const { name, death, leaving } of snapshot.pods) assert.equal(plan.remove.includes(name), !leaving && (death !== undefined || plan.remove.includes(name)));
});

always('what is removed alive was nothing that a need waited for: without it all else is planned alike', (snapshot, plan) => {
  const removed = snapshot.pods.filter(({ name, death }) => death === undefined && plan.remove.includes(name));
  const without = planSupply({ ...snapshot, pods: snapshot.pods.filter((pod) => !removed.includes(pod)), maxPods: snapshot.maxPods - counted(removed) });
  const { create, resize, giveUp } = plan;
  assert.deepEqual({ create: without.create, resize: without.resize, giveUp: without.giveUp }, { create, resize, giveUp });
});

/** Carries out a plan and makes another: no pod is made or resized by it. */
function leavesNothingToMake(snapshot: SupplySnapshot): void {
  const unlimited = { ...snapshot, maxPods: UNLIMITED, maxStartingPods: UNLIMITED };
  const { create, resize } = planSupply(after(unlimited, planSupply(unlimited)));
  assert.deepEqual({ create, resize }, { create: [], resize: [] });
}

always('a plan that has been carried out leaves nothing to make, where all are alike but for their functions', (snapshot) => {
  const alike = { family: 'nodejs', size: { memoryMiB: 128, tmpMiB: 512 } };
  const coming = snapshot.pods.filter(({ joinedAtMs }) => joinedAtMs === undefined);
  leavesNothingToMake({ ...snapshot, needs: snapshot.needs.map((one) => ({ ...one, ...alike })), pods: coming.map((pod) => ({ ...pod, ...alike, trouble: undefined })) });
});

test('a plan that has been carried out leaves nothing to make, whatever there is, where a pod is for one environment', () => {
  fc.assert(fc.property(snapshots, (snapshot) => leavesNothingToMake({ ...snapshot, environmentsPerPod: 1 })), { numRuns: 2_000 });
});

always('no more is made than waits and does not wait for what comes', (snapshot) => {
  const { environmentsPerPod } = snapshot;
  const alike = snapshot.needs.map((one): Need => ({ ...one, functionId: 'f', family: 'nodejs', size: { memoryMiB: 128, tmpMiB: 512 } }));
  const coming = snapshot.pods.filter(({ family: of, joinedAtMs, heardAtMs, functionId: its, leaving, death, state }) => of === 'nodejs' && heardAtMs + (its === undefined ? START_MAX_MS : JOIN_MS) > NOW && joinedAtMs === undefined && (its ?? 'f') === 'f' && !leaving && (death === undefined || state === 'spare'));
  const { create } = planSupply({ ...snapshot, maxPods: UNLIMITED, maxStartingPods: UNLIMITED, needs: alike, pods: coming });
  assert.equal(create.length, Math.max(0, Math.ceil(alike.length / environmentsPerPod) - coming.length));
});

always('until it is time to look again nothing is to be done that is not to be done now', (snapshot, plan) => {
  const { nextLookAtMs, ...now } = plan;
  assert.ok(nextLookAtMs > NOW);
  const { nextLookAtMs: same, ...later } = planSupply({ ...snapshot, nowMs: nextLookAtMs === Infinity ? NOW + 1e9 : nextLookAtMs - 1 });
  assert.deepEqual({ ...later, same }, { ...now, same: nextLookAtMs });
});
