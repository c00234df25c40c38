import type { ObjectLocation } from '../../object-store/object-store.ts';
import { AcknowledgementWindow, METADATA_FILL_LIMIT, type OffsetRun } from '../acknowledgement-window.ts';
import { encodeNote, noteFill } from './commit-note.ts';
import type { OffsetToCommit } from './group-member.ts';
import type { LogTopic } from './topic-names.ts';

export interface TrackState {
  readonly topic: LogTopic;
  readonly partition: number;
  readonly epoch: number;
  readonly scope: string;
  /** As committed by the owner before. */
  readonly watermark: number;
  readonly settled: readonly OffsetRun[];
  /** One above the last record when this assignment began. */
  readonly end: number;
}

/**
 * Why nothing more is fetched; kept apart, so that two causes of a pause do not undo each other. `quiet`: there is nothing more, as far as this
 * owner knows, who alone writes to the topic (see {@link TopicTrack.expectOwn}); all others: there is no room.
 */
export type PauseReason = 'buffer' | 'notes' | 'newer' | 'poison' | 'quiet';

/** One topic of an owned partition: what was taken from it, what of that is settled, and whether more is wanted. */
export class TopicTrack {
  readonly topic: LogTopic;
  readonly partition: number;
  readonly #epoch: number;
  readonly #scope: string;
  readonly #window: AcknowledgementWindow;
  readonly #end: number;
  readonly #pauses = new Set<PauseReason>();
  readonly #ownerWrites: boolean;
  /** Being written by this owner. */
  #writing = 0;
  /** One above the last record that this owner knows to be its own. */
  #ownEnd = 0;
  #changed = false;
  #releasable: ObjectLocation[] = [];

  constructor({ topic, partition, epoch, scope, watermark, settled, end }: TrackState) {
    this.topic = topic;
    this.partition = partition;
    this.#epoch = epoch;
    this.#scope = scope;
    this.#window = new AcknowledgementWindow(watermark, settled);
    this.#end = end;
    this.#ownerWrites = topic !== 'sync' && topic !== 'async';
    this.mindQuiet();
  }

  /** Where the next fetch begins. */
  get next(): number {
    return this.#window.next;
  }

  get unsettledCount(): number {
    return this.#window.unsettledCount;
  }

  /** Whether the record was taken, or passed over. */
  met(offset: number): boolean {
    return offset < this.#window.next;
  }

  /** Whether an earlier owner can have seen the record. */
  inherited(offset: number): boolean {
    return offset < this.#end;
  }

  /** False: it was taken before, by this owner or, settled, by another; or it was settled ahead. */
  take(offset: number): boolean {
    return offset >= this.#window.next && this.#window.deliver(offset);
  }

  /** Done with for good. One that was not taken yet is passed over when it is met, by whoever has read the notes. `release`: an object in the store that only this record speaks of. */
  settle(offset: number, release?: ObjectLocation): void {
    const first = this.met(offset) ? this.#window.settle(offset) : this.#window.settleAhead(offset);
    if (!first) return;
    this.#changed = true;
    if (release !== undefined) this.#releasable.push(release);
  }

  get changed(): boolean {
    return this.#changed;
  }

  /** What is to be committed now: offset and notes of one moment, for a note that speaks of another offset than it is committed with is worth nothing. */
  collect(): { readonly offset: OffsetToCommit; readonly release: readonly ObjectLocation[] } {
    this.#changed = false;
    // Notes that do not fit are left out, and what they would have said may come again: its payload has to stay.
    const release = noteFill(this.#epoch, this.#window) <= 1 ? this.#releasable.splice(0) : [];
    return { offset: { topic: this.topic, partition: this.partition, offset: this.#window.watermark, metadata: encodeNote(this.#epoch, this.#window, this.#scope) }, release };
  }

  /** The commit of what was collected has failed. */
  uncollected(release: readonly ObjectLocation[]): void {
    this.#changed = true;
    this.#releasable.unshift(...release);
  }

  /**
   * Whether the notes on what is settled are about to outgrow their room, and settling what was taken makes them shorter. Where all of that is settled, they speak
   * of what lies ahead (an earlier owner's, or settled ahead), and only taking more makes them shorter: a pause would never end.
   */
  get crowded(): boolean {
    return this.unsettledCount > 0 && noteFill(this.#epoch, this.#window) >= METADATA_FILL_LIMIT;
  }

  /** Whether so much room is there again that taking more makes sense. */
  get roomy(): boolean {
    return this.unsettledCount === 0 || noteFill(this.#epoch, this.#window) < METADATA_FILL_LIMIT / 2;
  }

  /** Not fetched. */
  get paused(): boolean {
    return this.#pauses.size > 0;
  }

  /** Paused for want of room. */
  get stopped(): boolean {
    return this.#pauses.size > (this.#pauses.has('quiet') ? 1 : 0);
  }

  /**
   * This owner is writing a record to the topic. Only a partition's owner writes to its overflow and delay topics, so what it has not written is not
   * there, and the topic need not be fetched; each partition in a fetch costs client and broker time, at every fetch. (A former owner's last write may still
   * arrive: quiet topics are looked at from time to time.)
   */
  expectOwn(): void {
    this.#writing++;
    this.#pauses.delete('quiet');
  }

  /** It lies at this offset. Undefined: it has failed; should it be in the topic all the same, it is found when quiet topics are looked at. */
  ownWritten(offset: number | undefined): void {
    this.#writing--;
    if (offset !== undefined) this.#ownEnd = Math.max(this.#ownEnd, offset + 1);
  }

  /** Lets the topic be quiet if everything in it has been met. */
  mindQuiet(): void {
    if (this.#ownerWrites && this.#writing === 0 && this.#window.next >= Math.max(this.#end, this.#ownEnd)) this.#pauses.add('quiet');
  }

  pausedFor(reason: PauseReason): boolean {
    return this.#pauses.has(reason);
  }

  pause(reason: PauseReason): void {
    this.#pauses.add(reason);
  }

  resume(reason: PauseReason): void {
    this.#pauses.delete(reason);
  }
}
