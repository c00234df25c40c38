import type { InvocationRecord } from '../../platform/model/invocation.ts';
import type { WorkerReplies } from '../../platform/protocol/reply.ts';
import { ResponseStream } from '../../platform/protocol/response-stream.ts';
import { boundedErrorBody } from './bodies.ts';
import { EXIT_ERROR_TYPE, TRUNCATED_RESPONSE_TYPE } from './report-lines.ts';

/** A response that goes to its caller while the handler writes it. */
export class StreamedResponse {
  readonly #body = new ResponseStream();

  constructor(replies: WorkerReplies, invocation: InvocationRecord, contentType: string | undefined) {
    replies.stream(invocation, { body: this.#body, ...(contentType === undefined ? {} : { contentType }) });
  }

  /** False: `drained` is called when the caller has taken enough of what it has. */
  write(chunk: Buffer, drained: () => void): boolean {
    return this.#body.offer(chunk, drained);
  }

  succeed(logTail: Buffer | undefined): void {
    this.#body.finish({ kind: 'success', ...(logTail === undefined ? {} : { logTail }) });
  }

  /** `error`: Lambda's error object. What its process could not finish counts as truncated, as on Lambda; the error object says how the process ended. */
  fail(error: Buffer, errorType: string | undefined, logTail: Buffer | undefined): void {
    const body = boundedErrorBody(error);
    const named = errorType ?? typeIn(body);
    this.#body.finish({ kind: 'functionError', errorType: named === EXIT_ERROR_TYPE ? TRUNCATED_RESPONSE_TYPE : named, body, ...(logTail === undefined ? {} : { logTail }) });
  }
}

function typeIn(error: Buffer): string {
  try {
    const { errorType } = JSON.parse(error.toString()) as { readonly errorType?: unknown };
    return typeof errorType === 'string' && errorType !== '' ? errorType : 'Unknown';
  } catch {
    return 'Unknown';
  }
}
