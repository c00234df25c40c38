import type { ExecutionSpec } from '../../model/execution-spec.ts';
import type { WorkerRoom } from '../../protocol/wire/messages.ts';
import type { WorkerSession } from './worker-session.ts';

/** What is known of workers from elsewhere than from themselves, and who wants to hear what becomes of them. */
export interface WorkerOversight {
  /**
   * Whether whoever calls from this address and goes by this name is that worker: asked where its token does not say so. Waits for a while for what is not known
   * yet. Never rejects.
   */
  admits(worker: string, address: string): Promise<boolean>;
  /** What environments of this spec may use of the worker, what it runs already included; no room where they may not go there at all. */
  roomFor(worker: WorkerSession, spec: ExecutionSpec): WorkerRoom;
  /** The worker has an environment that it had not before: given to it now, or taken over with it. */
  placed?(worker: WorkerSession, spec: ExecutionSpec): void;
  /** The worker has sent an environment back: somebody else had taken its room. */
  sentBack?(worker: WorkerSession): void;
  /** The worker says that its container has so much memory now. */
  grown?(worker: WorkerSession, memoryLimitMiB: number): void;
  /** The worker holds fewer environments than before, or has said that it holds another number for all controllers. */
  holdingChanged?(worker: WorkerSession): void;
}

/** Believes what workers say of themselves. A token for all workers lets nobody in. */
export const BELIEVING: WorkerOversight = {
  admits: () => Promise.resolve(false),
  roomFor: ({ room }) => room,
};
