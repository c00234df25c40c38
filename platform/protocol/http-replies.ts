import type { Agent } from 'undici';
import { internalRequest } from '../internal-http/client.ts';
import { LOG_TAIL_BYTES_MAX } from '../model/limits.ts';
import type { Logger } from '../telemetry/logger.ts';
import type { CallerChannel, Reply, ReplyAddress } from './reply.ts';

/** Header of a reply's request: what it is, as JSON in ASCII. The body is the request's. */
export const REPLY_HEADER = 'sluice-reply';

/** A gateway that has taken a connection answers at once or is in trouble. */
const REQUEST_TIMEOUT_MS = 30_000;
/** Asking whether a caller waits stands before its invocation is started. */
const ASK_TIMEOUT_MS = 1_000;
/** Replies under way at once, with their bodies in memory. One more is dropped: its caller is answered by the gateway's own deadline. */
const UNDER_WAY_MAX = 10_000;

/** The members of a reply that are not its body. */
export type ReplyHead =
  | { readonly kind: 'success'; readonly contentType?: string; readonly logTail?: string }
  | { readonly kind: 'functionError'; readonly functionError: 'Handled' | 'Unhandled'; readonly logTail?: string }
  | Extract<Reply, { kind: 'rejected' }>;

/**
 * Replies to gateways in other processes, each to the URL that its invocation carries. A gateway that cannot be reached has lost its callers: it is tried once more
 * on a new connection, in case only the connection was lost, and then given up.
 */
export class HttpReplies implements CallerChannel {
  readonly #agent: Agent;
  readonly #logger: Logger;
  #underWay = 0;
  #idle: (() => void) | undefined;

  constructor(agent: Agent, logger: Logger) {
    this.#agent = agent;
    this.#logger = logger;
  }

  reply(invocation: ReplyAddress, reply: Reply): void {
    const { replyTo } = invocation;
    if (replyTo === undefined) return;
    if (this.#underWay >= UNDER_WAY_MAX) {
      this.#logger.error({ invocation: invocation.id }, `a reply is dropped: ${UNDER_WAY_MAX} others are under way`);
      return;
    }
    this.#underWay++;
    void this.#send(replyTo, reply, invocation.id).finally(() => {
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
    return head.kind === 'success' || head.kind === 'functionError' || head.kind === 'rejected' ? head : undefined;
  } catch {
    return undefined;
  }
}

/** JSON whose other characters are escaped: headers are bytes. */
function ascii(value: object): string {
  return JSON.stringify(value).replace(/[\u007f-\uffff]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
