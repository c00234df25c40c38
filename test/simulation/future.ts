interface Moment {
  readonly atMs: number;
  readonly order: number;
  readonly action: () => void;
}

/** What will happen in the simulated world: a heap of actions by time, those of one time in the order in which they were planned. */
export class Future {
  private readonly heap: Moment[] = [];
  private order = 0;

  get nextMs(): number {
    return this.heap[0]?.atMs ?? Infinity;
  }

  plan(atMs: number, action: () => void): void {
    const moment = { atMs, order: this.order++, action };
    let index = this.heap.length;
    this.heap.push(moment);
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = this.heap[parentIndex] as Moment;
      if (!before(moment, parent)) break;
      this.heap[index] = parent;
      index = parentIndex;
    }
    this.heap[index] = moment;
  }

  /** Takes the next action out. */
  take(): (() => void) | undefined {
    const first = this.heap[0];
    const last = this.heap.pop();
    if (first === undefined || last === undefined || first === last) return first?.action;
    let index = 0;
    for (;;) {
      let childIndex = 2 * index + 1;
      if (childIndex >= this.heap.length) break;
      const right = this.heap[childIndex + 1];
      if (right !== undefined && before(right, this.heap[childIndex] as Moment)) childIndex++;
      const child = this.heap[childIndex] as Moment;
      if (!before(child, last)) break;
      this.heap[index] = child;
      index = childIndex;
    }
    this.heap[index] = last;
    return first.action;
  }
}

function before(a: Moment, b: Moment): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
