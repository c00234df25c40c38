import type { Clock, Timer } from '../../platform/clock.ts';

interface Alarm {
  readonly atMs: number;
  readonly order: number;
  readonly action: () => void;
}

/** A {@link Clock} whose hands the test turns. Nothing runs but inside {@link VirtualClock.advance}. */
export class VirtualClock implements Clock {
  private alarms: Alarm[] = [];
  private nowMs: number;
  private order = 0;

  constructor(nowMs = 1_700_000_000_000) {
    this.nowMs = nowMs;
  }

  /** Timers that are set; 0 when nothing was left behind. */
  get pending(): number {
    return this.alarms.length;
  }

  now(): number {
    return this.nowMs;
  }

  at(atMs: number, action: () => void): Timer {
    const alarm = { atMs, order: this.order++, action };
    this.alarms.push(alarm);
    return { cancel: () => void (this.alarms = this.alarms.filter((other) => other !== alarm)) };
  }

  /** Turns the hands on, stopping at every timer that becomes due, those set by other timers included. */
  advance(byMs: number): void {
    const untilMs = this.nowMs + byMs;
    for (;;) {
      const next = this.alarms.filter((alarm) => alarm.atMs <= untilMs).sort((a, b) => a.atMs - b.atMs || a.order - b.order)[0];
      if (next === undefined) break;
      this.alarms = this.alarms.filter((other) => other !== next);
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.action();
    }
    this.nowMs = untilMs;
  }
}
