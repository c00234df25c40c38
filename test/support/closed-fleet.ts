import assert from 'node:assert/strict';
import type { Fleet } from '../../platform/worker-pool/fleet/fleet.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** Closes a fleet: it leaves no timer behind, even where workers take no notice. */
export async function closeFleet({ fleet, clock }: { readonly fleet: Fleet; readonly clock: VirtualClock }): Promise<void> {
  const closing = fleet.close();
  clock.advance(60_000);
  await closing;
  clock.advance(0);
  assert.equal(clock.pending, 0, 'timers are left');
}
