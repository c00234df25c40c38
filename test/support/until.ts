import { setTimeout as delay } from 'node:timers/promises';

const LOOK_MS = 250;

/** What only looking again can tell, since nobody tells when it has changed. Rejects after `patienceMs`, with what was waited for. */
export async function until<Value>(what: string, look: () => Promise<Value | undefined>, patienceMs = 120_000): Promise<Value> {
  const endMs = Date.now() + patienceMs;
  for (;;) {
    const seen = await look();
    if (seen !== undefined) return seen;
    if (Date.now() > endMs) throw new Error(`It did not come to this within ${patienceMs / 1_000} s: ${what}.`);
    await delay(LOOK_MS);
  }
}
