import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bigScenario, changingHandsScenario, neighbourScenario, ONCE_BROKEN_SEEDS, smallScenario, type Scenario } from './scenario.ts';
import { TWINS } from './twins.ts';
import type { Sabotage } from './sabotage.ts';
import { simulate, Violation } from './world.ts';

/** Seeds of every test run; `node test/simulation/run.ts` goes on from there. */
const SEEDS = 200;
const HANDS_SEEDS = 200;
/** Within so many seeds each unguarded twin must have failed. */
const TWIN_SEEDS = 25;

/** What a run breaks, as text; undefined when it breaks nothing. */
function violation(scenario: Scenario, sabotage: Sabotage): string | undefined {
  try {
    simulate(scenario, sabotage);
    return undefined;
  } catch (error) {
    if (error instanceof Violation) return error.message;
    throw error;
  }
}

test(`invariants 1 to 7 hold in ${SEEDS} small worlds in which much goes wrong`, () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    assert.equal(violation(smallScenario(seed), {}), undefined, `replay it with: node test/simulation/run.ts --seed ${seed}`);
  }
});

test(`invariants 1 to 7 hold in ${HANDS_SEEDS} small worlds whose functions change owners while their environments live on`, () => {
  for (let seed = 1; seed <= HANDS_SEEDS; seed++) {
    assert.equal(violation(changingHandsScenario(seed), {}), undefined, `replay it with: node test/simulation/run.ts --world hands --seed ${seed}`);
  }
});

test('seeds that once broke an invariant do so no more', () => {
  for (const seed of ONCE_BROKEN_SEEDS) assert.equal(violation(smallScenario(seed), {}), undefined, `replay it with: node test/simulation/run.ts --seed ${seed}`);
});

test('invariant 6: nobody starves beside a function with more work than the pool can do', () => {
  for (let seed = 1; seed <= 10; seed++) {
    assert.equal(violation(neighbourScenario(seed), {}), undefined, `replay it with: node test/simulation/run.ts --world neighbour --seed ${seed}`);
  }
});

test('a seed replays exactly, and another seed is another run', () => {
  const first = simulate(smallScenario(7));
  assert.deepEqual(simulate(smallScenario(7)), first);
  assert.notEqual(simulate(smallScenario(8)).hash, first.hash);
});

test('the invariants hold for 10,000 functions and 1,000,000 invocations', (t) => {
  const { totals, mostFunctions } = simulate(bigScenario(1));
  assert.ok(totals.accepted > 999_000, `${totals.accepted} accepted`);
  assert.ok(totals.succeeded > 0.9 * totals.accepted, `${totals.succeeded} of ${totals.accepted} succeeded`);
  assert.ok(mostFunctions < 10_000, 'functions without work are dropped');
  t.diagnostic(JSON.stringify(totals));
});

for (const twin of TWINS) {
  test(`unguarded twin: where ${twin.name}, invariant ${twin.invariant} breaks`, () => {
    const scenario = twin.scenario ?? smallScenario;
    const broken: string[] = [];
    for (let seed = 1; seed <= TWIN_SEEDS; seed++) {
      const message = violation(scenario(seed), twin.sabotage());
      if (message === undefined) continue;
      if (message.startsWith(`${twin.invariant}:`)) return;
      broken.push(message);
    }
    assert.fail(`it went unnoticed in ${TWIN_SEEDS} seeds; others that broke: ${broken.slice(0, 3).join(' | ')}`);
  });
}
