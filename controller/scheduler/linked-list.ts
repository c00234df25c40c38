/** A place in a {@link LinkedList}. Made once per item and list, so that joining and leaving a list allocates nothing. */
export interface ListNode<Item> {
  readonly item: Item;
  list: LinkedList<Item> | undefined;
  previous: ListNode<Item> | undefined;
  next: ListNode<Item> | undefined;
}

export function listNode<Item>(item: Item): ListNode<Item> {
  return { item, list: undefined, previous: undefined, next: undefined };
}

/** Doubly linked: joins at the end and leaves anywhere in O(1). A node is in at most one list. */
export class LinkedList<Item> implements Iterable<Item> {
  length = 0;
  private head: ListNode<Item> | undefined;
  private tail: ListNode<Item> | undefined;

  get first(): Item | undefined {
    return this.head?.item;
  }

  get last(): Item | undefined {
    return this.tail?.item;
  }

  /** Appends a node. Throws when it is in a list already. */
  append(node: ListNode<Item>): void {
    if (node.list !== undefined) throw new Error('The node is in a list already; remove it first.');
    node.list = this;
    node.previous = this.tail;
    node.next = undefined;
    if (this.tail === undefined) this.head = node;
    else this.tail.next = node;
    this.tail = node;
    this.length++;
  }

  /** Takes a node out; one that is not in this list is left alone. */
  remove(node: ListNode<Item>): void {
    if (node.list !== this) return;
    if (node.previous === undefined) this.head = node.next;
    else node.previous.next = node.next;
    if (node.next === undefined) this.tail = node.previous;
    else node.next.previous = node.previous;
    node.list = undefined;
    node.previous = undefined;
    node.next = undefined;
    this.length--;
  }

  /** From first to last. The item last handed out may leave the list meanwhile; others may not. */
  [Symbol.iterator](): Iterator<Item> {
    let upcoming = this.head;
    return {
      next() {
        if (upcoming === undefined) return { done: true, value: undefined };
        const { item } = upcoming;
        upcoming = upcoming.next;
        return { done: false, value: item };
      },
    };
  }
}
