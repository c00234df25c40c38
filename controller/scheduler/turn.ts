import type { Decisions } from './decisions/decisions.ts';
import type { Command } from './messages.ts';

/** What the parts of the scheduler share: the present turn's time and commands, the decisions and the dice. */
export interface Turn {
  nowMs: number;
  commands: Command[];
  readonly decisions: Decisions;
  /** 0 to 1. */
  readonly random: () => number;
}
