import type { Command } from '../../controller/scheduler/messages.ts';
import { changingHandsScenario, neighbourScenario, smallScenario, type Scenario } from './scenario.ts';

/** A world in which a report comes so late that the invocation has begun its next attempt: rare, so that it had to be looked for. */
const LATE_REPORT_SEED = 12_395;
import type { Sabotage } from './sabotage.ts';

/** The scheduler without one of its guards, or told or heard wrongly, and the invariant that must then break. */
export interface Twin {
  readonly name: string;
  /** Number of the invariant in ARCHITECTURE.md. */
  readonly invariant: number;
  readonly sabotage: () => Sabotage;
  /** Scenarios in which the guard matters; small ones where nothing else is said. */
  readonly scenario?: (seed: number) => Scenario;
}

/** Drops every n-th command of a kind. */
function dropping(kind: Command['kind'], every: number): () => Sabotage {
  return () => {
    let seen = 0;
    return { commands: (commands) => commands.filter((command) => command.kind !== kind || ++seen % every !== 0) };
  };
}

export const TWINS: readonly Twin[] = [
  { name: 'a postponement gets lost', invariant: 1, sabotage: dropping('postpone', 20) },
  { name: 'a settlement gets lost', invariant: 1, sabotage: dropping('settle', 50) },
  { name: 'a failed invocation is given up at once', invariant: 1, sabotage: () => ({ decisions: { afterFailure: () => ({ kind: 'over', reason: 'retriesExhausted' }) } }) },
  { name: 'retries never end', invariant: 1, sabotage: () => ({ decisions: { afterFailure: ({ nowMs }) => ({ kind: 'again', notBeforeMs: nowMs + 1 }) } }) },
  { name: 'any completion is believed', invariant: 2, sabotage: () => ({ decisions: { isCurrent: () => true } }) },
  {
    name: 'a late report of an earlier attempt is believed',
    invariant: 5,
    sabotage: () => ({ decisions: { isCurrent: (given, reported) => given.invocationId === reported.invocationId && given.epoch === reported.epoch } }),
    scenario: () => smallScenario(LATE_REPORT_SEED),
  },
  { name: 'a second delivery is taken for a new one', invariant: 3, sabotage: () => ({ decisions: { isDuplicate: () => false } }) },
  {
    name: 'an invocation is dispatched twice',
    invariant: 3,
    sabotage: () => ({ commands: (commands) => commands.flatMap((command): Command[] => (command.kind === 'dispatch' ? [command, command] : [command])) }),
  },
  {
    name: 'a new owner does not ask what an earlier one has left running',
    invariant: 3,
    sabotage: () => ({ tells: (event) => (event.kind === 'adopted' ? { ...event, environment: { environmentId: event.environment.environmentId, spec: event.environment.spec } } : event) }),
    scenario: changingHandsScenario,
  },
  { name: 'an owner keeps what is taken from it', invariant: 2, sabotage: () => ({ hides: (event) => event.kind === 'revoked' }), scenario: changingHandsScenario },
  { name: 'updates are not heard of', invariant: 3, sabotage: () => ({ hides: (event) => event.kind === 'functionChanged' }), scenario: (seed) => ({ ...smallScenario(seed), updates: 50, keepAliveMinMs: 60_000 }) },
  { name: 'leases never end', invariant: 4, sabotage: () => ({ decisions: { leaseEndMs: () => 1e15 } }), scenario: (seed) => ({ ...smallScenario(seed), hangShare: 0.05, syncShare: 0.5 }) },
  { name: 'age is not looked at', invariant: 4, sabotage: () => ({ decisions: { isExpired: () => false } }), scenario: (seed) => ({ ...smallScenario(seed), maxEventAgeMs: 400, lateShare: 0.2 }) },
  {
    name: 'the callers of a lost worker are not told',
    invariant: 4,
    sabotage: () => ({ commands: (commands) => commands.filter((command) => command.kind !== 'reject' || command.rejection.code !== 'workerLost') }),
    scenario: (seed) => ({ ...smallScenario(seed), syncShare: 1, lossShare: 0.2, accountConcurrency: 300, restarts: 0, invocations: 100, reservationChanges: 0 }),
  },
  { name: 'everyone is admitted', invariant: 5, sabotage: () => ({ decisions: { admit: () => undefined } }) },
  {
    name: 'reservations of others are not respected',
    invariant: 5,
    sabotage: () => ({ decisions: { admit: ({ accountInUse, accountLimit }) => (accountInUse < accountLimit ? undefined : 'ConcurrentInvocationLimitExceeded') } }),
    scenario: (seed) => ({ ...smallScenario(seed), reservationChanges: 20, accountConcurrency: 20 }),
  },
  { name: 'a throttle counts as an attempt', invariant: 5, sabotage: () => ({ commands: (commands) => commands.map((command) => (command.kind === 'postpone' && command.throttles > 0 ? { ...command, attempt: command.attempt + 1, throttles: 0 } : command)) }) },
  { name: 'nobody gives way', invariant: 6, sabotage: () => ({ decisions: { givesWay: () => false } }), scenario: neighbourScenario },
  { name: 'more environments start than invocations wait', invariant: 6, sabotage: () => ({ decisions: { startsWanted: ({ waiting }) => ({ count: waiting + 1, recheckAtMs: Infinity }) } }) },
  { name: 'environments are kept for ever', invariant: 7, sabotage: () => ({ decisions: { keepAliveMs: () => Infinity } }) },
  { name: 'a start may take for ever', invariant: 7, sabotage: () => ({ decisions: { startEndMs: () => Infinity } }), scenario: (seed) => ({ ...smallScenario(seed), hangShare: 0.05 }) },
  { name: 'stops are not carried out', invariant: 7, sabotage: dropping('stop', 1) },
];
