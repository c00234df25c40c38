/** A place in an {@link IndexedHeap}. Made once per item and heap. */
export interface HeapNode<Item> {
  readonly item: Item;
  /** What the heap is ordered by, smallest first; changed only by the heap. */
  key: number;
  /** Ties are broken by it, so that equal keys come out in the order in which they went in. */
  order: number;
  /** Position in the heap; −1 when it is not in one. */
  index: number;
}

export function heapNode<Item>(item: Item): HeapNode<Item> {
  return { item, key: 0, order: 0, index: -1 };
}

/** A binary heap whose nodes know their position, so that any of them can be moved or removed in O(log n). */
export class IndexedHeap<Item> {
  private readonly nodes: HeapNode<Item>[] = [];
  private orders = 0;

  get size(): number {
    return this.nodes.length;
  }

  get top(): HeapNode<Item> | undefined {
    return this.nodes[0];
  }

  /** Puts a node in, or moves it when it is in already. */
  set(node: HeapNode<Item>, key: number): void {
    if (node.index < 0) {
      node.key = key;
      node.order = this.orders++;
      node.index = this.nodes.length;
      this.nodes.push(node);
      this.rise(node);
    } else if (key !== node.key) {
      const falls = key > node.key;
      node.key = key;
      if (falls) this.sink(node);
      else this.rise(node);
    }
  }

  /** Takes a node out; one that is not in the heap is left alone. */
  remove(node: HeapNode<Item>): void {
    if (node.index < 0) return;
    const last = this.nodes.pop() as HeapNode<Item>;
    if (last !== node) {
      last.index = node.index;
      this.nodes[node.index] = last;
      this.rise(last);
      this.sink(last);
    }
    node.index = -1;
  }

  private rise(node: HeapNode<Item>): void {
    let { index } = node;
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = this.nodes[parentIndex] as HeapNode<Item>;
      if (!before(node, parent)) break;
      this.nodes[index] = parent;
      parent.index = index;
      index = parentIndex;
    }
    this.nodes[index] = node;
    node.index = index;
  }

  private sink(node: HeapNode<Item>): void {
    let { index } = node;
    const size = this.nodes.length;
    for (;;) {
      let childIndex = 2 * index + 1;
      if (childIndex >= size) break;
      const right = this.nodes[childIndex + 1];
      if (right !== undefined && before(right, this.nodes[childIndex] as HeapNode<Item>)) childIndex++;
      const child = this.nodes[childIndex] as HeapNode<Item>;
      if (!before(child, node)) break;
      this.nodes[index] = child;
      child.index = index;
      index = childIndex;
    }
    this.nodes[index] = node;
    node.index = index;
  }
}

function before(a: HeapNode<unknown>, b: HeapNode<unknown>): boolean {
  return a.key < b.key || (a.key === b.key && a.order < b.order);
}
