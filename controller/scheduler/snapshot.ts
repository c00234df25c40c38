import type { InvocationCounts } from './ledger.ts';

/** What the scheduler holds at this moment, and what it has done since it began. */
export interface SchedulerSnapshot {
  readonly invocations: { readonly sync: Readonly<InvocationCounts>; readonly async: Readonly<InvocationCounts> };
  /** Invocations held, counted by another way than those in `invocations`. */
  readonly held: number;
  /** Of these, how many run in adopted environments and have not been delivered yet. */
  readonly undelivered: number;
  readonly functions: number;
  readonly rememberedVersions: number;
  readonly timers: number;
  readonly environments: { readonly all: number; readonly idle: number; readonly leaving: number; readonly memoryMiB: number };
  /** Versions that wait for room in the pool. */
  readonly versionsWithoutRoom: number;
  readonly tally: {
    readonly started: number;
    readonly evicted: number;
    readonly gaveWay: number;
    readonly startsFailed: number;
    readonly leasesEnded: number;
    readonly throttled: number;
    readonly duplicates: number;
    readonly staleReports: number;
  };
}
