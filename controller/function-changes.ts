import { setImmediate } from 'node:timers/promises';
import type { Clock } from '../platform/clock.ts';
import type { FunctionCatalogue } from '../platform/functions/function-catalogue.ts';
import type { ExecutionSpec, FunctionKey } from '../platform/model/execution-spec.ts';
import type { FunctionRecord } from '../platform/model/function.ts';
import type { Logger } from '../platform/telemetry/logger.ts';
import type { HeldFunction } from './scheduler/functions.ts';
import type { SchedulerEvent } from './scheduler/messages.ts';

export interface FunctionChangesOptions {
  readonly catalogue: FunctionCatalogue;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly submit: (event: SchedulerEvent) => void;
  /** What the scheduler holds under a name. */
  readonly heldAs: (key: FunctionKey) => readonly HeldFunction[];
  /** A runtime that is likely to be wanted soon. */
  readonly expect: (spec: ExecutionSpec) => void;
}

/** A registry that does not answer is asked again after this long. */
const RETRY_MS = 1_000;
/** Functions read per step while reservations are summed up: about a millisecond, since it shares its thread with invocations. */
const PAGE = 100;

/**
 * Tells the scheduler what has changed in the catalogue: new revisions, deletions and reserved concurrency. The sum of reservations of an
 * account counts functions that have no work at all, so it is read once for each account that is seen, and followed from there.
 */
export class FunctionChanges {
  private readonly options: FunctionChangesOptions;
  /** The newest look-up under way for a function; an older one that comes in late is dropped. */
  private readonly newest = new Map<FunctionKey, symbol>();
  /** Functions with a reservation, by account. */
  private readonly reservations = new Map<string, Map<FunctionKey, number>>();
  private readonly unwatch: () => void;
  private stopped = false;

  constructor(options: FunctionChangesOptions) {
    this.options = options;
    this.unwatch = options.catalogue.watch((key, account, name) => void this.changed(key, account, name));
  }

  stop(): void {
    this.stopped = true;
    this.unwatch();
  }

  /** An invocation of this account came by. */
  seen(account: string): void {
    if (this.reservations.has(account)) return;
    const reservations = new Map<FunctionKey, number>();
    this.reservations.set(account, reservations);
    void this.sumUp(account, reservations);
  }

  private async changed(key: FunctionKey, account: string, name: string): Promise<void> {
    const look = Symbol(key);
    this.newest.set(key, look);
    const isNewest = (): boolean => this.newest.get(key) === look && !this.stopped;
    try {
      const record = await this.options.catalogue.view(account, name);
      if (isNewest()) this.reserved(account, key, record?.reservedConcurrency);
      for (const held of this.options.heldAs(key)) {
        const specs = record?.uid === held.uid ? await this.specs(record, held.versions) : new Map<string, ExecutionSpec>();
        if (isNewest()) this.options.submit({ kind: 'functionChanged', functionUid: held.uid, reservedConcurrency: record?.uid === held.uid ? record.reservedConcurrency : undefined, specs });
      }
      const latest = record && (await this.options.catalogue.viewSpec(record, '$LATEST'));
      if (latest !== undefined && isNewest()) this.options.expect(latest);
    } catch (error) {
      this.options.logger.warn({ err: error, function: key }, 'a changed function could not be read; trying again');
      if (isNewest()) this.options.clock.at(this.options.clock.now() + RETRY_MS, () => void (isNewest() && this.changed(key, account, name)));
    } finally {
      if (this.newest.get(key) === look) this.newest.delete(key);
    }
  }

  private async specs(record: FunctionRecord, versions: readonly string[]): Promise<ReadonlyMap<string, ExecutionSpec>> {
    const specs = new Map<string, ExecutionSpec>();
    for (const version of versions) {
      const spec = await this.options.catalogue.viewSpec(record, version);
      if (spec !== undefined) specs.set(version, spec);
    }
    return specs;
  }

  private async sumUp(account: string, reservations: Map<FunctionKey, number>): Promise<void> {
    const { catalogue, clock, logger } = this.options;
    try {
      let after: string | undefined;
      do {
        const page = await catalogue.list(account, after, PAGE);
        for (const { name, reservedConcurrency } of page.records) {
          if (reservedConcurrency !== undefined) reservations.set(`${account}/${name}`, reservedConcurrency);
        }
        after = page.next;
        if (after !== undefined) await setImmediate();
      } while (after !== undefined && !this.stopped);
      this.tellAccount(account, reservations);
    } catch (error) {
      logger.warn({ err: error, account }, 'the reserved concurrency of an account could not be read; trying again');
      if (!this.stopped) clock.at(clock.now() + RETRY_MS, () => void (this.stopped || this.sumUp(account, reservations)));
    }
  }

  private reserved(account: string, key: FunctionKey, reservedConcurrency: number | undefined): void {
    const reservations = this.reservations.get(account);
    if (reservations === undefined || reservations.get(key) === reservedConcurrency) return;
    if (reservedConcurrency === undefined) reservations.delete(key);
    else reservations.set(key, reservedConcurrency);
    this.tellAccount(account, reservations);
  }

  private tellAccount(account: string, reservations: ReadonlyMap<FunctionKey, number>): void {
    if (this.stopped) return;
    let sum = 0;
    for (const reservation of reservations.values()) sum += reservation;
    this.options.submit({ kind: 'accountChanged', account, reservedConcurrency: sum });
  }
}
