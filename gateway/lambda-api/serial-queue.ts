/** Runs tasks one after another, in the order in which they came. */
export class SerialQueue {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs `task` when all before it have ended, however they ended. */
  run<Result>(task: () => Promise<Result>): Promise<Result> {
    const turn = this.#last.then(task, task);
    this.#last = turn;
    return turn;
  }
}
