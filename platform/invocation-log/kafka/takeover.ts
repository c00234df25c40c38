import type { OffsetRun } from '../acknowledgement-window.ts';
import { decodeNote, nextEpoch, type CommitNote } from './commit-note.ts';
import type { CommittedOffset } from './group-member.ts';
import { LOG_TOPICS, type LogTopic, type TopicNames } from './topic-names.ts';
import type { TrackState } from './topic-track.ts';

/** Where a topic's partition begins and ends. */
export interface Extent {
  readonly start: number;
  readonly end: number;
}

export interface TakeoverFacts {
  readonly names: TopicNames;
  /** Assigned in this generation. */
  readonly partitions: readonly number[];
  readonly committed: readonly CommittedOffset[];
  /** By `topic/partition`. */
  readonly extents: ReadonlyMap<string, Extent>;
  /** What this process holds from generations before, and by which epoch. */
  readonly held: ReadonlyMap<number, number>;
  readonly nowMs: number;
}

/** Something that an operator should know of. */
export interface TakeoverFinding {
  readonly topic: LogTopic;
  readonly partition: number;
  readonly watermark: number;
  readonly problem: 'foreign' | 'stale' | 'offset out of range';
}

export interface Takeover {
  /** Partitions that begin anew, each with the state of its topics; what else is assigned goes on as it is. */
  readonly fresh: readonly { readonly partition: number; readonly topics: readonly TrackState[] }[];
  readonly epoch: number;
  readonly findings: readonly TakeoverFinding[];
}

/**
 * What to do with an assignment, from what is committed. A partition whose committed epoch is the one by which this process holds it has had no other owner
 * that was given anything (see {@link nextEpoch}): it goes on. All others begin at the committed watermark, whatever is wrong with the notes beside it.
 */
export function planTakeover({ names, partitions, committed, extents, held, nowMs }: TakeoverFacts): Takeover {
  const offsets = new Map(committed.map((entry): [string, CommittedOffset] => [`${entry.topic}/${entry.partition}`, entry]));
  const read = (topic: LogTopic, partition: number): Reading => readCommitted(names, topic, partition, extents.get(`${topic}/${partition}`) ?? { start: 0, end: 0 }, offsets.get(`${topic}/${partition}`));
  const epochs = new Map(partitions.map((partition) => [partition, read('async', partition).note.epoch]));
  const taken = partitions.filter((partition) => !held.has(partition) || held.get(partition) !== epochs.get(partition));
  const epoch = nextEpoch(
    taken.map((partition) => epochs.get(partition)),
    nowMs,
  );
  const findings: TakeoverFinding[] = [];
  const fresh = taken.map((partition) => ({
    partition,
    topics: LOG_TOPICS.map((topic): TrackState => {
      const { watermark, end, note, problem } = read(topic, partition);
      if (problem !== undefined) findings.push({ topic, partition, watermark, problem });
      return { topic, partition, epoch, scope: noteScope(names, topic, partition), watermark, settled: note.settled, end };
    }),
  }));
  return { fresh, epoch, findings };
}

/** Notes are read under the same scope only under which they were written. */
export function noteScope(names: TopicNames, topic: LogTopic, partition: number): string {
  return `${names.nameOf(topic)}/${partition}`;
}

interface Reading {
  readonly watermark: number;
  readonly end: number;
  readonly note: CommitNote;
  readonly problem?: TakeoverFinding['problem'];
}

function readCommitted(names: TopicNames, topic: LogTopic, partition: number, { start, end }: Extent, entry: CommittedOffset | undefined): Reading {
  const { offset } = entry ?? {};
  const lost = offset !== undefined && (offset < start || offset > end);
  const watermark = offset === undefined || lost ? start : offset;
  const note = decodeNote(entry?.metadata ?? '', { scope: noteScope(names, topic, partition), watermark, end });
  const problem = lost ? 'offset out of range' : note.ignored;
  return { watermark, end, note, ...(problem === undefined ? {} : { problem }) };
}

/** How many records of a topic's partition are not settled, as far as what is committed tells. */
export function unsettledIn(names: TopicNames, topic: LogTopic, partition: number, extent: Extent, entry: CommittedOffset | undefined): number {
  const { watermark, end, note } = readCommitted(names, topic, partition, extent, entry);
  return Math.max(0, end - watermark - countOf(note.settled));
}

function countOf(runs: readonly OffsetRun[]): number {
  return runs.reduce((sum, run) => sum + run.end - run.start, 0);
}
