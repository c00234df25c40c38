import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { place, type Candidate } from '../../../platform/worker-pool/fleet/placement.ts';

/** `a 3/10 512/1024 code`: environments and memory, taken of what there is. */
function candidates(...lines: readonly string[]): (Candidate & { readonly name: string })[] {
  return lines.map((line) => {
    const [name = '', environments = '', memory = '', code] = line.split(' ');
    const [taken = 0, max = 0] = environments.split('/').map(Number);
    const [takenMiB = 0, maxMiB = 0] = memory.split('/').map(Number);
    return { name, environments: taken, maxEnvironments: max, memoryMiB: takenMiB, maxMemoryMiB: maxMiB, knowsCode: code === 'code' };
  });
}

const table: readonly (readonly [string, readonly string[], string | undefined])[] = [
  ['nobody is there', [], undefined],
  ['the only one has room', ['a 0/1 0/128'], 'a'],
  ['its environments are at the limit', ['a 1/1 0/1024'], undefined],
  ['its memory would not suffice', ['a 0/10 897/1024'], undefined],
  ['its memory just suffices', ['a 0/10 896/1024'], 'a'],
  ['one that takes nothing any more', ['a 0/0 0/0'], undefined],
  ['the emptier one', ['a 5/10 0/1024', 'b 4/10 0/1024'], 'b'],
  ['the emptier one by what is scarcest there', ['a 1/10 900/1024', 'b 5/10 128/1024'], 'b'],
  ['the emptier one in share, not in number', ['a 4/100 0/1024', 'b 1/10 0/1024'], 'a'],
  ['one that has the code', ['a 1/10 0/1024', 'b 3/10 0/1024 code'], 'b'],
  ['one that has the code, whatever the order', ['b 3/10 0/1024 code', 'a 1/10 0/1024'], 'b'],
  ['not one that has the code and is a quarter fuller', ['a 1/10 0/1024', 'b 4/10 0/1024 code'], 'a'],
  ['not one that has the code and is full', ['a 1/10 0/1024', 'b 10/10 0/1024 code'], 'a'],
  ['of those that have the code the emptier one', ['a 3/10 0/1024 code', 'b 2/10 0/1024 code', 'c 1/10 0/1024'], 'b'],
];
for (const [what, workers, expected] of table) {
  test(`an environment of 128 MiB: ${what}`, () => assert.equal(place(candidates(...workers), 128)?.name, expected));
}

test('what is chosen has room, and is chosen whenever somebody has', () => {
  const candidate = fc.record({ maxEnvironments: fc.nat(20), maxMemoryMiB: fc.nat(2_048), environments: fc.nat(20), memoryMiB: fc.nat(2_048), knowsCode: fc.boolean() });
  fc.assert(
    fc.property(fc.array(candidate, { maxLength: 8 }), fc.integer({ min: 128, max: 1_024 }), (workers, memoryMiB) => {
      const fits = (worker: Candidate): boolean => worker.environments < worker.maxEnvironments && worker.memoryMiB + memoryMiB <= worker.maxMemoryMiB;
      const chosen = place(workers, memoryMiB);
      assert.equal(chosen !== undefined, workers.some(fits));
      if (chosen !== undefined) assert.ok(fits(chosen));
    }),
  );
});
