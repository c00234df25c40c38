import { randomUUID } from 'node:crypto';
import type { Clock } from '../../platform/clock.ts';
import type { FunctionCatalogue } from '../../platform/functions/function-catalogue.ts';
import { functionKey } from '../../platform/model/execution-spec.ts';
import { CODE_BUCKET, type FunctionRecord, type FunctionVersion } from '../../platform/model/function.ts';
import type { ObjectStore } from '../../platform/object-store/object-store.ts';
import type { Logger } from '../../platform/telemetry/logger.ts';

/**
 * The second half of a create or an update: looks whether the stored package is there and whole, then moves the function on. That it can
 * be unpacked was found out before it was stored.
 *
 * States of `$LATEST` (Lambda guide, "Lambda function states"):
 * - created: State Pending → Active, or Failed where the package is not there.
 * - updated: LastUpdateStatus InProgress → Successful, or Failed; a function whose State is Failed begins again at Pending.
 *
 * Each move is one compare-and-swap against the revision that was looked at, so a later update is never marked by an earlier one's
 * outcome. Nothing is remembered between processes: whoever next reads a function that was left half-way calls {@link settle}.
 */
export class Activation {
  readonly #options: ActivationOptions;
  /** At most one per function; each ends by itself. */
  readonly #running = new Map<string, Run>();

  constructor(options: ActivationOptions) {
    this.#options = options;
  }

  /** Starts in the background. Failures of the platform are logged; the function stays half-way until it is read again. */
  begin(account: string, name: string): void {
    void this.#once(account, name);
  }

  /**
   * Brings a function that was read to the end of its activation, and resolves to its newest state; at once where there is nothing to
   * do. Undefined: it has been deleted meanwhile.
   */
  async settle(record: FunctionRecord): Promise<FunctionRecord | undefined> {
    if (!isHalfWay(record.latest)) return record;
    await this.#once(record.account, record.name);
    return this.#options.catalogue.get(record.account, record.name);
  }

  /** Resolves when no activation is under way. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all([...this.#running.values()].map(({ ended }) => ended));
  }

  #once(account: string, name: string): Promise<void> {
    const key = functionKey(account, name);
    const running = this.#running.get(key);
    if (running !== undefined) {
      // It may have looked already: a change that came after its look needs another.
      running.again = true;
      return running.ended;
    }
    const run: Run = { again: true, ended: Promise.resolve() };
    this.#running.set(key, run);
    run.ended = this.#run(run, key, account, name);
    return run.ended;
  }

  async #run(run: Run, key: string, account: string, name: string): Promise<void> {
    while (run.again) {
      run.again = false;
      try {
        await this.#activate(account, name);
      } catch (error) {
        this.#options.logger.error({ err: error, function: key }, 'activation failed; it is repeated when the function is next read');
      }
    }
    this.#running.delete(key);
  }

  async #activate(account: string, name: string): Promise<void> {
    const { catalogue } = this.#options;
    // Each turn ends one revision's activation.
    for (let record = await catalogue.get(account, name); record !== undefined && isHalfWay(record.latest); ) {
      const { revisionId } = record.latest;
      const fault = await this.#packageFault(record.latest);
      record = await catalogue.update(account, name, (current) =>
        current.latest.revisionId === revisionId ? { ...current, latest: activated(current.latest, fault) } : current);
    }
  }

  async #packageFault(version: FunctionVersion): Promise<string | undefined> {
    // Whether an image is there is for the node to find out that pulls it, with credentials that are not the platform's.
    if (version.configuration.image !== undefined) return undefined;
    const { objectKey, sizeBytes } = version.configuration.code;
    const stored = await this.#options.store.head({ bucket: CODE_BUCKET, key: objectKey });
    if (stored?.sizeBytes === sizeBytes) return undefined;
    return `The deployment package ${stored === undefined ? 'is gone' : 'is damaged'}. Upload it again with UpdateFunctionCode.`;
  }
}

interface Run {
  /** Look again before ending. */
  again: boolean;
  ended: Promise<void>;
}

export interface ActivationOptions {
  readonly catalogue: FunctionCatalogue;
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly logger: Logger;
}

export function isHalfWay(version: FunctionVersion): boolean {
  return version.state === 'Pending' || version.lastUpdateStatus === 'InProgress';
}

/** A version whose package has just been stored by a create. */
export const CREATING = { state: 'Pending', stateReason: 'The function is being created.', stateReasonCode: 'Creating', lastUpdateStatus: 'Successful' } as const;

/** Its reason is the one that the service gives, though it is an update. */
export const UPDATING = { lastUpdateStatus: 'InProgress', lastUpdateStatusReason: 'The function is being created.', lastUpdateStatusReasonCode: 'Creating' } as const;

function activated(version: FunctionVersion, fault: string | undefined): FunctionVersion {
  const wasPending = version.state === 'Pending';
  const { stateReason, stateReasonCode, lastUpdateStatusReason: _reason, lastUpdateStatusReasonCode: _code, ...rest } = version;
  const revisionId = randomUUID();
  if (fault === undefined) return { ...rest, revisionId, state: 'Active', lastUpdateStatus: 'Successful' };
  if (wasPending) return { ...rest, revisionId, state: 'Failed', stateReason: fault, stateReasonCode: 'InvalidZipFileException', lastUpdateStatus: 'Successful' };
  return {
    ...rest,
    ...(stateReason !== undefined && { stateReason }),
    ...(stateReasonCode !== undefined && { stateReasonCode }),
    revisionId,
    lastUpdateStatus: 'Failed',
    lastUpdateStatusReason: fault,
    lastUpdateStatusReasonCode: 'InvalidZipFileException',
  };
}
