import { AssignerProtocol, type Assigner, type Cluster, type GroupMember as KafkaGroupMember, type GroupMemberAssignment, type PartitionAssigner } from 'kafkajs';
import { assignPartitions, type MemberClaim } from './assign-partitions.ts';
import { LOG_TOPICS, type TopicNames } from './topic-names.ts';

/** Chosen by the group's members together: another way of assigning gets another name, and both are offered while old and new run together. */
const PROTOCOL = 'sluice-co-partitioned';
/** Of the text in `userData`. */
const CLAIM_VERSION = 1;

/**
 * kafkajs tells no member the generation that its assignment belongs to, except where the assignment names a topic that the member has not
 * subscribed to. So every assignment names this one, with no partitions, and the event `RECEIVED_UNSUBSCRIBED_TOPICS` tells the generation
 * before `GROUP_JOIN` tells the assignment.
 */
export function generationTopic(names: TopicNames): string {
  return `${names.prefix}.generation`;
}

export interface GroupProtocolOptions {
  readonly names: TopicNames;
  readonly partitions: number;
  /** What this member holds, asked for each time it joins. From that moment on it may not own any of it. */
  readonly joining: () => MemberClaim['held'];
  /** kafkajs's connections to the brokers, for requests that its consumer does not make. */
  readonly onCluster: (cluster: Cluster) => void;
}

/** The assigner as kafkajs wants it: partition p of every topic to one member, and as few moves as possible. */
export function groupProtocol({ names, partitions, joining, onCluster }: GroupProtocolOptions): PartitionAssigner {
  return ({ cluster }): Assigner => {
    onCluster(cluster);
    return {
      name: PROTOCOL,
      version: CLAIM_VERSION,
      protocol: ({ topics }) => ({
        name: PROTOCOL,
        metadata: AssignerProtocol.MemberMetadata.encode({ version: CLAIM_VERSION, topics, userData: encodeClaim(joining()) }),
      }),
      assign: ({ members }) => Promise.resolve(encodeAssignments(members, names, partitions)),
    };
  };
}

function encodeAssignments(members: readonly KafkaGroupMember[], names: TopicNames, partitions: number): GroupMemberAssignment[] {
  const claims = members.map(({ memberId, memberMetadata }): MemberClaim => ({ member: memberId, held: decodeClaim(AssignerProtocol.MemberMetadata.decode(memberMetadata)?.userData) }));
  return [...assignPartitions(claims, partitions)].map(([memberId, own]) => ({
    memberId,
    memberAssignment: AssignerProtocol.MemberAssignment.encode({
      version: CLAIM_VERSION,
      assignment: {
        ...(own.length === 0 ? {} : Object.fromEntries(LOG_TOPICS.map((topic) => [names.nameOf(topic), own]))),
        [generationTopic(names)]: [],
      },
      userData: Buffer.alloc(0),
    }),
  }));
}

function encodeClaim(held: MemberClaim['held']): Buffer {
  return Buffer.from(JSON.stringify({ v: CLAIM_VERSION, held: held.map(({ partition, epoch }) => [partition, epoch]) }));
}

/** A claim is a hint: one that cannot be read claims nothing, and the partitions move. */
export function decodeClaim(userData: Buffer | undefined): MemberClaim['held'] {
  try {
    const { held } = JSON.parse(userData?.toString() ?? '{}') as { held?: unknown };
    if (!Array.isArray(held)) return [];
    return held.flatMap((pair: unknown) => {
      const [partition, epoch] = Array.isArray(pair) ? (pair as unknown[]) : [];
      return Number.isSafeInteger(partition) && Number.isSafeInteger(epoch) ? [{ partition: Number(partition), epoch: Number(epoch) }] : [];
    });
  } catch {
    return [];
  }
}
