import { conservationDrift } from '../../controller/scheduler/ledger.ts';
import type { SchedulerSnapshot } from '../../controller/scheduler/snapshot.ts';
import type { Witness } from './witness.ts';

/** Compares what the scheduler counts with what really is: `given` deliveries that it has not ended. Throws a Violation. */
export function auditSnapshot(witness: Witness, snapshot: SchedulerSnapshot, given: number): void {
  const { sync, async: events } = snapshot.invocations;
  for (const [kind, counts] of Object.entries(snapshot.invocations)) {
    const drift = conservationDrift(counts);
    if (drift !== 0) witness.fail(1, `of ${counts.accepted} accepted ${kind} invocations ${drift} are nowhere.`);
  }
  const held = sync.waiting + sync.running + events.waiting + events.running;
  if (held - snapshot.undelivered !== given || held !== snapshot.held) witness.fail(1, `the scheduler counts ${held} invocations, holds ${snapshot.held} and has been given ${given}.`);
  if (snapshot.environments.all !== witness.pool.environments) witness.fail(7, `the scheduler counts ${snapshot.environments.all} environments where ${witness.pool.environments} are.`);
  if (snapshot.functions > held + snapshot.environments.all) witness.fail(7, `state of ${snapshot.functions} functions is kept for ${held} invocations and ${snapshot.environments.all} environments.`);
  if (snapshot.timers > held + 2 * snapshot.environments.all + snapshot.functions * 2) witness.fail(7, `${snapshot.timers} timers are kept.`);
}
