import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { assignPartitions, type MemberClaim } from '../../../platform/invocation-log/kafka/assign-partitions.ts';
import { decodeClaim } from '../../../platform/invocation-log/kafka/group-protocol.ts';

const PARTITIONS_MAX = 12;

const groups = fc.integer({ min: 1, max: PARTITIONS_MAX }).chain((partitions) =>
  fc.record({
    partitions: fc.constant(partitions),
    claims: fc
      .uniqueArray(fc.string({ minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 6 })
      .chain((names) =>
        fc.tuple(...names.map((member) => fc.record({ member: fc.constant(member), held: fc.array(fc.record({ partition: fc.integer({ min: -1, max: partitions }), epoch: fc.integer({ min: 1, max: 4 }) }), { maxLength: partitions }) }))),
      ),
  }),
);

function heldBy(claims: readonly MemberClaim[], partition: number): string[] {
  const best = Math.max(...claims.flatMap(({ held }) => held.filter((claim) => claim.partition === partition).map(({ epoch }) => epoch)));
  return claims.filter(({ held }) => held.some((claim) => claim.partition === partition && claim.epoch === best)).map(({ member }) => member);
}

/** The most that can stay where it is, found by looking at every way to share out the larger parts. */
function mostKept(held: readonly number[], partitions: number): number {
  const least = Math.floor(partitions / held.length);
  const larger = partitions % held.length;
  let best = 0;
  for (let choice = 0; choice < 2 ** held.length; choice++) {
    const quotas = held.map((_, i) => least + ((choice >> i) & 1));
    if (quotas.reduce((sum, quota) => sum + quota - least, 0) !== larger) continue;
    best = Math.max(best, held.reduce((sum, count, i) => sum + Math.min(count, quotas[i] ?? 0), 0));
  }
  return best;
}

describe('kafka: assignment of partitions', () => {
  it('gives every partition to one member, in shares that differ by one at most, and takes away as few as possible', () => {
    fc.assert(
      fc.property(groups, ({ partitions, claims }) => {
        const assignment = assignPartitions(claims, partitions);
        assert.deepEqual([...assignment.keys()].sort(), claims.map(({ member }) => member).sort());
        assert.deepEqual([...assignment.values()].flat().sort((a, b) => a - b), Array.from({ length: partitions }, (_, i) => i));
        const counts = [...assignment.values()].map(({ length }) => length);
        assert.ok(Math.max(...counts) - Math.min(...counts) <= 1, `shares of ${counts.join(', ')}`);

        const owner = new Map([...assignment].flatMap(([member, own]) => own.map((partition): [number, string] => [partition, member])));
        const rightful = Array.from({ length: partitions }, (_, partition) => heldBy(claims, partition).sort()[0]);
        const kept = rightful.filter((member, partition) => member !== undefined && owner.get(partition) === member).length;
        const held = claims.map(({ member }) => rightful.filter((other) => other === member).length);
        assert.equal(kept, mostKept(held, partitions));
      }),
      { numRuns: 500 },
    );
  });

  it('depends on what is claimed, not on the order in which it is', () => {
    fc.assert(
      fc.property(groups, fc.infiniteStream(fc.nat()), ({ partitions, claims }, random) => {
        const shuffled = claims.map((claim) => ({ claim, key: Number(random.next().value) })).sort((a, b) => a.key - b.key).map(({ claim }) => claim);
        assert.deepEqual(assignPartitions(shuffled, partitions), assignPartitions(claims, partitions));
      }),
    );
  });

  it('changes nothing when it is asked again with its own result', () => {
    fc.assert(
      fc.property(groups, ({ partitions, claims }) => {
        const first = assignPartitions(claims, partitions);
        const again = [...first].map(([member, own]) => ({ member, held: own.map((partition) => ({ partition, epoch: 7 })) }));
        assert.deepEqual(assignPartitions(again, partitions), first);
      }),
    );
  });

  const table: readonly { readonly title: string; readonly claims: readonly MemberClaim[]; readonly partitions: number; readonly expected: Readonly<Record<string, number[]>> }[] = [
    { title: 'one alone has all', partitions: 3, claims: [{ member: 'a', held: [] }], expected: { a: [0, 1, 2] } },
    { title: 'a newcomer gets what is too much for the other', partitions: 4, claims: [{ member: 'a', held: [0, 1, 2, 3].map((partition) => ({ partition, epoch: 1 })) }, { member: 'b', held: [] }], expected: { a: [0, 1], b: [2, 3] } },
    { title: 'the greater epoch has it', partitions: 2, claims: [{ member: 'a', held: [{ partition: 0, epoch: 1 }] }, { member: 'b', held: [{ partition: 0, epoch: 2 }] }], expected: { a: [1], b: [0] } },
    { title: 'more members than partitions leave some with none', partitions: 1, claims: [{ member: 'a', held: [] }, { member: 'b', held: [{ partition: 0, epoch: 1 }] }], expected: { a: [], b: [0] } },
  ];
  for (const { title, claims, partitions, expected } of table) {
    it(title, () => assert.deepEqual(Object.fromEntries(assignPartitions(claims, partitions)), expected));
  }

  it('reads a claim that is none as claiming nothing', () => {
    assert.deepEqual(decodeClaim(Buffer.from('{"v":1,"held":[[3,17],[4,"x"],7]}')), [{ partition: 3, epoch: 17 }]);
    for (const text of ['', 'null', '{', '{"held":1}']) assert.deepEqual(decodeClaim(Buffer.from(text)), []);
    assert.deepEqual(decodeClaim(undefined), []);
  });
});
