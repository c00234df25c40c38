import type { Agent } from 'undici';
import { internalGet } from '../../platform/internal-http/client.ts';
import { PAYLOAD_BUCKET, type InvocationRecord } from '../../platform/model/invocation.ts';
import type { ObjectLocation } from '../../platform/object-store/object-store.ts';

/** A payload is 6 MiB at most, on a network of our own. */
const FETCH_TIMEOUT_MS = 10_000;
const ATTEMPTS = 2;

/** Brings payloads that were too large to travel with their records ({@link InvocationRecord.claim}). */
export class ClaimedPayloads {
  readonly #agent: Agent;
  readonly #read: (location: ObjectLocation) => Promise<Buffer>;

  /** `read`: brings an object from the store. */
  constructor(agent: Agent, read: (location: ObjectLocation) => Promise<Buffer>) {
    this.#agent = agent;
    this.#read = read;
  }

  /** Rejects where the payload is not to be had: its gateway or the object store cannot be reached, or it is not there any more. */
  async fetch(invocation: InvocationRecord): Promise<Buffer> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#fetch(invocation);
      } catch (error) {
        if (attempt === ATTEMPTS) throw error;
      }
    }
  }

  async #fetch({ id, claim, replyTo, payload }: InvocationRecord): Promise<Buffer> {
    if (claim === undefined) return payload;
    if (claim.kind === 'object') return this.#read({ bucket: PAYLOAD_BUCKET, key: claim.key });
    if (replyTo === undefined) throw new Error(`Invocation ${id} claims a payload at its gateway and does not say where that is.`);
    const { status, body } = await internalGet(this.#agent, replyTo, FETCH_TIMEOUT_MS);
    if (status !== 200 || body.length !== claim.bytes) throw new Error(`The gateway of invocation ${id} answered ${status} with ${body.length} of ${claim.bytes} bytes of its payload.`);
    return body;
  }
}
