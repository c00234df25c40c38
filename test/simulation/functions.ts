import type { InvocationHead } from '../../platform/invocation-log/invocation-log.ts';
import type { ExecutionSpec } from '../../platform/model/execution-spec.ts';
import type { Prng } from './prng.ts';
import type { Scenario } from './scenario.ts';
import type { SimFunction, SimInvocation } from './witness.ts';

/** What a version of a function in the simulated world is run from now. */
export function specOf(fn: SimFunction, version: string): ExecutionSpec {
  return {
    id: `000000000000/${fn.name}/${fn.uid}/${version}/${version === '1' ? 'fixed' : fn.revision}`,
    account: '000000000000',
    functionName: fn.name,
    functionUid: fn.uid,
    version,
    versionArn: '',
    configuration: {
      runtime: 'nodejs24.x', handler: 'index.handler', role: '', description: '', timeoutSec: fn.timeoutMs / 1_000, memoryMiB: fn.memoryMiB, ephemeralStorageMiB: 512, environment: undefined,
      architecture: 'x86_64', tracingMode: 'PassThrough', logGroup: '', code: { sha256: '', sizeBytes: 0, objectKey: '' },
    },
  };
}

export function newFunction(dice: Prng, scenario: Scenario, index: number, generation: number): SimFunction {
  return {
    index, uid: `u${index}.${generation};`, name: `f${index}`, revision: generation, deleted: false,
    durationMeanMs: dice.around(scenario.durationMeanMs), startMeanMs: dice.around(scenario.startMeanMs), timeoutMs: dice.chance(0.9) ? 3_000 : 1_000, memoryMiB: dice.chance(0.9) ? 128 : 1_024,
    crashes: dice.chance(scenario.crashLoopShare), hasPublished: dice.chance(0.1), reservedConcurrency: undefined, held: 0, waiting: new Map(), starting: new Map(),
  };
}

/** An invocation as its record says it now. */
export function simHead(invocation: SimInvocation): InvocationHead {
  const { id, kind, fn, version, acceptedAtMs, expiresAtMs, attempt, throttles } = invocation;
  return { v: 1, id, kind, account: '000000000000', functionName: fn.name, functionUid: fn.uid, version, invokedArn: '', acceptedAtMs, expiresAtMs, attempt, throttles, traceId: '', logTail: false, payloadBytes: 2 };
}

/** Whether functions change owners in this scenario while their environments live on. */
export function changesHands({ handovers, takeovers }: Scenario): boolean {
  return handovers + takeovers > 0;
}
