/** Runs tasks of the same key one after another, in the order in which they came, and tasks of different keys side by side. */
export class KeyLock {
  readonly #tails = new Map<string, Promise<unknown>>();

  /** What the task resolves to or rejects with. A task that fails does not hinder those behind it. */
  async run<Result>(key: string, task: () => Promise<Result>): Promise<Result> {
    const before = this.#tails.get(key);
    const run = before === undefined ? task() : before.then(task, task);
    this.#tails.set(key, run);
    try {
      return await run;
    } finally {
      if (this.#tails.get(key) === run) this.#tails.delete(key);
    }
  }
}
