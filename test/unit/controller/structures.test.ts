import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { estimates, REMEMBERED_MAX, RememberedEstimates } from '../../../controller/scheduler/estimates.ts';
import { heapNode, IndexedHeap } from '../../../controller/scheduler/indexed-heap.ts';
import { LinkedList, listNode } from '../../../controller/scheduler/linked-list.ts';
import { Timers, timerSlot, type TimerSlot } from '../../../controller/scheduler/timers.ts';

test('heap: whatever is put in, moved and removed, the top is the smallest', () => {
  const step = fc.record({ item: fc.nat(20), key: fc.option(fc.nat(50), { nil: undefined }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const heap = new IndexedHeap<number>();
      const nodes = Array.from({ length: 21 }, (_, item) => heapNode(item));
      const model = new Map<number, number>();
      for (const { item, key } of steps) {
        const node = nodes[item];
        assert.ok(node);
        if (key === undefined) {
          heap.remove(node);
          model.delete(item);
        } else {
          heap.set(node, key);
          model.set(item, key);
        }
        assert.equal(heap.size, model.size);
        assert.equal(heap.top?.key, model.size === 0 ? undefined : Math.min(...model.values()));
      }
    }),
  );
});

test('heap: equal keys come out in the order in which they went in', () => {
  const heap = new IndexedHeap<string>();
  for (const item of ['a', 'b', 'c', 'd', 'e']) heap.set(heapNode(item), 1);
  const out: string[] = [];
  for (let top = heap.top; top !== undefined; top = heap.top) {
    out.push(top.item);
    heap.remove(top);
  }
  assert.deepEqual(out, ['a', 'b', 'c', 'd', 'e']);
});

test('list: joins at the end, leaves anywhere, and may leave while it is walked', () => {
  const list = new LinkedList<string>();
  const nodes = ['a', 'b', 'c'].map((item) => listNode(item));
  for (const node of nodes) list.append(node);
  const [a, b] = nodes;
  assert.ok(a && b);
  assert.throws(() => list.append(a), /in a list already/);
  list.remove(b);
  list.remove(b);
  assert.deepEqual([...list], ['a', 'c']);
  assert.deepEqual([list.first, list.last, list.length], ['a', 'c', 2]);
  for (const item of list) list.remove(nodes.find((node) => node.item === item) ?? b);
  assert.deepEqual([...list], []);
  assert.deepEqual([list.first, list.last, list.length], [undefined, undefined, 0]);
});

test('timers: one that is put off does not fire early, one that is brought forward fires in time', () => {
  const slots = new Map<string, TimerSlot<string>>(['a', 'b'].map((owner) => [owner, timerSlot(owner)]));
  const slot = (owner: string): TimerSlot<string> => slots.get(owner) as TimerSlot<string>;
  const timers = new Timers<string>(slot);
  timers.set(slot('a'), 10);
  timers.set(slot('a'), 30);
  timers.set(slot('b'), 20);
  assert.ok(timers.nextMs <= 20);
  assert.equal(timers.takeDue(19), undefined);
  assert.equal(timers.takeDue(25), 'b');
  timers.set(slot('a'), 26);
  assert.equal(timers.takeDue(26), 'a');
  timers.set(slot('b'), 50);
  timers.cancel(slot('b'));
  assert.equal(timers.takeDue(1_000), undefined);
  assert.deepEqual([timers.size, timers.nextMs], [0, Infinity]);
});

test('estimates are remembered for a bounded number of versions, the longest unused are forgotten (invariant 7)', () => {
  const remembered = new RememberedEstimates();
  for (let i = 0; i < 3 * REMEMBERED_MAX; i++) {
    const learnt = estimates();
    learnt.durationMs = i;
    remembered.keep(`f${i}`, learnt);
    assert.ok(remembered.size <= REMEMBERED_MAX);
  }
  assert.equal(remembered.take(`f${3 * REMEMBERED_MAX - 1}`).durationMs, 3 * REMEMBERED_MAX - 1);
  assert.notEqual(remembered.take('f0').durationMs, 0);
  const size = remembered.size;
  remembered.take(`f${3 * REMEMBERED_MAX - 2}`);
  assert.equal(remembered.size, size - 1);
});
