/** What a member of the group says of itself when it joins. */
export interface MemberClaim {
  readonly member: string;
  /** Partitions that it holds, with the epoch it holds each by; of two that claim the same, the greater epoch has it. */
  readonly held: readonly { readonly partition: number; readonly epoch: number }[];
}

/**
 * Who gets which partition. Every partition goes to one member; two members' counts differ by at most one; of all such ways it is one
 * that takes the fewest partitions away from those who hold them. Depends on nothing but its arguments, not even on their order.
 */
export function assignPartitions(claims: readonly MemberClaim[], partitions: number): Map<string, number[]> {
  const members = [...claims].sort((a, b) => (a.member < b.member ? -1 : 1));
  const assignment = new Map(members.map(({ member }): [string, number[]] => [member, []]));
  if (members.length === 0) return assignment;

  const held = holders(members, partitions);
  const least = Math.floor(partitions / members.length);
  let larger = partitions % members.length;
  // The larger shares go to those who hold most, so that as much as possible stays.
  const byHeld = [...members].sort((a, b) => (held.get(b.member)?.length ?? 0) - (held.get(a.member)?.length ?? 0));
  const free: number[] = [];
  const quotas = new Map<string, number>();
  const taken = new Set<number>();
  for (const { member } of byHeld) {
    const own = held.get(member) ?? [];
    const quota = larger > 0 ? least + 1 : least;
    if (larger > 0) larger--;
    quotas.set(member, quota);
    const kept = own.slice(0, quota);
    assignment.set(member, kept);
    for (const partition of kept) taken.add(partition);
  }
  for (let partition = 0; partition < partitions; partition++) if (!taken.has(partition)) free.push(partition);
  for (const { member } of members) {
    const own = assignment.get(member) ?? [];
    own.push(...free.splice(0, (quotas.get(member) ?? 0) - own.length));
    own.sort((a, b) => a - b);
  }
  return assignment;
}

/** Per member what it holds, ascending: of several claims the one with the greatest epoch counts, and of equal ones the first member's. */
function holders(members: readonly MemberClaim[], partitions: number): Map<string, number[]> {
  const best = new Map<number, { readonly member: string; readonly epoch: number }>();
  for (const { member, held } of members) {
    for (const { partition, epoch } of held) {
      if (!Number.isInteger(partition) || partition < 0 || partition >= partitions) continue;
      const other = best.get(partition);
      if (other === undefined || epoch > other.epoch) best.set(partition, { member, epoch });
    }
  }
  const result = new Map<string, number[]>();
  for (const [partition, { member }] of [...best].sort(([a], [b]) => a - b)) {
    const own = result.get(member);
    if (own === undefined) result.set(member, [partition]);
    else own.push(partition);
  }
  return result;
}
