import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EMPTY_MS, JOIN_MS, OTHERS_SPARE_MS, planSupply, SPARE_MS, START_MAX_MS, TROUBLED_SPARE_MS, UNHEARD_MS, UNSCHEDULABLE_PATIENCE_MS, type Need, type SupplyPlan, type SupplyPod, type SupplySnapshot } from '../../../platform/worker-pool/kubernetes/supply.ts';

const NOW = 1_700_000_000_000;
const SMALL = { memoryMiB: 128, tmpMiB: 512 };
const LARGE = { memoryMiB: 1_024, tmpMiB: 512 };
const WIDE = { memoryMiB: 128, tmpMiB: 1_024 };
const NOTHING: Planned = { create: [], resize: [], giveUp: [], remove: [], nextLookAtMs: Infinity };
const NO_NODE = { message: 'No node takes it.', lasting: false, sinceMs: NOW };
const NO_IMAGE = { message: 'There is no such image.', lasting: true, sinceMs: NOW };

/** Of function `f`, and small, unless it says otherwise. */
function need(environmentId: string, change: Partial<Need> = {}): Need {
  return { environmentId, functionId: 'f', family: 'nodejs', size: SMALL, ...change };
}

/** Made just now for whoever needs it, and not heard of yet, unless it says otherwise. */
function pod(name: string, change: Partial<SupplyPod> = {}): SupplyPod {
  return {
    name, family: 'nodejs', state: 'spare', functionId: undefined, madeFor: undefined, size: SMALL, resizingTo: undefined, resizeRefused: false, leaving: false, death: undefined, createdAtMs: NOW,
    joinedAtMs: undefined, heardAtMs: NOW, heardBefore: false, environments: 0, emptySinceMs: undefined, vacated: false, trouble: undefined, containerSinceMs: undefined, ...change,
  };
}

const warm = (name: string, change: Partial<SupplyPod> = {}): SupplyPod => pod(name, { state: 'warm', ...change });
const serving = (name: string, functionId: string, change: Partial<SupplyPod> = {}): SupplyPod => pod(name, { state: 'serving', functionId, ...change });
const order = (environmentId: string, size = SMALL, family = 'nodejs'): Ordered => ({ environmentId, family, size });
type Ordered = Omit<SupplyPlan['create'][number], 'functionId'>;
type Grown = Omit<SupplyPlan['resize'][number], 'functionId'>;
type Planned = Omit<SupplyPlan, 'create' | 'resize'> & { readonly create: readonly Ordered[]; readonly resize: readonly Grown[] };

interface Case extends Partial<SupplySnapshot> {
  readonly what: string;
  /** What is not named is empty. */
  readonly plan?: Partial<Planned>;
}

/** For which function a pod is made is that of the need for which it is. */
function plan({ needs = [], pods = [], maxPods = 10, maxStartingPods = 10, environmentsPerPod = 1, nowMs = NOW }: Partial<SupplySnapshot>): Planned {
  const planned = planSupply({ needs, pods, maxPods, maxStartingPods, environmentsPerPod, nowMs });
  for (const { environmentId, functionId } of planned.create) assert.equal(functionId, needs.find((one) => one.environmentId === environmentId)?.functionId);
  return { ...planned, create: planned.create.map(({ environmentId, family, size }) => ({ environmentId, family, size })), resize: planned.resize.map(({ name, size }) => ({ name, size })) };
}

function table(topic: string, cases: readonly Case[]): void {
  for (const { what, plan: expected = {}, ...snapshot } of cases) {
    test(`${topic}: ${what}`, () => {
      const planned = plan(snapshot);
      // When to look again is said where it is what the case is about.
      assert.deepEqual(planned, { ...NOTHING, nextLookAtMs: planned.nextLookAtMs, ...expected });
    });
  }
}

table('a need', [
  { what: 'none, and no pod: nothing to do' },
  { what: 'with no pod gets one made', needs: [need('a')], plan: { create: [order('a')] } },
  { what: 'waits for a pod that comes', needs: [need('a')], pods: [pod('p')] },
  { what: 'waits for a warm pod that comes', needs: [need('a')], pods: [warm('p')] },
  { what: 'waits for a pod of its function that has not been heard yet', needs: [need('a')], pods: [serving('p', 'f')] },
  { what: 'and another, with one pod that comes: one is made, for the second', needs: [need('a'), need('b')], pods: [pod('p')], plan: { create: [order('b')] } },
  { what: 'of another function than another need\'s has a pod of its own made', needs: [need('a'), need('b', { functionId: 'g' })], plan: { create: [order('a'), order('b')] } },
  { what: 'leaves a pod that another one needs where there is one more that will do', needs: [need('a', { functionId: 'h', size: WIDE }), need('b'), need('c', { functionId: 'h', size: WIDE })], pods: [pod('made', { madeFor: 'h', size: WIDE }), warm('wide', { size: WIDE }), warm('p', { size: { memoryMiB: 256, tmpMiB: 512 } })] },
  { what: 'does not wait for a pod of another family', needs: [need('a')], pods: [warm('p', { family: 'python' })], plan: { create: [order('a')], nextLookAtMs: NOW + START_MAX_MS } },
  { what: 'does not wait for a pod that comes with too little memory', needs: [need('a', { size: LARGE })], pods: [warm('p')], plan: { create: [order('a', LARGE)], nextLookAtMs: NOW + START_MAX_MS } },
  { what: 'does not wait for a pod with a /tmp that is too small', needs: [need('a', { size: WIDE })], pods: [warm('p')], plan: { create: [order('a', WIDE)], nextLookAtMs: NOW + START_MAX_MS } },
  { what: 'does not wait for a pod of another function', needs: [need('a')], pods: [serving('p', 'g')], plan: { create: [order('a')], nextLookAtMs: NOW + UNHEARD_MS } },
  { what: 'does not wait for a pod that leaves', needs: [need('a')], pods: [pod('p', { leaving: true })], plan: { create: [order('a')] } },
  { what: 'does not wait for a warm pod that died', needs: [need('a')], pods: [warm('p', { death: 'Dead.' })], plan: { create: [order('a')], remove: ['p'] } },
  { what: 'does not wait for a full pod', needs: [need('a')], pods: [serving('p', 'f', { joinedAtMs: NOW, environments: 1 })], plan: { create: [order('a')] } },
  { what: 'takes a larger pod that comes', needs: [need('a')], pods: [pod('p', { size: LARGE })] },
  { what: 'leaves the larger of two that come to another need', needs: [need('a'), need('b', { size: LARGE })], pods: [pod('large', { size: LARGE }), pod('small')] },
  { what: 'takes the older of two that come', needs: [need('a')], pods: [warm('young', { createdAtMs: NOW }), warm('old', { createdAtMs: NOW - 1 })], plan: { nextLookAtMs: NOW + START_MAX_MS } },
  { what: 'takes a pod without trouble, though it is larger', needs: [need('a')], pods: [pod('p', { trouble: NO_IMAGE }), pod('q', { size: LARGE })] },
  { what: 'takes a pod that lives, though it is larger', needs: [need('a')], pods: [pod('p', { death: 'Dead.' }), pod('q', { size: LARGE })], plan: { remove: ['p'] } },
  { what: 'does not wait long for a warm pod whose worker is not heard any more', nowMs: NOW + JOIN_MS, needs: [need('a')], pods: [warm('p', { heardBefore: true })], plan: { create: [order('a')] } },
]);

table('a shared pod', [
  { what: 'that is to be made is for as many needs of a function as it holds', environmentsPerPod: 2, needs: ['a', 'b', 'c'].map((id) => need(id)), plan: { create: [order('a'), order('c')] } },
  { what: 'that comes is for as many needs of a function as it holds', environmentsPerPod: 2, needs: ['a', 'b', 'c'].map((id) => need(id)), pods: [pod('p')], plan: { create: [order('c')] } },
  { what: 'of its own function is for a need before one that is anybody\'s', needs: [need('a', { functionId: 'g' }), need('b', { functionId: 'h' }), need('c', { functionId: 'g' })], pods: [pod('free', { state: 'warm' }), serving('its', 'h'), pod('made', { madeFor: 'g' })] },
  { what: 'is not for two functions', environmentsPerPod: 2, needs: [need('a'), need('b', { functionId: 'g' })], pods: [pod('p')], plan: { create: [order('b')] } },
  { what: 'that is to be made is not for a need that is larger', environmentsPerPod: 2, needs: [need('a'), need('b', { size: LARGE })], plan: { create: [order('a'), order('b', LARGE)] } },
  { what: 'that comes is not for a need that is larger', environmentsPerPod: 2, needs: [need('a'), need('b', { size: LARGE })], pods: [pod('p')], plan: { create: [order('b', LARGE)] } },
  {
    what: 'with lasting trouble is bad news for all that wait for it', environmentsPerPod: 2, needs: [need('a'), need('b')], pods: [pod('p', { trouble: NO_IMAGE })],
    plan: { giveUp: ['a', 'b'].map((environmentId) => ({ environmentId, message: NO_IMAGE.message })) },
  },
]);

table('a pod that has joined and is too small', [
  { what: 'grows', needs: [need('a', { size: LARGE })], pods: [warm('p', { joinedAtMs: NOW })], plan: { resize: [{ name: 'p', size: LARGE }] } },
  { what: 'keeps the /tmp that it has', needs: [need('a', { size: LARGE })], pods: [warm('p', { joinedAtMs: NOW, size: WIDE })], plan: { resize: [{ name: 'p', size: { ...LARGE, tmpMiB: WIDE.tmpMiB } }] } },
  { what: 'grows when it served this function before', needs: [need('a', { size: LARGE })], pods: [serving('p', 'f', { joinedAtMs: NOW, vacated: true })], plan: { resize: [{ name: 'p', size: LARGE }] } },
  { what: 'grows for one need, not for two functions', needs: [need('a', { size: LARGE }), need('b', { size: LARGE, functionId: 'g' })], pods: [warm('p', { joinedAtMs: NOW })], plan: { create: [order('b', LARGE)], resize: [{ name: 'p', size: LARGE }] } },
  { what: 'is the smallest of them', needs: [need('a', { size: LARGE })], pods: [warm('p', { joinedAtMs: NOW, size: { memoryMiB: 256, tmpMiB: 512 } }), warm('q', { joinedAtMs: NOW })], plan: { resize: [{ name: 'q', size: LARGE }] } },
  { what: 'does not grow where a large one comes', needs: [need('a', { size: LARGE })], pods: [warm('p', { joinedAtMs: NOW }), pod('q', { size: LARGE })] },
  { what: 'is waited for while it grows', needs: [need('a', { size: LARGE })], pods: [warm('p', { joinedAtMs: NOW, resizingTo: LARGE })] },
  { what: 'is not asked to grow to something else while it grows', needs: [need('a', { size: LARGE })], pods: [warm('p', { joinedAtMs: NOW, resizingTo: { memoryMiB: 512, tmpMiB: 512 } })], plan: { create: [order('a', LARGE)] } },
  { what: 'does not grow once its node has refused', needs: [need('a', { size: LARGE })], pods: [warm('p', { joinedAtMs: NOW, resizeRefused: true })], plan: { create: [order('a', LARGE)] } },
  { what: 'does not grow for another function', needs: [need('a', { size: LARGE })], pods: [serving('p', 'g', { joinedAtMs: NOW, emptySinceMs: NOW })], plan: { create: [order('a', LARGE)], nextLookAtMs: NOW + EMPTY_MS } },
  { what: 'does not grow under an environment', needs: [need('a', { size: LARGE })], pods: [serving('p', 'f', { joinedAtMs: NOW, environments: 1 })], plan: { create: [order('a', LARGE)] } },
  { what: 'does not grow for another family', needs: [need('a', { size: LARGE })], pods: [warm('p', { joinedAtMs: NOW, family: 'python' })], plan: { create: [order('a', LARGE)] } },
  { what: 'does not grow where its /tmp is too small as well', needs: [need('a', { size: { memoryMiB: 1_024, tmpMiB: 1_024 } })], pods: [warm('p', { joinedAtMs: NOW })], plan: { create: [order('a', { memoryMiB: 1_024, tmpMiB: 1_024 })] } },
  { what: 'grows though there may be no further pod', maxPods: 0, needs: [need('a', { size: LARGE })], pods: [warm('p', { joinedAtMs: NOW })], plan: { resize: [{ name: 'p', size: LARGE }] } },
]);

table('the limit', [
  { what: 'none is made beyond it, and what has none waits', maxPods: 2, needs: ['a', 'b', 'c'].map((id) => need(id)), plan: { create: [order('a'), order('b')] } },
  { what: 'pods that serve count', maxPods: 1, needs: [need('a')], pods: [serving('p', 'g', { joinedAtMs: NOW, environments: 1 })] },
  { what: 'pods that come count', maxPods: 1, needs: [need('a'), need('b')], pods: [pod('p')] },
  { what: 'warm pods do not count', maxPods: 1, needs: [need('a')], pods: [warm('p', { family: 'python', joinedAtMs: NOW })], plan: { create: [order('a')] } },
  { what: 'pods that leave do not count', maxPods: 1, needs: [need('a')], pods: [serving('p', 'g', { leaving: true })], plan: { create: [order('a')] } },
  { what: 'more than there may be are no room', maxPods: 1, needs: [need('a')], pods: ['p', 'q'].map((name) => serving(name, 'g', { joinedAtMs: NOW, environments: 1 })) },
  { what: 'no more start at once than may', maxStartingPods: 2, needs: ['a', 'b', 'c'].map((id) => need(id)), pods: [pod('p')], plan: { create: [order('b')] } },
  { what: 'one that cannot start keeps no other from it', maxStartingPods: 1, needs: [need('a'), need('b', { functionId: 'g' })], pods: [pod('p', { madeFor: 'f', trouble: NO_NODE })], plan: { create: [order('b')], nextLookAtMs: NOW + UNSCHEDULABLE_PATIENCE_MS } },
  { what: 'a need that shares what is made is served behind one that has no room', maxPods: 1, environmentsPerPod: 2, needs: [need('a'), need('b', { functionId: 'g' }), need('c')], plan: { create: [order('a')] } },
]);

table('trouble', [
  { what: 'that lasts is told at once', needs: [need('a')], pods: [pod('p', { trouble: NO_IMAGE })], plan: { giveUp: [{ environmentId: 'a', message: NO_IMAGE.message }] } },
  { what: 'that may pass is waited for', needs: [need('a')], pods: [pod('p', { trouble: NO_NODE })], plan: { nextLookAtMs: NOW + UNSCHEDULABLE_PATIENCE_MS } },
  { what: 'that may pass is waited for to the last', nowMs: NOW + UNSCHEDULABLE_PATIENCE_MS - 1, needs: [need('a')], pods: [pod('p', { trouble: NO_NODE })], plan: { nextLookAtMs: NOW + UNSCHEDULABLE_PATIENCE_MS } },
  { what: 'that has not passed in time is told, and the pod waits on', nowMs: NOW + UNSCHEDULABLE_PATIENCE_MS, needs: [need('a')], pods: [pod('p', { trouble: NO_NODE })], plan: { giveUp: [{ environmentId: 'a', message: NO_NODE.message }] } },
  { what: 'concerns one need, the other gets a pod', needs: [need('a'), need('b')], pods: [pod('p', { trouble: NO_IMAGE })], plan: { giveUp: [{ environmentId: 'a', message: NO_IMAGE.message }], create: [order('b')] } },
  { what: 'the end of a spare pod before its first word is told to one need', needs: [need('a'), need('b')], pods: [pod('p', { death: 'Dead.' })], plan: { giveUp: [{ environmentId: 'a', message: 'Dead.' }], create: [order('b')], remove: ['p'] } },
  { what: 'the end of a spare pod that nobody waits for is told to nobody', pods: [pod('p', { death: 'Dead.' })], plan: { remove: ['p'] } },
  { what: 'the end of a pod that had joined is told to nobody here', needs: [need('a')], pods: [serving('p', 'f', { death: 'Dead.', joinedAtMs: NOW })], plan: { create: [order('a')], remove: ['p'] } },
]);

table('removal', [
  { what: 'of a dead pod, whatever it holds', pods: [serving('p', 'f', { death: 'Dead.', joinedAtMs: NOW, environments: 1 })], plan: { remove: ['p'] } },
  { what: 'not of a dead pod that leaves already', pods: [serving('p', 'f', { death: 'Dead.', leaving: true })] },
  { what: 'of an empty pod at once where nobody else will come', pods: [serving('p', 'f', { joinedAtMs: NOW - 1, emptySinceMs: NOW, vacated: true })], plan: { remove: ['p'] } },
  { what: 'not of an empty pod for which somebody else may come', nowMs: NOW + EMPTY_MS - 1, pods: [serving('p', 'f', { joinedAtMs: NOW, emptySinceMs: NOW })], plan: { nextLookAtMs: NOW + EMPTY_MS } },
  { what: 'of that pod after a while', nowMs: NOW + EMPTY_MS, pods: [serving('p', 'f', { joinedAtMs: NOW, emptySinceMs: NOW })], plan: { remove: ['p'] } },
  { what: 'not of a pod that holds something', nowMs: NOW + START_MAX_MS, pods: [serving('p', 'f', { joinedAtMs: NOW, environments: 1, vacated: true })] },
  { what: 'not of a pod that serves before it is heard again', nowMs: NOW + UNHEARD_MS - 1, pods: [serving('p', 'f', { createdAtMs: 0 })], plan: { nextLookAtMs: NOW + UNHEARD_MS } },
  { what: 'of a pod that serves and is not heard any more', nowMs: NOW + UNHEARD_MS, pods: [serving('p', 'f', { createdAtMs: 0 })], plan: { remove: ['p'] } },
  { what: 'not of a spare pod that has only just joined', nowMs: NOW + SPARE_MS - 1, pods: [pod('p', { joinedAtMs: NOW, madeFor: 'f' })], plan: { nextLookAtMs: NOW + SPARE_MS } },
  { what: 'of a spare pod that nobody came for', nowMs: NOW + SPARE_MS, pods: [pod('p', { joinedAtMs: NOW, madeFor: 'f' })], plan: { remove: ['p'] } },
  { what: 'of a spare pod of another controller that nobody came for, later', nowMs: NOW + OTHERS_SPARE_MS, pods: [pod('p', { joinedAtMs: NOW })], plan: { remove: ['p'] } },
  { what: 'not of a spare pod of another controller that waits in trouble', nowMs: NOW + TROUBLED_SPARE_MS, pods: [pod('p', { trouble: NO_NODE })] },
  { what: 'not of a spare pod that comes', nowMs: NOW + START_MAX_MS - 1, pods: [pod('p')], plan: { nextLookAtMs: NOW + START_MAX_MS } },
  { what: 'of a spare pod that never came', nowMs: NOW + START_MAX_MS, pods: [pod('p')], plan: { remove: ['p'] } },
  { what: 'not of a spare pod in new trouble', nowMs: NOW + TROUBLED_SPARE_MS - 1, pods: [pod('p', { trouble: NO_NODE, madeFor: 'f' })], plan: { nextLookAtMs: NOW + TROUBLED_SPARE_MS } },
  { what: 'of a spare pod that stays in trouble', nowMs: NOW + TROUBLED_SPARE_MS, pods: [pod('p', { trouble: NO_NODE, madeFor: 'f' })], plan: { remove: ['p'] } },
  { what: 'not of a warm pod in trouble', nowMs: NOW + TROUBLED_SPARE_MS, pods: [warm('p', { trouble: NO_NODE })], plan: { nextLookAtMs: NOW + START_MAX_MS } },
  { what: 'of a warm pod that never came', nowMs: NOW + START_MAX_MS, pods: [warm('p')], plan: { remove: ['p'] } },
  { what: 'not of a warm pod that waits', nowMs: NOW + 10 * START_MAX_MS, pods: [warm('p', { joinedAtMs: NOW })] },
  { what: 'not of a pod that somebody waits for', nowMs: NOW + TROUBLED_SPARE_MS, needs: [need('a')], pods: [pod('p', { trouble: NO_NODE })], plan: { giveUp: [{ environmentId: 'a', message: NO_NODE.message }] } },
]);

test('what is to be looked at next is the first of all', () => {
  const pods = [pod('p', { joinedAtMs: NOW, madeFor: 'f' }), pod('q', { trouble: NO_NODE, madeFor: 'f' }), serving('r', 'f'), pod('s')];
  const dueAtMs: number[] = [];
  for (let nowMs = NOW; nowMs !== Infinity;) {
    nowMs = plan({ pods, nowMs }).nextLookAtMs;
    dueAtMs.push(nowMs - NOW);
  }
  assert.deepEqual(dueAtMs, [SPARE_MS, TROUBLED_SPARE_MS, UNHEARD_MS, START_MAX_MS, Infinity]);
});

test('a pod that grows is for as many needs of a function as it will hold', () => {
  const needs = [need('a', { size: LARGE }), need('b', { size: LARGE })];
  assert.deepEqual(plan({ environmentsPerPod: 2, needs, pods: [warm('p', { joinedAtMs: NOW })] }), { ...NOTHING, resize: [{ name: 'p', size: LARGE }] });
  assert.deepEqual(plan({ environmentsPerPod: 2, needs, pods: [warm('p', { joinedAtMs: NOW, resizingTo: LARGE })] }), NOTHING);
});

test('a pod that is large enough is not resized, whyever it has no room', () => {
  for (const size of [SMALL, LARGE]) assert.deepEqual(plan({ needs: [need('a')], pods: [warm('p', { joinedAtMs: NOW, size })] }), { ...NOTHING, create: [order('a')] });
});

test('a warm pod that is old has as long to be heard as a new one, by a controller that has only just seen it', () => {
  assert.deepEqual(plan({ pods: [warm('p', { createdAtMs: NOW - START_MAX_MS, heardAtMs: NOW })] }).remove, []);
});

test('a pod that is not heard any more is nothing that a need could wait for', () => {
  for (const silent of [serving('p', 'f', { heardAtMs: NOW - UNHEARD_MS }), pod('p', { createdAtMs: NOW - START_MAX_MS, heardAtMs: NOW - START_MAX_MS })]) {
    assert.deepEqual(plan({ needs: [need('a')], pods: [silent] }), { ...NOTHING, create: [order('a')], remove: ['p'] });
  }
});

test('a pod that was made because another one is in trouble is for whom it was made', () => {
  const needs = [need('a'), need('b', { size: LARGE })];
  const troubled = warm('p', { trouble: NO_NODE });
  assert.deepEqual(plan({ needs, pods: [troubled] }).create, [order('b', LARGE)]);
  assert.deepEqual(plan({ needs, pods: [troubled, pod('made', { size: LARGE, madeFor: 'f' })] }).create, []);
});

test('a pod that was made for a need stays there for it, though it would do for another that waits for its own', () => {
  const others: readonly (readonly [SupplyPod, Need])[] = [[serving('p', 'f', { size: LARGE }), need('b', { functionId: 'g' })], [warm('p', { size: LARGE }), need('b', { size: WIDE })]];
  for (const [comes, other] of others) {
    const needs = [need('a'), other];
    assert.deepEqual(plan({ needs, pods: [comes] }).create, [order('b', other.size)]);
    assert.deepEqual(plan({ needs, pods: [comes, pod('made', { size: other.size, madeFor: other.functionId })] }).create, []);
  }
});

test('a shared pod is not for two families, where a function has versions of both', () => {
  const needs = [need('a'), need('b', { family: 'python' })];
  assert.deepEqual(plan({ environmentsPerPod: 2, needs }).create, [order('a'), order('b', SMALL, 'python')]);
  assert.deepEqual(plan({ environmentsPerPod: 2, needs, pods: [pod('p')] }).create, [order('b', SMALL, 'python')]);
});
