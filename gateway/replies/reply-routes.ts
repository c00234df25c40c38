import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock } from '../../platform/clock.ts';
import { readInternalBody, sendBytes, sendEmpty, type InternalRoute } from '../../platform/internal-http/server.ts';
import { decodeReplyHead, REPLY_HEADER, type ReplyHead } from '../../platform/protocol/http-replies.ts';
import { receiveResponse } from '../../platform/protocol/wire/response-frames.ts';
import type { PendingReplies } from '../invoke/pending-replies.ts';
import type { IncomingBody, IncomingReply } from './incoming-reply.ts';
import { REPLIES_PATH, type ReplyUrls } from './reply-url.ts';

/** Up to this size a reply is collected, so that a worker that dies in the middle costs nothing but a second reply; a larger one is passed on as it comes. */
const COLLECTED_BYTES_MAX = 256 * 1024;

export interface ReplyRoutesOptions {
  readonly replies: PendingReplies;
  readonly urls: ReplyUrls;
  readonly clock: Clock;
}

/**
 * Where replies of workers and controllers in other processes come in, and payloads go out that did not travel with their records. 410: nobody waits for it, or not
 * any more. 403: not a URL of this gateway.
 */
export function replyRoutes({ replies, urls, clock }: ReplyRoutesOptions): readonly InternalRoute[] {
  const permitted = (request: IncomingMessage, response: ServerResponse, id: string, query: URLSearchParams): boolean => {
    if (urls.verify(id, query, clock.now())) return true;
    request.resume();
    sendEmpty(response, 403);
    return false;
  };

  const reply = async (request: IncomingMessage, response: ServerResponse, [id = '']: readonly string[], query: URLSearchParams): Promise<void> => {
    if (!permitted(request, response, id, query)) return;
    const head = decodeReplyHead(String(request.headers[REPLY_HEADER] ?? ''));
    const bytes = Number(request.headers['content-length'] ?? 0);
    const wanted = head?.kind === 'rejected' ? replies.reachable(id) : await replies.awaited({ id });
    if (head === undefined || !wanted) {
      request.resume();
      sendEmpty(response, head === undefined ? 400 : 410);
      return;
    }
    if (head.kind === 'stream') {
      request.on('close', () => sendEmpty(response, 204));
      replies.stream({ id }, { ...(head.contentType === undefined ? {} : { contentType: head.contentType }), body: receiveResponse(request) });
      return;
    }
    if (head.kind !== 'rejected' && bytes > COLLECTED_BYTES_MAX) {
      request.on('close', () => sendEmpty(response, 204));
      replies.reply({ id }, replyOf(head, { stream: request, bytes }));
      return;
    }
    const body = await readInternalBody(request, COLLECTED_BYTES_MAX);
    if (body === undefined) {
      sendEmpty(response, 400);
      return;
    }
    replies.reply({ id }, replyOf(head, body));
    sendEmpty(response, 204);
  };

  const payload = (request: IncomingMessage, response: ServerResponse, [id = '']: readonly string[], query: URLSearchParams): void => {
    if (!permitted(request, response, id, query)) return;
    const kept = replies.payload(id);
    if (kept === undefined) sendEmpty(response, 410);
    else sendBytes(response, 200, 'application/octet-stream', kept);
  };

  const awaited = async (request: IncomingMessage, response: ServerResponse, [id = '']: readonly string[], query: URLSearchParams): Promise<void> => {
    if (permitted(request, response, id, query)) sendEmpty(response, (await replies.awaited({ id })) ? 200 : 410);
  };

  return [
    { method: 'POST', path: `${REPLIES_PATH}/*`, handle: reply },
    { method: 'GET', path: `${REPLIES_PATH}/*`, handle: payload },
    { method: 'HEAD', path: `${REPLIES_PATH}/*`, handle: awaited },
  ];
}

function replyOf(head: Exclude<ReplyHead, { kind: 'stream' }>, body: Buffer | IncomingBody): IncomingReply {
  if (head.kind === 'rejected') return head;
  const { logTail, ...rest } = head;
  return { ...rest, body, ...(logTail === undefined ? {} : { logTail: Buffer.from(logTail, 'base64') }) } as IncomingReply;
}
