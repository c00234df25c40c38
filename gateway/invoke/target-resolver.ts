import type { Clock } from '../../platform/clock.ts';
import type { FunctionCatalogue } from '../../platform/functions/function-catalogue.ts';
import { functionArn, resolveFunctionReference, type Home } from '../../platform/model/function-reference.ts';
import { entryOf, type EventInvokeConfig, type FunctionRecord, type FunctionVersion } from '../../platform/model/function.ts';
import { functionKey } from '../../platform/model/execution-spec.ts';
import type { LambdaApiError } from '../lambda-api/errors.ts';
import * as faults from './faults.ts';
import { targetVersion } from './target.ts';

/** How long a caller waits for a function that is still being created; then it is told so. Creating takes milliseconds here. */
const PENDING_PATIENCE_MS = 10_000;

export interface InvokeTarget {
  readonly kind: 'target';
  readonly record: FunctionRecord;
  /** `$LATEST` or a number. */
  readonly version: string;
  /** With the qualifier as the caller wrote it. */
  readonly invokedArn: string;
  readonly timeoutMs: number;
  /** For invocations of type Event. */
  readonly eventInvokeConfig: EventInvokeConfig | undefined;
}

export type Resolved = InvokeTarget | { readonly kind: 'error'; readonly error: LambdaApiError };

export interface TargetResolverOptions {
  readonly catalogue: FunctionCatalogue;
  readonly home: Home;
  readonly clock: Clock;
  readonly random: () => number;
  /** Finishes a creation that was interrupted; called for a function that is found `Pending`. */
  readonly heal: (record: FunctionRecord) => void;
}

/** Finds what an Invoke request means: function, version and the ARN that the function will see. */
export class TargetResolver {
  readonly #options: TargetResolverOptions;

  constructor(options: TargetResolverOptions) {
    this.#options = options;
  }

  /** The target, from what is in memory alone; undefined where `resolve` has to look further. */
  peek(reference: string, qualifier: string | undefined): InvokeTarget | undefined {
    const resolution = resolveFunctionReference(reference, qualifier, this.#options.home);
    if (resolution.kind !== 'here') return undefined;
    const record = this.#options.catalogue.peek(this.#options.home.account, resolution.name);
    if (record === undefined) return undefined;
    const version = targetVersion(record, resolution.qualifier, this.#options.random);
    if (version === undefined || (version === '$LATEST' && record.latest.state !== 'Active')) return undefined;
    const spec = this.#options.catalogue.peekSpec(record, version);
    if (spec === undefined) return undefined;
    return this.#target(record, version, resolution.qualifier, spec.configuration.timeoutSec);
  }

  /** The target or the error that Lambda gives in its place. */
  async resolve(reference: string, qualifier: string | undefined): Promise<Resolved> {
    const { catalogue, home } = this.#options;
    const resolution = resolveFunctionReference(reference, qualifier, home);
    if (resolution.kind !== 'here') return { kind: 'error', error: faults.referenceFault(resolution, reference, home) };
    const { name } = resolution;
    const qualifierFault = resolution.qualifier === undefined ? undefined : faults.qualifierFault(resolution.qualifier);
    if (qualifierFault !== undefined) return { kind: 'error', error: qualifierFault };
    const record = await this.#activeRecord(name);
    if (record === undefined) return { kind: 'error', error: faults.functionNotFound(home, name, resolution.qualifier) };
    const version = targetVersion(record, resolution.qualifier, this.#options.random);
    if (version === undefined) return { kind: 'error', error: faults.functionNotFound(home, name, resolution.qualifier) };
    if (version === '$LATEST' && record.latest.state !== 'Active') return { kind: 'error', error: faults.notActive(record.latest) };
    const spec = await catalogue.viewSpec(record, version);
    if (spec === undefined) return { kind: 'error', error: faults.functionNotFound(home, name, resolution.qualifier) };
    return this.#target(record, version, resolution.qualifier, spec.configuration.timeoutSec);
  }

  #target(record: FunctionRecord, version: FunctionVersion['version'], qualifier: string | undefined, timeoutSec: number): InvokeTarget {
    return {
      kind: 'target',
      record,
      version,
      invokedArn: functionArn(this.#options.home, record.name, qualifier),
      timeoutMs: timeoutSec * 1_000,
      eventInvokeConfig: entryOf(record.eventInvokeConfigs, qualifier ?? '$LATEST'),
    };
  }

  /** The function's record; while its creation is under way, waits for the end of that. */
  async #activeRecord(name: string): Promise<FunctionRecord | undefined> {
    const { catalogue, home, clock } = this.#options;
    const record = await catalogue.view(home.account, name);
    if (record?.latest.state !== 'Pending') return record;
    this.#options.heal(record);
    return new Promise((resolve, reject) => {
      const finish = (found: FunctionRecord | undefined): void => {
        timer.cancel();
        unwatch();
        resolve(found);
      };
      const look = (): void => {
        catalogue.view(home.account, name).then((found) => {
          if (found?.latest.state !== 'Pending') finish(found);
        }, reject);
      };
      const unwatch = catalogue.watch((key) => {
        if (key === functionKey(home.account, name)) look();
      });
      const timer = clock.at(clock.now() + PENDING_PATIENCE_MS, () => finish(record));
      look();
    });
  }
}
