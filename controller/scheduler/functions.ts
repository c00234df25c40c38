import { functionKey, type ExecutionSpec, type FunctionKey } from '../../platform/model/execution-spec.ts';
import type { InvocationHead } from '../../platform/invocation-log/invocation-log.ts';
import { RememberedEstimates } from './estimates.ts';
import { accountState, versionState, type AccountState, type FunctionState, type TimerOwner, type VersionState } from './state.ts';
import type { Timers } from './timers.ts';

/** Which versions of a function the scheduler holds state of. */
export interface HeldFunction {
  readonly uid: string;
  readonly versions: readonly string[];
}

/** The functions that have work or environments. Those that have neither cost nothing but a remembered estimate. */
export class Functions {
  private readonly byUid = new Map<string, FunctionState>();
  /** A function deleted and created again can be here twice until the first one's work is done. */
  private readonly byKey = new Map<FunctionKey, readonly FunctionState[]>();
  /** Never more than there are accounts with functions in use; an entry is a few numbers. */
  private readonly accounts = new Map<string, AccountState>();
  private readonly remembered = new RememberedEstimates();
  private readonly timers: Timers<TimerOwner>;

  constructor(timers: Timers<TimerOwner>) {
    this.timers = timers;
  }

  get size(): number {
    return this.byUid.size;
  }

  get rememberedSize(): number {
    return this.remembered.size;
  }

  get(uid: string): FunctionState | undefined {
    return this.byUid.get(uid);
  }

  /** Where invocations of this name go now: the incarnation that came last. */
  named(key: FunctionKey): FunctionState | undefined {
    return this.byKey.get(key)?.at(-1);
  }

  all(): Iterable<FunctionState> {
    return this.byUid.values();
  }

  heldAs(key: FunctionKey): readonly HeldFunction[] {
    return (this.byKey.get(key) ?? []).map((held) => ({ uid: held.uid, versions: [...held.versions.keys()] }));
  }

  account(account: string): AccountState {
    let state = this.accounts.get(account);
    if (state === undefined) {
      state = accountState();
      this.accounts.set(account, state);
    }
    return state;
  }

  /** The state of the version that an invocation is for, made where there is none. */
  version(head: Pick<InvocationHead, 'account' | 'functionName' | 'functionUid' | 'version'>, spec: ExecutionSpec, reservedConcurrency: number | undefined): VersionState {
    const owner = this.byUid.get(head.functionUid) ?? this.add(head, reservedConcurrency);
    let version = owner.versions.get(head.version);
    if (version === undefined) {
      version = versionState(owner, head.version, spec, this.remembered.take(rememberedName(owner, head.version)));
      owner.versions.set(head.version, version);
    }
    return version;
  }

  /** Changes the reservation, and with it the pool that the slots in use are taken from. */
  reserve(owner: FunctionState, reservedConcurrency: number | undefined): void {
    if (owner.reservedConcurrency === undefined) owner.account.unreservedInUse -= owner.inUse;
    owner.reservedConcurrency = reservedConcurrency;
    if (reservedConcurrency === undefined) owner.account.unreservedInUse += owner.inUse;
  }

  /** Drops the state of a version, and of its function, that has neither work nor environments. */
  dropUnused(version: VersionState): void {
    if (version.waiting.length > 0 || version.environments > 0 || version.claims > 0) return;
    const { owner } = version;
    if (!owner.versions.delete(version.version)) return;
    this.timers.cancel(version.timer);
    if (!version.deleted) this.remembered.keep(rememberedName(owner, version.version), version.estimates);
    if (owner.versions.size === 0) this.remove(owner);
  }

  private add(head: Pick<InvocationHead, 'account' | 'functionName' | 'functionUid'>, reservedConcurrency: number | undefined): FunctionState {
    const key = functionKey(head.account, head.functionName);
    const owner: FunctionState = { uid: head.functionUid, key, account: this.account(head.account), reservedConcurrency, inUse: 0, versions: new Map() };
    this.byUid.set(owner.uid, owner);
    this.byKey.set(key, [...(this.byKey.get(key) ?? []), owner]);
    return owner;
  }

  private remove(owner: FunctionState): void {
    this.byUid.delete(owner.uid);
    const others = (this.byKey.get(owner.key) ?? []).filter((other) => other !== owner);
    if (others.length === 0) this.byKey.delete(owner.key);
    else this.byKey.set(owner.key, others);
  }
}

function rememberedName(owner: FunctionState, version: string): string {
  return `${owner.uid}/${version}`;
}
