import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decisions } from '../../../controller/scheduler/decisions/decisions.ts';
import type { Command, SchedulerEvent } from '../../../controller/scheduler/messages.ts';
import { Scheduler } from '../../../controller/scheduler/scheduler.ts';
import { executionSpec } from '../../../platform/model/execution-spec.ts';
import type { InvocationHead } from '../../../platform/invocation-log/invocation-log.ts';
import type { WorkerPool } from '../../../platform/worker-pool/worker-pool.ts';
import { functionRecord } from './fakes.ts';

const PATIENCE_MS = 30_000;
const MINUTE_MS = 60_000;

/** A scheduler and the hand of its clock. */
class Hand {
  nowMs = 0;
  readonly commands: Command[] = [];
  private deliveries = 0;
  private readonly scheduler: Scheduler;

  constructor(capacity: WorkerPool['capacity'] = { maxEnvironments: 100, maxMemoryMiB: 100_000, largestMiB: 100_000 }) {
    this.scheduler = new Scheduler({ name: 'c', settings: { accountConcurrency: 10_000, asyncRetryBaseMs: MINUTE_MS, keepAliveMinMs: MINUTE_MS, keepAliveMaxMs: 15 * MINUTE_MS }, capacity, decisions, random: () => 0 });
  }

  get snapshot(): ReturnType<Scheduler['snapshot']> {
    return this.scheduler.snapshot();
  }

  /** Tells an event and returns the commands of this turn. */
  tell(event: SchedulerEvent): readonly Command[] {
    const commands = this.scheduler.handle(event, this.nowMs);
    this.commands.push(...commands);
    return commands;
  }

  /** An invocation arrives; its delivery id is returned. */
  arrive(functionName = 'f', change: Partial<InvocationHead> = {}, memoryMiB = 128): number {
    const deliveryId = this.deliveries++;
    const record = functionRecord(functionName, { memoryMiB });
    const head: InvocationHead = {
      v: 1, id: `i${deliveryId}`, kind: 'sync', account: record.account, functionName, functionUid: record.uid, version: '$LATEST', invokedArn: '', acceptedAtMs: this.nowMs, expiresAtMs: this.nowMs + PATIENCE_MS,
      attempt: 1, throttles: 0, traceId: '', logTail: false, payloadBytes: 0, ...change,
    };
    this.tell({ kind: 'arrived', deliveryId, head, epoch: 1, target: { spec: executionSpec(record, record.latest, 'us-east-1'), reservedConcurrency: undefined } });
    return deliveryId;
  }

  ready(environmentId: string): readonly Command[] {
    return this.tell({ kind: 'environmentReady', environmentId });
  }

  done(environmentId: string, deliveryId: number, durationMs = 1): readonly Command[] {
    return this.tell({ kind: 'invocationDone', environmentId, completion: { invocationId: `i${deliveryId}`, epoch: 1, deliveryId, outcome: 'success', durationMs } });
  }

  gone(environmentId: string): readonly Command[] {
    return this.tell({ kind: 'environmentGone', departure: { environmentId, cause: { kind: 'stopped' } } });
  }

  /** The init of an environment fails, which it answers what it is given with before it departs. */
  initFails(environmentId: string, errorBody = Buffer.from('{}')): readonly Command[] {
    const commands = this.tell({ kind: 'initFailed', environmentId, errorBody });
    const given = commands.find((command) => command.kind === 'dispatch');
    const completion = given && { invocationId: `i${given.deliveryId}`, epoch: 1, deliveryId: given.deliveryId, outcome: 'functionError' as const, durationMs: 1, errorBody };
    return [...commands, ...this.tell({ kind: 'environmentGone', departure: { environmentId, cause: { kind: 'failed' }, ...(completion && { completion }) } })];
  }

  /** Moves the hand, ticking whenever the scheduler wants it. */
  advance(byMs: number): void {
    const untilMs = this.nowMs + byMs;
    for (let next = this.scheduler.nextWakeMs; next <= untilMs; next = this.scheduler.nextWakeMs) {
      this.nowMs = Math.max(this.nowMs, next);
      this.tell({ kind: 'tick' });
    }
    this.nowMs = untilMs;
  }

  /** Ids of the environments that were started so far. */
  get started(): string[] {
    return this.commands.flatMap((command) => (command.kind === 'start' ? [command.environmentId] : []));
  }

  get stopped(): string[] {
    return this.commands.flatMap((command) => (command.kind === 'stop' ? [command.environmentId] : []));
  }
}

test('a function that crashes at every start burns few starts, and every caller has his answer soon', () => {
  const hand = new Hand();
  const errorBody = Buffer.from('{}');
  const arrivedAtMs = new Map<number, number>();
  const waits: number[] = [];
  const failedAlready = new Set<string>();
  for (let i = 0; i < 6_000; i++) {
    arrivedAtMs.set(hand.arrive(), hand.nowMs);
    hand.advance(10);
    for (const environmentId of hand.started) {
      if (failedAlready.has(environmentId)) continue;
      failedAlready.add(environmentId);
      for (const command of hand.initFails(environmentId, errorBody)) {
        if (command.kind === 'fail' || command.kind === 'dispatch') waits.push(hand.nowMs - (arrivedAtMs.get(command.deliveryId) ?? 0));
      }
    }
  }
  assert.ok(hand.started.length < 30, `${hand.started.length} starts in a minute`);
  assert.ok(waits.length > 5_000, `${waits.length} of 6,000 callers are answered`);
  assert.ok(Math.max(...waits) <= 5_100, `one waited ${Math.max(...waits)} ms`);
});

test('a crash loop is over with a new revision', () => {
  const hand = new Hand();
  for (let i = 0; i < 3; i++) {
    hand.arrive();
    hand.initFails(hand.started.at(-1) ?? '');
  }
  const waiting = hand.arrive();
  assert.equal(hand.started.length, 3, 'it waits for the back-off');
  const record = functionRecord('f', { revision: 'r2' });
  hand.tell({ kind: 'functionChanged', functionUid: record.uid, reservedConcurrency: undefined, specs: new Map([['$LATEST', executionSpec(record, record.latest, 'us-east-1')]]) });
  assert.equal(hand.started.length, 4);
  assert.deepEqual(hand.ready(hand.started[3] ?? '').map((command) => 'deliveryId' in command && command.deliveryId), [waiting]);
});

test('a start that the platform failed is repeated; the caller hears of it when it keeps failing', () => {
  const hand = new Hand();
  const deliveryId = hand.arrive();
  for (let i = 0; i < 3; i++) hand.tell({ kind: 'environmentGone', departure: { environmentId: hand.started[i] ?? '', cause: { kind: 'cannotStart', message: 'no disk' } } });
  assert.equal(hand.started.length, 3);
  assert.deepEqual(hand.commands.at(-1), { kind: 'reject', deliveryId, rejection: { code: 'cannotStart', message: 'no disk' } });
});

test('room that is made for one version is not taken by another', () => {
  const hand = new Hand({ maxEnvironments: 1, maxMemoryMiB: 10_000, largestMiB: 10_000 });
  const first = hand.arrive('a');
  const [environment = ''] = hand.started;
  hand.ready(environment);
  hand.done(environment, first);
  const second = hand.arrive('b');
  assert.deepEqual(hand.stopped, [environment]);
  hand.arrive('c');
  hand.gone(environment);
  assert.equal(hand.started.length, 2);
  assert.deepEqual(hand.ready(hand.started[1] ?? '').filter(({ kind }) => kind === 'dispatch').map((command) => 'deliveryId' in command && command.deliveryId), [second]);
});

test('idle environments are not pushed out where that would not make room enough', () => {
  const hand = new Hand({ maxEnvironments: 10, maxMemoryMiB: 1_100, largestMiB: 1_100 });
  const small = hand.arrive('small');
  const [first = ''] = hand.started;
  hand.ready(first);
  hand.done(first, small);
  hand.arrive('busy', {}, 512);
  hand.ready(hand.started[1] ?? '');
  hand.arrive('large', {}, 1_024);
  assert.deepEqual(hand.stopped, []);
});

test('keep-alive follows the rhythm of the calls', () => {
  const hand = new Hand();
  let environment = '';
  for (let i = 0; i < 10; i++) {
    const deliveryId = hand.arrive();
    if (environment !== hand.started.at(-1)) hand.ready((environment = hand.started.at(-1) ?? ''));
    hand.done(environment, deliveryId);
    hand.advance(5 * MINUTE_MS);
    for (const stopped of hand.stopped) hand.gone(stopped);
  }
  assert.ok(hand.started.length < 5, `${hand.started.length} starts for ten calls, one each five minutes`);
});

test('of several idle environments the most recently used works, so the others grow old and go', () => {
  const hand = new Hand();
  const [a, b] = [hand.arrive(), hand.arrive()];
  const [one = '', two = ''] = hand.started;
  hand.ready(one);
  hand.ready(two);
  hand.done(two, b);
  hand.done(one, a);
  for (let i = 0; i < 12; i++) {
    hand.advance(MINUTE_MS / 4);
    hand.done(one, hand.arrive());
  }
  assert.deepEqual(hand.stopped, [two]);
});

test('an environment whose init failed is not expected back, however short the work of others was', () => {
  const hand = new Hand();
  let deliveryId = hand.arrive();
  const [sound = ''] = hand.started;
  hand.advance(100);
  hand.ready(sound);
  for (let i = 0; i < 20; i++) {
    hand.advance(1);
    hand.done(sound, deliveryId);
    deliveryId = hand.arrive();
  }
  hand.gone(sound);
  hand.arrive();
  const commands = hand.tell({ kind: 'initFailed', environmentId: hand.started[1] ?? '', errorBody: Buffer.from('{}') });
  assert.deepEqual(commands.map(({ kind }) => kind), ['dispatch']);
  hand.arrive();
  assert.equal(hand.started.length, 3);
});

test('an expectation that does not come true leads to a start', () => {
  const hand = new Hand();
  let deliveryId = hand.arrive();
  const [environment = ''] = hand.started;
  hand.advance(100);
  hand.ready(environment);
  for (let i = 0; i < 20; i++) {
    hand.advance(10);
    hand.done(environment, deliveryId, 10);
    deliveryId = hand.arrive();
  }
  hand.arrive();
  assert.equal(hand.started.length, 1, 'ten milliseconds are waited for rather than a start of a hundred');
  hand.advance(1_000);
  assert.equal(hand.started.length, 2, 'a second is not');
});
