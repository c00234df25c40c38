import type { Decisions } from '../../controller/scheduler/decisions/decisions.ts';
import type { Command, SchedulerEvent } from '../../controller/scheduler/messages.ts';

/** What a twin takes away from the scheduler. */
export interface Sabotage {
  readonly decisions?: Partial<Decisions>;
  /** Tampers with the commands of one turn. */
  readonly commands?: (commands: readonly Command[]) => readonly Command[];
  /** Tells the scheduler something else than what happened. */
  readonly tells?: (event: SchedulerEvent) => SchedulerEvent;
  /** Keeps events from the scheduler. */
  readonly hides?: (event: SchedulerEvent) => boolean;
}
