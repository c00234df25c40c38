import type { Readable } from 'node:stream';
import type { Reply } from '../../platform/protocol/reply.ts';

/** A body that is passed on as it comes in from another process, without being collected. */
export interface IncomingBody {
  readonly stream: Readable;
  readonly bytes: number;
}

/** A reply as it reaches the gateway: whole, or with a body that is still coming in. */
export type IncomingReply = Reply | (Omit<Extract<Reply, { kind: 'success' }>, 'body'> & { readonly body: IncomingBody }) | (Omit<Extract<Reply, { kind: 'functionError' }>, 'body'> & { readonly body: IncomingBody });
