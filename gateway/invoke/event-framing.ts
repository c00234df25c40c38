import type { EventStreamCodec } from '@smithy/core/event-streams';

/** Of the event stream's framing ("Amazon Event Stream" specification). */
export const EVENT_STREAM_TYPE = 'application/vnd.amazon.eventstream';

/** The closing event of a response stream: how the function ended. */
export interface InvokeComplete {
  readonly ErrorCode?: string;
  readonly ErrorDetails?: string;
  /** The end of its log, base64. */
  readonly LogResult?: string;
}

/** Encodes the events of InvokeWithResponseStream. */
export class EventFraming {
  static #loading: Promise<EventFraming> | undefined;
  readonly #codec: EventStreamCodec;

  private constructor(codec: EventStreamCodec) {
    this.#codec = codec;
  }

  /** Loaded when the first caller wants a stream: the library costs the gateway 12 MiB, which it has no other use for. */
  static load(): Promise<EventFraming> {
    this.#loading ??= import('@smithy/core/event-streams').then(
      ({ EventStreamCodec: Codec }) =>
        new EventFraming(
          new Codec(
            (bytes) => Buffer.from(bytes as Uint8Array).toString('utf8'),
            (text) => Buffer.from(text, 'utf8'),
          ),
        ),
    );
    return this.#loading;
  }

  payloadChunk(payload: Buffer): Uint8Array {
    return this.#event('PayloadChunk', 'application/octet-stream', payload);
  }

  invokeComplete(complete: InvokeComplete): Uint8Array {
    return this.#event('InvokeComplete', 'application/json', Buffer.from(JSON.stringify(complete)));
  }

  #event(type: string, contentType: string, body: Uint8Array): Uint8Array {
    return this.#codec.encode({
      headers: {
        ':message-type': { type: 'string', value: 'event' },
        ':event-type': { type: 'string', value: type },
        ':content-type': { type: 'string', value: contentType },
      },
      body,
    });
  }
}
