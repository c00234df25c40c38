import type { Clock, Timer } from '../../clock.ts';
import type { Assignment, ControllerLink, EnvironmentPoll } from '../../protocol/controller-link.ts';
import { NEXT_HOLD_MS, type Answer } from '../../protocol/wire/messages.ts';

/**
 * One environment's polls as they come over a network that may lose an answer: each has a number, and the same number means the same poll. It is taken in
 * once; when it comes again it gets the answer that it would have got, or has had.
 */
export class EnvironmentPolls {
  readonly #link: Pick<ControllerLink, 'next'>;
  readonly #clock: Clock;
  #number = -1;
  #answered: Answer | undefined;
  #waiting: ((answer: Answer) => void) | undefined;
  #hold: Timer | undefined;
  #closed = false;
  /** It came with an invocation that somebody else had given it, and has not polled yet. */
  #cameBusy: boolean;

  constructor(link: Pick<ControllerLink, 'next'>, clock: Clock, came: { readonly busy: boolean } = { busy: false }) {
    this.#link = link;
    this.#clock = clock;
    this.#cameBusy = came.busy;
  }

  /** It has been given an invocation and has not said yet that it is done with it. */
  get busy(): boolean {
    return this.#cameBusy || this.#answered?.kind === 'invoke';
  }

  /** The answer to poll number `number`; rejects with RangeError for one that is over. */
  next(number: number, poll: EnvironmentPoll): Promise<Answer> {
    if (this.#closed) return Promise.resolve({ kind: 'moved' });
    if (number < this.#number) return Promise.reject(new RangeError(`Poll ${number} of an environment came after poll ${this.#number}.`));
    this.#settle({ kind: 'again' });
    if (number === this.#number && this.#answered !== undefined) return Promise.resolve(this.#answered);
    const answer = new Promise<Answer>((resolve) => {
      this.#waiting = resolve;
      this.#hold = this.#clock.at(this.#clock.now() + NEXT_HOLD_MS, () => this.#settle({ kind: 'again' }));
    });
    if (number > this.#number) {
      this.#number = number;
      this.#answered = undefined;
      this.#cameBusy = false;
      void this.#link.next(poll).then((assignment) => this.#assign(number, assignment));
    }
    return answer;
  }

  #assign(number: number, assignment: Assignment): void {
    if (this.#closed || number !== this.#number) return;
    this.#answered = assignment;
    this.#settle(assignment);
  }

  /** The environment is another controller's now, or gone. */
  close(): void {
    this.#closed = true;
    this.#answered = undefined;
    this.#cameBusy = false;
    this.#settle({ kind: 'moved' });
  }

  #settle(answer: Answer): void {
    this.#hold?.cancel();
    this.#hold = undefined;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.(answer);
  }
}
