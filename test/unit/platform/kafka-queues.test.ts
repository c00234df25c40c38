import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Fifo, FunctionQueues, type QueueLane } from '../../../platform/invocation-log/kafka/function-queues.ts';

interface Item {
  readonly key: string;
  readonly bytes: number;
  readonly at: number;
  readonly lane: QueueLane;
}

const step = fc.oneof(
  fc.record({ do: fc.constant('add' as const), key: fc.constantFrom('a', 'b', 'c'), lane: fc.constantFrom<QueueLane>('main', 'overflow') }),
  fc.record({ do: fc.constant('next' as const) }),
  fc.record({ do: fc.constant('settle' as const), pick: fc.nat() }),
  fc.record({ do: fc.constant('remove' as const), pick: fc.nat() }),
  fc.record({ do: fc.constant('return' as const), pick: fc.nat() }),
  fc.record({ do: fc.constant('want' as const), key: fc.constantFrom('a', 'b', 'c'), count: fc.integer({ min: 1, max: 3 }) }),
);

describe('kafka: queues of functions', () => {
  it('give out everything that is wanted, in order within function and lane, and count what they hold', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120, size: 'max' }), (script) => {
        const queues = new FunctionQueues<Item>();
        const waiting: Item[] = [];
        const inFlight: Item[] = [];
        const removed: Item[] = [];
        const wanted: Record<string, number> = { a: 1, b: 2, c: 3 };
        const flightOf = (key: string): number => inFlight.filter((item) => item.key === key).length;
        script.forEach((action, at) => {
          if (action.do === 'add') {
            const item = { key: action.key, bytes: at + 1, at, lane: action.lane };
            waiting.push(item);
            queues.add(item, action.lane);
          } else if (action.do === 'next') {
            const item = queues.next((key) => wanted[key] ?? 1);
            const possible = waiting.filter(({ key }) => flightOf(key) < (wanted[key] ?? 1));
            if (item === undefined) assert.deepEqual(possible, []);
            else {
              const first = waiting.find(({ key, lane }) => key === item.key && lane === (waiting.some((other) => other.key === item.key && other.lane === 'main') ? 'main' : 'overflow'));
              assert.equal(item, first);
              waiting.splice(waiting.indexOf(item), 1);
              inFlight.push(item);
            }
          } else if (action.do === 'settle') {
            const [item] = inFlight.splice(action.pick % Math.max(1, inFlight.length), 1);
            if (item !== undefined) queues.settled(item.key);
          } else if (action.do === 'remove') {
            const [item] = waiting.splice(action.pick % Math.max(1, waiting.length), 1);
            if (item === undefined) return;
            queues.remove(item, item.lane);
            removed.push(item);
          } else if (action.do === 'return') {
            const [item] = removed.splice(action.pick % Math.max(1, removed.length), 1);
            if (item === undefined) return;
            waiting.push(item);
            queues.add(item, item.lane);
          } else {
            wanted[action.key] = action.count;
            queues.wake();
          }
          for (const lane of ['main', 'overflow'] as const) {
            const own = waiting.filter((item) => item.lane === lane);
            assert.equal(queues.size(lane), own.length);
            assert.equal(queues.bytes(lane), own.reduce((sum, { bytes }) => sum + bytes, 0));
          }
          assert.equal(queues.inFlight, inFlight.length);
        });
      }),
      { numRuns: 300 },
    );
  });

  it('give an entry out once that was taken out and has come back, however often', () => {
    const queues = new FunctionQueues<Item>();
    const item: Item = { key: 'f', bytes: 1, at: 0, lane: 'main' };
    queues.add(item, 'main');
    for (let i = 0; i < 3; i++) {
      queues.remove(item, 'main');
      queues.add(item, 'main');
    }
    assert.deepEqual([queues.next(() => 9), queues.next(() => 9)], [item, undefined]);
  });

  it('take functions in turn, whatever the length of their queues', () => {
    const queues = new FunctionQueues<Item>();
    for (let at = 0; at < 100; at++) queues.add({ key: 'noisy', bytes: 1, at, lane: 'main' }, 'main');
    for (let at = 0; at < 3; at++) queues.add({ key: 'quiet', bytes: 1, at, lane: 'main' }, 'main');
    const order = Array.from({ length: 8 }, () => queues.next(() => 1_000)?.key);
    assert.deepEqual(order, ['noisy', 'quiet', 'noisy', 'quiet', 'noisy', 'quiet', 'noisy', 'noisy']);
  });

  it('forget functions that have nothing left', () => {
    const queues = new FunctionQueues<Item>();
    for (let i = 0; i < 1_000; i++) {
      queues.add({ key: `f${i}`, bytes: 1, at: i, lane: 'main' }, 'main');
      const item = queues.next(() => 1);
      if (item !== undefined) queues.settled(item.key);
    }
    assert.equal(queues.next(() => 1), undefined);
    assert.equal(queues.inFlightOf('f1'), 0);
    assert.equal(queues.functions, 0);
  });

  it('a first-in-first-out list keeps its order and gives back its room', () => {
    const list = new Fifo<number>();
    let pushed = 0;
    let shifted = 0;
    for (let round = 0; round < 50; round++) {
      for (let i = 0; i < round; i++) list.push(pushed++);
      for (let i = 0; i < 20 && list.length > 0; i++) {
        assert.equal(list.peek(), shifted);
        assert.equal(list.shift(), shifted++);
      }
      assert.equal(list.length, pushed - shifted);
    }
  });
});
