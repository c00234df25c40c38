import { headOf } from '../../platform/invocation-log/record-head.ts';
import type { ExecutionSpec } from '../../platform/model/execution-spec.ts';
import type { ContainerImage } from '../../platform/model/function.ts';
import type { InvocationRecord } from '../../platform/model/invocation.ts';
import type { Assignment, Completion, EnvironmentDeparture, EnvironmentPoll, HeldEnvironment } from '../../platform/protocol/controller-link.ts';
import type { PoolCapacity, PoolListener } from '../../platform/worker-pool/worker-pool.ts';
import { ACCOUNT, invocation } from './log-consumer.ts';

/** What an environment of a function is built from. */
export function specOf(functionName: string, { memoryMiB = 128, sha256 = functionName, image }: { readonly memoryMiB?: number; readonly sha256?: string; readonly image?: ContainerImage } = {}): ExecutionSpec {
  return {
    id: `${ACCOUNT}/${functionName}/uid/$LATEST/r1`,
    account: ACCOUNT,
    functionName,
    functionUid: 'uid',
    version: '$LATEST',
    versionArn: `arn:aws:lambda:us-east-1:${ACCOUNT}:function:${functionName}:$LATEST`,
    configuration: {
      ...(image === undefined ? { runtime: 'nodejs24.x', handler: 'index.handler' } : { runtime: '', handler: '', image }), role: '', description: '', timeoutSec: 3, memoryMiB, ephemeralStorageMiB: 512, environment: undefined, architecture: 'x86_64',
      tracingMode: 'PassThrough', logGroup: '', code: { sha256, sizeBytes: 0, objectKey: '' },
    },
  };
}

/** The same function in these security groups. */
export function inGroups(spec: ExecutionSpec, ...securityGroupIds: readonly string[]): ExecutionSpec {
  return { ...spec, id: `${spec.id} ${securityGroupIds.join(' ')}`, configuration: { ...spec.configuration, vpc: { subnetIds: ['subnet-1'], securityGroupIds, ipv6AllowedForDualStack: false } } };
}

export function initialized(environmentId: string): EnvironmentPoll {
  return { kind: 'initialized', environmentId, initDurationMs: 1 };
}

export type Invoke = Extract<Assignment, { kind: 'invoke' }>;

export function invoke(id: string, change: Partial<InvocationRecord> & { readonly epoch?: number; readonly deliveryId?: number } = {}): Invoke {
  const { epoch = 1, deliveryId = 0, ...record } = change;
  return { kind: 'invoke', invocation: invocation({ id, ...record }), epoch, deliveryId };
}

export function completionOf({ invocation: { id: invocationId }, epoch, deliveryId }: Invoke, change: Partial<Completion> = {}): Completion {
  return { invocationId, epoch, deliveryId, outcome: 'success', durationMs: 1, ...change };
}

/** The environment as its worker reports it, with what it runs. */
export function heldEnvironment(environmentId: string, spec: ExecutionSpec, running?: Invoke): HeldEnvironment {
  return { environmentId, spec, ...(running === undefined ? {} : { running: { head: headOf(running.invocation), epoch: running.epoch, deliveryId: running.deliveryId, ranMs: 5 } }) };
}

/** Lets a test wait until something holds that is looked at whenever `changed` is called. */
export class Watch {
  readonly #waiters = new Set<() => void>();

  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (!condition()) return;
        this.#waiters.delete(look);
        resolve();
      };
      this.#waiters.add(look);
      look();
    });
  }

  changed(): void {
    for (const look of [...this.#waiters]) look();
  }
}

/** The controller's place at a pool: notes what is said, and answers polls and offers as the test wants. */
export class FakeListener implements PoolListener {
  readonly polls: EnvironmentPoll[] = [];
  readonly departures: EnvironmentDeparture[] = [];
  readonly offered: HeldEnvironment[] = [];
  readonly capacities: PoolCapacity[] = [];
  readonly retiring: string[] = [];
  /** What it says to an environment that a worker holds. */
  adopts: (environment: HeldEnvironment) => boolean | Promise<boolean> = () => true;
  /** What it does when a worker would like to stop an environment. */
  retires: (environmentId: string) => void = () => undefined;
  readonly #answers = new Map<string, (assignment: Assignment) => void>();
  readonly #watch = new Watch();

  next(poll: EnvironmentPoll): Promise<Assignment> {
    return new Promise((resolve) => {
      this.polls.push(poll);
      this.#answers.set(poll.environmentId, resolve);
      this.#watch.changed();
    });
  }

  responded(): void {}

  gone(departure: EnvironmentDeparture): void {
    this.departures.push(departure);
    this.#answers.delete(departure.environmentId);
    this.#watch.changed();
  }

  async adopted(environment: HeldEnvironment): Promise<boolean> {
    this.offered.push(environment);
    this.#watch.changed();
    return this.adopts(environment);
  }

  capacityChanged(capacity: PoolCapacity): void {
    this.capacities.push(capacity);
    this.#watch.changed();
  }

  undecided: () => Promise<void> | undefined = () => undefined;

  retire(environmentId: string): void {
    this.retiring.push(environmentId);
    this.retires(environmentId);
    this.#watch.changed();
  }

  /** Lets those look again who wait for something to hold here. */
  changed(): void {
    this.#watch.changed();
  }

  /** Whether the environment waits for something to do. */
  waits(environmentId: string): boolean {
    return this.#answers.has(environmentId);
  }

  /** Answers the poll of an environment that waits. */
  answer(environmentId: string, assignment: Assignment): void {
    const answer = this.#answers.get(environmentId);
    if (answer === undefined) throw new Error(`${environmentId} does not wait for anything.`);
    this.#answers.delete(environmentId);
    answer(assignment);
  }

  /** Resolves when the condition holds of what was said here. */
  until(condition: () => boolean): Promise<void> {
    return this.#watch.until(condition);
  }

  /** Resolves when the environment waits for something to do. */
  waiting(environmentId: string): Promise<void> {
    return this.until(() => this.waits(environmentId));
  }
}
