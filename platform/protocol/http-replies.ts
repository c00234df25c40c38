import { Readable } from 'node:stream';
import type { Agent } from 'undici';
import { internalRequest } from '../internal-http/client.ts';
import { LOG_TAIL_BYTES_MAX } from '../model/limits.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { CallerChannel, Reply, ReplyAddress, StreamedReply, WorkerReplies } from './reply.ts';
import { responseFrames } from './wire/response-frames.ts';

/** Header of a reply's request: what it is, as JSON in ASCII. The body is the request's. */
export const REPLY_HEADER = 'sluice-reply';

/** A gateway that has taken a connection answers at once or is in trouble. */
const REQUEST_TIMEOUT_MS = 30_000;
/** Asking whether a caller waits stands before its invocation is started. */
const ASK_TIMEOUT_MS = 1_000;
/** What is left of a streamed response when it has ended is little: a caller that does not take it in this time is given up. */
const STREAM_END_TIMEOUT_MS = 30_000;
/** Replies under way at once, with their bodies in memory. One more is dropped: its caller is answered by the gateway's own deadline. */
const UNDER_WAY_MAX = 10_000;

/** The members of a reply that are not its body. */
export type ReplyHead =
  | { readonly kind: 'success'; readonly contentType?: string; readonly logTail?: string }
  | { readonly kind: 'functionError'; readonly functionError: 'Handled' | 'Unhandled'; readonly logTail?: string }
  | Extract<Reply, { kind: 'rejected' }>
  /** The body is {@link responseFrames}. */
  | { readonly kind: 'stream'; readonly contentType?: string };

/**
 * Replies to gateways in other processes, each to the URL that its invocation carries. A gateway that cannot be reached has lost its callers: it is tried once more
 * on a new connection, in case only the connection was lost, and then given up.
 */
export class HttpReplies implements CallerChannel, WorkerReplies {
  readonly #agent: Agent;
  readonly #logger: Logger;
  readonly #streamEndTimeoutMs: number;
  #underWay = 0;
  #idle: (() => void) | undefined;

  constructor(agent: Agent, logger: Logger, { streamEndTimeoutMs = STREAM_END_TIMEOUT_MS }: { readonly streamEndTimeoutMs?: number } = {}) {
    this.#agent = agent;
    this.#logger = logger;
    this.#streamEndTimeoutMs = streamEndTimeoutMs;
  }

  reply(invocation: ReplyAddress, reply: Reply): void {
    const { replyTo } = invocation;
    if (replyTo === undefined) return;
    if (this.#underWay >= UNDER_WAY_MAX) {
      this.#logger.error({ invocation: invocation.id }, `a reply is dropped: ${UNDER_WAY_MAX} others are under way`);
      return;
    }
    this.#follow(this.#send(replyTo, reply, invocation.id));
  }

  stream({ id, replyTo }: ReplyAddress, streamed: StreamedReply): void {
    if (replyTo === undefined || this.#underWay >= UNDER_WAY_MAX) {
      this.#logger.error({ invocation: id }, replyTo === undefined ? 'a streamed reply has no address' : `a streamed reply is dropped: ${UNDER_WAY_MAX} others are under way`);
      streamed.body.destroy();
      return;
    }
    this.#follow(this.#sendStream(replyTo, streamed, id));
  }

  #follow(sending: Promise<void>): void {
    this.#underWay++;
    void sending.finally(() => {
      if (--this.#underWay === 0) this.#idle?.();
    });
  }

  async awaited({ replyTo }: ReplyAddress): Promise<boolean> {
    if (replyTo === undefined) return false;
    try {
      const { status } = await internalRequest(this.#agent, { ...target(replyTo), method: 'HEAD', signal: AbortSignal.timeout(ASK_TIMEOUT_MS) });
      return status === 200;
    } catch (error) {
      // Nobody listens there any more: the gateway is gone, and its callers with it.
      return (error as NodeJS.ErrnoException).code !== 'ECONNREFUSED';
    }
  }

  /** Resolves when nothing is under way. */
  idle(): Promise<void> {
    if (this.#underWay === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle = resolve;
    });
  }

  async #send(replyTo: string, reply: Reply, invocation: string): Promise<void> {
    const body = reply.kind === 'rejected' ? undefined : reply.body;
    const request = { ...target(replyTo), method: 'POST', headers: { [REPLY_HEADER]: encodeReplyHead(reply) }, ...(body === undefined ? {} : { body }) } as const;
    for (const attempt of [1, 2]) {
      try {
        await internalRequest(this.#agent, { ...request, signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
        return;
      } catch (error) {
        if (attempt === 2) this.#logger.warn({ err: error, invocation }, 'a reply could not be brought to its gateway');
      }
    }
  }

  /** Sent once, since what was sent is not kept. Where that fails the caller, who may still wait for the beginning, is told so. */
  async #sendStream(replyTo: string, { contentType, body }: StreamedReply, invocation: string): Promise<void> {
    const overdue = new AbortController();
    let patience: NodeJS.Timeout | undefined;
    body.once('outcome', () => {
      patience = setTimeout(() => overdue.abort(), this.#streamEndTimeoutMs);
    });
    const head: ReplyHead = { kind: 'stream', ...(contentType === undefined ? {} : { contentType }) };
    try {
      const { status } = await internalRequest(this.#agent, { ...target(replyTo), method: 'POST', headers: { [REPLY_HEADER]: ascii(head) }, body: Readable.from(responseFrames(body)), signal: overdue.signal });
      if (status >= 500) throw new Error(`The gateway answered ${status}.`);
    } catch (error) {
      this.#logger.warn({ err: error, invocation }, 'a streamed reply could not be brought to its gateway');
      await this.#send(replyTo, { kind: 'rejected', rejection: { code: 'workerLost', message: 'The response of the function broke off on its way.' } }, invocation);
    } finally {
      clearTimeout(patience);
      body.destroy();
    }
  }
}

function target(url: string): { readonly origin: string; readonly path: string } {
  const pathAt = url.indexOf('/', url.indexOf('://') + 3);
  return { origin: url.slice(0, pathAt), path: url.slice(pathAt) };
}

/** A reply without its body, as a header can carry it. */
export function encodeReplyHead(reply: Reply): string {
  if (reply.kind === 'rejected') return ascii(reply);
  const { body: _, logTail, ...head } = reply;
  return ascii(logTail === undefined ? head : { ...head, logTail: logTail.subarray(-LOG_TAIL_BYTES_MAX).toString('base64') });
}

/** Undefined for what is none. */
export function decodeReplyHead(text: string): ReplyHead | undefined {
  try {
    const head = JSON.parse(text) as ReplyHead;
    return head.kind === 'success' || head.kind === 'functionError' || head.kind === 'rejected' || head.kind === 'stream' ? head : undefined;
  } catch {
    return undefined;
  }
}

/** JSON whose other characters are escaped: headers are bytes. */
function ascii(value: object): string {
  return JSON.stringify(value).replace(/[\u007f-\uffff]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
