import type { Clock, Timer } from '../platform/clock.ts';
import type { Logger } from '../platform/telemetry/logger.ts';
import type { Command, SchedulerEvent } from './scheduler/messages.ts';
import type { Scheduler } from './scheduler/scheduler.ts';

/**
 * Feeds the scheduler one event at a time and carries out what it commands before the next one: an event that arises while a command is
 * carried out waits until all commands of its turn are done. Wakes the scheduler when it wants to be woken.
 */
export class SchedulerLoop {
  private readonly scheduler: Scheduler;
  private readonly clock: Clock;
  private readonly logger: Logger;
  private readonly carryOut: (command: Command) => void;
  private readonly pending: SchedulerEvent[] = [];
  private running = false;
  private nowMs = -Infinity;
  private timer: Timer | undefined;
  private timerAtMs = Infinity;
  private stopped = false;

  constructor(options: { readonly scheduler: Scheduler; readonly clock: Clock; readonly logger: Logger; readonly carryOut: (command: Command) => void }) {
    this.scheduler = options.scheduler;
    this.clock = options.clock;
    this.logger = options.logger;
    this.carryOut = options.carryOut;
  }

  submit(event: SchedulerEvent): void {
    if (this.stopped) return;
    if (this.running) {
      this.pending.push(event);
      return;
    }
    this.running = true;
    this.take(event);
    // Indexed, since shift() moves every element; events that arise here are few.
    for (let i = 0; i < this.pending.length; i++) this.take(this.pending[i] as SchedulerEvent);
    this.pending.length = 0;
    this.running = false;
    this.arm();
  }

  /** No event is taken any more and no timer is left. */
  stop(): void {
    this.stopped = true;
    this.timer?.cancel();
  }

  private take(event: SchedulerEvent): void {
    // The wall clock may be set back; the scheduler's time may not.
    this.nowMs = Math.max(this.nowMs, this.clock.now());
    for (const command of this.scheduler.handle(event, this.nowMs)) {
      try {
        this.carryOut(command);
      } catch (error) {
        this.logger.error({ err: error, command: command.kind }, 'a command of the scheduler could not be carried out');
      }
    }
  }

  private arm(): void {
    const wakeMs = this.scheduler.nextWakeMs;
    if (wakeMs >= this.timerAtMs) return;
    this.timer?.cancel();
    this.timerAtMs = wakeMs;
    this.timer = this.clock.at(wakeMs, () => {
      this.timerAtMs = Infinity;
      this.submit({ kind: 'tick' });
    });
  }
}
