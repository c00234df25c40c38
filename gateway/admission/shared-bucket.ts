/** How many there may be: so many a second on average, and so many at once after a pause. */
export interface Rate {
  readonly perSec: number;
  readonly burst: number;
}

/** A debt to the others beyond this is forgiven: it can only come from a counter that is wrong, or from more gateways than one can think of. */
const DEBT_SEC_MAX = 10;

/**
 * One gateway's view of a token bucket that several gateways draw from. Pure: whoever holds it tells it the time, and carries what was drawn to
 * the others and back.
 *
 * It decides alone and at once, and makes up for it afterwards. It keeps two levels, and something may be drawn while both have a whole token:
 * - *own* is an ordinary token bucket of the whole rate for what this gateway draws: what it is held to when it can speak with nobody.
 * - *shared* also pays for what others drew, whenever it is told, and owes where that is more than there was. Between two reports it is
 *   not cut to the burst: what others drew in that time has still to be taken from it.
 *
 * It is to be reported soon after it was asked for anything; the first time at once when it begins, which adds nothing and brings where the counter
 * stands. Then each report brings the shared level to that of one bucket for all. With `w` the longest time until the others have been told of
 * something drawn, `n` gateways together draw, in any span of `t` seconds, at most
 *
 *     perSec × t + burst  +  (n − 1) × (2 × burst + perSec × w)
 *
 * The second summand is what they overdraw: a burst each while they have not heard of one another, and a burst each since one that begins, or was
 * silent, comes with a full bucket (when in that time the others drew, it cannot know). It is overdrawn once, not each time: it is owed, and nobody
 * who has heard of it draws before it has come in again.
 */
export class SharedBucket {
  #rate: Rate;
  #own: number;
  #shared: number;
  #atMs: number;
  /** Drawn since the last report. */
  #drawn = 0;
  /** What all had drawn at the last report, as the counter has it; undefined while that is not known. */
  #total: number | undefined;

  constructor(rate: Rate, nowMs: number) {
    this.#rate = rate;
    this.#own = rate.burst;
    this.#shared = rate.burst;
    this.#atMs = nowMs;
  }

  get perSec(): number {
    return this.#rate.perSec;
  }

  /** From now on another rate. What was drawn stays drawn. */
  changeRate(rate: Rate): void {
    this.#rate = rate;
    this.#own = Math.min(this.#own, rate.burst);
    this.#shared = Math.min(this.#shared, rate.burst);
  }

  /** Milliseconds until there is a token; 0 when there is one. */
  waitMs(nowMs: number): number {
    this.#fill(nowMs);
    const level = Math.min(this.#own, this.#shared);
    return level >= 1 ? 0 : ((1 - level) / this.#rate.perSec) * 1_000;
  }

  /** Takes a token. Only when `waitMs` has just been 0. */
  draw(): void {
    this.#own--;
    this.#shared--;
    this.#drawn++;
  }

  /** Whether something was drawn that is not on its way yet. */
  get toReport(): boolean {
    return this.#drawn > 0;
  }

  /** What to add to the counter: what was drawn since the last report. It is on its way now: `reported` or `unreported` must follow. */
  report(): number {
    if (this.#total === undefined) return 0;
    const drawn = this.#drawn;
    this.#drawn = 0;
    return drawn;
  }

  /** `drawn` has been added to what all drew, which made it `total`. */
  reported(drawn: number, total: number, nowMs: number): void {
    this.#fill(nowMs);
    // A counter may vanish and begin anew; then what it has was drawn since.
    const before = this.#total !== undefined && this.#total + drawn <= total ? this.#total : 0;
    const byOthers = this.#total === undefined ? 0 : total - before - drawn;
    this.#total = total;
    this.#shared = Math.max(Math.min(this.#shared - byOthers, this.#rate.burst), -DEBT_SEC_MAX * this.#rate.perSec);
  }

  /** What was to be reported could not be, or it is not known whether it was. From now on this gateway is alone, until it can report again. */
  unreported(nowMs: number): void {
    this.#fill(nowMs);
    this.#drawn = 0;
    this.#total = undefined;
    this.#shared = this.#own;
  }

  #fill(nowMs: number): void {
    // A clock that was set back fills nothing.
    const filled = (Math.max(0, nowMs - this.#atMs) * this.#rate.perSec) / 1_000;
    this.#atMs = nowMs;
    this.#own = Math.min(this.#rate.burst, this.#own + filled);
    this.#shared += filled;
  }
}
