import type { ExecutionSpec } from '../../platform/model/execution-spec.ts';
import type { HeldEnvironment } from '../../platform/protocol/controller-link.ts';
import type { Environments } from './environments.ts';
import { measuredDuration, measuredStart } from './estimates.ts';
import type { Functions } from './functions.ts';
import type { Ledger } from './ledger.ts';
import type { Target } from './messages.ts';
import { UNDELIVERED, workState, type Environment, type VersionState, type Work } from './state.ts';
import type { Turn } from './turn.ts';

export interface HandoverParts {
  readonly turn: Turn;
  readonly functions: Functions;
  readonly environments: Environments;
  readonly ledger: Ledger;
  readonly nextSequence: () => number;
  readonly isDraining: () => boolean;
  readonly leaveQueue: (work: Work) => void;
  readonly endWork: (environment: Environment, work: Work) => void;
  readonly revise: (version: VersionState, spec: ExecutionSpec) => void;
}

/** What the scheduler does when functions change owners while their environments live on. */
export class Handover {
  private readonly parts: HandoverParts;

  constructor(parts: HandoverParts) {
    this.parts = parts;
  }

  /** An earlier owner's environment: starting until it polls, or busy with what it runs. */
  adopt({ environmentId, spec, running, measured }: HeldEnvironment, target: Target): void {
    const { environments, functions, revise, isDraining, nextSequence } = this.parts;
    if (environments.get(environmentId) !== undefined) return;
    const version = functions.version(spec, target.spec, target.reservedConcurrency);
    if (version.spec.id !== target.spec.id || version.deleted) revise(version, target.spec);
    if (measured !== undefined) {
      measuredStart(version.estimates, measured.startMs);
      if (measured.durationMs !== undefined) measuredDuration(version.estimates, measured.durationMs);
    }
    const environment = environments.adopt(environmentId, version, spec, nextSequence());
    if (running !== undefined) this.goOn(environment, running);
    else if (spec.id !== version.spec.id || isDraining()) environments.stop(environment);
  }

  /** It runs an invocation that this owner may know already, since the log delivers it again. */
  private goOn(environment: Environment, { head, epoch, deliveryId, ranMs }: NonNullable<HeldEnvironment['running']>): void {
    const { environments, ledger, leaveQueue, nextSequence, turn } = this.parts;
    const held = ledger.find(head.id);
    if (held?.state === 'running') {
      // It was taken for lost and given to another one, whose run counts.
      environments.stop(environment);
      return;
    }
    const work = workState({ deliveryId: UNDELIVERED, head, givenEpoch: epoch, givenDeliveryId: deliveryId }, environment.version, nextSequence(), turn.nowMs);
    if (held === undefined) {
      ledger.adopt(work);
    } else {
      leaveQueue(held);
      ledger.replace(held, work);
    }
    environments.occupy(environment, work, ranMs);
  }

  /** The function is another owner's: it gets what waits from the log, and what runs from the environments, which it claims. */
  revoke(functionUid: string): void {
    const { environments, functions, ledger, leaveQueue, endWork } = this.parts;
    const owner = functions.get(functionUid);
    if (owner === undefined) return;
    for (const version of [...owner.versions.values()]) {
      for (let work = version.waiting.first; work !== undefined; work = version.waiting.first) {
        leaveQueue(work);
        ledger.let(work);
        ledger.release(work);
      }
      for (const environment of environments.of(version)) {
        const { work } = environment;
        if (work !== undefined) {
          endWork(environment, work);
          ledger.release(work);
        }
        if (environment.state !== 'leaving') environments.handOver(environment);
      }
      functions.dropUnused(version);
    }
  }
}
