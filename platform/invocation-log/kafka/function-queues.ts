import type { FunctionKey } from '../../model/execution-spec.ts';

/** Something that waits in a queue. */
export interface Queued {
  readonly key: FunctionKey;
  /** What it costs in memory. */
  readonly bytes: number;
}

/** Which topic an entry came from: `main` entries of a function go first, they are the older ones. */
export type QueueLane = 'main' | 'overflow';

/** A place in a queue; empty where its entry was taken out. One of its own for each time that an entry is added: it may come back before its former place has come to the front. */
interface Slot<Entry> {
  entry: Entry | undefined;
}

interface FunctionQueue<Entry> {
  readonly key: FunctionKey;
  readonly main: Fifo<Slot<Entry>>;
  readonly overflow: Fifo<Slot<Entry>>;
  /** Waiting, without what was taken out. */
  readonly counts: Record<QueueLane, number>;
  /** Given out and not settled. */
  inFlight: number;
  /** In the ring, or set aside until it may be given more. */
  inRing: boolean;
}

/**
 * Records of one partition that were fetched and not given out yet: one queue per function, in order, and a ring of those functions that
 * may be given more, so that each has its turn whatever the length of its neighbours' queues.
 */
export class FunctionQueues<Entry extends Queued> {
  readonly #functions = new Map<FunctionKey, FunctionQueue<Entry>>();
  readonly #ring = new Fifo<FunctionQueue<Entry>>();
  /** Of what waits. */
  readonly #slots = new Map<Entry, Slot<Entry>>();
  readonly #size: Record<QueueLane, number> = { main: 0, overflow: 0 };
  readonly #bytes: Record<QueueLane, number> = { main: 0, overflow: 0 };
  #inFlight = 0;

  size(lane: QueueLane): number {
    return this.#size[lane];
  }

  bytes(lane: QueueLane): number {
    return this.#bytes[lane];
  }

  /** Given out and not settled, of all functions. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Functions that something is remembered of. */
  get functions(): number {
    return this.#functions.size;
  }

  inFlightOf(key: FunctionKey): number {
    return this.#functions.get(key)?.inFlight ?? 0;
  }

  /** Waiting in a lane. */
  queuedOf(key: FunctionKey, lane: QueueLane): number {
    return this.#functions.get(key)?.counts[lane] ?? 0;
  }

  add(entry: Entry, lane: QueueLane): void {
    const queue = this.#queueOf(entry.key);
    const slot = { entry };
    this.#slots.set(entry, slot);
    queue[lane].push(slot);
    queue.counts[lane]++;
    this.#size[lane]++;
    this.#bytes[lane] += entry.bytes;
    this.#enter(queue);
  }

  /**
   * The next entry of the next function in turn that has fewer than `wanted(key)` in flight; it is in flight from then on. A function that has its fill is
   * set aside until one of its own is settled, or `wake`.
   */
  next(wanted: (key: FunctionKey) => number): Entry | undefined {
    for (let queue = this.#ring.shift(); queue !== undefined; queue = this.#ring.shift()) {
      queue.inRing = false;
      if (queue.inFlight >= wanted(queue.key)) continue;
      const entry = this.#shift(queue);
      if (entry === undefined) {
        this.#forget(queue);
        continue;
      }
      queue.inFlight++;
      this.#inFlight++;
      this.#enter(queue);
      return entry;
    }
    return undefined;
  }

  /** One that was given out is done with. */
  settled(key: FunctionKey): void {
    const queue = this.#functions.get(key);
    if (queue === undefined || queue.inFlight === 0) return;
    queue.inFlight--;
    this.#inFlight--;
    if (this.#waiting(queue)) this.#enter(queue);
    else this.#forget(queue);
  }

  /** Functions that had their fill are asked again. */
  wake(): void {
    for (const queue of this.#functions.values()) if (this.#waiting(queue)) this.#enter(queue);
  }

  /** Takes an entry out that waits in a lane. */
  remove(entry: Entry, lane: QueueLane): void {
    const queue = this.#functions.get(entry.key);
    const slot = this.#slots.get(entry);
    if (queue === undefined || slot === undefined) return;
    slot.entry = undefined;
    this.#slots.delete(entry);
    queue.counts[lane]--;
    this.#size[lane]--;
    this.#bytes[lane] -= entry.bytes;
  }

  #queueOf(key: FunctionKey): FunctionQueue<Entry> {
    let queue = this.#functions.get(key);
    if (queue === undefined) {
      queue = { key, main: new Fifo(), overflow: new Fifo(), counts: { main: 0, overflow: 0 }, inFlight: 0, inRing: false };
      this.#functions.set(key, queue);
    }
    return queue;
  }

  #waiting(queue: FunctionQueue<Entry>): boolean {
    return queue.main.length + queue.overflow.length > 0;
  }

  #enter(queue: FunctionQueue<Entry>): void {
    if (queue.inRing) return;
    queue.inRing = true;
    this.#ring.push(queue);
  }

  #shift(queue: FunctionQueue<Entry>): Entry | undefined {
    for (const lane of ['main', 'overflow'] as const) {
      for (let slot = queue[lane].shift(); slot !== undefined; slot = queue[lane].shift()) {
        const { entry } = slot;
        if (entry === undefined) continue;
        this.#slots.delete(entry);
        queue.counts[lane]--;
        this.#size[lane]--;
        this.#bytes[lane] -= entry.bytes;
        return entry;
      }
    }
    return undefined;
  }

  #forget(queue: FunctionQueue<Entry>): void {
    if (queue.inFlight === 0 && !this.#waiting(queue) && !queue.inRing) this.#functions.delete(queue.key);
  }
}

/** First in, first out, without moving what remains at each `shift`. */
export class Fifo<Item> {
  #items: (Item | undefined)[] = [];
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  push(item: Item): void {
    this.#items.push(item);
  }

  peek(): Item | undefined {
    return this.#items[this.#head];
  }

  shift(): Item | undefined {
    if (this.#head === this.#items.length) return undefined;
    const item = this.#items[this.#head];
    this.#items[this.#head++] = undefined;
    if (this.#head > 32 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }
}
