import { heapNode, IndexedHeap, type HeapNode } from './indexed-heap.ts';

/** One moment at which something is to be looked at again. */
export interface TimerSlot<Owner> {
  readonly node: HeapNode<Owner>;
  /** Infinity: nothing is due. */
  dueMs: number;
}

export function timerSlot<Owner>(owner: Owner): TimerSlot<Owner> {
  return { node: heapNode(owner), dueMs: Infinity };
}

/**
 * Timers of the scheduler under its own time. Putting a timer off costs nothing: its place in the heap is corrected only when
 * its turn comes, so that an environment that is used again and again does not move in the heap at every invocation.
 */
export class Timers<Owner> {
  private readonly heap = new IndexedHeap<Owner>();
  private readonly slots: (owner: Owner) => TimerSlot<Owner>;

  constructor(slots: (owner: Owner) => TimerSlot<Owner>) {
    this.slots = slots;
  }

  get size(): number {
    return this.heap.size;
  }

  /** No timer is due before it; Infinity when there is none. May be earlier than the first due time, never later. */
  get nextMs(): number {
    return this.heap.top?.key ?? Infinity;
  }

  set(slot: TimerSlot<Owner>, dueMs: number): void {
    slot.dueMs = dueMs;
    if (slot.node.index < 0 || dueMs < slot.node.key) this.heap.set(slot.node, dueMs);
  }

  cancel(slot: TimerSlot<Owner>): void {
    slot.dueMs = Infinity;
    this.heap.remove(slot.node);
  }

  /** Removes and returns the owner of one timer that is due; undefined when there is none. */
  takeDue(nowMs: number): Owner | undefined {
    for (;;) {
      const top = this.heap.top;
      if (top === undefined || top.key > nowMs) return undefined;
      const slot = this.slots(top.item);
      if (slot.dueMs <= nowMs) {
        this.cancel(slot);
        return top.item;
      }
      this.heap.set(top, slot.dueMs);
    }
  }
}
